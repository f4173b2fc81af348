"""Scan of a video: the frames that it shows, and their times."""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from framecache._media.video import limits
from framecache._media.video.decoded import Decoded
from framecache._media.video.display import DisplayOrder, PacketCounts, display_order
from framecache._media.video.error_boundary import (
    VideoFile,
    expect_ranges,
    translate_read_errors,
)
from framecache._media.video.mp4 import Mp4Info, check_mp4
from framecache._media.video.packet_table import PacketTable, read_packets
from framecache._media.video.sample_tables import SampleTable, read_tables
from framecache.errors import UnreadableChunk

SCAN_RULES: Final = 2
"""Version of the rules by which frames are counted and timed.

In version 1 a frame was identified by its PTS, in version 2 by its position in display order.
"""

StreamClock = Literal["mpegts", "fmp4"]
"""Clock that continues from one file of a stream to the next."""

_SOUND_FRAME_SECONDS: Final = Fraction(1, 10)
"""Maximum time by which sound ends after the last picture because its last frame is whole."""
_MAX_HEADER_TAIL_SECONDS: Final = 10
"""Maximum time from the last picture to the end stated by the header; a later end is ignored.

The end of the sound has no such limit.
"""
_HEADER_PRECISION_SECONDS: Final = Fraction(1, 1000)
"""Precision to which headers round durations."""
_MIN_TABLES_FILE_BYTES: Final = 4 * 2**20
"""Size of a file from which on its sample tables are used; a smaller one is read as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoScan:
    """Frames that a video shows, with properties of the video."""

    time_base: Fraction
    """Duration of one unit of PTS in seconds."""
    pts: npt.NDArray[np.int64]
    """Presentation times of the displayed frames, ascending, without duplicates."""
    is_key: npt.NDArray[np.bool_]
    """True for each frame that the video marks as a keyframe."""
    end_pts: int
    """End of the video: end of its last frame, or of its sound if that is later."""
    picture_end_pts: int
    """End of the last frame: its PTS plus its duration."""
    width: int
    """Width of the first frame in pixels, with its rotation applied."""
    height: int
    """Height of the first frame in pixels, with its rotation applied."""
    sample_aspect_ratio: Fraction
    """Width of a pixel divided by its height, with the rotation applied."""
    codec: str
    """FFmpeg's name of the codec, such as ``h264``."""
    container: str
    """FFmpeg's name of the container, such as ``mov``, ``matroska``, ``mpegts``, ``avi``, ``ogg``.
    """
    file_start_seconds: Fraction | None
    """Earliest time of the video and the sound, as FFmpeg states it; None if unknown."""
    is_random_access: npt.NDArray[np.bool_]
    """True for each frame at which decoding can begin with the same result as from the start."""
    earliest_pts: npt.NDArray[np.int64]
    """Earliest PTS of the frames decoded from each entry on; the own PTS of other frames."""
    packet_numbers: npt.NDArray[np.int64] | None
    """Number of each frame's packet, in decoding order; None if PTS identify the frames."""
    has_one_picture_per_packet: bool
    """True if each packet holds exactly one whole picture."""
    times_replaced: int
    """Number of frames whose PTS is missing in the video, repeats, goes back or is an outlier."""
    clock_restarts: int
    """Number of places at which the clock of the video restarts."""
    packet_counts: PacketCounts
    """Number of packets by outcome."""
    is_cut_short: bool
    """True if the file ends before its stated end, so frames are missing at its end."""
    has_inter_keyframes: bool | None
    """True if a keyframe refers to other pictures, as with intra refresh; None if not known."""
    has_one_format: bool | None
    """True if no packet changes the format of the pictures; None if that is not known."""
    has_other_video: bool
    """True if a program may show another video of the file, or a picture that comes before."""
    stream_clock: StreamClock | None
    """Clock that other files of the same stream share; None if files have independent clocks."""
    clock_start_seconds: Fraction
    """Time of the first frame on the video's own clock."""
    clock_end_seconds: Fraction | None
    """``picture_end_pts`` on the video's own clock; None if none of its times is valid."""
    samples: SampleTable | None = None
    """Samples from which the frames were listed, in a video described by its sample tables."""

    @property
    def has_closed_groups(self) -> bool | None:
        """True if decoding from each keyframe yields all frames that follow in the packets.

        None if that is not known: sample tables are not proof of where decoding can begin.
        """
        if self.samples is not None:
            return None
        enters = self.is_random_access & (self.earliest_pts == self.pts)
        return bool(enters[self.is_key].all())

    def has_same_frames(self, other: "VideoScan") -> bool:
        """Return True if two descriptions of a video list the same frames with the same times."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _PLANNED_FIELDS
        )


@translate_read_errors
def scan(file: VideoFile, *, name: str) -> VideoScan:
    """List the frames that a video shows.

    All packets are read, and in most videos only the first picture is decoded. If the packets
    leave a doubt, as much is decoded as needed to resolve it: the beginning of a video that was
    cut out of a longer one; the whole of a video that is cut short, is interlaced, has no PTS or
    PTS that repeat or are out of order, or has a codec whose packets do not determine the pictures
    shown. Times that do not ascend are repaired; docs/frames.md gives the rule. A frame that the
    decoder cannot output is listed if its packet states its time.

    Args:
        file: the video; errors that its ``read`` and ``seek`` raise pass unchanged.
        name: name of the video in error messages.

    Raises:
        UnreadableChunk: the file is empty, is not a video in a supported container, has no video
            stream or no picture that can be decoded, has times that cannot be repaired, or exceeds
            one of the limits.
    """
    boxes = check_mp4(file, name=name)
    expect_ranges(file, None)
    return _summarize(file, boxes, read_packets(file, name=name), None, name=name)


@translate_read_errors
def describe(file: VideoFile, *, name: str) -> VideoScan:
    """List the frames that a video shows, by its sample tables if they can be trusted.

    Only large MP4 files are described by their tables; all others are scanned.

    Args:
        file: as for `scan`.
        name: as for `scan`.

    Raises:
        UnreadableChunk: as for `scan`.
    """
    boxes = check_mp4(file, name=name)
    if file.seek(0, os.SEEK_END) >= _MIN_TABLES_FILE_BYTES:
        found = read_tables(file, boxes, name=name)
        if found is not None:
            return _summarize(file, boxes, *found, name=name)
    expect_ranges(file, None)
    return _summarize(file, boxes, read_packets(file, name=name), None, name=name)


def _summarize(
    file: VideoFile,
    boxes: Mp4Info,
    survey: PacketTable,
    samples: SampleTable | None,
    *,
    name: str,
) -> VideoScan:
    is_cut_short = boxes.is_cut_short or survey.is_cut_short
    order = display_order(file, survey, name=name)
    frames = order.frames
    picture_end_pts = _last_frame_end(order, survey)
    end_pts = picture_end_pts if is_cut_short else _end_pts(order, survey, picture_end_pts)
    _check_times(frames[0].pts, end_pts, order.time_base, name)
    pts = np.array([frame.pts for frame in frames], np.int64)
    entries = survey.random_access_points() if order.has_packet_pts else {}
    first = Decoded(0, survey.first_picture)
    height, width = first.size()
    has_clock_at_end = order.final_offset is not None
    return VideoScan(
        time_base=order.time_base,
        pts=pts,
        is_key=np.array([frame.is_key for frame in frames], np.bool_),
        end_pts=end_pts,
        picture_end_pts=picture_end_pts,
        width=width,
        height=height,
        sample_aspect_ratio=(
            1 / survey.stream.sample_aspect_ratio
            if first.is_transposed()
            else survey.stream.sample_aspect_ratio
        ),
        codec=survey.stream.codec,
        container=survey.stream.container,
        file_start_seconds=survey.stream.file_start_seconds,
        is_random_access=np.isin(pts, list(entries)),
        earliest_pts=np.array([entries.get(one, one) for one in pts.tolist()], np.int64),
        packet_numbers=None
        if order.has_packet_pts
        else np.array([one.packet for one in frames], np.int64),
        has_one_picture_per_packet=survey.has_one_picture_per_packet,
        times_replaced=order.times_replaced,
        clock_restarts=order.clock_restarts,
        packet_counts=order.packet_counts,
        is_cut_short=is_cut_short,
        has_inter_keyframes=survey.has_inter_keyframes,
        has_one_format=survey.has_one_format,
        has_other_video=survey.stream.has_other_video,
        stream_clock=_stream_clock(survey.stream.container, is_fragmented=boxes.has_fragments),
        clock_start_seconds=frames[0].pts * order.time_base,
        clock_end_seconds=(
            (picture_end_pts - (order.final_offset or 0)) * order.time_base
            if has_clock_at_end
            else None
        ),
        samples=samples,
    )


_PLANNED_FIELDS: Final = (
    *("time_base", "pts", "is_key", "end_pts", "picture_end_pts", "width", "height"),
    *("sample_aspect_ratio", "codec", "container", "file_start_seconds", "packet_numbers"),
    *("has_one_picture_per_packet", "times_replaced", "clock_restarts", "packet_counts"),
    *("is_cut_short", "has_other_video", "stream_clock", "clock_start_seconds"),
    "clock_end_seconds",
)
"""Fields on which numbers and times depend. Where decoding can begin is checked while decoding."""


def _stream_clock(container: str, *, is_fragmented: bool) -> StreamClock | None:
    if container == "mpegts":
        return "mpegts"
    return "fmp4" if container == "mov" and is_fragmented else None


def _last_frame_end(order: DisplayOrder, packets: PacketTable) -> int:
    """Return the end of the last frame: its PTS plus its duration."""
    last = order.frames[-1]
    if order.has_packet_pts and last.duration > 0 and not packets.is_progressive:
        # The duration may be that of a single field.
        step = last.pts - order.frames[-2].pts if len(order.frames) > 1 else 0
        return last.pts + max(last.duration, min(step, 2 * last.duration))
    # AVI, which states no PTS, may state durations in units different from those of times.
    if order.has_packet_pts and last.duration > 0:
        return last.pts + last.duration
    if len(order.frames) > 1:
        return last.pts + last.pts - order.frames[-2].pts
    return last.pts + int(packets.stream.average_step * packets.stream.time_base / order.time_base)


def _end_pts(order: DisplayOrder, packets: PacketTable, picture_end: int) -> int:
    """Return the PTS at which the video ends: after its last frame if sound continues."""
    if packets.is_damaged or not order.has_packet_pts:
        return picture_end
    last = picture_end * order.time_base
    ends = [packets.stream.sound_end_seconds, packets.stream.header_end_seconds]
    if ends[1] is not None and ends[1] > last + _MAX_HEADER_TAIL_SECONDS:
        ends.pop()
    end = max((one for one in ends if one is not None), default=last)
    return (
        int(end / order.time_base)
        if end - last > _end_tolerance(order, picture_end)
        else picture_end
    )


def _end_tolerance(order: DisplayOrder, picture_end: int) -> Fraction:
    """Return how far after the pictures an end is still that of the last frame, in seconds.

    At a constant frame rate the last frame is as long as the others, and sound ends a little
    later. Otherwise the duration of the last frame is a guess of the program that wrote the file.
    """
    steps = np.diff([*(frame.pts for frame in order.frames), picture_end])
    jitter = int(steps.max() - steps.min()) * order.time_base
    if len(steps) > 1 and jitter <= max(2 * order.time_base, 2 * _HEADER_PRECISION_SECONDS):
        return max(_SOUND_FRAME_SECONDS, int(steps.max()) * order.time_base)
    return _HEADER_PRECISION_SECONDS


def _check_times(first: int, end: int, time_base: Fraction, name: str) -> None:
    if (end - first) * time_base > limits.MAX_SECONDS:
        raise UnreadableChunk(
            f"{name} spans {float((end - first) * time_base):.0f} s, more than the "
            f"{limits.MAX_SECONDS} of a chunk, so its times are damaged: repair it, or cut it"
        )
    if first < -limits.MAX_PTS or end > limits.MAX_PTS:
        raise UnreadableChunk(f"{name} has implausible times, so they are damaged: repair it")
