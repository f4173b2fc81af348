"""The order in which H.264 and HEVC pictures are shown, as their slices state it. No I/O.

A picture order count orders the pictures from one that the decoder begins anew with to the next.
Where it disagrees with the PTS, the decoder shows pictures in another order than that of their PTS.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from framecache.video.bits import Bits
from framecache.video.parameter_sets import (
    AvcSequence,
    HevcPicture,
    HevcSequence,
    read_avc_picture,
    read_avc_sequence,
    read_hevc_picture,
    read_hevc_sequence,
)
from framecache.video.units import UNIT_CODECS

_HEADER_BYTES: Final = 512
"""Of a unit: those that hold what is read of it, but for the rarest parameter sets."""
_SLICE_BYTES: Final = 48
_START_CODE: Final = b"\0\0\1"

_IN_DECODING_ORDER: Final = 2
"""pic_order_cnt_type of H.264 with which pictures are shown as they are decoded."""

_Kind = Literal["parameters", "slice", "message", "other"]

Order = tuple[int, int]
"""The run of pictures, and the place in it."""


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """What a packet says of its picture."""

    order: Order | None
    """None when it cannot be told."""
    has_picture: bool
    """False of a packet of parameter sets or messages alone."""


_UNKNOWN: Final = PictureOrder(None, has_picture=True)


class OrderReader:
    """Reads the picture order of packets, each one in decoding order."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        """``codec``: FFmpeg's name; ``extradata``: what its decoder is opened with."""
        self.may_have_fields = False
        """Whether a picture may be coded as two fields, in packets of their own."""
        self._codec: _Avc | _Hevc | None = None
        if codec in _CODECS:
            self._codec = _CODECS[codec]()
        self._size_bytes = 0
        if self._codec is None:
            return
        try:
            self._size_bytes, units = UNIT_CODECS[codec].read_extradata(extradata or b"")
        except IndexError:
            units = []
        for unit in units:
            self._read(self._codec, unit)
        self.may_have_fields = self._codec.may_have_fields

    def look(self, packet: bytes) -> PictureOrder:
        """Return what a packet says."""
        codec = self._codec
        if codec is None:
            return _UNKNOWN
        heads = _sized(packet, self._size_bytes) if self._size_bytes else _marked(packet)
        # Bytes that are no units are damage: a picture may have been there.
        is_sound = False
        try:
            for head in heads:
                match codec.kind(head):
                    case "parameters":
                        self._read(codec, head)
                    case "slice":
                        return self._order(codec, head)
                    case "other":
                        return _UNKNOWN
                is_sound = True
        except IndexError:
            return _UNKNOWN
        finally:
            self.may_have_fields = codec.may_have_fields
        return PictureOrder(None, has_picture=False) if is_sound else _UNKNOWN

    @staticmethod
    def _order(codec: "_Avc | _Hevc", head: bytes) -> PictureOrder:
        try:
            return PictureOrder(codec.order(head[:_SLICE_BYTES]), has_picture=True)
        except (IndexError, KeyError):
            return _UNKNOWN

    @staticmethod
    def _read(codec: "_Avc | _Hevc", unit: bytes) -> None:
        try:
            codec.read(unit)
        except IndexError:
            codec.forget()


class _Counter:
    """Picture order counts from their least significant bits (ITU-T H.264, 8.2.1.1)."""

    def __init__(self) -> None:
        self.run = 0
        """How many runs have begun."""
        self._high = 0
        self._low = 0

    def begin(self, low: int) -> Order:
        """Begin a run of pictures; all before it are shown before it."""
        self.run += 1
        self._high, self._low = 0, low
        return self.run, low

    def go_on(self, low: int, bits: int, *, is_base: bool) -> Order:
        """Return the order of the next picture, on which later ones count if ``is_base``."""
        turn = 1 << bits
        high = self._high
        if low < self._low and self._low - low >= turn // 2:
            high += turn
        elif low > self._low and low - self._low > turn // 2:
            high -= turn
        if is_base:
            self._high, self._low = high, low
        return self.run, high + low


