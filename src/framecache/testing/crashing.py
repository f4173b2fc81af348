"""A store that dies with its process, at a request of a test's choice."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Literal

from framecache.store import Store
from framecache.testing.wrapping import Action, Result, WrappingStore


class Crash(BaseException):
    """The process is dead. No ``except Exception`` goes on after it."""


class CrashingStore(WrappingStore):
    """Makes requests up to one, and none from then on: each raises `Crash` before doing anything.

    To every other program, that is a process that was killed there. Its threads still run, and
    ``finally`` clauses with them, but nothing they do reaches the store. What other threads had
    begun when it died may still be done, as it may in reality.

    A test that makes no crash happen (``at=None``) learns from ``requests`` how many points there
    are. Of a delete each key counts, and they are deleted in order: a process may die in between.
    """

    def __init__(
        self,
        inner: Store,
        *,
        at: int | None,
        when: Literal["before", "after"] = "before",
    ) -> None:
        """Wrap a store.

        Args:
            inner: makes the requests.
            at: the request to die at, from 1; None: never.
            when: whether that request is still carried out.
        """
        super().__init__(inner)
        self._at = at
        self._when = when
        self._requests = 0
        self._has_crashed = False
        self._lock = Lock()

    @property
    def requests(self) -> int:
        """How many requests were made, the one it died at included, and none after."""
        return self._requests

    @property
    def has_crashed(self) -> bool:
        """Whether it came to the request to die at."""
        return self._has_crashed

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, unless the process is dead."""
        crash = Crash(f"dead since request {self._at}; now {action} {key!r}")
        with self._lock:
            if self._has_crashed:
                raise crash
            self._requests += 1
            is_last = self._requests == self._at
            self._has_crashed = is_last and self._when == "before"
            if self._has_crashed:
                raise crash
        try:
            return operation()
        finally:
            if is_last:
                self._has_crashed = True
                raise crash

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`."""
        return sum(super(CrashingStore, self).delete([key]) for key in keys)
