"""The part of an H.264 sequence parameter set that tells of fields. No I/O.

Where fields are allowed, any picture may be coded as two of them, in packets of their own.
"""

from typing import Final

from framecache.video.units import UNIT_CODECS

_SEQUENCE_PARAMETERS: Final = 7
_WITH_CHROMA_FORMAT: Final = frozenset(
    {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
)
"""profile_idc of those with more fields in front (ITU-T H.264, 7.3.2.1.1)."""
_FOUR_FOUR_FOUR: Final = 3
_MOST_REFERENCES: Final = 255


def may_have_fields(codec: str, extradata: bytes | None) -> bool:
    """Return whether pictures of a video may be coded as pairs of fields.

    True of H.264 unless each of its sequence parameter sets is found and forbids them.
    """
    if codec != "h264":
        return False
    try:
        _, units = UNIT_CODECS["h264"].read_extradata(extradata or b"")
        sequences = [unit for unit in units if unit[0] & 31 == _SEQUENCE_PARAMETERS]
        return not sequences or not all(map(_has_frames_only, sequences))
    except IndexError:
        return True


def _has_frames_only(unit: bytes) -> bool:
    """Read ``frame_mbs_only_flag``; IndexError where the set ends before it."""
    bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.take(8)
    bits.take(16)
    bits.exp_golomb()
    if profile in _WITH_CHROMA_FORMAT:
        _skip_chroma_format(bits)
    bits.exp_golomb()
    order_type = bits.exp_golomb()
    if order_type == 0:
        bits.exp_golomb()
    elif order_type == 1:
        bits.take(1)
        bits.exp_golomb()
        bits.exp_golomb()
        for _ in range(min(bits.exp_golomb(), _MOST_REFERENCES)):
            bits.exp_golomb()
    bits.exp_golomb()
    bits.take(1)
    bits.exp_golomb()
    bits.exp_golomb()
    return bits.take(1) == 1


def _skip_chroma_format(bits: "_Bits") -> None:
    chroma_format = bits.exp_golomb()
    if chroma_format == _FOUR_FOUR_FOUR:
        bits.take(1)
    bits.exp_golomb()
    bits.exp_golomb()
    bits.take(1)
    if bits.take(1):
        for number in range(12 if chroma_format == _FOUR_FOUR_FOUR else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)  # noqa: PLR2004 - 4x4, 8x8


def _skip_scaling_list(bits: "_Bits", size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            coded = bits.exp_golomb()
            delta = (coded + 1) // 2 if coded % 2 else -(coded // 2)
            following = (last + delta) % 256
        last = following or last


class _Bits:
    """Bits from the most significant one on; IndexError behind the last."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        if count > self._left:
            raise IndexError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Return a number in the code of ITU-T H.264, 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
