"""Survey of a video's packets: facts about its pictures, with only the first one decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from framecache._media.video.container import Container, DecoderError, VideoPacket
from framecache._media.video.error_boundary import VideoFile
from framecache._media.video.picture_order import DisplayPosition, PictureOrderParser
from framecache._media.video.random_access import RandomAccessFinder
from framecache._media.video.stream_properties import StreamProperties
from framecache.errors import UnreadableChunk

INFINITE_PTS: Final = int(np.iinfo(np.int64).max)
NO_PTS: Final = int(np.iinfo(np.int64).min)
"""PTS of a packet that states none."""

_ONE_PICTURE_PER_PACKET: Final = frozenset(
    {"av1", "ffv1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"}
)
"""Codecs whose packets state which pictures are shown. Others may repeat, drop or pack pictures."""

_DROPS_LEADING_PICTURES: Final = frozenset({"hevc", "vvc"})
"""Codecs whose decoders can begin at any keyframe and drop pictures that need earlier ones."""

_CONTAINERS_WITHOUT_PTS: Final = frozenset({"avi"})
"""Containers for which FFmpeg derives the PTS from the decoding order."""

_CODECS_WITHOUT_REORDERING: Final = frozenset({"ffv1", "mjpeg", "prores", "vp8"})
"""Codecs whose decoding order is the display order."""

_INDEPENDENT_TIMESTAMPS: Final = frozenset({"mpegts"})
"""Containers in which each picture has an independent timestamp, which may be wrong."""

_WRAPPING_CONTAINERS: Final = frozenset({"mpegts"})
_MPEG_CLOCK_PERIOD: Final = 2**33
"""Ticks after which the MPEG clock wraps around to 0 (ISO/IEC 13818-1, 2.4.3.7)."""

_MAX_REORDERED: Final = 16
"""Maximum number of pictures that may be decoded before one that is shown before all of them."""

_PROGRESSIVE: Final = (0, 1)
"""AVFieldOrder unknown and progressive; with other values, a packet may hold a single field."""


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """Frame that the video shows, and the packet that it comes from."""

    pts: int
    duration: int
    is_key: bool
    packet: int
    """Number of the packet, from 0, in decoding order."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketTable:
    """Properties of a video and its packets; arrays are in decoding order."""

    first_picture: VideoFrame
    """First picture that the decoder output."""
    stream: StreamProperties
    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    is_key: npt.NDArray[np.bool_]
    is_shown: npt.NDArray[np.bool_]
    """True if the packet's picture is to be shown; False if, say, an edit list excludes it."""
    is_random_access: npt.NDArray[np.bool_]
    """True if a decoder can begin with the packet."""
    is_damaged: bool
    has_backward_wrap: bool
    """True if FFmpeg mistook a clock that goes back for one that wraps around."""
    is_in_order: bool | None
    """True if PTS ascend in the display order that the pictures state; None if not known."""
    has_packed_pictures: bool
    """True if a packet holds more than one picture that is shown."""
    is_progressive: bool
    is_cut_short: bool
    """True if the file ends before the end that its header states."""
    has_inter_keyframes: bool | None
    """True if a keyframe refers to other pictures, as with intra refresh; None if not known."""
    has_one_format: bool | None
    """True if no packet changes the format of the pictures; None if that is not known."""

    @property
    def has_one_picture_per_packet(self) -> bool:
        """True if each packet holds exactly one whole picture."""
        is_known = self.stream.codec in _ONE_PICTURE_PER_PACKET and not self.has_packed_pictures
        return is_known and self.is_progressive

    @property
    def has_pts(self) -> bool:
        """True if the container states when pictures are shown, correctly or not."""
        is_stated = (
            self.stream.container not in _CONTAINERS_WITHOUT_PTS
            or self.stream.codec in _CODECS_WITHOUT_REORDERING
        )
        return is_stated and bool((self.pts[self.is_shown] > NO_PTS).any())

    def frames(self, *, min_pts: int = NO_PTS) -> list[ShownFrame]:
        """Return the frames of all shown packets with a PTS of at least ``min_pts``, by time."""
        wanted = np.flatnonzero(self.is_shown & (self.pts >= min_pts) & (self.pts > NO_PTS))
        return [self.frame(packet) for packet in wanted[np.argsort(self.pts[wanted])].tolist()]

    def frame(self, packet: int) -> ShownFrame:
        """Return the frame of a packet, with the values that the packet states."""
        return ShownFrame(
            int(self.pts[packet]), int(self.duration[packet]), bool(self.is_key[packet]), packet
        )

    def ambiguous_until(self) -> int:
        """Return the PTS before which the packets do not determine the pictures shown.

        UNKNOWN if the packets determine all pictures, NEVER if the whole video is in doubt.
        """
        times = self.pts[self.is_shown]
        keys = np.flatnonzero(self.is_key)
        if not (self.has_one_picture_per_packet and len(keys) and self.has_pts):
            return INFINITE_PTS
        is_suspect = self.is_damaged or self.has_backward_wrap
        if is_suspect or len(np.unique(times)) < len(times) or self._is_order_uncertain(times):
            return INFINITE_PTS
        # Pictures before the first keyframe depend on missing ones. Some decoders still show them.
        doubtful = (times < self.pts[keys[0]]) | (times == NO_PTS)
        if not doubtful.any():
            return NO_PTS
        if len(keys) == 1 or (self.pts[keys[1] :] == NO_PTS).any():
            return INFINITE_PTS
        return int(self.pts[keys[1]])

    def has_unique_pts(self) -> npt.NDArray[np.bool_]:
        """Return a mask of the packets whose picture is shown and whose PTS is unique."""
        _, first, counts = np.unique(self.pts[self.is_shown], return_index=True, return_counts=True)
        named = np.zeros(len(self.pts), np.bool_)
        named[np.flatnonzero(self.is_shown)[first[counts == 1]]] = True
        return named & (self.pts > NO_PTS)

    def random_access_points(self) -> dict[int, int]:
        """Return the random-access points: packets at which decoding can begin.

        Everything decoded before such a packet is also shown before it. The result maps the PTS of
        each one to the earliest PTS among it and all packets after it.
        """
        if not self.is_reorder_bounded():
            return {}
        before = np.maximum.accumulate(np.concatenate([[NO_PTS], self.pts[:-1]]))
        known = np.where(self.pts > NO_PTS, self.pts, INFINITE_PTS)
        since = np.minimum.accumulate(known[::-1])[::-1]
        entry = self.is_key & self.is_random_access & (before < self.pts)
        if self.stream.codec not in _DROPS_LEADING_PICTURES:
            entry &= self.pts == since
        return dict(zip(self.pts[entry].tolist(), since[entry].tolist(), strict=True))

    def is_reorder_bounded(self) -> bool:
        """Return True if no packet is further out of order than codecs can reorder."""
        pts = self.pts[self.pts > NO_PTS]
        away = np.argsort(pts, kind="stable") - np.arange(len(pts))
        return bool((np.abs(away) <= _MAX_REORDERED).all())

    def _is_order_uncertain(self, times: npt.NDArray[np.int64]) -> bool:
        """Return True if the decoder may show pictures in an order other than that of the PTS."""
        if self.is_in_order is not None:
            return not self.is_in_order
        order = np.argsort(times, kind="stable")
        late = order - np.arange(len(times))
        if (late > self.stream.reorder_depth).any() or (late < -_MAX_REORDERED).any():
            return True
        if self.stream.reorder_depth == 0 or self.stream.container not in _INDEPENDENT_TIMESTAMPS:
            return False
        # A wrong time that is within the reorder depth falls between two others, at a small step.
        steps = np.diff(times[order])
        return bool(len(steps)) and bool(2 * steps.min() < np.median(steps))


