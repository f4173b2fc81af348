"""The packets of a video: what they say of its pictures, before more than one is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from framecache.errors import BadChunk
from framecache.video.boundary import VideoFile
from framecache.video.container import Container, DecoderError, VideoPacket
from framecache.video.entries import EntryFinder
from framecache.video.picture_order import Order, OrderReader
from framecache.video.superframes import shown_pictures

NEVER: Final = int(np.iinfo(np.int64).max)
UNKNOWN: Final = int(np.iinfo(np.int64).min)
"""The PTS of a packet that states none."""

_ONE_PICTURE_A_PACKET: Final = frozenset(
    {"av1", "ffv1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"}
)
"""Codecs whose packets tell which pictures are shown. Others may repeat, drop or pack some."""

_DROPS_LEADING_PICTURES: Final = frozenset({"hevc", "vvc"})
"""Codecs whose decoders begin at any keyframe cleanly, dropping what needs earlier pictures."""

_STATES_NO_PTS: Final = frozenset({"avi"})
"""Containers whose PTS FFmpeg takes from the order of decoding."""

_REORDERS_NOTHING: Final = frozenset({"ffv1", "mjpeg", "prores", "vp8"})
"""Codecs whose order of decoding is the order of showing."""

_STAMPED_BY_RECORDERS: Final = frozenset({"mpegts"})
"""Containers in which every picture carries a time of its own, right or wrong."""

_WRAPS: Final = frozenset({"mpegts"})
_TURN: Final = 2**33
"""Ticks after which the clock of MPEG begins again at 0 (ISO/IEC 13818-1, 2.4.3.7)."""

_MOST_REORDERED: Final = 16
"""Pictures that may be decoded before one that is shown before them all."""

_PROGRESSIVE: Final = (0, 1)
"""AVFieldOrder unknown and progressive; with others, a packet may hold half a picture."""


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame the video shows, and the packet it comes from."""

    pts: int
    duration: int
    key: bool
    packet: int
    """Its number, from 0, in decoding order."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What the packets of a video say, in the order of decoding."""

    first: VideoFrame
    """The first picture the decoder gave."""
    sample_aspect_ratio: Fraction
    """Width by height of a stored pixel."""
    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.bool_]
    """Whether a packet's picture is meant to be shown: not when an edit list leaves it out."""
    begins: npt.NDArray[np.bool_]
    """Whether a decoder can begin with a packet."""
    is_damaged: bool
    has_backward_wrap: bool
    """Whether FFmpeg took a clock that goes back for one that wraps around."""
    is_in_order: bool | None
    """Whether PTS ascend in the order of showing that the pictures state; None: not known."""
    packs_pictures: bool
    """Whether a packet holds more than one picture that is shown."""
    is_progressive: bool
    codec: str
    container: str
    time_base: Fraction
    average_step: int
    reorder_depth: int
    """Pictures that the decoder holds back to order them, as far as it knows."""
    sound_end_seconds: Fraction | None
    """The end of the sound on the clock of the PTS; None when unknown."""
    stated_end_seconds: Fraction | None
    """The end that the header of the file states, on the same clock; None where it does not."""
    is_cut_short: bool
    """Whether the file ends before its header says."""

    @property
    def has_one_picture_a_packet(self) -> bool:
        """Whether each packet is the whole of one picture."""
        is_known = self.codec in _ONE_PICTURE_A_PACKET and not self.packs_pictures
        return is_known and self.is_progressive

    @property
    def states_pts(self) -> bool:
        """Whether the container states when pictures are shown, be it wrongly."""
        is_stated = self.container not in _STATES_NO_PTS or self.codec in _REORDERS_NOTHING
        return is_stated and bool((self.pts[self.shown] > UNKNOWN).any())

    def frames(self, *, since: int = UNKNOWN) -> list[ShownFrame]:
        """The frames that packets of that PTS or later tell of, in order of time."""
        wanted = np.flatnonzero(self.shown & (self.pts >= since) & (self.pts > UNKNOWN))
        return [self.frame(packet) for packet in wanted[np.argsort(self.pts[wanted])].tolist()]

    def frame(self, packet: int) -> ShownFrame:
        """The frame of a packet, as the packet tells."""
        return ShownFrame(
            int(self.pts[packet]), int(self.duration[packet]), bool(self.key[packet]), packet
        )

    def doubtful_until(self) -> int:
        """The PTS before which packets do not tell which pictures the decoder shows."""
        times = self.pts[self.shown]
        keys = np.flatnonzero(self.key)
        if not (self.has_one_picture_a_packet and len(keys) and self.states_pts):
            return NEVER
        is_suspect = self.is_damaged or self.has_backward_wrap
        if is_suspect or len(np.unique(times)) < len(times) or self._may_stray(times):
            return NEVER
        # Pictures shown before the first keyframe need others that are not there. Some decoders
        # show them all the same.
        doubtful = (times < self.pts[keys[0]]) | (times == UNKNOWN)
        if not doubtful.any():
            return UNKNOWN
        if len(keys) == 1 or (self.pts[keys[1] :] == UNKNOWN).any():
            return NEVER
        return int(self.pts[keys[1]])

    def named(self) -> npt.NDArray[np.bool_]:
        """Of each packet, whether its picture is shown, and no other at the same PTS."""
        _, first, counts = np.unique(self.pts[self.shown], return_index=True, return_counts=True)
        named = np.zeros(len(self.pts), np.bool_)
        named[np.flatnonzero(self.shown)[first[counts == 1]]] = True
        return named & (self.pts > UNKNOWN)

    def entries(self) -> dict[int, int]:
        """Packets that split the video: what is decoded before is shown before, and so on.

        By their PTS, the earliest one among them and all packets after them.
        """
        if not self._is_orderly():
            return {}
        before = np.maximum.accumulate(np.concatenate([[UNKNOWN], self.pts[:-1]]))
        known = np.where(self.pts > UNKNOWN, self.pts, NEVER)
        since = np.minimum.accumulate(known[::-1])[::-1]
        entry = self.key & self.begins & (before < self.pts)
        if self.codec not in _DROPS_LEADING_PICTURES:
            entry &= self.pts == since
        return dict(zip(self.pts[entry].tolist(), since[entry].tolist(), strict=True))

    def _is_orderly(self) -> bool:
        """Whether packets are no further from their places in time than codecs take them."""
        pts = self.pts[self.pts > UNKNOWN]
        away = np.argsort(pts, kind="stable") - np.arange(len(pts))
        return bool((np.abs(away) <= _MOST_REORDERED).all())

    def _may_stray(self, times: npt.NDArray[np.int64]) -> bool:
        """Whether the decoder may show pictures in another order than that of their PTS."""
        if self.is_in_order is not None:
            return not self.is_in_order
        order = np.argsort(times, kind="stable")
        late = order - np.arange(len(times))
        if (late > self.reorder_depth).any() or (late < -_MOST_REORDERED).any():
            return True
        if self.reorder_depth == 0 or self.container not in _STAMPED_BY_RECORDERS:
            return False
        # A time that strays by less than the decoder reorders still lands between two others.
        steps = np.diff(times[order])
        return bool(len(steps)) and bool(2 * steps.min() < np.median(steps))


