"""Search for the packets at which decoding can begin, by their bytes. Does no I/O.

A packet that a container marks as a keyframe may not be one: with intra refresh, pictures become
complete only some time after the mark. Here a packet counts if it resets the decoder: all earlier
pictures and all state derived from them are discarded. If that cannot be determined, the packet
does not count, and decoding begins earlier. That costs time but does not change the result.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._media.video.nal import NAL_CODECS, NalRandomAccessDetector, NoOutputOfPriorPics

_HEAD_BYTES: Final = 2**18
"""Number of leading bytes of a packet that are searched for the start of its first picture."""


class RandomAccessFinder:
    """Finder of the packets at which decoding can begin; it inspects all in decoding order."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        """Start with FFmpeg's name of the codec and the extradata that its decoder is given."""
        self._is_random_access = _create_detector(codec, extradata)
        self._found: list[bool] = []
        self._is_safe = True

    def inspect(self, packet: bytes, *, has_new_extradata: bool) -> None:
        """Inspect the next packet; ``has_new_extradata`` if it has new extradata as side data."""
        try:
            begins = self._is_random_access(packet)
        except IndexError:
            begins = False
        except NoOutputOfPriorPics:
            begins = False
            # At the first packet there are no earlier pictures to drop.
            self._is_safe &= not self._found
        self._is_safe &= not has_new_extradata
        self._found.append(begins)

    def is_last_random_access(self) -> bool:
        """Return True if decoding can begin at the packet that was inspected last."""
        return self._is_safe and self._found[-1]

    def mask(self) -> npt.NDArray[np.bool_]:
        """Return a mask of the packets at which decoding can begin with unchanged results."""
        return np.array(self._found, np.bool_) & self._is_safe


def _create_detector(codec: str, extradata: bytes | None) -> Callable[[bytes], bool]:
    units = NAL_CODECS.get(codec)
    if units is None or not extradata:
        return _DETECTORS.get(codec, _never)
    try:
        return NalRandomAccessDetector(units, extradata).is_random_access
    except IndexError:
        return _never


def _never(_: bytes) -> bool:
    return False


def _always(_: bytes) -> bool:
    return True


def _is_vp8_random_access(packet: bytes) -> bool:
    """Return True for a keyframe that is shown (RFC 6386, 9.1)."""
    return packet[0] & 0x11 == 0x10  # noqa: PLR2004 - show_frame, and not key_frame inverted


def _is_vp9_random_access(packet: bytes) -> bool:
    """Return True for a new KEY_FRAME that is shown (VP9 bitstream specification, 6.2)."""
    is_profile_3 = packet[0] >> 4 & 3 == 3  # noqa: PLR2004 - its header has one more bit
    return packet[0] >> (not is_profile_3) & 7 == 1


def _is_av1_random_access(packet: bytes) -> bool:
    """Return True for a sequence header followed by a new KEY_FRAME that is shown.

    See the AV1 specification, 5.3 to 5.9.
    """
    data, at, has_sequence_header = packet[:_HEAD_BYTES], 0, False
    while True:
        head = data[at]
        at += 2 if head & 4 else 1
        size_bytes = len(data)
        if head & 2:
            size_bytes, at = _read_leb128(data, at)
        match head >> 3 & 15:
            case 1:
                # After a reduced still picture header, frame headers have another format.
                has_sequence_header = not data[at] & 8
            case 3 | 6:
                return has_sequence_header and data[at] >> 4 == 1
        at += size_bytes


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """Read a LEB128 number of at most eight bytes; return it and the offset after it."""
    number = 0
    for position in range(8):
        number |= (data[at + position] & 127) << 7 * position
        if data[at + position] < 128:  # noqa: PLR2004 - the bit that announces another byte
            return number, at + position + 1
    raise IndexError


def _is_mjpeg_random_access(packet: bytes) -> bool:
    """Return True for a picture with tables of its own (ITU-T T.81, B.2).

    Other pictures use the tables of an earlier one.
    """
    data, at, segments = packet[:_HEAD_BYTES], 2, set[int]()
    while data[at] == 0xFF and data[at + 1] != _JPEG_SCAN:  # noqa: PLR2004 - any marker
        segments.add(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return {_JPEG_HUFFMAN, _JPEG_QUANTIZATION} <= segments


_JPEG_HUFFMAN: Final = 0xC4
_JPEG_SCAN: Final = 0xDA
_JPEG_QUANTIZATION: Final = 0xDB

_DETECTORS: Final[dict[str, Callable[[bytes], bool]]] = {
    "av1": _is_av1_random_access,
    "mjpeg": _is_mjpeg_random_access,
    "prores": _always,
    "vp8": _is_vp8_random_access,
    "vp9": _is_vp9_random_access,
}
"""Codecs for which each packet can be judged on its own."""
