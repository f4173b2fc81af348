"""Which frames a video shows, and when."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from framecache.errors import BadChunk
from framecache.video import limits
from framecache.video.boundary import VideoFile, typed_reading
from framecache.video.boxes import check_boxes
from framecache.video.display import DisplayOrder, PacketAccount, display_order
from framecache.video.pictures import Decoded
from framecache.video.survey import Survey, survey_packets

SCAN_RULES: Final = 2
"""Version of the rules by which frames are counted and timed.

1: a frame was identified by its PTS. 2: by its place in display order.
"""

StreamClock = Literal["mpegts", "fmp4"]
"""A clock that goes on from one file of a stream to the next."""

_SOUND_FRAME_SECONDS: Final = Fraction(1, 10)
"""Sound ends with a whole frame of its own, and so up to this much after the last picture."""
_MOST_SECONDS_BY_HEADER: Final = 10
"""A header that states more after the last picture is not believed, unless there is sound."""
_LEAST_SECONDS: Final = Fraction(1, 1000)
"""What headers round their durations to."""


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
    """The end of the video: that of its last frame, or of its sound where that is later."""
    picture_end_pts: int
    """When the last frame has been on screen for its duration."""
    width: int
    """Pixels of the first frame as seen, its rotation applied."""
    height: int
    """Pixels of the first frame as seen, its rotation applied."""
    sample_aspect_ratio: Fraction
    """Width by height of a pixel as seen, its rotation applied."""
    codec: str
    """FFmpeg's name of it, such as ``h264``."""
    container: str
    """FFmpeg's name of it: ``mov``, ``matroska``, ``mpegts``, ``avi`` or ``ogg``."""
    is_entry: npt.NDArray[np.bool_]
    """Whether decoding can begin at each of them with the same result as from the beginning."""
    leads_from: npt.NDArray[np.int64]
    """The earliest PTS of what is decoded from each entry on; of other frames, their own PTS."""
    packets: npt.NDArray[np.int64] | None
    """The number of each frame's packet, in decoding order; None where its PTS identifies it."""
    has_one_picture_a_packet: bool
    """Whether each packet is the whole of one picture."""
    times_replaced: int
    """Frames whose PTS is missing in the video, repeats, goes back or strays."""
    clock_restarts: int
    """Places at which the clock of the video begins again."""
    account: PacketAccount
    """What became of every packet."""
    is_cut_short: bool
    """Whether the file ends before it says, so that frames are missing at its end."""
    stream_clock: StreamClock | None
    """The clock that other files of the same stream share; None when it has none of its own."""
    clock_start_seconds: Fraction
    """The first frame's time on the video's own clock."""
    clock_end_seconds: Fraction | None
    """``picture_end_pts`` on the video's own clock; None when no time of it is sound."""


