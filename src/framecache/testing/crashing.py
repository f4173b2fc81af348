"""Store that simulates the death of its process at a request of the test's choice."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Literal

from framecache.store import Store
from framecache.testing.wrapping import Action, Result, WrappingStore


class Crash(BaseException):
    """Error after the simulated death of the process; ``except Exception`` does not catch it."""


class CrashingStore(WrappingStore):
    """Store that makes requests up to one, and raises `Crash` on every later request.

    To every other program, this looks like a process that was killed at that point. Its threads
    still run, ``finally`` clauses included, but nothing they do reaches the store. Requests that
    other threads had started before the crash may still complete, as they may in reality.

    A test without a crash (``at=None``) learns the number of crash points from ``requests``. In a
    delete each key counts, and keys are deleted in order, as a process may die in between.
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
            inner: the store that makes the requests.
            at: the request to crash at, from 1; None: never.
            when: ``"after"`` if that request is still executed, else ``"before"``.
        """
        super().__init__(inner)
        self._at = at
        self._when = when
        self._requests = 0
        self._has_crashed = False
        self._lock = Lock()

    @property
    def requests(self) -> int:
        """Number of requests made, including the one it crashed at, but none after."""
        return self._requests

    @property
    def has_crashed(self) -> bool:
        """True if the request to crash at was reached."""
        return self._has_crashed

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, unless the process has crashed."""
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
