"""Bytes of chunks that were fetched once and may be read again, in a bounded temporary file."""

import os
import shutil
import tempfile
import weakref
from bisect import bisect_right, insort
from collections.abc import Iterator
from threading import Lock
from typing import Final

_PAGE_BYTES: Final = 64 * 1024
_MAX_BYTES: Final = 8 * 2**30
_MAX_SHARE_OF_DISK: Final = 1 / 4
"""Share of the free space of the disk that the file may take."""


class FetchedBytes:
    """Bytes of several blobs, which one call fetches to plan them and reads again to decode them.

    The file is in the folder for temporary files (``TMPDIR``), has no name, and goes when this
    object does. If it would exceed 8 GiB or a quarter of the free space, or cannot be written,
    nothing more is kept, and the bytes are fetched again.
    """

    def __init__(self) -> None:
        """Keep nothing yet; the file is made when there is something to keep."""
        self._lock = Lock()
        self._descriptor: int | None = None
        self._free_pages: list[int] = []
        self._page_count = 0
        self._max_pages: int | None = None
        self._blobs: dict[tuple[str, str], BlobBytes] = {}

    def of_blob(self, url: str, etag: str) -> "BlobBytes":
        """Return what is kept of a version of a blob."""
        with self._lock:
            return self._blobs.setdefault((url, etag), BlobBytes(self))

    def release(self, url: str, etag: str) -> None:
        """Drop what is kept of a version of a blob."""
        with self._lock:
            dropped = self._blobs.pop((url, etag), None)
        # A thread that keeps bytes of the blob holds the blob's lock, and may wait for this one.
        pages = [] if dropped is None else dropped.close()
        with self._lock:
            self._free_pages += pages

    def write_page(self, data: bytes | memoryview) -> int | None:
        """Store at most one page and return its number; None if it cannot be kept."""
        with self._lock:
            page = self._allocate()
        if page is None:
            return None
        assert self._descriptor is not None
        try:
            is_written = os.pwrite(self._descriptor, data, page * _PAGE_BYTES) == len(data)
        except OSError:
            is_written = False
        if not is_written:
            self._max_pages = 0  # the disk is full
            return None
        return page

    def read_page(self, page: int, offset: int, length: int) -> bytes:
        """Return bytes of a page; fewer if the disk fails."""
        assert self._descriptor is not None
        try:
            return os.pread(self._descriptor, length, page * _PAGE_BYTES + offset)
        except OSError:
            return b""

    def _allocate(self) -> int | None:
        if self._max_pages is None:
            self._max_pages = self._open_file()
        if self._max_pages and self._free_pages:
            return self._free_pages.pop()
        if self._page_count >= self._max_pages:
            return None
        self._page_count += 1
        return self._page_count - 1

    def _open_file(self) -> int:
        """Create the file and return the maximum number of its pages."""
        try:
            free = shutil.disk_usage(tempfile.gettempdir()).free
            with tempfile.TemporaryFile(prefix="framecache-") as file:
                self._descriptor = os.dup(file.fileno())
        except OSError:
            return 0
        weakref.finalize(self, os.close, self._descriptor)
        return int(min(_MAX_BYTES, free * _MAX_SHARE_OF_DISK)) // _PAGE_BYTES


class BlobBytes:
    """Kept bytes of one version of a blob; usable by several threads."""

    def __init__(self, parent: FetchedBytes) -> None:
        """Keep nothing yet."""
        self._parent = parent
        self._lock = Lock()
        self._parts: list[tuple[int, int, int]] = []
        """Begin, end and page of each part, ascending and disjoint."""
        self._is_closed = False

    def read(self, begin: int, size: int) -> bytes:
        """Return at most ``size`` bytes from an offset; none if its byte is not kept."""
        parts, position = list[bytes](), begin
        with self._lock:
            while position < begin + size and (part := self._part_at(position)) is not None:
                start, stop, page = part
                length = min(stop, begin + size) - position
                data = self._parent.read_page(page, position - start, length)
                parts.append(data)
                position += len(data)
                if len(data) < length:
                    break
        return b"".join(parts)

    def add(self, begin: int, data: bytes) -> None:
        """Keep bytes at an offset as far as there is space."""
        view = memoryview(data)
        with self._lock:
            if self._is_closed:
                return
            for start, stop in list(self._gaps(begin, begin + len(data))):
                for position in range(start, stop, _PAGE_BYTES):
                    end = min(position + _PAGE_BYTES, stop)
                    page = self._parent.write_page(view[position - begin : end - begin])
                    if page is None:
                        return
                    insort(self._parts, (position, end, page))

    def gaps(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of a range that are not kept."""
        with self._lock:
            return list(self._gaps(begin, end))

    def close(self) -> list[int]:
        """Drop everything, keep nothing from now on, and return the pages that held it."""
        with self._lock:
            self._is_closed = True
            pages = [page for _, _, page in self._parts]
            self._parts.clear()
        return pages

    def _gaps(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        number = max(bisect_right(self._parts, (begin, end, 0)) - 1, 0)
        while number < len(self._parts):
            start, stop, _ = self._parts[number]
            if start >= end:
                break
            if start > begin:
                yield begin, start
            begin = max(begin, stop)
            number += 1
        if begin < end:
            yield begin, end

    def _part_at(self, position: int) -> tuple[int, int, int] | None:
        number = bisect_right(self._parts, position, key=lambda part: part[0]) - 1
        if number < 0 or self._parts[number][1] <= position:
            return None
        return self._parts[number]
