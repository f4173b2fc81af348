"""What the parameter sets of H.264 and HEVC say of picture order. No I/O.

Reading raises IndexError where a set ends too early.
"""

from dataclasses import dataclass
from typing import Final

from framecache.video.bits import Bits

_WITH_CHROMA_FORMAT: Final = frozenset(
    {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
)
"""profile_idc of those with more fields in front (ITU-T H.264, 7.3.2.1.1)."""
_FOUR_FOUR_FOUR: Final = 3
_MOST_REFERENCES: Final = 255


@dataclass(frozen=True, slots=True)
class AvcSequence:
    """A sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1)."""

    set_id: int
    has_color_planes: bool
    frame_num_bits: int
    order_type: int
    order_bits: int
    has_frames_only: bool


@dataclass(frozen=True, slots=True)
class HevcSequence:
    """A sequence parameter set of HEVC (ITU-T H.265, 7.3.2.2)."""

    set_id: int
    has_color_planes: bool
    order_bits: int


@dataclass(frozen=True, slots=True)
class HevcPicture:
    """A picture parameter set of HEVC (ITU-T H.265, 7.3.2.3)."""

    set_id: int
    sequence_id: int
    has_output_flag: bool
    extra_slice_bits: int


def read_avc_sequence(payload: bytes) -> AvcSequence:
    """Read a sequence parameter set behind the header of its unit."""
    bits = Bits(payload)
    profile = bits.take(8)
    bits.take(16)
    set_id = bits.exp_golomb()
    has_color_planes = profile in _WITH_CHROMA_FORMAT and _read_chroma_format(bits)
    frame_num_bits = bits.exp_golomb() + 4
    order_type, order_bits = bits.exp_golomb(), 0
    if order_type == 0:
        order_bits = bits.exp_golomb() + 4
    elif order_type == 1:
        bits.take(1)
        bits.skip_exp_golomb(2)
        bits.skip_exp_golomb(min(bits.exp_golomb(), _MOST_REFERENCES))
    bits.exp_golomb()
    bits.take(1)
    bits.skip_exp_golomb(2)
    return AvcSequence(
        set_id, has_color_planes, frame_num_bits, order_type, order_bits, bits.take(1) == 1
    )


def read_avc_picture(payload: bytes) -> tuple[int, int]:
    """Read the ids of a picture parameter set, and of its sequence parameter set."""
    bits = Bits(payload)
    return bits.exp_golomb(), bits.exp_golomb()


def read_hevc_sequence(payload: bytes) -> HevcSequence:
    """Read a sequence parameter set behind the header of its unit."""
    bits = Bits(payload)
    bits.take(4)
    more_layers = bits.take(3)
    bits.take(1)
    _skip_profile_tier_level(bits, more_layers)
    set_id = bits.exp_golomb()
    has_color_planes = bits.exp_golomb() == _FOUR_FOUR_FOUR and bits.take(1) == 1
    bits.skip_exp_golomb(2)
    if bits.take(1):
        bits.skip_exp_golomb(4)
    bits.skip_exp_golomb(2)
    return HevcSequence(set_id, has_color_planes, bits.exp_golomb() + 4)


def read_hevc_picture(payload: bytes) -> HevcPicture:
    """Read a picture parameter set behind the header of its unit."""
    bits = Bits(payload)
    set_id, sequence_id = bits.exp_golomb(), bits.exp_golomb()
    bits.take(1)
    return HevcPicture(set_id, sequence_id, bits.take(1) == 1, bits.take(3))


def _read_chroma_format(bits: Bits) -> bool:
    """Pass over the fields of high profiles; returns whether color planes are coded apart."""
    chroma_format = bits.exp_golomb()
    has_color_planes = chroma_format == _FOUR_FOUR_FOUR and bits.take(1) == 1
    bits.skip_exp_golomb(2)
    bits.take(1)
    if bits.take(1):
        for number in range(12 if chroma_format == _FOUR_FOUR_FOUR else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)  # noqa: PLR2004 - 4x4, 8x8
    return has_color_planes


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            coded = bits.exp_golomb()
            delta = (coded + 1) // 2 if coded % 2 else -(coded // 2)
            following = (last + delta) % 256
        last = following or last


def _skip_profile_tier_level(bits: Bits, more_layers: int) -> None:
    """ITU-T H.265, 7.3.3."""
    bits.take(96)
    present = [(bits.take(1), bits.take(1)) for _ in range(more_layers)]
    if more_layers:
        bits.take(2 * (8 - more_layers))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)