def survey_packets(file: VideoFile, *, name: str) -> Survey:
    """Read all packets of a video, and decode its first picture.

    Raises:
        BadChunk: it cannot be read, or not one picture of it can be decoded.
    """
    rows: list[tuple[int, int, int, bool, bool]] = []
    orders: list[Order | None] = []
    packs_pictures = False
    first: VideoFrame | None = None
    with Container(file, name=name) as container:
        extradata = container.stream.codec_context.extradata
        finder = EntryFinder(container.codec, extradata)
        reader = OrderReader(container.codec, extradata)
        is_vp9 = container.codec == "vp9"
        container.set_up_decoder(threads=1, options={})
        for packet in container.packets():
            data = bytes(packet)
            finder.look(data, brings_extradata=packet.has_sidedata("new_extradata"))
            said = reader.look(data)
            orders.append(said.order)
            packs_pictures |= is_vp9 and shown_pictures(data) > 1
            pts = UNKNOWN if packet.pts is None else packet.pts
            dts = UNKNOWN if packet.dts is None else packet.dts
            shown = said.has_picture and container.shows(packet)
            rows.append((pts, dts, packet.duration or 0, packet.is_keyframe, shown))
            first = first or _picture(container, packet)
        stream = container.stream
        first = first or _picture(container, None)
        if first is None or stream.time_base is None:
            raise BadChunk(
                f"{name} holds no picture that can be decoded, so it is damaged or cut short: "
                f"give another video"
            )
        times, order, durations, keys, shows = zip(*rows, strict=True)
        stated = np.array(times, np.int64)
        unwrapped = _without_backward_wraps(stated) if container.format in _WRAPS else stated
        return Survey(
            first=first,
            sample_aspect_ratio=container.sample_aspect_ratio,
            pts=unwrapped,
            dts=np.array(order, np.int64),
            duration=np.array(durations, np.int64),
            key=np.array(keys, np.bool_),
            shown=np.array(shows, np.bool_),
            begins=finder.found(),
            is_damaged=container.has_suspect_packets,
            has_backward_wrap=not np.array_equal(unwrapped, stated),
            is_in_order=_is_in_order(unwrapped, shows, orders),
            packs_pictures=packs_pictures,
            is_progressive=_is_progressive(container, first) and not reader.may_have_fields,
            codec=container.codec,
            container=container.format,
            time_base=stream.time_base,
            average_step=container.average_step,
            reorder_depth=container.reorder_depth,
            sound_end_seconds=container.sound_end_seconds,
            stated_end_seconds=container.stated_end_seconds,
            is_cut_short=container.is_cut_short(),
        )


def _without_backward_wraps(pts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Undo FFmpeg's unwrapping where it makes a clock that goes back leap ahead by a whole turn."""
    known = np.flatnonzero(pts > UNKNOWN)
    if not (np.diff(pts[known]) > _TURN // 2).any():
        return pts
    unwrapped, before = pts.copy(), int(pts[known[0]])
    for position in known.tolist():
        ahead = int(pts[position]) - before
        before += ahead - _TURN * round(ahead / _TURN)
        unwrapped[position] = before
    return unwrapped


def _picture(container: Container, packet: VideoPacket | None) -> VideoFrame | None:
    try:
        return next(iter(container.decode(packet)), None)
    except DecoderError:
        return None


def _is_progressive(container: Container, first: VideoFrame) -> bool:
    field_order = container.stream.codec_context.field_order
    return field_order in _PROGRESSIVE and not first.interlaced_frame


def _is_in_order(
    pts: npt.NDArray[np.int64], shows: Sequence[bool], orders: Sequence[Order | None]
) -> bool | None:
    """Return whether PTS ascend in the order of showing; None where that is not known."""
    known = [
        (order, int(time))
        for time, is_shown, order in zip(pts.tolist(), shows, orders, strict=True)
        if is_shown and order is not None
    ]
    if len(known) < sum(shows):
        return None
    times = [time for _, time in sorted(known)]
    return all(before < after for before, after in pairwise(times))