def read_packets(file: VideoFile, *, name: str) -> PacketTable:
    """Read all packets of a video, and decode its first picture.

    Raises:
        UnreadableChunk: the video cannot be read, or none of its pictures can be decoded.
    """
    rows: list[tuple[int, int, int, bool, bool]] = []
    orders: list[DisplayPosition | None] = []
    packs_pictures = has_inter_keyframes = has_new_extradata = False
    first: VideoFrame | None = None
    with Container(file, name=name) as container:
        extradata = container.extradata
        finder = RandomAccessFinder(container.codec, extradata)
        reader = PictureOrderParser(container.codec, extradata)
        is_vp9 = container.codec == "vp9"
        container.configure_decoder(threads=1, options={})
        for packet in container.packets():
            data = bytes(packet)
            is_new = packet.has_sidedata("new_extradata")
            has_new_extradata |= is_new
            finder.inspect(data, has_new_extradata=is_new)
            said = reader.parse(data)
            orders.append(said.order)
            packs_pictures |= is_vp9 and count_shown_pictures(data) > 1
            has_inter_keyframes |= packet.is_keyframe and said.is_intra is False
            pts = NO_PTS if packet.pts is None else packet.pts
            dts = NO_PTS if packet.dts is None else packet.dts
            shown = said.has_picture and container.is_shown(packet)
            rows.append((pts, dts, packet.duration or 0, packet.is_keyframe, shown))
            first = first or decode_first(container, packet)
        first = first or decode_first(container, None)
        stream = container.stream_properties()
        if first is None or stream is None:
            raise UnreadableChunk(
                f"{name} contains no picture that can be decoded, so it is damaged or cut "
                "short: give another video"
            )
        times, order, durations, keys, shows = zip(*rows, strict=True)
        stated = np.array(times, np.int64)
        unwrapped = (
            _without_backward_wraps(stated) if container.format in _WRAPPING_CONTAINERS else stated
        )
        return PacketTable(
            first_picture=first,
            stream=stream,
            pts=unwrapped,
            dts=np.array(order, np.int64),
            duration=np.array(durations, np.int64),
            is_key=np.array(keys, np.bool_),
            is_shown=np.array(shows, np.bool_),
            is_random_access=finder.mask(),
            is_damaged=container.has_corrupt_packets,
            has_backward_wrap=not np.array_equal(unwrapped, stated),
            is_in_order=_is_in_order(unwrapped, shows, orders),
            has_packed_pictures=packs_pictures,
            is_progressive=is_progressive(container, first) and not reader.may_have_fields,
            is_cut_short=container.is_cut_short(),
            has_inter_keyframes=has_inter_keyframes,
            has_one_format=False if has_new_extradata else reader.has_one_format,
        )


