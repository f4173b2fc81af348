"""Store that records every request, and calls hooks around each."""

from collections.abc import Callable, Iterable
from threading import Lock

from framecache.store import Store
from framecache.testing.wrapping import Action, Result, WrappingStore

Hook = Callable[[Action, str], None]
"""Called with the action of one request, and its key or prefix."""


class HookedStore(WrappingStore):
    """Store that calls ``before`` and ``after`` around each request; their errors propagate.

    ``requests`` lists all requests in order, including those that failed; a delete is listed once
    per key.
    """

    def __init__(
        self, inner: Store, *, before: Hook | None = None, after: Hook | None = None
    ) -> None:
        """Wrap a store.

        Args:
            inner: the store that makes the requests.
            before: called before each request, on the thread that makes it.
            after: called after each request that succeeded, on the same thread.
        """
        super().__init__(inner)
        self.requests: list[tuple[Action, str]] = []
        self._before = before
        self._after = after
        self._lock = Lock()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request between the hooks."""
        self._call_before(action, key)
        result = operation()
        self._call_after(action, key)
        return result

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`. The hooks are called with each key; all keys are deleted in one request."""
        wanted = [*keys]
        for key in wanted:
            self._call_before("delete", key)
        deleted = self.inner.delete(wanted)
        for key in wanted:
            self._call_after("delete", key)
        return deleted

    def _call_before(self, action: Action, key: str) -> None:
        with self._lock:
            self.requests.append((action, key))
        if self._before is not None:
            self._before(action, key)

    def _call_after(self, action: Action, key: str) -> None:
        if self._after is not None:
            self._after(action, key)


def fail_from_nth(error: Exception, *, action: Action, nth: int, within: str) -> Hook:
    """Return a hook that raises ``error`` from the ``nth`` matching request (from 1) on.

    Args:
        error: the error to raise.
        action: the kind of requests to count.
        nth: the number of the first request that fails.
        within: a string that their keys contain.
    """
    lock, seen = Lock(), 0

    def hook(requested: Action, key: str) -> None:
        nonlocal seen
        if requested == action and within in key:
            with lock:
                seen += 1
                is_due = seen >= nth
            if is_due:
                raise error

    return hook
