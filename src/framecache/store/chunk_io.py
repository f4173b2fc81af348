"""Chunks as file objects, through which FFmpeg reads them. FFmpeg is never given a URL."""

import io
import os
import stat
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from framecache.errors import (
    ChunkChanged,
    FrameCacheError,
    InvalidValue,
    StorePermissionDenied,
    StoreUnavailable,
    UnreadableChunk,
)
from framecache.store.base import BlobMissing, UnexpectedResponse
from framecache.store.buckets import BucketStore
from framecache.store.memory import MemoryStore
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.urls import Location, parse

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Bucket = BucketStore | MemoryStore

_BLOCK_SIZE_BYTES: Final = 4 << 20
_ETAG_CHECKS: Final = 3
# Enough for a demuxer that alternates between two positions, each with a block read ahead.
_MAX_CACHED_BLOCKS: Final = 4


@dataclass(frozen=True, slots=True)
class BlobIdentity:
    """Identity of the content at a URL."""

    url: str
    """Normalized URL; a local path is an absolute ``file://`` URL, percent-encoded."""
    etag: str
    """Changes when the content changes. For a local file: its modification time and size."""
    size_bytes: int


def identify_blob(url: str, *, options: StorageOptions = NO_OPTIONS) -> BlobIdentity:
    """Return the identity of the content at a URL, with one request.

    Args:
        url: A local path, or the URL of an object or file.
        options: Settings for access to its store.

    Raises:
        UnreadableChunk: there is no such object or file.
        InvalidValue: the URL cannot be used.
        StorePermissionDenied, StoreUnavailable: the store denies access, or cannot be reached.
    """
    location = _parse_blob(url)
    if location.scheme == "file":
        return _identify_file(location)
    store, key = _open_bucket(location, options)
    return _identify_object(store, key, location)


def normalized_url(url: str) -> str:
    """Return the URL of a blob or folder as it is stored and compared. Makes no request.

    Raises:
        InvalidValue: the URL cannot be used.
    """
    return parse(url).url


def open_blob_file(
    url: str,
    *,
    expected_etag: str | None = None,
    expected_size: int | None = None,
    options: StorageOptions = NO_OPTIONS,
    before_read: Callable[[], None] | None = None,
) -> "BlobFile":
    """Open a local file, or an object in any store, for reading and seeking by one thread.

    Args:
        url: A local path, or the URL of an object or file.
        expected_etag: ETag recorded in the manifest, if any.
        expected_size: Size in bytes recorded with it.
        options: Settings for access to its store.
        before_read: Called before each read; a `FrameCacheError` that it raises ends the reading.

    Raises:
        UnreadableChunk: there is no such object or file.
        ChunkChanged: its ETag or size is not the expected one.
        InvalidValue: the URL cannot be used.
        StorePermissionDenied, StoreUnavailable: the store denies access, or cannot be reached.
    """
    location = _parse_blob(url)
    if location.scheme == "file":
        identity = _identify_file(location)
        _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
        return _LocalFile(location.path, identity, before_read)
    store, key = _open_bucket(location, options)
    identity = _identify_object(store, key, location)
    _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
    return _RemoteFile(store, key, identity, before_read)


