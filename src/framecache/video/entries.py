"""Packets at which decoding can begin, told by their bytes. No I/O.

What a container marks as a keyframe may be none: with intra refresh, pictures are whole only some
time after the mark. Here a packet counts when the codec itself forgets, with it, all pictures
before and all it learned from them. A packet about which that cannot be told does not count:
decoding then begins earlier, which costs time and nothing else.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache.video.units import UNIT_CODECS, TakesAway, UnitReader

_HEAD_BYTES: Final = 2**18
"""Of a packet: those in which its first picture begins."""


class EntryFinder:
    """Looks at every packet of a video, in the order of decoding."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        """``codec``: FFmpeg's name of it; ``extradata``: what its decoder is opened with."""
        self._begins = _teller(codec, extradata)
        self._found: list[bool] = []
        self._is_safe = True

    def look(self, packet: bytes, *, brings_extradata: bool) -> None:
        """Take in the next packet; with some comes new extradata for the decoder."""
        try:
            begins = self._begins(packet)
        except IndexError:
            begins = False
        except TakesAway:
            begins = False
            # Before the first packet there is nothing.
            self._is_safe &= not self._found
        self._is_safe &= not brings_extradata
        self._found.append(begins)

    def found(self) -> npt.NDArray[np.bool_]:
        """Whether decoding can begin at each packet, with the same pictures as from the first."""
        return np.array(self._found, np.bool_) & self._is_safe


def _teller(codec: str, extradata: bytes | None) -> Callable[[bytes], bool]:
    units = UNIT_CODECS.get(codec)
    if units is None or not extradata:
        return _BEGINS.get(codec, _never)
    try:
        return UnitReader(units, extradata).begins
    except IndexError:
        return _never


def _never(_: bytes) -> bool:
    return False


def _always(_: bytes) -> bool:
    return True


def _begins_vp8(packet: bytes) -> bool:
    """A keyframe that is shown (RFC 6386, 9.1)."""
    return packet[0] & 0x11 == 0x10  # noqa: PLR2004 - show_frame, and not key_frame inverted


def _begins_vp9(packet: bytes) -> bool:
    """A new frame, of the kind KEY_FRAME, that is shown (VP9 bitstream specification, 6.2)."""
    is_profile_3 = packet[0] >> 4 & 3 == 3  # noqa: PLR2004 - has a bit more
    return packet[0] >> (not is_profile_3) & 7 == 1


def _begins_av1(packet: bytes) -> bool:
    """A sequence header, then a new KEY_FRAME that is shown (AV1 specification, 5.3 to 5.9)."""
    data, at, has_sequence_header = packet[:_HEAD_BYTES], 0, False
    while True:
        head = data[at]
        at += 2 if head & 4 else 1
        size_bytes = len(data)
        if head & 2:
            size_bytes, at = _leb128(data, at)
        match head >> 3 & 15:
            case 1:
                # Behind a reduced still picture header, frames begin otherwise.
                has_sequence_header = not data[at] & 8
            case 3 | 6:
                return has_sequence_header and data[at] >> 4 == 1
        at += size_bytes


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, in eight bytes at most, and the place behind it."""
    number = 0
    for position in range(8):
        number |= (data[at + position] & 127) << 7 * position
        if data[at + position] < 128:  # noqa: PLR2004 - the bit that another byte follows
            return number, at + position + 1
    raise IndexError


def _begins_mjpeg(packet: bytes) -> bool:
    """A picture with tables of its own, not those of one before it (ITU-T T.81, B.2)."""
    data, at, segments = packet[:_HEAD_BYTES], 2, set[int]()
    while data[at] == 0xFF and data[at + 1] != _JPEG_SCAN:  # noqa: PLR2004 - any marker
        segments.add(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return {_JPEG_HUFFMAN, _JPEG_QUANTIZATION} <= segments


_JPEG_HUFFMAN: Final = 0xC4
_JPEG_SCAN: Final = 0xDA
_JPEG_QUANTIZATION: Final = 0xDB

_BEGINS: Final[dict[str, Callable[[bytes], bool]]] = {
    "av1": _begins_av1,
    "mjpeg": _begins_mjpeg,
    "prores": _always,
    "vp8": _begins_vp8,
    "vp9": _begins_vp9,
}
"""Codecs of which each packet tells by itself."""
