"""Display order of H.264 and HEVC pictures, as their slices state it. Does no I/O.

The picture order count orders the pictures of a run, from one picture that resets the decoder to
the next. If it disagrees with the PTS, the decoder shows the pictures in another order than that
of their PTS.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from framecache._media.video.nal import NAL_CODECS
from framecache._media.video.parameter_sets import (
    AvcSps,
    BitReader,
    HevcPps,
    HevcSps,
    parse_avc_pps,
    parse_avc_sps,
    parse_hevc_pps,
    parse_hevc_sps,
)

_HEADER_BYTES: Final = 512
"""Number of leading bytes of a unit that are parsed; enough for all but rare parameter sets."""
_SLICE_BYTES: Final = 48
_START_CODE: Final = b"\0\0\1"

_IN_DECODING_ORDER: Final = 2
"""Value of H.264's pic_order_cnt_type that means: display order is decoding order."""

_NalKind = Literal["parameters", "slice", "message", "other"]

DisplayPosition = tuple[int, int]
"""Number of the run of pictures, and the position in the run."""


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """Display order of a packet's picture."""

    order: DisplayPosition | None
    """Position in display order; None if it is unknown."""
    has_picture: bool
    """False if the packet holds only parameter sets or messages."""
    is_intra: bool | None = None
    """False if its first slice refers to other pictures; None if that is not known."""


_UNKNOWN: Final = PictureOrder(None, has_picture=True)


class PictureOrderParser:
    """Reader of the picture order of packets, which it takes in decoding order."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        """Start with FFmpeg's name of the codec and the extradata that its decoder is given."""
        self.may_have_fields = False
        """True if a picture may be coded as two fields in separate packets."""
        self._sequence_sets = set[bytes]()
        self._codec: _AvcPictureOrder | _HevcPictureOrder | None = None
        if codec in _CODECS:
            self._codec = _CODECS[codec]()
        self._size_bytes = 0
        if self._codec is None:
            return
        try:
            self._size_bytes, units = NAL_CODECS[codec].read_extradata(extradata or b"")
        except IndexError:
            units = []
        for unit in units:
            self._parse_parameter_set(self._codec, unit)
        self.may_have_fields = self._codec.may_have_fields

    @property
    def has_one_format(self) -> bool | None:
        """True if all pictures so far have the same sequence parameter set; None if not known.

        The set states the size of the pictures, their chroma format, bit depth and colors.
        """
        return None if self._codec is None else len(self._sequence_sets) <= 1

    def parse(self, packet: bytes) -> PictureOrder:
        """Return the picture order that the next packet states."""
        codec = self._codec
        if codec is None:
            return _UNKNOWN
        heads = (
            _iter_length_prefixed(packet, self._size_bytes)
            if self._size_bytes
            else _iter_annex_b(packet)
        )
        # Bytes that form no unit are damage and may have been a picture.
        is_sound = False
        try:
            for head in heads:
                match codec.nal_kind(head):
                    case "parameters":
                        self._parse_parameter_set(codec, head)
                    case "slice":
                        return self._parse_slice(codec, head)
                    case "other":
                        return _UNKNOWN
                is_sound = True
        except IndexError:
            return _UNKNOWN
        finally:
            self.may_have_fields = codec.may_have_fields
        return PictureOrder(None, has_picture=False) if is_sound else _UNKNOWN

    @staticmethod
    def _parse_slice(codec: "_AvcPictureOrder | _HevcPictureOrder", head: bytes) -> PictureOrder:
        try:
            return PictureOrder(
                codec.parse_order(head[:_SLICE_BYTES]),
                has_picture=True,
                is_intra=codec.is_intra(head[:_SLICE_BYTES]),
            )
        except (IndexError, KeyError):
            return _UNKNOWN

    def _parse_parameter_set(
        self, codec: "_AvcPictureOrder | _HevcPictureOrder", unit: bytes
    ) -> None:
        if codec.is_sequence_set(unit):
            # The leading bytes of a unit may reach into the next one.
            self._sequence_sets.add(unit.partition(_START_CODE)[0].rstrip(b"\0"))
        try:
            codec.read_parameter_set(unit)
        except IndexError:
            codec.reset()


class _PicOrderCounter:
    """Counter that extends the least significant bits of picture order counts.

    See ITU-T H.264, 8.2.1.1.
    """

    def __init__(self) -> None:
        self.run = 0
        """Number of runs that have begun."""
        self._high = 0
        self._low = 0

    def start(self, low: int) -> DisplayPosition:
        """Begin a run of pictures; all pictures before the run are shown before it."""
        self.run += 1
        self._high, self._low = 0, low
        return self.run, low

    def advance(self, low: int, bits: int, *, is_base: bool) -> DisplayPosition:
        """Return the order of the next picture; if ``is_base``, later ones count from it."""
        turn = 1 << bits
        high = self._high
        if low < self._low and self._low - low >= turn // 2:
            high += turn
        elif low > self._low and low - self._low > turn // 2:
            high -= turn
        if is_base:
            self._high, self._low = high, low
        return self.run, high + low


