"""Which frames a video shows, and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framecache.errors import BadChunk
from framecache.video import limits
from framecache.video.boundary import VideoFile, typed_reading
from framecache.video.boxes import check_boxes
from framecache.video.container import Container, DecoderError, VideoPacket
from framecache.video.entries import EntryFinder
from framecache.video.pictures import Decoded
from framecache.video.timing import Clock

_ONE_PICTURE_A_PACKET: Final = frozenset(
    {"av1", "ffv1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"}
)
"""Codecs whose packets tell which pictures are shown. Others may repeat, drop or pack some."""

_DROPS_LEADING_PICTURES: Final = frozenset({"hevc", "vvc"})
"""Codecs whose decoders begin at any keyframe cleanly, dropping what needs earlier pictures."""

_MOST_REORDERED: Final = 16
"""Pictures that may be decoded before one that is shown before them all."""

_PROGRESSIVE: Final = (0, 1)
"""AVFieldOrder unknown and progressive; with others, a packet may hold half a picture."""

_NEVER: Final = np.iinfo(np.int64).max
_UNKNOWN: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class VideoScan:
    """The frames a video shows."""

    time_base: Fraction
    """Seconds of one unit of PTS."""
    pts: npt.NDArray[np.int64]
    """Presentation times of the displayed frames, ascending, without duplicates."""
    is_key: npt.NDArray[np.bool_]
    """Whether the video marks each of them as a keyframe."""
    end_pts: int
    """When the last frame has been on screen for its duration."""
    width: int
    """Pixels of the first frame as seen, its rotation applied."""
    height: int
    """Pixels of the first frame as seen, its rotation applied."""
    codec: str
    """FFmpeg's name of it, such as ``h264``."""
    container: str
    """FFmpeg's name of it: ``mov``, ``matroska``, ``mpegts``, ``avi`` or ``ogg``."""
    is_entry: npt.NDArray[np.bool_]
    """Whether decoding can begin at each of them with the same result as from the beginning."""
    leads_from: npt.NDArray[np.int64]
    """The earliest PTS of what is decoded from each entry on; of other frames, their own PTS."""
    packets_have_pts: bool
    """Whether the packet of each displayed frame carries the PTS of that frame."""


@typed_reading
def scan(file: VideoFile, *, name: str) -> VideoScan:
    """List the frames that a video shows.

    Reads all packets and decodes the first picture only. Where packets leave a doubt, it
    decodes as much as it takes to be certain: the beginning of a video cut out of a longer one;
    all of one that is cut short, interlaced, without PTS, or of a codec whose packets do not
    tell. A frame that the decoder cannot produce is listed when its packet names its time.

    Args:
        file: the video; what its ``read`` and ``seek`` raise surfaces unchanged.
        name: what messages call the video.

    Raises:
        BadChunk: it is empty, not a video in a container that is read here, has no video
            stream, not one picture of it can be decoded, or it is beyond one of the limits.
    """
    check_boxes(file, name=name)
    survey = _survey(file, name)
    until = survey.doubtful_until()
    displayed = survey.displayed(since=until)
    if until > _UNKNOWN:
        displayed |= _decoded(file, name, survey, until=until)
    packets_have_pts = survey.names(displayed)
    times = sorted(displayed)
    end_pts = _end(times, displayed, survey.average_step, believe=packets_have_pts)
    _check_times(times[0], end_pts, survey.time_base, name)
    pts = np.array(times, np.int64)
    keys = survey.keys() if packets_have_pts else [p for p, one in displayed.items() if one.key]
    entries = survey.entries() if packets_have_pts else {}
    height, width = Decoded(0, survey.first).size()
    return VideoScan(
        time_base=survey.time_base,
        pts=pts,
        is_key=np.isin(pts, keys),
        end_pts=end_pts,
        width=width,
        height=height,
        codec=survey.codec,
        container=survey.container,
        is_entry=np.isin(pts, list(entries)),
        leads_from=np.array([entries.get(one, one) for one in times], np.int64),
        packets_have_pts=packets_have_pts,
    )