def _without_backward_wraps(pts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Undo FFmpeg's unwrapping where it turned a step back into a jump ahead by a full period."""
    known = np.flatnonzero(pts > NO_PTS)
    if not (np.diff(pts[known]) > _MPEG_CLOCK_PERIOD // 2).any():
        return pts
    unwrapped, before = pts.copy(), int(pts[known[0]])
    for position in known.tolist():
        ahead = int(pts[position]) - before
        before += ahead - _MPEG_CLOCK_PERIOD * round(ahead / _MPEG_CLOCK_PERIOD)
        unwrapped[position] = before
    return unwrapped


def decode_first(container: Container, packet: VideoPacket | None) -> VideoFrame | None:
    """Return the first picture that a packet, or the end, makes the decoder output, if any."""
    try:
        return next(iter(container.decode(packet)), None)
    except DecoderError:
        return None


def is_progressive(container: Container, first: VideoFrame) -> bool:
    """Return True if neither the stream nor its first picture is marked as interlaced."""
    field_order = container.stream.codec_context.field_order
    return field_order in _PROGRESSIVE and not first.interlaced_frame


def _is_in_order(
    pts: npt.NDArray[np.int64], shows: Sequence[bool], orders: Sequence[DisplayPosition | None]
) -> bool | None:
    """Return True if PTS ascend in the stated display order; None if that order is not known."""
    known = [
        (order, int(time))
        for time, is_shown, order in zip(pts.tolist(), shows, orders, strict=True)
        if is_shown and order is not None
    ]
    if len(known) < sum(shows):
        return None
    times = [time for _, time in sorted(known)]
    return all(before < after for before, after in pairwise(times))


_SUPERFRAME_MARKER: Final = 0b110
_PROFILE_3: Final = 3


def count_shown_pictures(packet: bytes) -> int:
    """Return the number of shown pictures in a VP9 packet; 1 if its bytes cannot be parsed.

    A packet may hold several (VP9 bitstream specification, annex B).
    """
    try:
        return sum(_is_shown(head) for head in _frame_headers(packet))
    except IndexError:
        return 1


def _frame_headers(packet: bytes) -> list[bytes]:
    marker = packet[-1]
    count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index_bytes = 2 + count * size_bytes
    if marker >> 5 != _SUPERFRAME_MARKER or packet[-index_bytes] != marker:
        return [packet[:1]]
    heads, begin = list[bytes](), 0
    for number in range(count):
        at = len(packet) - index_bytes + 1 + number * size_bytes
        size = int.from_bytes(packet[at : at + size_bytes], "little")
        if size:
            heads.append(packet[begin : begin + 1])
        begin += size
    return heads


def _is_shown(head: bytes) -> bool:
    """Return True if ``show_existing_frame`` or ``show_frame`` is set (6.2)."""
    skipped = 5 if head[0] >> 4 & _PROFILE_3 == _PROFILE_3 else 4
    is_repeated = head[0] >> (7 - skipped) & 1
    return bool(is_repeated or head[0] >> (5 - skipped) & 1)