class _AvcPictureOrder:
    """Picture order of H.264 (ITU-T H.264, 7.3.2, 7.3.3)."""

    def __init__(self) -> None:
        self.may_have_fields = False
        self._sps: dict[int, AvcSps] = {}
        self._pps: dict[int, int] = {}
        self._counter = _PicOrderCounter()
        self._decoded = 0

    @staticmethod
    def nal_kind(unit: bytes) -> _NalKind:
        match unit[0] & 31:
            case 7 | 8:
                return "parameters"
            case 1 | 2 | 5:
                return "slice"
            case 6 | 9 | 10 | 11 | 12:
                return "message"
        return "other"

    @staticmethod
    def is_sequence_set(unit: bytes) -> bool:
        return unit[0] & 31 == 7  # noqa: PLR2004 - sequence parameter set

    def read_parameter_set(self, unit: bytes) -> None:
        if self.is_sequence_set(unit):
            sequence = parse_avc_sps(unit[1:])
            self._sps[sequence.set_id] = sequence
            self.may_have_fields |= not sequence.is_frame_mbs_only
        else:
            picture_id, sequence_id = parse_avc_pps(unit[1:])
            self._pps[picture_id] = sequence_id

    def reset(self) -> None:
        self._sps.clear()

    @staticmethod
    def is_intra(unit: bytes) -> bool:
        bits = BitReader(unit[1:])
        bits.skip_exp_golomb(1)
        return bits.read_exp_golomb() % 5 in {2, 4}  # slices I and SI, each with two numbers

    def parse_order(self, unit: bytes) -> DisplayPosition | None:
        is_fresh = unit[0] & 31 == 5  # noqa: PLR2004 - an IDR picture
        bits = BitReader(unit[1:])
        bits.skip_exp_golomb(2)
        sequence = self._sps[self._pps[bits.read_exp_golomb()]]
        self._decoded += 1
        if sequence.pic_order_cnt_type == _IN_DECODING_ORDER:
            if is_fresh:
                self._counter.start(0)
            return self._counter.run, self._decoded
        if sequence.pic_order_cnt_type or not sequence.is_frame_mbs_only:
            return None
        if sequence.has_separate_color_planes:
            bits.read(2)
        bits.read(sequence.frame_num_bits)
        if is_fresh:
            bits.read_exp_golomb()
        low = bits.read(sequence.pic_order_cnt_lsb_bits)
        if is_fresh:
            return self._counter.start(low)
        return self._counter.advance(
            low, sequence.pic_order_cnt_lsb_bits, is_base=bool(unit[0] & 0x60)
        )


class _HevcPictureOrder:
    """Picture order of HEVC (ITU-T H.265, 7.3.2, 7.3.6)."""

    may_have_fields = False

    def __init__(self) -> None:
        self._sps: dict[int, HevcSps] = {}
        self._pps: dict[int, HevcPps] = {}
        self._counter = _PicOrderCounter()
        self._has_begun = False

    @staticmethod
    def nal_kind(unit: bytes) -> _NalKind:
        kind = unit[0] >> 1 & 63
        if unit[0] & 1 or unit[1] >> 3:
            return "message"  # of another layer
        if kind in {33, 34}:
            return "parameters"
        if kind < 32:  # noqa: PLR2004 - units of pictures
            return "slice"
        return "message" if kind <= 40 else "other"  # noqa: PLR2004 - the last kind that is defined

    @staticmethod
    def is_sequence_set(unit: bytes) -> bool:
        return unit[0] >> 1 & 63 == 33  # noqa: PLR2004 - sequence parameter set

    def read_parameter_set(self, unit: bytes) -> None:
        if self.is_sequence_set(unit):
            sequence = parse_hevc_sps(unit[2:])
            self._sps[sequence.set_id] = sequence
        else:
            picture = parse_hevc_pps(unit[2:])
            self._pps[picture.set_id] = picture

    def reset(self) -> None:
        self._sps.clear()

    @staticmethod
    def is_intra(_: bytes) -> None:
        """Return that it is not known: containers mark only pictures that are."""

    def parse_order(self, unit: bytes) -> DisplayPosition | None:
        kind, layer = unit[0] >> 1 & 63, unit[1] & 7
        bits = BitReader(unit[2:])
        if not bits.read(1):
            return None
        is_random_access = 16 <= kind <= 23  # noqa: PLR2004 - IRAP pictures
        if is_random_access:
            bits.read(1)
        picture = self._pps[bits.read_exp_golomb()]
        sequence = self._sps[picture.sps_id]
        bits.read(picture.extra_slice_bits)
        bits.read_exp_golomb()
        if picture.has_output_flag and not bits.read(1):
            return None
        if sequence.has_separate_color_planes:
            bits.read(2)
        low = 0 if kind in {19, 20} else bits.read(sequence.pic_order_cnt_lsb_bits)
        # A CRA picture (kind 21) continues the count unless it is the first random-access picture.
        if is_random_access and (kind != 21 or not self._has_begun):  # noqa: PLR2004
            self._has_begun = True
            return self._counter.start(low)
        is_leading = 6 <= kind <= 9  # noqa: PLR2004 - RADL and RASL pictures
        is_reference = kind >= 16 or kind % 2 == 1  # noqa: PLR2004
        is_base = layer == 1 and is_reference and not is_leading
        return self._counter.advance(low, sequence.pic_order_cnt_lsb_bits, is_base=is_base)


_CODECS: Final[dict[str, type[_AvcPictureOrder] | type[_HevcPictureOrder]]] = {
    "h264": _AvcPictureOrder,
    "hevc": _HevcPictureOrder,
}


def _iter_annex_b(data: bytes) -> Iterator[bytes]:
    """Yield the leading bytes of the units that follow start codes.

    The caller usually stops at the first slice.
    """
    begin = data.find(_START_CODE)
    while begin >= 0 and begin + 3 < len(data):
        yield data[begin + 3 : begin + 3 + _HEADER_BYTES]
        begin = data.find(_START_CODE, begin + 3)


def _iter_length_prefixed(data: bytes, size_bytes: int) -> Iterator[bytes]:
    """Yield the leading bytes of the units that follow their sizes (ISO/IEC 14496-15, 4.3.3).

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
