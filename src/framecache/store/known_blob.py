"""A chunk whose identity is recorded, read in ranges; each response must be of that identity."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from framecache.store.blob_file import BlobFile, BlobIdentity
from framecache.store.chunk_io import LocalFile, open_bucket, parse_blob
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.remote_chunk import Bucket, RemoteFile

ByteRange = tuple[int, int]
"""Half-open range of bytes."""

_FIRST_BYTES: Final = 128 * 1024
"""Bytes of a request for data that was not announced."""
_MOST_BYTES: Final = 4 * 2**20
"""Bytes of such a request after several that continue each other."""
_KEPT_BYTES: Final = 16 * 2**20
"""Bytes that a file keeps, besides those kept for all files of the blob."""
_MAX_PINNED_BYTES: Final = 16 * 2**20
_CONCURRENT_REQUESTS: Final = 4


class KnownBlob:
    """A blob by its recorded identity. Making one takes no request. Safe to share between threads.

    Bytes that every reader of the blob needs are fetched once, for all files that it opens.
    """

    def __init__(
        self, url: str, *, etag: str, size_bytes: int, options: StorageOptions = NO_OPTIONS
    ) -> None:
        """Initialize without a request.

        Args:
            url: A local path, or the URL of an object or file.
            etag: ETag recorded in the manifest.
            size_bytes: Size recorded with it.
            options: Settings for access to its store.

        Raises:
            InvalidValue: the URL cannot be used.
        """
        location = parse_blob(url)
        self._identity = BlobIdentity(location.url, etag, size_bytes)
        self._path = location.path if location.scheme == "file" else None
        self._bucket = None if self._path is not None else open_bucket(location, options)
        self._pinned: tuple[tuple[int, bytes], ...] = ()

    def open(self) -> BlobFile:
        """Open the blob for reading and seeking by one thread; an object takes no request.

        Raises:
            UnreadableChunk: there is no such file.
            StorePermissionDenied: the file cannot be read.
        """
        if self._path is not None:
            return LocalFile(self._path, self._identity, None)
        assert self._bucket is not None
        return _RangedFile(*self._bucket, self._identity, self._pinned)

    def pin(self, ranges: Sequence[ByteRange]) -> None:
        """Fetch ranges of an object, several at once, and keep them for files opened later.

        Raises:
            ChunkChanged: it is no longer the recorded blob.
            StorePermissionDenied, StoreUnavailable: the store denies access, or cannot be reached.
        """
        size_bytes = self._identity.size_bytes
        wanted = [(start, min(stop, size_bytes)) for start, stop in ranges if start < size_bytes]
        if self._bucket is None or self._pinned or not wanted:
            return
        if sum(stop - start for start, stop in wanted) > _MAX_PINNED_BYTES:
            return
        file = _RangedFile(*self._bucket, self._identity, ())
        if len(wanted) == 1:
            data = [file.fetch(*wanted[0])]
        else:
            with ThreadPoolExecutor(min(len(wanted), _CONCURRENT_REQUESTS)) as pool:
                data = [*pool.map(lambda one: file.fetch(*one), wanted)]
        self._pinned = tuple((start, one) for (start, _), one in zip(wanted, data, strict=True))


class _RangedFile(RemoteFile):
    """An object of which announced ranges are fetched with one request each."""

    def __init__(
        self,
        store: Bucket,
        key: str,
        identity: BlobIdentity,
        pinned: tuple[tuple[int, bytes], ...],
    ) -> None:
        super().__init__(store, key, identity, None)
        self._pinned = pinned
        self._spans: OrderedDict[int, bytes] = OrderedDict()
        """Fetched bytes by their start, from least to most recently used."""
        self._expected: Sequence[ByteRange] = ()
        self._next_start = -1
        self._next_bytes = _FIRST_BYTES

    def expect(self, ranges: Sequence[ByteRange] | None, /, *, keep: bool = False) -> None:  # noqa: ARG002 -- for all chunks
        """Announce ranges; what follows the position of a read in one of them comes with it."""
        self._expected = ranges or ()

    def fetch(self, start: int, stop: int) -> bytes:
        """Return a range of the object, which must be the recorded one."""
        return self._fetch(start, stop, keep=False)

    def close(self) -> None:
        super().close()
        self._spans.clear()

    def _read_at(self, start: int, wanted: int) -> memoryview:
        for begin, data in self._pinned:
            if begin <= start < begin + len(data):
                return memoryview(data)[start - begin :][:wanted]
        for begin, data in reversed(self._spans.items()):
            if begin <= start < begin + len(data):
                self._spans.move_to_end(begin)
                return memoryview(data)[start - begin :][:wanted]
        stop = self._stop_of_request(start)
        data = self.fetch(start, stop)
        self._spans[start] = data
        while len(self._spans) > 1 and sum(map(len, self._spans.values())) > _KEPT_BYTES:
            self._spans.popitem(last=False)
        return memoryview(data)[:wanted]

    def _stop_of_request(self, start: int) -> int:
        # A demuxer may begin with data of another stream shortly before the announced range.
        stop = next(
            (end for begin, end in self._expected if begin - _FIRST_BYTES < start < end), None
        )
        if stop is None:
            is_sequential = start == self._next_start
            self._next_bytes = (
                min(2 * self._next_bytes, _MOST_BYTES) if is_sequential else (_FIRST_BYTES)
            )
            stop = start + self._next_bytes
        stop = min(stop, self.size_bytes)
        begins = [begin for begin, _ in self._pinned if begin > start]
        self._next_start = min([stop, *begins])
        return self._next_start
