"""Base of chunks as file objects: position, errors, and the identity of the content."""

import io
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framecache.errors import ChunkChanged, FrameCacheError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class BlobIdentity:
    """Identity of the content at a URL."""

    url: str
    """Normalized URL; a local path is an absolute ``file://`` URL, percent-encoded."""
    etag: str
    """Changes when the content changes. For a local file: its modification time and size."""
    size_bytes: int


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

    def expect(self, ranges: Sequence[tuple[int, int]] | None, /, *, keep: bool = False) -> None:
        """Announce what will be read next, so that it is fetched ahead, and little else.

        Args:
            ranges: half-open ranges of bytes, ascending and disjoint; None: the rest of the file,
                in order, which is how a file is read until the first call.
            keep: keep them, to be read again by a file that is opened with the same
                ``FetchedBytes``.
        """

    def _closed_error(self) -> ValueError:
        return ValueError(f"{self.url} is closed")

    @abstractmethod
    def _read_at(self, start: int, wanted: int) -> bytes | memoryview:
        """Return 1 to ``wanted`` bytes from ``start``; the range lies within the file."""


def changed_during_read(url: str) -> ChunkChanged:
    """Return the error for a blob that is no longer the one that was opened."""
    return changed(url, "it was replaced, changed or removed while it was read")


def changed(url: str, how: str) -> ChunkChanged:
    """Return the error for a blob that is not the expected one."""
    return ChunkChanged(
        f"{url} is not the video that was extracted: {how}. Restore it, or rebuild the timeline"
    )
