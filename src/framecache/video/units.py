"""H.264 and HEVC: what the NAL units of packets tell of where decoding can begin. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_START_CODE: Final = b"\0\0\1"
_HEAD_BYTES: Final = 4096
"""Of a packet: those that its first slice most often begins in."""
_MOST_UNITS: Final = 1000
"""Of a packet. Pictures have a few, up to a hundred."""


class TakesAway(Exception):
    """With a packet, the decoder drops pictures that it gives out if it ends before."""


@dataclass(frozen=True, slots=True)
class UnitCodec:
    """A codec whose packets consist of NAL units."""

    kind: Callable[[bytes], int]
    """The nal_unit_type of a unit."""
    parameters: frozenset[int]
    """Kinds of units that the decoder keeps for all pictures to come."""
    slices: range
    """Kinds of units that are parts of a picture."""
    fresh: range
    """Those of a picture with which the decoder forgets the ones before."""
    drops: int
    """A flag in the third byte of those: pictures that wait are not given out any more."""
    read_extradata: Callable[[bytes], tuple[int, list[bytes]]]
    """How many bytes the size of a unit has in packets, 0 where they have start codes instead;
    and the units in the extradata.
    """


class UnitReader:
    """Finds the packets of a video with which a decoder can begin.

    Parameter sets come with the extradata, and again or anew with any packet. A decoder that
    skips packets has those it was opened with. It lacks none as long as packets only repeat
    these, nor where a packet repeats all of them.
    """

    def __init__(self, codec: UnitCodec, extradata: bytes) -> None:
        """Raise IndexError for extradata that is cut short."""
        self._codec = codec
        self._size_bytes, units = codec.read_extradata(extradata)
        self._known = self._parameters(units)
        self._only_repeated = True

    def begins(self, packet: bytes) -> bool:
        """Whether a decoder can begin with a packet. All are asked, in the order of decoding.

        Raises:
            TakesAway: pictures before it are dropped.
        """
        units = self._units(packet)
        if len(units) > _MOST_UNITS:
            self._only_repeated = False
            return False
        parameters = self._parameters(units)
        # Whoever has the whole list still has it when its end is repeated.
        self._only_repeated &= parameters == self._known[len(self._known) - len(parameters) :]
        slices = [unit for unit in units if self._codec.kind(unit) in self._codec.slices]
        if not slices or self._codec.kind(slices[0]) not in self._codec.fresh:
            return False
        if slices[0][2] & self._codec.drops:
            raise TakesAway
        return self._only_repeated or parameters == self._known

    def _parameters(self, units: list[bytes]) -> list[bytes]:
        kinds = self._codec.parameters
        return [unit.rstrip(b"\0") for unit in units if self._codec.kind(unit) in kinds]

    def _units(self, packet: bytes) -> list[bytes]:
        """The units of a packet up to its first slice, and maybe more; those that matter."""
        if self._size_bytes:
            return _sized(packet, self._size_bytes)
        head = _marked(packet[:_HEAD_BYTES])
        has_slice = any(self._codec.kind(unit) in self._codec.slices for unit in head)
        return head if has_slice else _marked(packet)


def _marked(data: bytes) -> list[bytes]:
    """Units that follow start codes (ITU-T H.264 and H.265, annex B)."""
    return [unit for unit in data.split(_START_CODE, _MOST_UNITS + 1)[1:] if unit]


def _sized(data: bytes, size_bytes: int) -> list[bytes]:
    """Units that follow their sizes (ISO/IEC 14496-15, 4.3.3); a last one may be cut short."""
    units, begin = list[bytes](), size_bytes
    while begin < len(data) and len(units) <= _MOST_UNITS:
        end = begin + int.from_bytes(data[begin - size_bytes : begin])
        if end > begin:
            units.append(data[begin:end])
        begin = end + size_bytes
    return units


def _read_avc(extradata: bytes) -> tuple[int, list[bytes]]:
    """An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1), or units."""
    if extradata[:1] != b"\1":
        return 0, _marked(extradata)
    sequences, at = _counted(extradata, 6, extradata[5] & 31)
    pictures, _ = _counted(extradata, at + 1, extradata[at])
    return (extradata[4] & 3) + 1, sequences + pictures


def _read_hevc(extradata: bytes) -> tuple[int, list[bytes]]:
    """An HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1), or units."""
    if extradata[:3] in {b"\0\0\0", b"\0\0\1"}:
        return 0, _marked(extradata)
    units, at = list[bytes](), 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[at + 1 : at + 3])
        more, at = _counted(extradata, at + 3, count)
        units += more
    return (extradata[21] & 3) + 1, units


def _counted(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """A number of units, each behind its size in two bytes, and the place behind them."""
    units = []
    for _ in range(count):
        begin = at + 2
        at = begin + int.from_bytes(data[at:begin])
        units.append(data[begin:at])
        if at > len(data) or not units[-1]:
            raise IndexError
    return units, at


UNIT_CODECS: Final = {
    "h264": UnitCodec(
        kind=lambda unit: unit[0] & 31,
        parameters=frozenset({7, 8, 13, 15}),
        slices=range(1, 6),
        fresh=range(5, 6),
        drops=0,
        read_extradata=_read_avc,
    ),
    "hevc": UnitCodec(
        kind=lambda unit: unit[0] >> 1 & 63,
        parameters=frozenset({32, 33, 34}),
        slices=range(32),
        fresh=range(16, 22),
        drops=0x40,
        read_extradata=_read_hevc,
    ),
}
"""By FFmpeg's names. H.264 has a flag that drops pictures, too, but FFmpeg passes over it."""
