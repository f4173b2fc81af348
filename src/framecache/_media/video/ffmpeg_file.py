"""File object through which FFmpeg reads a video, and the limit on its computing time."""

import os
import time

from framecache._media.video import limits
from framecache._media.video.error_boundary import VideoFile
from framecache.errors import UnreadableChunk


class DecodeTimer:
    """CPU time of this thread. Time spent waiting for a store or other programs is not counted."""

    def __init__(self, name: str) -> None:
        """Start the stopwatch; error messages call the video ``name``."""
        self._name = name
        self._started_at = time.thread_time()

    def check(self) -> None:
        """Raise UnreadableChunk if more time has passed than is allowed for one packet."""
        if time.thread_time() - self._started_at > limits.MAX_STALL_SECONDS:
            raise UnreadableChunk(
                f"{self._name} keeps the decoder busy for more than {limits.MAX_STALL_SECONDS} s "
                f"with one picture, so it is damaged or hostile: give another video"
            )


class FFmpegFile:
    """File object for FFmpeg that keeps an error and shows FFmpeg the end of the file instead.

    It also shows the end if FFmpeg computes for too long to find one packet. ``check`` raises the
    kept error.
    """

    def __init__(self, file: VideoFile, name: str) -> None:
        """Go to the start of ``file``; error messages call it ``name``."""
        self._file = file
        self._name = name
        self._timer = DecodeTimer(name)
        self._error: BaseException | None = None
        self.size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the file or after an error."""
        if self._error is not None:
            return b""
        try:
            self._timer.check()
            return bytes(self._file.read(size) or b"")
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte offset and return the new position; -1 after an error."""
        if self._error is not None:
            return -1
        try:
            self._timer.check()
            if whence == os.SEEK_END:
                return self._file.seek(max(self.size_bytes + offset, 0))
            return self._file.seek(offset, whence)
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._error = error
            return -1

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._file.tell()

    def restart_timer(self) -> None:
        """Restart the time limit, for the next packet."""
        self._timer = DecodeTimer(self._name)

    def check(self) -> None:
        """Raise the error that was kept, if any."""
        if self._error is not None:
            raise self._error
