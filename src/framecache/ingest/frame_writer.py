"""Encoding and storing frames on threads, in bounded memory.

Two pools, because they wait for different things: encoders for a core, uploaders for the
store. Decoded pictures are many times larger than JPEGs, so each kind has its own bound.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore
from types import TracebackType
from typing import Final, Self

from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame

_UPLOADERS: Final = 16
_MOST_UPLOADS: Final = 2 * _UPLOADERS
_PICTURES_A_WORKER: Final = 3


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
    """

    def __init__(self, store_frame: Callable[[Slot, EncodedFrame], None], *, workers: int) -> None:
        self._store_frame = store_frame
        self._encoders = ThreadPoolExecutor(workers, thread_name_prefix="framecache-encode")
        self._uploaders = ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="framecache-put")
        self._pictures = Semaphore(_PICTURES_A_WORKER * workers)
        self._uploads = Semaphore(_MOST_UPLOADS)
        self._failure: BaseException | None = None

    def submit(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> "Future[FrameRow]":
        """Have a frame encoded and stored; blocks while too many are under way.

        The future is done once the store has acknowledged the frame. Raises what made an earlier
        frame fail.
        """
        self._pictures.acquire()
        if self._failure is not None:
            self._pictures.release()
            raise self._failure
        stored: Future[FrameRow] = Future()
        self._encoders.submit(self._encode, slot, encode, stored)
        return stored

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
        self._encoders.shutdown(wait=True, cancel_futures=error is not None)
        self._uploaders.shutdown(wait=True)

    def _encode(
        self, slot: Slot, encode: Callable[[], EncodedFrame], stored: "Future[FrameRow]"
    ) -> None:
        try:
            encoded = encode()
        except BaseException as error:  # noqa: BLE001 -- it is raised where the future is read
            self._fail(stored, error)
            return
        finally:
            self._pictures.release()
        self._uploads.acquire()
        self._uploaders.submit(self._upload, slot, encoded, stored)

    def _upload(self, slot: Slot, encoded: EncodedFrame, stored: "Future[FrameRow]") -> None:
        try:
            self._store_frame(slot, encoded)
            stored.set_result(_row(slot, encoded))
        except BaseException as error:  # noqa: BLE001 -- it is raised where the future is read
            self._fail(stored, error)
        finally:
            self._uploads.release()

    def _fail(self, stored: "Future[FrameRow]", error: BaseException) -> None:
        self.stop(error)
        stored.set_exception(error)


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