class BlobFile(io.RawIOBase):
    """A chunk open for reading. Reads fail once the chunk's content has changed.

    The first read that fails raises its error and keeps it in ``error``. All later reads return
    the end of the file: FFmpeg reads again after an error, and PyAV raises only the first error
    and prints the traceback of every further one.
    """

    def __init__(
        self, identity: BlobIdentity, before_read: Callable[[], None] | None = None
    ) -> None:
        """Start at the first byte of a blob."""
        super().__init__()
        self._before_read = before_read
        self.identity = identity
        self.error: FrameCacheError | None = None
        self._position = 0

    @property
    def url(self) -> str:
        """See `BlobIdentity.url`."""
        return self.identity.url

    @property
    def etag(self) -> str:
        """See `BlobIdentity.etag`."""
        return self.identity.etag

    @property
    def size_bytes(self) -> int:
        """Size in bytes when the file was opened."""
        return self.identity.size_bytes

    @property
    def name(self) -> str:
        """The URL, as the ``name`` attribute of file objects."""
        return self.identity.url

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position, possibly past the end, and return it.

        Raises:
            ValueError: the position is negative, or ``whence`` is not one of the three values.
        """
        if self.closed:
            raise self._closed_error()
        size_bytes = self.identity.size_bytes
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size_bytes}
        target = origins.get(whence, -1) + offset
        if whence not in origins or target < 0:
            raise ValueError(f"cannot seek by {offset} from {whence}")
        self._position = target
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read bytes at the current position into a buffer and return their number.

        Fewer bytes than fit mean that a block ended, 0 the end of the file.

        Raises:
            ChunkChanged: it is no longer the blob that was opened.
            StorePermissionDenied, StoreUnavailable: the store denies access, or cannot be reached.
            FrameCacheError: the error of ``before_read``, if the file was opened with it.
        """
        if self.closed:
            raise self._closed_error()
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.identity.size_bytes - self._position)
        if wanted <= 0 or self.error is not None:
            return 0
        try:
            if self._before_read is not None:
                self._before_read()
            data = self._read_at(self._position, wanted)
        except FrameCacheError as error:
            self.error = error
            raise
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _closed_error(self) -> ValueError:
        return ValueError(f"{self.url} is closed")

    @abstractmethod
    def _read_at(self, start: int, wanted: int) -> bytes | memoryview:
        """Return 1 to ``wanted`` bytes from ``start``; the range lies within the file."""


class _LocalFile(BlobFile):
    """A local file. Its identity is checked after each read, with one system call."""

    def __init__(
        self, path: str, identity: BlobIdentity, before_read: Callable[[], None] | None
    ) -> None:
        super().__init__(identity, before_read)
        try:
            self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._descriptor = None
            raise _unreadable(path, error) from error

    def close(self) -> None:
        if not self.closed and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def fileno(self) -> int:
        if self.closed:
            raise self._closed_error()
        assert self._descriptor is not None
        return self._descriptor

    def _read_at(self, start: int, wanted: int) -> bytes:
        descriptor = self._descriptor
        assert descriptor is not None
        try:
            data = os.pread(descriptor, wanted, start)
            etag = _file_etag(os.fstat(descriptor))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.url} cannot be read further: {error.strerror}. Check its disk"
            ) from error
        if etag != self.identity.etag or not data:
            raise _changed_during_read(self.url)
        return data


class _RemoteFile(BlobFile):
    """An object, read in blocks. While reads are sequential, a thread fetches the next block."""

    def __init__(
        self,
        store: _Bucket,
        key: str,
        identity: BlobIdentity,
        before_read: Callable[[], None] | None,
    ) -> None:
        super().__init__(identity, before_read)
        self._store = store
        self._key = key
        # Used only by the reading thread. Ordered from least to most recently used.
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._last_block = -1
        self._prefetch_pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        if not self.closed and self._prefetch_pool is not None:
            self._prefetch_pool.shutdown(cancel_futures=True)
            self._blocks.clear()
        super().close()

    def _read_at(self, start: int, wanted: int) -> memoryview:
        number, offset = divmod(start, _BLOCK_SIZE_BYTES)
        if number == self._last_block + 1 and number > 0:
            self._prefetch(number + 1)
        self._last_block = number
        return memoryview(self._block(number))[offset : offset + wanted]

    def _block(self, number: int) -> bytes:
        fetched = self._blocks.pop(number, None)
        if fetched is None:
            fetched = Future()
            fetched.set_result(self._fetch(number))
        data = fetched.result()
        self._cache_block(number, fetched)
        return data

    def _prefetch(self, number: int) -> None:
        if number in self._blocks or number * _BLOCK_SIZE_BYTES >= self.size_bytes:
            return
        if self._prefetch_pool is None:
            self._prefetch_pool = ThreadPoolExecutor(1, thread_name_prefix="framecache-read-ahead")
        self._cache_block(number, self._prefetch_pool.submit(self._fetch, number))

    def _cache_block(self, number: int, block: Future[bytes]) -> None:
        self._blocks[number] = block
        while len(self._blocks) > _MAX_CACHED_BLOCKS:
            _, dropped = self._blocks.popitem(last=False)
            dropped.cancel()

    def _fetch(self, number: int) -> bytes:
        start = number * _BLOCK_SIZE_BYTES
        return self._fetch_range(start, min(_BLOCK_SIZE_BYTES, self.size_bytes - start))

    def _fetch_range(self, start: int, length: int) -> bytes:
        try:
            block = self._store.get_block(self._key, start=start, length=length)
        except BlobMissing as error:
            raise _changed_during_read(self.url) from error
        if (block.etag, block.size_bytes) != (self.etag, self.size_bytes):
            self._require_stable_etags()
            raise _changed_during_read(self.url)
        if len(block.data) != length:
            raise StoreUnavailable(
                f"{self.url}: {self._store.display_name} returned {len(block.data)} bytes instead "
                f"of {length}. Try again"
            )
        return block.data

    def _require_stable_etags(self) -> None:
        """Raise `UnexpectedResponse` if the ETag differs at every request.

        This distinguishes a store whose ETags are unstable from an object that has changed.
        """
        with suppress(BlobMissing):
            etags = {self._store.identify(self._key).etag for _ in range(_ETAG_CHECKS)}
            if len(etags) == _ETAG_CHECKS:
                raise UnexpectedResponse(
                    f"{self.url}: {self._store.display_name} gives this object another ETag each "
                    "time, so it cannot be distinguished from one that was replaced. Copy "
                    "the video to another store"
                )


