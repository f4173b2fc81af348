"""View of a video file in which unneeded media data reads as zeros and is not fetched."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from framecache._media.video.error_boundary import ByteRange, VideoFile

_ZEROS: Final = bytes(2**17)


_BEGINNING_BYTES: Final = 2**24
"""Bytes of media data that FFmpeg may read when it opens a file; it reads 5 MB, and a packet."""


class MaskedFile:
    """File object that reads hidden ranges as zeros.

    FFmpeg then lists the packets of an MP4, whose sizes and times are in the index, without their
    bytes. A read ends where a hidden range begins or ends, so it never reaches beyond a range that
    is needed.
    """

    def __init__(self, file: VideoFile, media: Sequence[ByteRange]) -> None:
        """Start at the first byte, with all but the beginning of the media data hidden.

        ``media`` has the ranges of the media data, ascending and disjoint.
        """
        self._file = file
        self._position = 0
        self._size_bytes = file.seek(0, os.SEEK_END)
        self.hide(_all_but_beginning(media))

    def hide(self, hidden: Sequence[ByteRange]) -> None:
        """Hide these ranges only; they are ascending and disjoint."""
        self._begins = [begin for begin, _ in hidden]
        self._ends = [end for _, end in hidden]

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the file."""
        data = self._read_hidden(size)
        if data is None:
            self._file.seek(self._position)
            data = bytes(self._file.read(self._clipped(size)) or b"")
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte offset and return it."""
        match whence:
            case os.SEEK_END:
                offset += self._size_bytes
            case os.SEEK_CUR:
                offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._position

    def _read_hidden(self, size: int) -> bytes | None:
        """Return zeros if the position is in a hidden range, else None."""
        number = bisect_right(self._begins, self._position) - 1
        if number < 0 or self._position >= self._ends[number]:
            return None
        length = min(size, self._ends[number] - self._position, len(_ZEROS))
        return _ZEROS[:length] if length < len(_ZEROS) else _ZEROS

    def _clipped(self, size: int) -> int:
        """Return the size of a read up to the next hidden range."""
        number = bisect_right(self._begins, self._position)
        if number == len(self._begins):
            return size
        return min(size, self._begins[number] - self._position)


def _all_but_beginning(media: Sequence[ByteRange]) -> list[ByteRange]:
    hidden, rest = list[ByteRange](), _BEGINNING_BYTES
    for begin, end in media:
        if end - begin > rest:
            hidden.append((begin + rest, end))
        rest = max(rest - (end - begin), 0)
    return hidden
