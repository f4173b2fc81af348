"""Parser for the picture order fields of H.264 and HEVC headers. Does no I/O.

Reading raises IndexError if a header ends too early.
"""

from dataclasses import dataclass
from typing import Final

_PROFILES_WITH_CHROMA_FORMAT: Final = frozenset(
    {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
)
"""Values of profile_idc whose sequence parameter sets have chroma format fields
(ITU-T H.264, 7.3.2.1.1).
"""
_CHROMA_444: Final = 3
_MAX_REFERENCES: Final = 255


class BitReader:
    """Bit reader that starts at the most significant bit; IndexError past the last bit."""

    def __init__(self, payload: bytes) -> None:
        """Store the payload of a NAL unit without its emulation prevention bytes."""
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data)
        self._remaining = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as an unsigned number."""
        if count > self._remaining:
            raise IndexError
        self._remaining -= count
        return self._value >> self._remaining & ((1 << count) - 1)

    def read_exp_golomb(self) -> int:
        """Read an unsigned Exp-Golomb number (ITU-T H.264, 9.1)."""
        rest = self._value & ((1 << self._remaining) - 1)
        leading_zeros = self._remaining - rest.bit_length()
        return self.read(2 * leading_zeros + 1) - 1

    def skip_exp_golomb(self, count: int) -> None:
        """Skip ``count`` Exp-Golomb numbers."""
        for _ in range(count):
            self.read_exp_golomb()


@dataclass(frozen=True, slots=True)
class AvcSps:
    """Sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1)."""

    set_id: int
    has_separate_color_planes: bool
    frame_num_bits: int
    pic_order_cnt_type: int
    pic_order_cnt_lsb_bits: int
    is_frame_mbs_only: bool


@dataclass(frozen=True, slots=True)
class HevcSps:
    """Sequence parameter set of HEVC (ITU-T H.265, 7.3.2.2)."""

    set_id: int
    has_separate_color_planes: bool
    pic_order_cnt_lsb_bits: int


@dataclass(frozen=True, slots=True)
class HevcPps:
    """Picture parameter set of HEVC (ITU-T H.265, 7.3.2.3)."""

    set_id: int
    sps_id: int
    has_output_flag: bool
    extra_slice_bits: int


def parse_avc_sps(payload: bytes) -> AvcSps:
    """Read a sequence parameter set; ``payload`` begins after the NAL unit header."""
    bits = BitReader(payload)
    profile = bits.read(8)
    bits.read(16)
    set_id = bits.read_exp_golomb()
    has_color_planes = profile in _PROFILES_WITH_CHROMA_FORMAT and _read_chroma_format(bits)
    frame_num_bits = bits.read_exp_golomb() + 4
    order_type, order_bits = bits.read_exp_golomb(), 0
    if order_type == 0:
        order_bits = bits.read_exp_golomb() + 4
    elif order_type == 1:
        bits.read(1)
        bits.skip_exp_golomb(2)
        bits.skip_exp_golomb(min(bits.read_exp_golomb(), _MAX_REFERENCES))
    bits.read_exp_golomb()
    bits.read(1)
    bits.skip_exp_golomb(2)
    return AvcSps(
        set_id, has_color_planes, frame_num_bits, order_type, order_bits, bits.read(1) == 1
    )


def parse_avc_pps(payload: bytes) -> tuple[int, int]:
    """Return the ids of a picture parameter set and of its sequence parameter set."""
    bits = BitReader(payload)
    return bits.read_exp_golomb(), bits.read_exp_golomb()


def parse_hevc_sps(payload: bytes) -> HevcSps:
    """Read a sequence parameter set; ``payload`` begins after the NAL unit header."""
    bits = BitReader(payload)
    bits.read(4)
    more_layers = bits.read(3)
    bits.read(1)
    _skip_profile_tier_level(bits, more_layers)
    set_id = bits.read_exp_golomb()
    has_color_planes = bits.read_exp_golomb() == _CHROMA_444 and bits.read(1) == 1
    bits.skip_exp_golomb(2)
    if bits.read(1):
        bits.skip_exp_golomb(4)
    bits.skip_exp_golomb(2)
    return HevcSps(set_id, has_color_planes, bits.read_exp_golomb() + 4)


def parse_hevc_pps(payload: bytes) -> HevcPps:
    """Read a picture parameter set; ``payload`` begins after the NAL unit header."""
    bits = BitReader(payload)
    set_id, sequence_id = bits.read_exp_golomb(), bits.read_exp_golomb()
    bits.read(1)
    return HevcPps(set_id, sequence_id, bits.read(1) == 1, bits.read(3))


def _read_chroma_format(bits: BitReader) -> bool:
    """Skip the fields of high profiles; return True if color planes are coded separately."""
    chroma_format = bits.read_exp_golomb()
    has_color_planes = chroma_format == _CHROMA_444 and bits.read(1) == 1
    bits.skip_exp_golomb(2)
    bits.read(1)
    if bits.read(1):
        for number in range(12 if chroma_format == _CHROMA_444 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)  # noqa: PLR2004 - 4x4, 8x8
    return has_color_planes


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            coded = bits.read_exp_golomb()
            delta = (coded + 1) // 2 if coded % 2 else -(coded // 2)
            following = (last + delta) % 256
        last = following or last


def _skip_profile_tier_level(bits: BitReader, more_layers: int) -> None:
    """Skip the profile_tier_level structure (ITU-T H.265, 7.3.3)."""
    bits.read(96)
    present = [(bits.read(1), bits.read(1)) for _ in range(more_layers)]
    if more_layers:
        bits.read(2 * (8 - more_layers))
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)
