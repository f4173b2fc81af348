"""Bucket store for any process: it uses obstore directly or, after a fork, a helper process."""

import builtins
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

from framecache._core.threads import run_interruptible
from framecache.store.atomic_create import unwrap_store
from framecache.store.base import BlobInfo, Block, Store
from framecache.store.fork_guard import is_forked_after_use
from framecache.store.helper_client import HelperProcessStore
from framecache.store.object_store import RemoteStore
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.urls import Location

Result = TypeVar("Result")
# Number of keys that S3 lists with one request.
_BATCH: Final = 1000


class BucketStore:
    """Store in a bucket or under a prefix of it, usable on both sides of a fork."""

    def __init__(self, location: Location, options: StorageOptions = NO_OPTIONS) -> None:
        """Read the environment and prepare a client. Makes no request."""
        self._location = location
        self.url = location.url
        """See `Store.url`."""
        self.options = options
        """See `Store.options`."""
        self._direct = RemoteStore(location, options)
        self._helper_store = HelperProcessStore(self._direct)

    def __repr__(self) -> str:
        """Show the URL."""
        return f"<store {self.url}>"

    def __reduce__(self) -> "tuple[type[BucketStore], tuple[Location, StorageOptions]]":
        """Pickle the location and options; another process opens its own connections."""
        return type(self), (self._location, self.options)

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self._direct.display_name

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        return self._read(lambda store: store.get(key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._read(lambda store: store.get_range(key, start=start, length=length))

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self._active_store.put(key, data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`."""
        self._active_store.put_stream(key, blocks)

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        self._active_store.create(key, data)

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        return self._read(lambda store: store.head(key))

    def identify(self, key: str) -> BlobInfo:
        """See `RemoteStore.identify`."""
        return self._read(lambda store: store.identify(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        blobs = self._active_store.list(prefix)
        while batch := self._read(lambda _: builtins.list(itertools.islice(blobs, _BATCH))):
            yield from batch

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        return self._read(lambda store: store.list_folders(prefix))

    def get_block(self, key: str, *, start: int, length: int) -> Block:
        """See `RemoteStore.get_block`."""
        return self._read(lambda store: store.get_block(key, start=start, length=length))

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        return self._active_store.delete(keys)

    def remove_markers(self, prefix: str) -> None:
        """See `RemoteStore.remove_markers`."""
        self._active_store.remove_markers(prefix)

    def _read(self, request: Callable[[RemoteStore | HelperProcessStore], Result]) -> Result:
        """Perform a read-only request that Ctrl-C can interrupt.

        Writes are not interruptible: nothing may be stored after their caller has continued.
        """
        if is_forked_after_use():
            return request(self._helper_store)
        return run_interruptible(partial(request, self._direct))

    @property
    def _active_store(self) -> RemoteStore | HelperProcessStore:
        return self._helper_store if is_forked_after_use() else self._direct


def remove_markers(store: Store, prefix: str) -> None:
    """Remove the folder markers at a prefix and below that other programs left in a bucket.

    Markers alone, without a blob, would keep the folder's name in `Store.list_folders`.

    Args:
        store: the store; only buckets have folder markers. Wrappers around it are bypassed.
        prefix: folder whose markers a listing by this store has skipped.
    """
    inner = unwrap_store(store)
    if isinstance(inner, BucketStore):
        inner.remove_markers(prefix)
