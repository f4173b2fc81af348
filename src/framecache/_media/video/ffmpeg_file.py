"""File object through which FFmpeg reads a video, and the limit on its computing time."""

import os
import time

from framecache._media.video import limits
from framecache._media.video.error_boundary import VideoFile
from framecache.errors import UnreadableChunk


class FFmpegFile:
    """File object for FFmpeg that keeps an error and shows FFmpeg the end of the file instead.

    It also shows the end if FFmpeg computes for too long to find one packet. ``check`` raises the
    kept error. A seek only records the position, because FFmpeg asks for the size of the file by
    seeking to its end and back.
    """

    def __init__(self, file: VideoFile, name: str) -> None:
        """Start at the first byte of ``file``; error messages call it ``name``."""
        self._file = file
        self._name = name
        self._position = 0
        self._is_moved = True
        """True if the position may differ from that of the file."""
        self._error: BaseException | None = None
        self.size_bytes = file.seek(0, os.SEEK_END)
        self.restart_timer()

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the file or after an error."""
        if self._error is None and time.thread_time() > self._deadline:
            self._error = stalled_error(self._name)
        if self._error is not None:
            return b""
        try:
            if self._is_moved:
                self._file.seek(self._position)
                self._is_moved = False
            data = bytes(self._file.read(size) or b"")
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._error = error
            return b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte offset and return it; -1 after an error."""
        if self._error is None and time.thread_time() > self._deadline:
            self._error = stalled_error(self._name)
        if self._error is not None:
            return -1
        match whence:
            case os.SEEK_END:
                offset += self.size_bytes
            case os.SEEK_CUR:
                offset += self._position
        self._position = max(offset, 0)
        self._is_moved = True
        return self._position

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._position

    def restart_timer(self) -> None:
        """Restart the time limit, for the next packet."""
        self._deadline = time.thread_time() + limits.MAX_STALL_SECONDS

    def check(self) -> None:
        """Raise the error that was kept, if any."""
        if self._error is not None:
            raise self._error


def stalled_error(name: str) -> UnreadableChunk:
    """Return the error for a video that takes more CPU time of a thread than a packet may.

    Time spent waiting for a store or other programs is not counted.
    """
    return UnreadableChunk(
        f"{name} keeps the decoder busy for more than {limits.MAX_STALL_SECONDS} s "
        f"with one picture, so it is damaged or hostile: give another video"
    )
