"""The frames a video shows, in display order, with ascending times."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Final

import numpy as np

from framecache.errors import BadChunk
from framecache.video.boundary import VideoFile
from framecache.video.mending import SUBDIVISIONS, mend_times
from framecache.video.outputs import DecoderOutputs, Output, decoder_outputs
from framecache.video.survey import NEVER, UNKNOWN, ShownFrame, Survey
from framecache.video.timing import BestEffortClock

_MOST_REORDERED: Final = 16


@dataclass(frozen=True, slots=True)
class PacketAccount:
    """What became of the packets of a video: each is counted once."""

    packets: int
    shown: int
    """Packets of which one picture or more is shown."""
    parts: int
    """Parts of a picture that another packet begins: second fields."""
    undecodable: int
    """Packets that the decoder refuses, whose frames keep their place on the timeline."""
    hidden: int
    """Packets whose pictures are not meant to be shown: left out by an edit list, or hidden."""
    leading: int
    """Packets before the first that can be decoded: a video cut out of a longer one."""
    refused: int
    """Packets that the decoder refuses where no shown picture follows, or of unknown time."""
    silent: int
    """Packets of which no picture comes, without an error."""

    @property
    def not_displayed(self) -> int:
        """Packets that hold a picture, as far as is known, which is not shown."""
        return self.leading + self.refused + self.silent


@dataclass(frozen=True, slots=True)
class DisplayOrder:
    """The frames a video shows, in display order."""

    frames: tuple[ShownFrame, ...]
    time_base: Fraction
    """Seconds of one unit of their PTS."""
    is_by_pts: bool
    """Whether each frame has the PTS that its packet states, and no other packet does."""
    times_replaced: int
    """Frames with another time than their own, restarts of the clock aside."""
    clock_restarts: int
    last_shift: int | None
    """Added, at the end, to the PTS that packets state; None when unknown."""
    account: PacketAccount


def display_order(file: VideoFile, survey: Survey, *, name: str) -> DisplayOrder:
    """Find the frames that a video shows, decoding as much of it as its packets leave in doubt.

    Raises:
        BadChunk: times do not ascend and cannot be mended, or packets are not accounted for.
    """
    until = survey.doubtful_until()
    order: DisplayOrder | None = None
    if until == UNKNOWN:
        order = _as_stated(survey, survey.frames())
    elif until < NEVER:
        beginning = decoder_outputs(file, name=name, before=until)
        if _are_named(beginning.pictures, survey):
            frames = [*_named_frames(beginning, survey), *survey.frames(since=until)]
            order = _as_stated(survey, frames, refused=frozenset(beginning.refused))
    if order is None:
        outputs = decoder_outputs(file, name=name)
        if _are_named(outputs.pictures, survey):
            frames = _named_frames(outputs, survey)
            order = _as_stated(survey, frames, refused=frozenset(outputs.refused))
        else:
            order = _mended(outputs, survey, name)
        _check_pictures(order, outputs, name)
    elif until == UNKNOWN and order.account.shown < int(survey.shown.sum()):
        raise BadChunk(f"{name} has packets that are not accounted for: {order.account}")
    return order


def _check_pictures(order: DisplayOrder, outputs: DecoderOutputs, name: str) -> None:
    """Check that every picture of the decoder is a frame, and every other frame undecodable."""
    pictures = len(outputs.pictures)
    if len(order.frames) != pictures + order.account.undecodable:
        raise BadChunk(
            f"{name} shows {pictures} pictures, of which not all are accounted for: {order.account}"
        )


def _as_stated(
    survey: Survey, frames: Sequence[ShownFrame], *, refused: frozenset[int] = frozenset()
) -> DisplayOrder:
    return DisplayOrder(
        frames=tuple(frames),
        time_base=survey.time_base,
        is_by_pts=True,
        times_replaced=0,
        clock_restarts=0,
        last_shift=0,
        account=_account(survey, frames, refused),
    )


def _are_named(pictures: Sequence[Output], survey: Survey) -> bool:
    """Whether pictures come in the order of PTS that their packets state, each one its own."""
    if not survey.states_pts:
        return False
    named = survey.named()
    is_own = all(
        picture.pts == survey.pts[picture.packet] and named[picture.packet] for picture in pictures
    )
    return is_own and all(
        survey.pts[before.packet] < survey.pts[after.packet] for before, after in pairwise(pictures)
    )


def _named_frames(outputs: DecoderOutputs, survey: Survey) -> list[ShownFrame]:
    """The pictures, and among them those that the decoder refuses though others follow."""
    frames = [
        ShownFrame(int(survey.pts[one.packet]), one.duration, one.key, one.packet)
        for one in outputs.pictures
    ]
    frames += [survey.frame(packet) for packet in _undecodable(outputs, survey)]
    return sorted(frames, key=lambda frame: frame.pts)


def _undecodable(outputs: DecoderOutputs, survey: Survey) -> list[int]:
    """Refused packets that name a time between two pictures, beside which no picture stands."""
    if not outputs.pictures:
        return []
    named = survey.named()
    decoded = {picture.packet for picture in outputs.pictures}
    first, last = min(decoded), max(decoded)
    return [
        packet
        for packet in outputs.refused
        if first < packet < last
        and named[packet]
        and packet not in decoded
        and not (packet - 1 in decoded and not survey.is_progressive)
    ]


def _mended(outputs: DecoderOutputs, survey: Survey, name: str) -> DisplayOrder:
    """The pictures as they come, with times that ascend."""
    frames = _stated_times(outputs, survey)
    frames = _with_undecodable(frames, [survey.frame(one) for one in _undecodable(outputs, survey)])
    times = [None if frame.pts == UNKNOWN else frame.pts for frame in frames]
    mended = mend_times(times, average_step=survey.average_step)
    if mended is None:
        raise BadChunk(
            f"{name} has pictures closer together than its times can tell, so they are damaged: "
            f"encode it again with 'ffmpeg -i FILE -fps_mode cfr COPY.mp4'"
        )
    parts = 1 if all(time.denominator == 1 for time in mended.times) else SUBDIVISIONS
    frames = [
        replace(frame, pts=int(time * parts), duration=frame.duration * parts)
        for frame, time in zip(frames, mended.times, strict=True)
    ]
    return DisplayOrder(
        frames=tuple(frames),
        time_base=survey.time_base / parts,
        is_by_pts=False,
        times_replaced=mended.replaced if survey.states_pts else 0,
        clock_restarts=mended.restarts,
        last_shift=None if mended.last_shift is None else mended.last_shift * parts,
        account=_account(survey, frames, frozenset(outputs.refused)),
    )


def _stated_times(outputs: DecoderOutputs, survey: Survey) -> list[ShownFrame]:
    """The pictures with the PTS of their packets, or as the order of decoding tells."""
    times: Sequence[int | None]
    if survey.states_pts:
        first_of = dict[int, int]()
        for position, one in enumerate(outputs.pictures):
            first_of.setdefault(one.packet, position)
        times = [
            int(survey.pts[one.packet]) if first_of[one.packet] == position else None
            for position, one in enumerate(outputs.pictures)
        ]
    else:
        times = _times_by_dts(outputs.pictures, survey)
    return [
        ShownFrame(UNKNOWN if time is None else time, one.duration, one.key, one.packet)
        for one, time in zip(outputs.pictures, times, strict=True)
    ]


def _times_by_dts(pictures: Sequence[Output], survey: Survey) -> Sequence[int | None]:
    """The times of pictures whose container states no PTS.

    Where each packet is a picture, the DTS of all packets are the times of all pictures, less
    the delay of decoding. Otherwise they are FFmpeg's best effort.
    """
    dts = survey.dts[survey.shown]
    if len(pictures) == len(dts) == len(np.unique(dts)) and (dts > UNKNOWN).all():
        return [int(time) for time in np.sort(dts)]
    clock = BestEffortClock()
    return [clock.tell(one.pts, one.dts) for one in pictures]


def _with_undecodable(
    frames: Sequence[ShownFrame], undecodable: Sequence[ShownFrame]
) -> list[ShownFrame]:
    """Put frames without a picture in their places: those of their packets, then of their times."""
    by_packet = sorted((frame.packet, position) for position, frame in enumerate(frames))
    latest = list(accumulate((position for _, position in by_packet), max))
    placed: list[tuple[int, int, ShownFrame]] = []
    for frame in undecodable:
        place = 1 + latest[bisect_left(by_packet, (frame.packet, -1)) - 1]
        for _ in range(_MOST_REORDERED):
            if place and frames[place - 1].pts > frame.pts:
                place -= 1
        placed.append((place, frame.packet, frame))
    placed.sort(key=itemgetter(0, 1))
    merged, begin = list[ShownFrame](), 0
    for place, _, frame in placed:
        merged += [*frames[begin:place], frame]
        begin = place
    return merged + list(frames[begin:])


def _account(
    survey: Survey, frames: Sequence[ShownFrame], refused: frozenset[int]
) -> PacketAccount:
    count = len(survey.pts)
    numbers = np.array([frame.packet for frame in frames], np.int64)
    is_listed = np.zeros(count, np.bool_)
    is_listed[numbers] = True
    is_refused = np.zeros(count, np.bool_)
    is_refused[[packet for packet in refused if packet < count]] = True
    rest = survey.shown & ~is_listed
    after_listed = np.concatenate([[False], is_listed[:-1]])
    parts = rest & after_listed & ~is_refused & (not survey.is_progressive)
    rest &= ~parts
    leading = rest & (np.arange(count) < (numbers.min() if len(numbers) else count))
    rest &= ~leading
    return PacketAccount(
        packets=count,
        shown=int((is_listed & ~is_refused).sum()),
        parts=int(parts.sum()),
        undecodable=int((is_listed & is_refused).sum()),
        hidden=int((~survey.shown & ~is_listed).sum()),
        leading=int(leading.sum()),
        refused=int((rest & is_refused).sum()),
        silent=int((rest & ~is_refused).sum()),
    )
