"""Encoding of frames on threads, in bounded memory."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from types import TracebackType
from typing import Final, Self, TypeVar

from framecache._layouts.encoded_frame import EncodedJpeg

_QUEUED_PICTURES: Final = 24
_MAX_PICTURE_BYTES: Final = 512 * 2**20
"""Limit on the bytes of decoded pictures that wait for an encoder or are being encoded."""

Result = TypeVar("Result")


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
