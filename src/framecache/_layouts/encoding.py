"""Frames on their way into the store: position, JPEG and index row; encoded on threads."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore
from typing import Final, Self, TypeVar

import google_crc32c

from framecache._index import FrameRow, Rendition
from framecache.model import RenditionOrigin

_QUEUED_PICTURES: Final = 24
_MAX_PICTURE_BYTES: Final = 512 * 2**20
"""Limit on the bytes of decoded pictures that wait for an encoder or are being encoded."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FramePosition:
    """Position of a frame on its timeline, known before the picture is decoded."""

    sequence: int
    chunk_id: int
    pts: int
    timestamp: float
    duration: float


def frame_position(row: FrameRow) -> FramePosition:
    """Return the position of an indexed frame on its timeline."""
    return FramePosition(row.sequence, row.chunk_id, row.pts, row.timestamp, row.duration)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRendition:
    """JPEG of a rendition, and its values in the index."""

    max_side: int
    data: bytes
    crc32c: int
    origin: RenditionOrigin

    def located(self, *, key: str, offset: int) -> Rendition:
        """Return the rendition as the index names it at byte ``offset`` of the blob ``key``."""
        return Rendition(self.max_side, key, offset, len(self.data), self.crc32c, self.origin)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedJpeg:
    """JPEG of a frame, and its values in the index."""

    data: bytes
    width: int
    height: int
    crc32c: int
    perceptual_hash: str
    renditions: tuple[EncodedRendition, ...] = ()
    """Smaller copies to be stored with it, largest first."""

    def rendition(self, max_side: int) -> EncodedRendition | None:
        """Return the rendition of a size; None if the frame has none."""
        return next((one for one in self.renditions if one.max_side == max_side), None)

    def is_same_jpeg(self, data: bytes) -> bool:
        """Return whether `data` is this JPEG, by its CRC-32C."""
        crc32c: int = google_crc32c.value(data)
        return crc32c == self.crc32c


def identity(encoded: EncodedJpeg) -> EncodedJpeg:
    """Return the encoded frame unchanged, where a function is required."""
    return encoded


def build_row(
    frame_position: FramePosition,
    encoded: EncodedJpeg,
    *,
    key: str,
    offset: int,
    renditions: tuple[Rendition, ...] = (),
) -> FrameRow:
    """Return the index row of a frame whose JPEG starts at byte ``offset`` of the blob ``key``."""
    return FrameRow(
        sequence=frame_position.sequence,
        chunk_id=frame_position.chunk_id,
        pts=frame_position.pts,
        timestamp=frame_position.timestamp,
        duration=frame_position.duration,
        width=encoded.width,
        height=encoded.height,
        key=key,
        offset=offset,
        size=len(encoded.data),
        crc32c=encoded.crc32c,
        perceptual_hash=encoded.perceptual_hash,
        status="ok",
        renditions=renditions,
    )


class EncoderPool:
    """Pool of threads that encode frames; a context manager that waits for submitted frames.

    The thread that encodes a frame may also upload it. The pool then has more threads, because they
    wait for the network; the number of decoded pictures, which are many times larger than JPEGs,
    stays small. The first failure of any frame stops the pool.
    """

    def __init__(self, *, workers: int, upload_threads: int, picture_bytes: int = 0) -> None:
        """Start the pool without encoding anything.

        Args:
            workers: number of threads that encode.
            upload_threads: number of further threads, for uploads.
            picture_bytes: size of the largest picture to come; 0 if unknown.
        """
        self._pool = ThreadPoolExecutor(
            workers + upload_threads, thread_name_prefix="framecache-write"
        )
        most = 2 * workers + _QUEUED_PICTURES
        if picture_bytes:
            most = max(2, min(most, _MAX_PICTURE_BYTES // picture_bytes))
        self._pictures = Semaphore(most)
        self._failure: BaseException | None = None

    def submit(
        self, encode: Callable[[], EncodedJpeg], on_encoded: Callable[[EncodedJpeg], Result]
    ) -> "Future[Result]":
        """Encode a frame, then call ``on_encoded`` with it on the same thread.

        Blocks while too many pictures wait for an encoder. Raises the error of an earlier frame.
        """
        self._pictures.acquire()
        if self._failure is not None:
            self._pictures.release()
            raise self._failure
        return self._pool.submit(self._run, encode, on_encoded)

    def stop(self, failure: BaseException) -> None:
        """Make every later :meth:`submit` raise ``failure``."""
        self._failure = self._failure or failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)

    def _run(
        self, encode: Callable[[], EncodedJpeg], on_encoded: Callable[[EncodedJpeg], Result]
    ) -> Result:
        try:
            try:
                encoded = encode()
            finally:
                self._pictures.release()
            return on_encoded(encoded)
        except BaseException as error:
            self.stop(error)
            raise