class _Avc:
    """H.264 (ITU-T H.264, 7.3.2, 7.3.3)."""

    def __init__(self) -> None:
        self.may_have_fields = False
        self._sequences: dict[int, AvcSequence] = {}
        self._pictures: dict[int, int] = {}
        self._counter = _Counter()
        self._decoded = 0

    @staticmethod
    def kind(unit: bytes) -> _Kind:
        match unit[0] & 31:
            case 7 | 8:
                return "parameters"
            case 1 | 2 | 5:
                return "slice"
            case 6 | 9 | 10 | 11 | 12:
                return "message"
        return "other"

    def read(self, unit: bytes) -> None:
        if unit[0] & 31 == 7:  # noqa: PLR2004 - a sequence parameter set
            sequence = read_avc_sequence(unit[1:])
            self._sequences[sequence.set_id] = sequence
            self.may_have_fields |= not sequence.has_frames_only
        else:
            picture_id, sequence_id = read_avc_picture(unit[1:])
            self._pictures[picture_id] = sequence_id

    def forget(self) -> None:
        self._sequences.clear()

    def order(self, unit: bytes) -> Order | None:
        is_fresh = unit[0] & 31 == 5  # noqa: PLR2004 - an IDR picture
        bits = Bits(unit[1:])
        bits.skip_exp_golomb(2)
        sequence = self._sequences[self._pictures[bits.exp_golomb()]]
        self._decoded += 1
        if sequence.order_type == _IN_DECODING_ORDER:
            if is_fresh:
                self._counter.begin(0)
            return self._counter.run, self._decoded
        if sequence.order_type or not sequence.has_frames_only:
            return None
        if sequence.has_color_planes:
            bits.take(2)
        bits.take(sequence.frame_num_bits)
        if is_fresh:
            bits.exp_golomb()
        low = bits.take(sequence.order_bits)
        if is_fresh:
            return self._counter.begin(low)
        return self._counter.go_on(low, sequence.order_bits, is_base=bool(unit[0] & 0x60))


class _Hevc:
    """HEVC (ITU-T H.265, 7.3.2, 7.3.6)."""

    may_have_fields = False

    def __init__(self) -> None:
        self._sequences: dict[int, HevcSequence] = {}
        self._pictures: dict[int, HevcPicture] = {}
        self._counter = _Counter()
        self._has_begun = False

    @staticmethod
    def kind(unit: bytes) -> _Kind:
        kind = unit[0] >> 1 & 63
        if unit[0] & 1 or unit[1] >> 3:
            return "message"  # of another layer
        if kind in {33, 34}:
            return "parameters"
        if kind < 32:  # noqa: PLR2004 - units of pictures
            return "slice"
        return "message" if kind <= 40 else "other"  # noqa: PLR2004 - the last kind that is defined

    def read(self, unit: bytes) -> None:
        if unit[0] >> 1 & 63 == 33:  # noqa: PLR2004 - a sequence parameter set
            sequence = read_hevc_sequence(unit[2:])
            self._sequences[sequence.set_id] = sequence
        else:
            picture = read_hevc_picture(unit[2:])
            self._pictures[picture.set_id] = picture

    def forget(self) -> None:
        self._sequences.clear()

    def order(self, unit: bytes) -> Order | None:
        kind, layer = unit[0] >> 1 & 63, unit[1] & 7
        bits = Bits(unit[2:])
        if not bits.take(1):
            return None
        is_random_access = 16 <= kind <= 23  # noqa: PLR2004 - IRAP pictures
        if is_random_access:
            bits.take(1)
        picture = self._pictures[bits.exp_golomb()]
        sequence = self._sequences[picture.sequence_id]
        bits.take(picture.extra_slice_bits)
        bits.exp_golomb()
        if picture.has_output_flag and not bits.take(1):
            return None
        if sequence.has_color_planes:
            bits.take(2)
        low = 0 if kind in {19, 20} else bits.take(sequence.order_bits)
        # A CRA picture, kind 21, goes on counting unless it is the first.
        if is_random_access and (kind != 21 or not self._has_begun):  # noqa: PLR2004
            self._has_begun = True
            return self._counter.begin(low)
        is_leading = 6 <= kind <= 9  # noqa: PLR2004 - RADL and RASL pictures
        is_reference = kind >= 16 or kind % 2 == 1  # noqa: PLR2004
        is_base = layer == 1 and is_reference and not is_leading
        return self._counter.go_on(low, sequence.order_bits, is_base=is_base)


_CODECS: Final[dict[str, type[_Avc] | type[_Hevc]]] = {"h264": _Avc, "hevc": _Hevc}


def _marked(data: bytes) -> Iterator[bytes]:
    """The heads of units that follow start codes, up to the first slice in most packets."""
    begin = data.find(_START_CODE)
    while begin >= 0 and begin + 3 < len(data):
        yield data[begin + 3 : begin + 3 + _HEADER_BYTES]
        begin = data.find(_START_CODE, begin + 3)


def _sized(data: bytes, size_bytes: int) -> Iterator[bytes]:
    """The heads of units that follow their sizes (ISO/IEC 14496-15, 4.3.3).

    Raises:
        IndexError: the sizes do not fill the packet.
    """
    begin = size_bytes
    while begin < len(data):
        size = int.from_bytes(data[begin - size_bytes : begin])
        if begin + size > len(data):
            raise IndexError
        if size:
            yield data[begin : begin + min(size, _HEADER_BYTES)]
        begin += size + size_bytes
