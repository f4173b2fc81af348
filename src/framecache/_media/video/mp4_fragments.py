"""Lists of the fragments of an MP4, which say where they begin. Does no I/O.

The lists only serve to fetch the fragments at once: nothing else depends on what they say.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

TAIL_BYTES: Final = 16
"""Size of the box at the end of a file that states the size of the list before it."""
_SIZE_MASK: Final = 2**31 - 1
_REFERENCE_BYTES: Final = 12
_MAX_OFFSET: Final = 2**62
"""Larger offsets, which are beyond the end of any file, become this one."""


def parse_segment_index(data: bytes, end: int) -> npt.NDArray[np.int64]:
    """Return the offsets of the segments in a ``sidx`` box (ISO/IEC 14496-12, 8.16.3).

    Args:
        data: the content of the box.
        end: the offset of its end in the file.
    """
    head, first = (24, data[16:20]) if data[:1] == b"\0" else (32, data[20:28])
    count = min(int.from_bytes(data[head - 2 : head]), max(len(data) - head, 0) // _REFERENCE_BYTES)
    rows = np.frombuffer(data[head : head + count * _REFERENCE_BYTES], ">u4")
    sizes = rows[::3].astype(np.int64) & _SIZE_MASK
    begins: npt.NDArray[np.int64] = np.cumsum(sizes) - sizes
    return begins + min(end + int.from_bytes(first), _MAX_OFFSET)


def parse_tail(data: bytes) -> int:
    """Return the size of the ``mfra`` box at the end of a file; 0 if there is none (8.8.11)."""
    return int.from_bytes(data[12:16]) if data[4:8] == b"mfro" else 0


def parse_random_access(data: bytes) -> npt.NDArray[np.int64]:
    """Return the offsets of the fragments that an ``mfra`` box lists (8.8.10), ascending."""
    found, begin = list[npt.NDArray[np.int64]](), 8
    while len(data) - begin >= 24:  # noqa: PLR2004 -- bytes of a list without entries
        size = int.from_bytes(data[begin : begin + 4])
        if data[begin + 4 : begin + 8] == b"tfra":
            found.append(_parse_track(data[begin + 8 : begin + size]))
        if size < 8:  # noqa: PLR2004 -- bytes of a size and a kind
            break
        begin += size
    return np.unique(np.concatenate(found)) if found else np.array([], np.int64)


def _parse_track(data: bytes) -> npt.NDArray[np.int64]:
    """Return the offsets in the content of a ``tfra`` box."""
    width = 8 if data[:1] == b"\1" else 4
    lengths = int.from_bytes(data[8:12])
    numbers = sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0))
    size = 2 * width + numbers
    count = min(int.from_bytes(data[12:16]), max(len(data) - 16, 0) // size)
    rows = np.frombuffer(data[16 : 16 + count * size], np.uint8).reshape(count, size)
    offsets = np.ascontiguousarray(rows[:, width : 2 * width]).view(f">u{width}").ravel()
    return offsets.astype(np.int64)
