"""Store in the memory of this process. A forked process continues with its own copy."""

import builtins
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    Block,
    check_key,
    check_listed_key,
    check_prefix,
    check_range,
)
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.urls import Location


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    etag: str
    modified_at: datetime


# No locks: each operation on a dict is atomic, and another thread could hold a lock at a fork.
_buckets: Final[dict[str, dict[str, _Blob]]] = {}
_etag_counter: Final = itertools.count(1)


class MemoryStore:
    """A named store in this process's memory, or a prefix of one."""

    def __init__(self, location: Location, options: StorageOptions = NO_OPTIONS) -> None:
        """Open the store of that name, or create it."""
        self._location = location
        self.url = location.url
        """See `Store.url`."""
        self.options = options
        """See `Store.options`."""
        self._folder = f"{location.path}/" if location.path else ""
        self._blobs = _buckets.setdefault(location.bucket, {})

    def __repr__(self) -> str:
        """Show the URL."""
        return f"<store {self.url}>"

    def __reduce__(self) -> "tuple[type[MemoryStore], tuple[Location, StorageOptions]]":
        """Pickle the location and options, not the blobs; another process has its own."""
        return type(self), (self._location, self.options)

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self.url

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        return self._find(check_key(key)).data

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        check_key(key)
        check_range(start=start, length=length)
        return self._find(key).data[start : start + length]

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self._blobs[self._folder + check_key(key)] = _new_blob(data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`. Memory is not bounded here: the whole blob is kept anyway."""
        check_key(key)
        self.put(key, b"".join(blocks))

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        blob = _new_blob(data)
        if self._blobs.setdefault(self._folder + check_key(key), blob) is not blob:
            raise BlobExists(key)

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        return self.identify(check_key(key))

    def identify(self, key: str) -> BlobInfo:
        """Return the metadata of any object, even if its key is not valid in a `Store`."""
        return _info(key, self._find(key))

    def get_block(self, key: str, *, start: int, length: int) -> Block:
        """Return the bytes ``[start, start + length)`` of any object, with its ETag and size."""
        blob = self._find(key)
        return Block(blob.data[start : start + length], blob.etag, len(blob.data))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        for key in sorted(self._keys(prefix)):
            blob = self._blobs.get(self._folder + key)
            if blob is not None:  # otherwise it was deleted during the listing
                yield _info(key, blob)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        start = len(_folder_of(prefix))
        rests = (key[start:] for key in self._keys(prefix))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        count = 0
        for key in keys:
            self._blobs.pop(self._folder + check_listed_key(key), None)
            count += 1
        return count

    def _find(self, key: str) -> _Blob:
        blob = self._blobs.get(self._folder + key)
        if blob is None:
            raise BlobMissing(key)
        return blob

    def _keys(self, prefix: str) -> builtins.list[str]:
        """Return the keys in a folder and below, relative to the store."""
        folder = self._folder + _folder_of(prefix)
        # Copying is atomic; other threads may change the dict during an iteration.
        keys = builtins.list(self._blobs)
        return [key[len(self._folder) :] for key in keys if key.startswith(folder)]


def _folder_of(prefix: str) -> str:
    folder = check_prefix(prefix)
    return f"{folder}/" if folder else ""


def _new_blob(data: bytes) -> _Blob:
    return _Blob(bytes(data), f"{next(_etag_counter):x}", datetime.now(UTC).replace(microsecond=0))


def _info(key: str, blob: _Blob) -> BlobInfo:
    return BlobInfo(key, len(blob.data), blob.etag, blob.modified_at)
