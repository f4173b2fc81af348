"""Base class of stores that wrap another store."""

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

from framecache.store import BlobInfo, StorageOptions, Store

Action = Literal["get", "put", "create", "head", "list", "delete"]
"""Kind of a request; a range read is a ``"get"``, a listing of folders a ``"list"``."""

Result = TypeVar("Result")


class WrappingStore:
    """Store that passes each request to another store, through :meth:`perform`.

    Subclasses override :meth:`perform`. A listing makes one request when its first blob is
    requested, and a delete makes one for all its keys.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        """URL of the wrapped store."""
        return self.inner.url

    @property
    def display_name(self) -> str:
        """Name of the wrapped store for error messages."""
        return self.inner.display_name

    @property
    def options(self) -> StorageOptions:
        """Options of the wrapped store."""
        return self.inner.options

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:  # noqa: ARG002 -- for those who derive
        """Make one request, on a key, a prefix, or the first of the keys to delete.

        Args:
            action: the kind of the request.
            key: its key or prefix.
            operation: makes the request to the wrapped store.
        """
        return operation()

    def get(self, key: str) -> bytes:
        """See `Store`."""
        return self.perform("get", key, lambda: self.inner.get(key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store`."""
        return self.perform(
            "get", key, lambda: self.inner.get_range(key, start=start, length=length)
        )

    def put(self, key: str, data: bytes) -> None:
        """See `Store`."""
        self.perform("put", key, lambda: self.inner.put(key, data))

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store`."""
        self.perform("put", key, lambda: self.inner.put_stream(key, blocks))

    def create(self, key: str, data: bytes) -> None:
        """See `Store`."""
        self.perform("create", key, lambda: self.inner.create(key, data))

    def head(self, key: str) -> BlobInfo:
        """See `Store`."""
        return self.perform("head", key, lambda: self.inner.head(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store`."""
        yield from self.perform("list", prefix, lambda: [*self.inner.list(prefix)])

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store`."""
        return self.perform("list", prefix, lambda: self.inner.list_folders(prefix))

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`."""
        wanted = [*keys]
        if not wanted:
            return 0
        return self.perform("delete", wanted[0], lambda: self.inner.delete(wanted))