@typed_reading
def scan(file: VideoFile, *, name: str) -> VideoScan:
    """List the frames that a video shows.

    Reads all packets and decodes the first picture only. Where packets leave a doubt, it
    decodes as much as it takes to be certain: the beginning of a video cut out of a longer one;
    all of one that is cut short, interlaced, without PTS or with PTS that repeat or stray, or of
    a codec whose packets do not tell. Times that do not ascend are mended; docs/frames.md gives
    the rule. A frame that the decoder cannot produce is listed when its packet names its time.

    Args:
        file: the video; what its ``read`` and ``seek`` raise surfaces unchanged.
        name: what messages call the video.

    Raises:
        BadChunk: it is empty, not a video in a container that is read here, has no video
            stream, not one picture of it can be decoded, its times cannot be mended, or it is
            beyond one of the limits.
    """
    boxes = check_boxes(file, name=name)
    survey = survey_packets(file, name=name)
    is_cut_short = boxes.is_cut_short or survey.is_cut_short
    order = display_order(file, survey, name=name)
    frames = order.frames
    picture_end_pts = _picture_end(order, survey)
    end_pts = picture_end_pts if is_cut_short else _end(order, survey, picture_end_pts)
    _check_times(frames[0].pts, end_pts, order.time_base, name)
    pts = np.array([frame.pts for frame in frames], np.int64)
    entries = survey.entries() if order.is_by_pts else {}
    first = Decoded(0, survey.first)
    height, width = first.size()
    has_clock_at_end = order.last_shift is not None
    return VideoScan(
        time_base=order.time_base,
        pts=pts,
        is_key=np.array([frame.key for frame in frames], np.bool_),
        end_pts=end_pts,
        picture_end_pts=picture_end_pts,
        width=width,
        height=height,
        sample_aspect_ratio=(
            1 / survey.sample_aspect_ratio if first.is_turned() else survey.sample_aspect_ratio
        ),
        codec=survey.codec,
        container=survey.container,
        is_entry=np.isin(pts, list(entries)),
        leads_from=np.array([entries.get(one, one) for one in pts.tolist()], np.int64),
        packets=None if order.is_by_pts else np.array([one.packet for one in frames], np.int64),
        has_one_picture_a_packet=survey.has_one_picture_a_packet,
        times_replaced=order.times_replaced,
        clock_restarts=order.clock_restarts,
        account=order.account,
        is_cut_short=is_cut_short,
        stream_clock=_stream_clock(survey.container, is_fragmented=boxes.has_fragments),
        clock_start_seconds=frames[0].pts * order.time_base,
        clock_end_seconds=(
            (picture_end_pts - (order.last_shift or 0)) * order.time_base
            if has_clock_at_end
            else None
        ),
    )


def _stream_clock(container: str, *, is_fragmented: bool) -> StreamClock | None:
    if container == "mpegts":
        return "mpegts"
    return "fmp4" if container == "mov" and is_fragmented else None


def _picture_end(order: DisplayOrder, survey: Survey) -> int:
    """The PTS at which the last frame has been on screen for its duration."""
    last = order.frames[-1]
    if order.is_by_pts and last.duration > 0 and not survey.is_progressive:
        # The duration may be that of a field.
        step = last.pts - order.frames[-2].pts if len(order.frames) > 1 else 0
        return last.pts + max(last.duration, min(step, 2 * last.duration))
    # AVI, which names no PTS, may count durations in other units than times.
    if order.is_by_pts and last.duration > 0:
        return last.pts + last.duration
    if len(order.frames) > 1:
        return last.pts + last.pts - order.frames[-2].pts
    return last.pts + int(survey.average_step * survey.time_base / order.time_base)


def _end(order: DisplayOrder, survey: Survey, picture_end: int) -> int:
    """The PTS at which the video ends: later than its last frame where sound goes on."""
    if survey.is_damaged or not order.is_by_pts:
        return picture_end
    last = picture_end * order.time_base
    ends = [survey.sound_end_seconds, survey.stated_end_seconds]
    if ends[1] is not None and ends[1] > last + _MOST_SECONDS_BY_HEADER:
        ends.pop()
    end = max((one for one in ends if one is not None), default=last)
    return (
        int(end / order.time_base)
        if end - last > _guess_seconds(order, picture_end)
        else picture_end
    )


def _guess_seconds(order: DisplayOrder, picture_end: int) -> Fraction:
    """How far the end of the last frame may be off.

    At an even pace the last frame is as long as the others, and sound ends a little later.
    Otherwise its duration is a guess of the program that wrote the file.
    """
    steps = np.diff([*(frame.pts for frame in order.frames), picture_end])
    jitter = int(steps.max() - steps.min()) * order.time_base
    if len(steps) > 1 and jitter <= max(2 * order.time_base, 2 * _LEAST_SECONDS):
        return max(_SOUND_FRAME_SECONDS, int(steps.max()) * order.time_base)
    return _LEAST_SECONDS


def _check_times(first: int, end: int, time_base: Fraction, name: str) -> None:
    if (end - first) * time_base > limits.MAX_SECONDS:
        raise BadChunk(
            f"{name} spans {float((end - first) * time_base):.0f} s, more than the "
            f"{limits.MAX_SECONDS} of a chunk, so its times are damaged: repair it, or cut it"
        )
    if first < -limits.MAX_PTS or end > limits.MAX_PTS:
        raise BadChunk(f"{name} has times out of all reason, so they are damaged: repair it")
