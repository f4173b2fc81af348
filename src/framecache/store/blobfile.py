"""Chunks as files: FFmpeg reads them through these, and is never given a URL."""

import io
import os
import stat
from abc import abstractmethod
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from framecache.errors import (
    BadChunk,
    ChunkChanged,
    FrameCacheError,
    InvalidValue,
    StoreDenied,
    StoreUnavailable,
)
from framecache.store.base import BlobMissing
from framecache.store.objects import RemoteStore
from framecache.store.urls import Location, parse

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_SIZE_BYTES: Final = 4 << 20
# Enough for a demuxer that alternates between two places, each with its next block.
_BLOCKS_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class BlobIdentity:
    """Which content a URL led to."""

    url: str
    """Normalised: a local path is an absolute ``file://`` URL, percent-encoded."""
    etag: str
    """Changes when the content does. Of a local file: its time of modification and size."""
    size_bytes: int


def identify_blob(url: str) -> BlobIdentity:
    """Find out which content a URL leads to, with one request.

    Raises:
        BadChunk: there is no such object or file.
        InvalidValue: the URL cannot be used.
        StoreDenied, StoreUnavailable: the store refuses, or cannot be reached.
    """
    location = _parse_blob(url)
    if location.scheme == "file":
        return _identify_file(location)
    store, key = _bucket_of(location)
    return _identify_object(store, key, location)


def normalised_url(url: str) -> str:
    """The URL as it is stored and compared, without a request: of a blob, or of a folder of them.

    Raises:
        InvalidValue: the URL cannot be used.
    """
    return parse(url).url


def open_blob_file(
    url: str, *, expected_etag: str | None = None, expected_size: int | None = None
) -> "BlobFile":
    """Open a local file, or an object of any store, to be read and sought in by one thread.

    Args:
        url: A local path, or the URL of an object or file.
        expected_etag: The ETag it had when it was described, if it was.
        expected_size: The size in bytes it had then.

    Raises:
        BadChunk: there is no such object or file.
        ChunkChanged: its ETag or size is not the one expected.
        InvalidValue: the URL cannot be used.
        StoreDenied, StoreUnavailable: the store refuses, or cannot be reached.
    """
    location = _parse_blob(url)
    if location.scheme == "file":
        identity = _identify_file(location)
        _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
        return _LocalFile(location.path, identity)
    store, key = _bucket_of(location)
    identity = _identify_object(store, key, location)
    _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
    return _RemoteFile(store, key, identity)


class BlobFile(io.RawIOBase):
    """A chunk that is open for reading, as long as it stays the chunk that was opened.

    The first read that fails raises its error, and keeps it in ``error``. After that the file is
    at its end wherever it is read: FFmpeg asks again after an error, and PyAV, which raises the
    first one, prints the traceback of every further one.
    """

    def __init__(self, identity: BlobIdentity) -> None:
        """Stand at the beginning of a blob."""
        super().__init__()
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
        """Size when it was opened."""
        return self.identity.size_bytes

    @property
    def name(self) -> str:
        """The URL, under the name that files have."""
        return self.identity.url

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read starts, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a byte, possibly past the end; return where that is.

        Raises:
            ValueError: it is before the first byte, or ``whence`` is none of the three.
        """
        self._check_open()
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}
        target = origins.get(whence, -1) + offset
        if whence not in origins or target < 0:
            raise ValueError(f"cannot seek by {offset} from {whence}")
        self._position = target
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill a buffer from where the file stands; fewer bytes mean a boundary, 0 the end.

        Raises:
            ChunkChanged: it is no longer the blob that was opened.
            StoreDenied, StoreUnavailable: the store refuses, or cannot be reached.
        """
        self._check_open()
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.size_bytes - self._position)
        if wanted <= 0 or self.error is not None:
            return 0
        try:
            data = self._read_at(self._position, wanted)
        except FrameCacheError as error:
            self.error = error
            raise
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.url} is closed")

    @abstractmethod
    def _read_at(self, start: int, wanted: int) -> bytes | memoryview:
        """From 1 to ``wanted`` bytes that begin at ``start``; all of these exist."""


class _LocalFile(BlobFile):
    """A local file. Its identity is compared after each read: one system call."""

    def __init__(self, path: str, identity: BlobIdentity) -> None:
        super().__init__(identity)
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
        self._check_open()
        assert self._descriptor is not None
        return self._descriptor

    def _read_at(self, start: int, wanted: int) -> bytes:
        descriptor = self.fileno()
        try:
            data = os.pread(descriptor, wanted, start)
            etag = _file_etag(os.fstat(descriptor))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.url} cannot be read on: {error.strerror}. Check its disk"
            ) from error
        if etag != self.etag or not data:
            raise _changed_under_way(self.url)
        return data


