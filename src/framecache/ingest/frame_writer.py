"""Encoding and storing frames on threads, in bounded memory."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore
from types import TracebackType
from typing import Final, Self

from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame
from framecache.store import Store, is_remote

_UPLOADS_AT_ONCE: Final = 16
_PICTURES_WAITING: Final = 24


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a frame on its timeline and in the store, known before its picture is."""

    sequence: int
    chunk_id: int
    pts: int
    timestamp: float
    duration: float
    key: str


class FrameWriter:
    """Encodes and stores frames; a context manager that waits for what was submitted.

    ``store_frame`` stores one encoded frame; it is called on several threads. The first failure
    of an encoder or of ``store_frame`` stops everything.

    A frame is encoded and stored by one thread. Where storing waits for a network there are more
    threads than ``workers``; decoded pictures, many times larger than JPEGs, stay few.
    """

    def __init__(
        self,
        store: Store,
        store_frame: Callable[[Slot, EncodedFrame], None],
        *,
        workers: int,
    ) -> None:
        self._store_frame = store_frame
        threads = workers + (_UPLOADS_AT_ONCE if is_remote(store) else 0)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="framecache-write")
        self._pictures = Semaphore(2 * workers + _PICTURES_WAITING)
        self._failure: BaseException | None = None

    def submit(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> "Future[FrameRow]":
        """Have a frame encoded and stored; blocks while too many pictures wait for an encoder.

        The future is done once the store has acknowledged the frame. Raises what made an earlier
        frame fail.
        """
        self._pictures.acquire()
        if self._failure is not None:
            self._pictures.release()
            raise self._failure
        return self._pool.submit(self._write, slot, encode)

    def stop(self, failure: BaseException) -> None:
        """Let every later :meth:`submit` raise ``failure``."""
        self._failure = self._failure or failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)

    def _write(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> FrameRow:
        try:
            try:
                encoded = encode()
            finally:
                self._pictures.release()
            self._store_frame(slot, encoded)
        except BaseException as error:
            self.stop(error)
            raise
        return _row(slot, encoded)


def _row(slot: Slot, encoded: EncodedFrame) -> FrameRow:
    return FrameRow(
        sequence=slot.sequence,
        chunk_id=slot.chunk_id,
        pts=slot.pts,
        timestamp=slot.timestamp,
        duration=slot.duration,
        width=encoded.width,
        height=encoded.height,
        key=slot.key,
        offset=0,
        size=len(encoded.data),
        crc32c=encoded.crc32c,
        perceptual_hash=encoded.perceptual_hash,
        status="ok",
    )
