"""Encoding frames on threads, in bounded memory."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from types import TracebackType
from typing import Final, Self, TypeVar

from framecache.ingest.encode import EncodedFrame
from framecache.model import Layout
from framecache.store import Store, is_remote

_UPLOADS_AT_ONCE: Final = 16
_PICTURES_WAITING: Final = 24
_PICTURE_BYTES: Final = 512 * 2**20
"""Of decoded pictures that wait for an encoder, or are being encoded."""

Result = TypeVar("Result")


class EncoderPool:
    """Threads that encode frames; a context manager that waits for what was submitted.

    Where each frame is a blob of its own, the thread that encoded it stores it, too. Where storing
    waits for a network there are more threads than ``workers`` then; decoded pictures, many times
    larger than JPEGs, stay few. The first failure of any frame stops everything.
    """

    def __init__(
        self, store: Store, layout: Layout, *, workers: int, picture_bytes: int = 0
    ) -> None:
        """Begin; nothing is encoded yet.

        Args:
            store: where frames go, layout ``objects``.
            layout: of the timeline.
            workers: threads that encode.
            picture_bytes: of the largest picture to come; 0: unknown.
        """
        waits = layout == "objects" and is_remote(store)
        threads = workers + (_UPLOADS_AT_ONCE if waits else 0)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="framecache-write")
        most = 2 * workers + _PICTURES_WAITING
        if picture_bytes:
            most = max(2, min(most, _PICTURE_BYTES // picture_bytes))
        self._pictures = Semaphore(most)
        self._failure: BaseException | None = None

    def submit(
        self, encode: Callable[[], EncodedFrame], then: Callable[[EncodedFrame], Result]
    ) -> "Future[Result]":
        """Have a frame encoded, and what becomes of it done on the same thread.

        Blocks while too many pictures wait for an encoder. Raises what made an earlier frame fail.
        """
        self._pictures.acquire()
        if self._failure is not None:
            self._pictures.release()
            raise self._failure
        return self._pool.submit(self._work, encode, then)

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

    def _work(
        self, encode: Callable[[], EncodedFrame], then: Callable[[EncodedFrame], Result]
    ) -> Result:
        try:
            try:
                encoded = encode()
            finally:
                self._pictures.release()
            return then(encoded)
        except BaseException as error:
            self.stop(error)
            raise