def _parse_blob(url: str) -> Location:
    """Return a blob's location. A URL with a slash at its end is rejected: it names a folder."""
    location = parse(url)
    if location.scheme != "file" and location.path and url.endswith("/"):
        raise InvalidValue(f"{url} ends in a slash, like a folder. Give the URL of an object in it")
    return location


def _open_bucket(location: Location, options: StorageOptions) -> tuple[_Bucket, str]:
    """Return the whole bucket as a store, and the object's key in it.

    The store has no prefix, because an object's key cannot serve as one.
    """
    if not location.path:
        raise UnreadableChunk(f"{location.url} is a bucket. Give the URL of an object in it")
    bucket = Location(location.scheme, location.bucket, "")
    if location.scheme == "memory":
        return MemoryStore(bucket), location.path
    return BucketStore(bucket, options.only_for_location(location)), location.path


def _identify_object(store: _Bucket, key: str, location: Location) -> BlobIdentity:
    try:
        found = store.identify(key)
    except BlobMissing as error:
        raise UnreadableChunk(
            f"{location.url}: there is no such object in {store.display_name}. Check the URL"
        ) from error
    return BlobIdentity(location.url, etag=found.etag, size_bytes=found.size_bytes)


def _identify_file(location: Location) -> BlobIdentity:
    try:
        found = os.stat(location.path)  # noqa: PTH116 - its path is a string
    except OSError as error:
        raise _unreadable(location.path, error) from error
    # Opening a pipe would wait for its writer.
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
        raise UnreadableChunk(f"{location.path}: this is {what}, not a file. Give a video file")
    return BlobIdentity(location.url, etag=_file_etag(found), size_bytes=found.st_size)


def _file_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _unreadable(path: str, error: OSError) -> FrameCacheError:
    if isinstance(error, PermissionError):
        return StorePermissionDenied(
            f"{path}: permission denied. Change its permissions or its owner"
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableChunk(f"{path}: there is no such file. Check the path")
    return UnreadableChunk(f"{path} cannot be opened: {error.strerror}. Check the path")


def _check_expected(identity: BlobIdentity, *, etag: str | None, size_bytes: int | None) -> None:
    met = f"ETag {identity.etag}, {identity.size_bytes} bytes"
    if etag is not None and etag != identity.etag:
        raise _changed(identity.url, f"its ETag is not {etag}: {met}")
    if size_bytes is not None and size_bytes != identity.size_bytes:
        raise _changed(identity.url, f"its size is not {size_bytes} bytes: {met}")


def _changed_during_read(url: str) -> ChunkChanged:
    return _changed(url, "it was replaced, changed or removed while it was read")


def _changed(url: str, how: str) -> ChunkChanged:
    return ChunkChanged(
        f"{url} is not the video that was extracted: {how}. Restore it, or rebuild the timeline"
    )
