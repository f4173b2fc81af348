"""Search for packets at which H.264 and HEVC decoding can begin, by NAL units. Does no I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_START_CODE: Final = b"\0\0\1"
_HEAD_BYTES: Final = 4096
"""Number of leading bytes of a packet in which its first slice usually begins."""
_MAX_UNITS: Final = 1000
"""Maximum number of units in a packet. Pictures have a few, up to a hundred."""


class NoOutputOfPriorPics(Exception):
    """Signal for a packet that makes the decoder drop pictures that it has not output yet.

    The decoder would output them if the video ended before the packet.
    """


@dataclass(frozen=True, slots=True)
class NalCodec:
    """Codec whose packets consist of NAL units."""

    type_shift: int
    """Position in a unit's first byte of the lowest bit of its nal_unit_type."""
    type_mask: int
    """Mask of the nal_unit_type, after the shift."""
    parameter_set_types: frozenset[int]
    """Kinds of units that the decoder keeps for all later pictures: parameter sets."""
    slice_types: range
    """Kinds of units that are parts of a picture."""
    random_access_types: range
    """Kinds of slices of a picture at which the decoder discards all earlier pictures."""
    no_output_mask: int
    """Mask of a flag in the third byte of such a slice: pictures not output yet are dropped."""
    read_extradata: Callable[[bytes], tuple[int, list[bytes]]]
    """Function that parses extradata.

    It returns the number of bytes of the size before each unit of a packet, or 0 if packets use
    start codes instead, and the units in the extradata.
    """


class NalRandomAccessDetector:
    """Finder of the packets at which a decoder can begin.

    Parameter sets come with the extradata, and any packet may repeat or change them. A decoder
    that skips packets has only the sets that it was opened with. These suffice as long as packets
    only repeat them, or if the packet at which it begins repeats all of them.
    """

    def __init__(self, codec: NalCodec, extradata: bytes) -> None:
        """Read the extradata; raise IndexError if it is cut short."""
        self._codec = codec
        self._size_bytes, units = codec.read_extradata(extradata)
        self._parameter_sets = self._find_parameter_sets(units)
        self._has_only_repeats = True

    def is_random_access(self, packet: bytes) -> bool:
        """Return True if a decoder can begin at a packet.

        Call this for every packet, in decoding order.

        Raises:
            NoOutputOfPriorPics: the packet makes the decoder drop earlier pictures.
        """
        units = self._split_units(packet)
        if len(units) > _MAX_UNITS:
            self._has_only_repeats = False
            return False
        parameters = self._find_parameter_sets(units)
        # Repeating the end of the list changes nothing for a decoder that has the whole list.
        self._has_only_repeats &= (
            parameters == self._parameter_sets[len(self._parameter_sets) - len(parameters) :]
        )
        codec = self._codec
        shift, mask = codec.type_shift, codec.type_mask
        slices = [unit for unit in units if unit[0] >> shift & mask in codec.slice_types]
        if not slices or slices[0][0] >> shift & mask not in codec.random_access_types:
            return False
        if slices[0][2] & codec.no_output_mask:
            raise NoOutputOfPriorPics
        return self._has_only_repeats or parameters == self._parameter_sets

    def _find_parameter_sets(self, units: list[bytes]) -> list[bytes]:
        codec = self._codec
        shift, mask, kinds = codec.type_shift, codec.type_mask, codec.parameter_set_types
        return [unit.rstrip(b"\0") for unit in units if unit[0] >> shift & mask in kinds]

    def _split_units(self, packet: bytes) -> list[bytes]:
        """Return at least the units of a packet up to its first slice."""
        if self._size_bytes:
            return _split_length_prefixed(packet, self._size_bytes)
        head = _split_annex_b(packet[:_HEAD_BYTES])
        codec = self._codec
        shift, mask = codec.type_shift, codec.type_mask
        has_slice = any(unit[0] >> shift & mask in codec.slice_types for unit in head)
        return head if has_slice else _split_annex_b(packet)


def _split_annex_b(data: bytes) -> list[bytes]:
    """Return the units that follow start codes (ITU-T H.264 and H.265, annex B)."""
    return [unit for unit in data.split(_START_CODE, _MAX_UNITS + 1)[1:] if unit]


def _split_length_prefixed(data: bytes, size_bytes: int) -> list[bytes]:
    """Return the units that follow their sizes (ISO/IEC 14496-15, 4.3.3).

    The last unit may be cut short.
    """
    units, begin = list[bytes](), size_bytes
    while begin < len(data) and len(units) <= _MAX_UNITS:
        end = begin + int.from_bytes(data[begin - size_bytes : begin])
        if end > begin:
            units.append(data[begin:end])
        begin = end + size_bytes
    return units


def _parse_avcc(extradata: bytes) -> tuple[int, list[bytes]]:
    """Parse an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1), or plain units."""
    if extradata[:1] != b"\1":
        return 0, _split_annex_b(extradata)
    sequences, at = _read_counted_units(extradata, 6, extradata[5] & 31)
    pictures, _ = _read_counted_units(extradata, at + 1, extradata[at])
    return (extradata[4] & 3) + 1, sequences + pictures


def _parse_hvcc(extradata: bytes) -> tuple[int, list[bytes]]:
    """Parse an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1), or plain units."""
    if extradata[:3] in {b"\0\0\0", b"\0\0\1"}:
        return 0, _split_annex_b(extradata)
    units, at = list[bytes](), 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[at + 1 : at + 3])
        more, at = _read_counted_units(extradata, at + 3, count)
        units += more
    return (extradata[21] & 3) + 1, units


def _read_counted_units(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """Read ``count`` units, each after its size in two bytes; return them and the offset after."""
    units = []
    for _ in range(count):
        begin = at + 2
        at = begin + int.from_bytes(data[at:begin])
        units.append(data[begin:at])
        if at > len(data) or not units[-1]:
            raise IndexError
    return units, at


NAL_CODECS: Final = {
    "h264": NalCodec(
        type_shift=0,
        type_mask=31,
        parameter_set_types=frozenset({7, 8, 13, 15}),
        slice_types=range(1, 6),
        random_access_types=range(5, 6),
        no_output_mask=0,
        read_extradata=_parse_avcc,
    ),
    "hevc": NalCodec(
        type_shift=1,
        type_mask=63,
        parameter_set_types=frozenset({32, 33, 34}),
        slice_types=range(32),
        random_access_types=range(16, 22),
        no_output_mask=0x40,
        read_extradata=_parse_hvcc,
    ),
}
"""Codecs by FFmpeg's names. H.264 also has a flag that drops pictures, but FFmpeg ignores it."""
