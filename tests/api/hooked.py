"""A store around a store: tells of every request, and fails where a test wants it to."""

import builtins
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from framecache.store import BlobInfo, Store

Hook = Callable[[str, str], None]
"""Called with a method's name and the key or prefix of one request."""


class HookedStore:
    """Calls ``before`` and ``after`` around each request; what they raise, the request raises."""

    def __init__(
        self, inner: Store, *, before: Hook | None = None, after: Hook | None = None
    ) -> None:
        self.inner = inner
        self.requests: list[tuple[str, str]] = []
        self._before = before
        self._after = after
        self._lock = Lock()

    @property
    def url(self) -> str:
        return self.inner.url

    def get(self, key: str) -> bytes:
        self._begin("get", key)
        data = self.inner.get(key)
        self._end("get", key)
        return data

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        self._begin("get", key)
        data = self.inner.get_range(key, start=start, length=length)
        self._end("get", key)
        return data

    def put(self, key: str, data: bytes) -> None:
        self._begin("put", key)
        self.inner.put(key, data)
        self._end("put", key)

    def create(self, key: str, data: bytes) -> None:
        self._begin("create", key)
        self.inner.create(key, data)
        self._end("create", key)

    def head(self, key: str) -> BlobInfo:
        self._begin("head", key)
        info = self.inner.head(key)
        self._end("head", key)
        return info

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._begin("list", prefix)
        yield from self.inner.list(prefix)
        self._end("list", prefix)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        self._begin("list", prefix)
        return self.inner.list_folders(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        wanted = [*keys]
        for key in wanted:
            self._begin("delete", key)
        return self.inner.delete(wanted)

    def _begin(self, action: str, key: str) -> None:
        with self._lock:
            self.requests.append((action, key))
        if self._before is not None:
            self._before(action, key)

    def _end(self, action: str, key: str) -> None:
        if self._after is not None:
            self._after(action, key)


def failing_at(error: Exception, *, action: str, nth: int, within: str) -> Hook:
    """A hook that raises ``error`` at the ``nth`` matching request (from 1) and at all later."""
    lock, seen = Lock(), 0

    def hook(met: str, key: str) -> None:
        nonlocal seen
        if met == action and within in key:
            with lock:
                seen += 1
                is_due = seen >= nth
            if is_due:
                raise error

    return hook
