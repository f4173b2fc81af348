"""A store that tells of every request, and calls a test around each."""

from collections.abc import Callable, Iterable
from threading import Lock

from framecache.store import Store
from framecache.testing.wrapping import Action, Result, WrappingStore

Hook = Callable[[Action, str], None]
"""Called with what one request does, and the key or prefix it does it to."""


class HookedStore(WrappingStore):
    """Calls ``before`` and ``after`` around each request; what they raise, the request raises.

    ``requests`` holds all of them in order, those that failed included; a delete is there with
    each of its keys.
    """

    def __init__(
        self, inner: Store, *, before: Hook | None = None, after: Hook | None = None
    ) -> None:
        """Wrap a store.

        Args:
            inner: makes the requests.
            before: called before each, on the thread that makes it.
            after: called after each that succeeded, likewise.
        """
        super().__init__(inner)
        self.requests: list[tuple[Action, str]] = []
        self._before = before
        self._after = after
        self._lock = Lock()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, between the hooks."""
        self._begin(action, key)
        result = operation()
        self._end(action, key)
        return result

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`. The hooks are called with each key, the deletes are made at once."""
        wanted = [*keys]
        for key in wanted:
            self._begin("delete", key)
        deleted = self.inner.delete(wanted)
        for key in wanted:
            self._end("delete", key)
        return deleted

    def _begin(self, action: Action, key: str) -> None:
        with self._lock:
            self.requests.append((action, key))
        if self._before is not None:
            self._before(action, key)

    def _end(self, action: Action, key: str) -> None:
        if self._after is not None:
            self._after(action, key)


def failing_at(error: Exception, *, action: Action, nth: int, within: str) -> Hook:
    """A hook that raises ``error`` at the ``nth`` matching request (from 1) and at all later.

    Args:
        error: what to raise.
        action: which requests to count.
        nth: the first that fails.
        within: what their keys hold.
    """
    lock, seen = Lock(), 0

    def hook(met: Action, key: str) -> None:
        nonlocal seen
        if met == action and within in key:
            with lock:
                seen += 1
                is_due = seen >= nth
            if is_due:
                raise error

    return hook
