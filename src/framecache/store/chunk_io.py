"""Chunks as file objects, through which FFmpeg reads them. FFmpeg is never given a URL."""

import os
import stat
from collections.abc import Callable

from framecache.errors import (
    FrameCacheError,
    InvalidValue,
    StorePermissionDenied,
    StoreUnavailable,
    UnreadableChunk,
)
from framecache.store.base import BlobMissing
from framecache.store.blob_file import BlobFile, BlobIdentity, changed, changed_during_read
from framecache.store.buckets import BucketStore
from framecache.store.fetched_bytes import FetchedBytes
from framecache.store.memory import MemoryStore
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.remote_chunk import Bucket, RemoteFile
from framecache.store.urls import Location, parse


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
    location = parse_blob(url)
    if location.scheme == "file":
        return _identify_file(location)
    store, key = open_bucket(location, options)
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
    fetched: FetchedBytes | None = None,
) -> BlobFile:
    """Open a local file, or an object in any store, for reading and seeking by one thread.

    Args:
        url: A local path, or the URL of an object or file.
        expected_etag: ETag recorded in the manifest, if any.
        expected_size: Size in bytes recorded with it.
        options: Settings for access to its store.
        before_read: Called before each read; a `FrameCacheError` that it raises ends the reading.
        fetched: Bytes of objects that were fetched before, and that are kept now.

    Raises:
        UnreadableChunk: there is no such object or file.
        ChunkChanged: its ETag or size is not the expected one.
        InvalidValue: the URL cannot be used.
        StorePermissionDenied, StoreUnavailable: the store denies access, or cannot be reached.
    """
    location = parse_blob(url)
    if location.scheme == "file":
        identity = _identify_file(location)
        _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
        return LocalFile(location.path, identity, before_read)
    store, key = open_bucket(location, options)
    identity = _identify_object(store, key, location)
    _check_expected(identity, etag=expected_etag, size_bytes=expected_size)
    kept = fetched.of_blob(identity.url, identity.etag) if fetched is not None else None
    return RemoteFile(store, key, identity, before_read, kept)


class LocalFile(BlobFile):
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
        """Close the descriptor."""
        if not self.closed and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def fileno(self) -> int:
        """Return the descriptor."""
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
            raise changed_during_read(self.url)
        return data


def parse_blob(url: str) -> Location:
    """Return a blob's location. A URL with a slash at its end is rejected: it names a folder."""
    location = parse(url)
    if location.scheme != "file" and location.path and url.endswith("/"):
        raise InvalidValue(f"{url} ends in a slash, like a folder. Give the URL of an object in it")
    return location


def open_bucket(location: Location, options: StorageOptions) -> tuple[Bucket, str]:
    """Return the whole bucket as a store, and the object's key in it.

    The store has no prefix, because an object's key cannot serve as one.
    """
    if not location.path:
        raise UnreadableChunk(f"{location.url} is a bucket. Give the URL of an object in it")
    bucket = Location(location.scheme, location.bucket, "")
    if location.scheme == "memory":
        return MemoryStore(bucket), location.path
    return BucketStore(bucket, options.only_for_location(location)), location.path


def _identify_object(store: Bucket, key: str, location: Location) -> BlobIdentity:
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
        raise changed(identity.url, f"its ETag is not {etag}: {met}")
    if size_bytes is not None and size_bytes != identity.size_bytes:
        raise changed(identity.url, f"its size is not {size_bytes} bytes: {met}")