@dataclass(frozen=True, slots=True)
class _Displayed:
    duration: int
    key: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Survey:
    """What the packets of a video say, in the order of decoding."""

    first: VideoFrame
    """The first picture the decoder gave."""
    pts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.bool_]
    """Whether a packet's picture is meant to be shown: not when an edit list leaves it out."""
    begins: npt.NDArray[np.bool_]
    """Whether a decoder can begin with a packet."""
    is_damaged: bool
    is_progressive: bool
    codec: str
    container: str
    time_base: Fraction
    average_step: int

    def displayed(self, *, since: int) -> dict[int, _Displayed]:
        """By PTS, the frames that packets of that PTS or later tell of."""
        wanted = self.shown & (self.pts >= since) & (self.pts > _UNKNOWN)
        columns = (self.pts[wanted], self.duration[wanted], self.key[wanted])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {pts: _Displayed(duration, key) for pts, duration, key in rows}

    def doubtful_until(self) -> int:
        """The PTS before which packets do not tell which pictures the decoder shows."""
        known = self.codec in _ONE_PICTURE_A_PACKET and self.is_progressive
        times = self.pts[self.shown]
        keys = np.flatnonzero(self.key)
        if not (known and len(keys)) or self.is_damaged or len(np.unique(times)) < len(times):
            return _NEVER
        # Pictures shown before the first keyframe need others that are not there. Some decoders
        # show them all the same.
        doubtful = (times < self.pts[keys[0]]) | (times == _UNKNOWN)
        if not doubtful.any():
            return _UNKNOWN
        if len(keys) == 1 or (self.pts[keys[1] :] == _UNKNOWN).any():
            return _NEVER
        return int(self.pts[keys[1]])

    def names(self, displayed: dict[int, _Displayed]) -> bool:
        """Whether each displayed frame is the picture of exactly one packet, by its PTS."""
        times, counts = np.unique(self.pts[self.shown], return_counts=True)
        return bool(np.isin(list(displayed), times[counts == 1]).all())

    def keys(self) -> npt.NDArray[np.int64]:
        return self.pts[self.key]

    def entries(self) -> dict[int, int]:
        """Packets that split the video: what is decoded before is shown before, and so on.

        By their PTS, the earliest one among them and all packets after them.
        """
        if not self._is_orderly():
            return {}
        before = np.maximum.accumulate(np.concatenate([[_UNKNOWN], self.pts[:-1]]))
        known = np.where(self.pts > _UNKNOWN, self.pts, _NEVER)
        since = np.minimum.accumulate(known[::-1])[::-1]
        entry = self.key & self.begins & (before < self.pts)
        if self.codec not in _DROPS_LEADING_PICTURES:
            entry &= self.pts == since
        return dict(zip(self.pts[entry].tolist(), since[entry].tolist(), strict=True))

    def _is_orderly(self) -> bool:
        """Whether packets are no further from their places in time than codecs take them."""
        pts = self.pts[self.pts > _UNKNOWN]
        away = np.argsort(pts, kind="stable") - np.arange(len(pts))
        return bool((np.abs(away) <= _MOST_REORDERED).all())


def _survey(file: VideoFile, name: str) -> _Survey:
    rows: list[tuple[int, int, bool, bool]] = []
    damaged = False
    first: VideoFrame | None = None
    with Container(file, name=name) as container:
        finder = EntryFinder(container.codec, container.stream.codec_context.extradata)
        container.set_up_decoder(threads=1, options={})
        for packet in container.packets():
            finder.look(bytes(packet), brings_extradata=packet.has_sidedata("new_extradata"))
            pts = _UNKNOWN if packet.pts is None else packet.pts
            shown = container.shows(packet)
            rows.append((pts, packet.duration or 0, packet.is_keyframe, shown))
            damaged |= packet.is_corrupt
            first = first or _picture(container, packet)
        stream = container.stream
        first = first or _picture(container, None)
        if first is None or stream.time_base is None:
            raise BadChunk(
                f"{name} holds no picture that can be decoded, so it is damaged or cut short: "
                f"give another video"
            )
        times, durations, keys, shows = zip(*rows, strict=True)
        return _Survey(
            first=first,
            pts=np.array(times, np.int64),
            duration=np.array(durations, np.int64),
            key=np.array(keys, np.bool_),
            shown=np.array(shows, np.bool_),
            begins=finder.found(),
            is_damaged=damaged,
            is_progressive=_is_progressive(stream, first),
            codec=container.codec,
            container=container.format,
            time_base=stream.time_base,
            average_step=container.average_step,
        )


def _picture(container: Container, packet: VideoPacket | None) -> VideoFrame | None:
    try:
        return next(iter(container.decode(packet)), None)
    except DecoderError:
        return None


def _is_progressive(stream: VideoStream, first: VideoFrame) -> bool:
    return stream.codec_context.field_order in _PROGRESSIVE and not first.interlaced_frame


def _decoded(file: VideoFile, name: str, survey: _Survey, *, until: int) -> dict[int, _Displayed]:
    """By PTS, the frames shown before ``until``, as a decoder shows them."""
    displayed: dict[int, _Displayed] = {}
    timeless: list[_Displayed] = []
    with Container(file, name=name) as container:
        # One thread, because several lose pictures where a video ends in damage. Without the
        # loop filter pictures are coarser and times the same.
        container.set_up_decoder(threads=1, options={"skip_loop_filter": "all"})
        clock = Clock(survey.average_step)
        for frame in _frames(container):
            one = _Displayed(frame.duration, frame.key_frame)
            if not (displayed or clock.knows(frame)):
                timeless.append(one)
                continue
            pts = clock.tell(frame)
            if pts >= until:
                break
            displayed[pts] = one
    # Matroska cannot name times below zero: such frames come first, at an even pace.
    start = min(displayed, default=0) - len(timeless) * survey.average_step
    paced = {start + n * survey.average_step: one for n, one in enumerate(timeless)}
    return paced | displayed


def _frames(container: Container) -> Iterator[VideoFrame]:
    packets: Iterator[VideoPacket | None] = container.packets()
    for packet in chain(packets, [None]):
        try:
            yield from container.decode(packet)
        except DecoderError:
            continue


def _end(
    times: Sequence[int],
    displayed: dict[int, _Displayed],
    average_step: int,
    *,
    believe: bool,
) -> int:
    last = times[-1]
    # AVI, which names no PTS, may count durations in other units than times.
    if believe and displayed[last].duration > 0:
        return last + displayed[last].duration
    return last + (last - times[-2] if len(times) > 1 else average_step)


def _check_times(first: int, end: int, time_base: Fraction, name: str) -> None:
    if (end - first) * time_base > limits.MAX_SECONDS:
        raise BadChunk(
            f"{name} spans {float((end - first) * time_base):.0f} s, more than the "
            f"{limits.MAX_SECONDS} of a chunk, so its times are damaged: repair it, or cut it"
        )
    if first < -limits.MAX_PTS or end > limits.MAX_PTS:
        raise BadChunk(f"{name} has times out of all reason, so they are damaged: repair it")