class _RemoteFile(BlobFile):
    """An object, read in blocks; a thread fetches the next one once they are read in order."""

    def __init__(self, store: RemoteStore, key: str, identity: BlobIdentity) -> None:
        super().__init__(identity)
        self._store = store
        self._key = key
        # Only the reading thread touches it. Most recently used last.
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._last_block = -1
        self._ahead: ThreadPoolExecutor | None = None

    def close(self) -> None:
        if not self.closed and self._ahead is not None:
            self._ahead.shutdown(cancel_futures=True)
            self._blocks.clear()
        super().close()

    def _read_at(self, start: int, wanted: int) -> memoryview:
        number, offset = divmod(start, _BLOCK_SIZE_BYTES)
        if number == self._last_block + 1 and number > 0:
            self._read_ahead(number + 1)
        self._last_block = number
        return memoryview(self._block(number))[offset : offset + wanted]

    def _block(self, number: int) -> bytes:
        fetched = self._blocks.pop(number, None)
        if fetched is None:
            fetched = Future()
            fetched.set_result(self._fetch(number))
        data = fetched.result()
        self._keep(number, fetched)
        return data

    def _read_ahead(self, number: int) -> None:
        if number in self._blocks or number * _BLOCK_SIZE_BYTES >= self.size_bytes:
            return
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="framecache-read-ahead")
        self._keep(number, self._ahead.submit(self._fetch, number))

    def _keep(self, number: int, block: Future[bytes]) -> None:
        self._blocks[number] = block
        while len(self._blocks) > _BLOCKS_KEPT:
            _, dropped = self._blocks.popitem(last=False)
            dropped.cancel()

    def _fetch(self, number: int) -> bytes:
        start = number * _BLOCK_SIZE_BYTES
        length = min(_BLOCK_SIZE_BYTES, self.size_bytes - start)
        try:
            block = self._store.get_block(self._key, start=start, length=length)
        except BlobMissing as error:
            raise _changed_under_way(self.url) from error
        if (block.etag, block.size_bytes) != (self.etag, self.size_bytes):
            raise _changed_under_way(self.url)
        if len(block.data) != length:
            raise StoreUnavailable(
                f"{self.url}: {len(block.data)} bytes came where {length} were asked for. Try again"
            )
        return block.data


def _parse_blob(url: str) -> Location:
    """Where a blob lies. The slash at the end of a prefix would be part of a key."""
    location = parse(url)
    if location.scheme != "file" and location.path and url.endswith("/"):
        raise InvalidValue(f"{url} ends in a slash, as a folder does. Name an object in it")
    return location


def _bucket_of(location: Location) -> tuple[RemoteStore, str]:
    """The whole bucket as a store, and the key in it: no key of an object is a store's prefix."""
    if not location.path:
        raise BadChunk(f"{location.url} is a bucket. Name an object in it")
    return RemoteStore(Location(location.scheme, location.bucket, "")), location.path


def _identify_object(store: RemoteStore, key: str, location: Location) -> BlobIdentity:
    try:
        found = store.identify(key)
    except BlobMissing as error:
        raise BadChunk(f"{location.url}: no such object. Check the address") from error
    return BlobIdentity(location.url, etag=found.etag, size_bytes=found.size_bytes)


def _identify_file(location: Location) -> BlobIdentity:
    try:
        found = os.stat(location.path)  # noqa: PTH116 - its path is a string
    except OSError as error:
        raise _unreadable(location.path, error) from error
    # Opening a pipe would wait for its writer.
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
        raise BadChunk(f"{location.path}: this is {what}, not a file. Name a video file")
    return BlobIdentity(location.url, etag=_file_etag(found), size_bytes=found.st_size)


def _file_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _unreadable(path: str, error: OSError) -> FrameCacheError:
    if isinstance(error, PermissionError):
        return StoreDenied(f"{path}: permission to read it is denied. Change that, or its owner")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return BadChunk(f"{path}: no such file. Check the path")
    return BadChunk(f"{path} cannot be opened: {error.strerror}. Check the path")


def _check_expected(identity: BlobIdentity, *, etag: str | None, size_bytes: int | None) -> None:
    met = f"ETag {identity.etag}, {identity.size_bytes} bytes"
    if etag is not None and etag != identity.etag:
        raise _changed(identity.url, f"its ETag is not {etag}: {met}")
    if size_bytes is not None and size_bytes != identity.size_bytes:
        raise _changed(identity.url, f"its size is not {size_bytes} bytes: {met}")


def _changed_under_way(url: str) -> ChunkChanged:
    return _changed(url, "it was replaced, altered or removed while it was read")


def _changed(url: str, how: str) -> ChunkChanged:
    return ChunkChanged(
        f"{url} is not the video that was described: {how}. Put it back, or rebuild the timeline"
    )
