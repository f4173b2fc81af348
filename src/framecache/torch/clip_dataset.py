"""Dataset of windows of frames."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Literal, SupportsIndex, get_args

import numpy as np
import numpy.typing as npt
import torch

from framecache import InvalidValue, Timeline
from framecache._core.numeric import as_fraction, as_index, format_value, require_int
from framecache._core.times import Seconds, require_duration
from framecache._read import DecodeOptions
from framecache.model import Color
from framecache.torch.frame_dataset import FrameRange, Sequences, take
from framecache.torch.images import (
    Channels,
    FrameRequest,
    ImageOptions,
    ReadFrame,
    join,
    read_frames,
)
from framecache.torch.opened_timelines import Integers, LazyTimelines
from framecache.torch.samples import FrameSample, Target, Transform
from framecache.torch.timeline_dataset import TimelineDataset, as_numbers
from framecache.torch.windows import Windows, at_frames, at_times, gaps_after, without_gaps

Gaps = Literal["exclude", "cross"]
"""``exclude``: no window extends over a gap. ``cross``: windows may."""

_JOIN_TOLERANCE_SECONDS: Final = 0.0005
"""Chunks whose times are rounded to milliseconds do not count as apart."""


@dataclass(frozen=True, slots=True)
class Clips:
    """Windows of one timeline, over the sequences of its frames."""

    sequences: Sequences
    windows: Windows

    def __len__(self) -> int:
        return len(self.windows)

    def sequences_of(self, numbers: Integers) -> Integers:
        """Return the sequences of some windows, ``(windows, frames)``."""
        return take(self.sequences, self.windows.rows(numbers))

    def anchors_of(self, numbers: Integers) -> Integers:
        """Return the sequences from which the offsets of some windows count."""
        return take(self.sequences, self.windows.anchors[numbers])


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """Windows to choose from a timeline."""

    within: FrameRange
    step: int
    offsets: tuple[int, ...] | None
    offsets_seconds: tuple[float, ...] | None
    tolerance_seconds: float | None
    gaps: Gaps
    max_interval_seconds: float | None

    def clips(self, timeline: Timeline) -> Clips:
        """Return the windows of a timeline."""
        sequences = self.within.sequences(timeline)
        index = timeline.index
        rows = np.asarray(sequences, np.int64)
        timestamps = index.timestamp[index.positions(rows)]
        if self.offsets_seconds is not None and (np.diff(timestamps) < 0).any():
            raise InvalidValue(
                f"offsets in seconds need frames in the order of their times, but those of "
                f"{timeline!r} are not: give offsets in frames"
            )
        anchors = np.arange(0, len(rows), self.step)
        if len(rows) == 0:
            windows = at_frames(0, anchors, np.zeros(1, np.int64))
        elif self.offsets is not None:
            windows = at_frames(len(rows), anchors, np.array(self.offsets, np.int64))
        else:
            windows = at_times(
                timestamps, anchors, np.array(self.offsets_seconds), self.tolerance_seconds
            )
        if self.gaps == "exclude" and len(windows):
            is_gap = gaps_after(
                rows, timestamps, _chunk_starts_after_gap(timeline), self.max_interval_seconds
            )
            windows = without_gaps(windows, is_gap)
        return Clips(sequences, windows)


class ClipDataset(TimelineDataset[Clips]):
    """Windows of frames at fixed offsets from a frame, for `torch.utils.data.DataLoader`.

    An item is a `FrameSample`, a dict. For a window of T frames:

    - ``image``: uint8 tensor ``(T, 3, height, width)``, or the result of ``transform``
    - ``timeline_id``: str
    - ``sequence``: int64 tensor ``(T,)``
    - ``timestamp``: float64 tensor ``(T,)``, seconds on the timeline
    - ``chunk_id``: int64 tensor ``(T,)``
    - ``target``: result of ``target`` for the frame at offset 0, if one was given

    There is a window for each frame, of every ``step``, for which all frames of the window exist in
    the range. Opening, reading and errors are those of `FrameDataset`. Frames that several windows
    of a batch share are fetched and decoded once.

    By default no window extends over a gap. A gap is a frame that is not cached or undecodable, a
    chunk that starts after the end of the chunk before it, or an interval between two frames that
    is longer than ``max_interval_seconds``.
    """

    def __init__(
        self,
        timelines: Timeline | Iterable[Timeline],
        *,
        offsets: Iterable[int] | None = None,
        offsets_seconds: Iterable[float] | None = None,
        tolerance_seconds: float | None = None,
        gaps: Gaps = "exclude",
        max_interval_seconds: float | None = None,
        step: int = 1,
        start: int | None = None,
        stop: int | None = None,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
        channels: Channels = "first",
        transform: Transform | None = None,
        target: Target | None = None,
    ) -> None:
        """Record what to read; no request is made.

        Args:
            timelines: one or more timelines, which are read in this order.
            offsets: frames of a window, in frames from a frame: ``(-8, -4, 0)``.
            offsets_seconds: instead of ``offsets``: times in seconds from a frame's time. The frame
                that begins nearest is taken.
            tolerance_seconds: largest distance of that frame from the wanted time. None: half the
                median interval between the frames of the timeline.
            gaps: ``"exclude"``: no window extends over a gap. ``"cross"``: windows may, and
                offsets count the frames that exist.
            max_interval_seconds: longest interval between two frames that is not a gap. None: three
                times the median interval.
            step: take a window for every n-th frame.
            start: first sequence on each timeline that a window may contain.
            stop: one past the last sequence.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            scale: see `FrameDataset`; so are ``color``, ``channels`` and ``target``.
            max_side: instead of ``scale``: largest width and height: see `Timeline.frame`.
            color: ``"rgb"``, ``"bgr"`` or ``"gray"``.
            channels: ``"first"`` or ``"last"``.
            transform: function of the window's image tensor, whose result replaces it.
            target: function of ``timeline_id`` and ``sequence``, such as a `TableTarget`.

        Raises:
            InvalidValue: an argument is out of its range, offsets are missing or given twice, or no
                timeline was given.

        Reading a window whose frames differ in size raises InvalidValue.
        """
        if (offsets is None) == (offsets_seconds is None):
            raise InvalidValue("give the frames of a window as offsets= or as offsets_seconds=")
        if gaps not in get_args(Gaps):
            raise InvalidValue(f'gaps must be "exclude" or "cross", not {gaps!r}')
        choice = ClipChoice(
            FrameRange(start, stop, 1, start_seconds, stop_seconds, None),
            require_int(step, what="step", minimum=1),
            None if offsets is None else _require_offsets(offsets),
            None if offsets_seconds is None else _require_times(offsets_seconds),
            _as_duration(tolerance_seconds, what="tolerance_seconds"),
            gaps,
            _as_duration(max_interval_seconds, what="max_interval_seconds"),
        )
        super().__init__(
            LazyTimelines(timelines, partial(_choose_clips, choice), kind="windows"),
            options=ImageOptions(DecodeOptions(color, scale, max_side), channels),
            transform=transform,
            target=target,
        )

    def __getitems__(self, numbers: Sequence[SupportsIndex]) -> list[FrameSample]:
        """Return several items, read by one call; a loader calls it with the numbers of a batch."""
        wanted = self._wanted(numbers)
        distinct = {frame: place for place, frame in enumerate(_distinct_frames(wanted))}
        read = read_frames(self._requests(distinct), self._options)
        clips = [[read[distinct[frame]] for frame in window.frames] for window in wanted]
        images = _join_clips(clips)
        return [
            self._sample(window, clip, image)
            for window, clip, image in zip(wanted, clips, images, strict=True)
        ]

    def _wanted(self, numbers: Sequence[SupportsIndex]) -> "list[_Window]":
        opened = self._opened
        timelines, positions = opened.locate(as_numbers(numbers, len(opened)))
        windows: dict[int, _Window] = {}
        for timeline in np.unique(timelines).tolist():
            (places,) = np.nonzero(timelines == timeline)
            clips = opened.timelines[timeline].items
            rows = zip(
                places.tolist(),
                clips.anchors_of(positions[places]).tolist(),
                clips.sequences_of(positions[places]).tolist(),
                strict=True,
            )
            for place, anchor, sequences in rows:
                windows[place] = _Window(anchor, [(timeline, one) for one in sequences])
        return [windows[place] for place in range(len(windows))]

    def _requests(self, distinct: "Mapping[_FrameName, int]") -> list[FrameRequest]:
        frames = np.array([*distinct], np.int64).reshape(-1, 2)
        places = np.array([*distinct.values()], np.int64)
        return [
            FrameRequest(
                self._opened.timelines[timeline],
                frames[frames[:, 0] == timeline, 1],
                places[frames[:, 0] == timeline],
            )
            for timeline in np.unique(frames[:, 0]).tolist()
        ]

    def _sample(
        self, window: "_Window", clip: Sequence[ReadFrame], image: torch.Tensor
    ) -> FrameSample:
        timeline_id = clip[0].timeline_id
        sample = FrameSample(
            image=image if self._transform is None else self._transform(image),
            timeline_id=timeline_id,
            sequence=torch.tensor([frame.sequence for frame in clip], dtype=torch.int64),
            timestamp=torch.tensor([frame.timestamp for frame in clip], dtype=torch.float64),
            chunk_id=torch.tensor([frame.chunk_id for frame in clip], dtype=torch.int64),
        )
        if self._target is not None:
            sample["target"] = self._target(timeline_id, window.anchor)
        return sample


_FrameName = tuple[int, int]
"""Number of a timeline in its dataset, and a sequence."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Wanted window."""

    anchor: int
    """Sequence of the frame at offset 0."""
    frames: Sequence[_FrameName]


def _distinct_frames(windows: Sequence[_Window]) -> Iterable[_FrameName]:
    return dict.fromkeys(frame for window in windows for frame in window.frames)


def _join_clips(clips: Sequence[Sequence[ReadFrame]]) -> Sequence[torch.Tensor]:
    """Return the images of each clip as one tensor.

    Raises:
        InvalidValue: the frames of a clip differ in size.
    """
    for clip in clips:
        for frame in clip:
            if frame.image.shape != clip[0].image.shape:
                raise InvalidValue(
                    f"frames {clip[0].sequence} and {frame.sequence} of timeline "
                    f"{frame.timeline_id} differ in size: a window needs frames of one size; "
                    "limit the dataset to them with start= and stop="
                )
    images = [frame.image for clip in clips for frame in clip]
    if not images:
        return []
    if all(image.shape == images[0].shape for image in images):
        joined = join(images)
        return list(joined.reshape(len(clips), -1, *joined.shape[1:]))
    return [join([frame.image for frame in clip]) for clip in clips]


def _choose_clips(choice: ClipChoice, timeline: Timeline) -> Clips:
    return choice.clips(timeline)


def _chunk_starts_after_gap(timeline: Timeline) -> npt.NDArray[np.float64]:
    """Return the times at which chunks start that do not follow the chunk before them."""
    manifest = timeline.snapshot_cache.source().snapshot.manifest
    chunks = manifest.chunks if manifest is not None else ()
    return np.array(
        [
            float(after.start)
            for before, after in pairwise(chunks)
            if after.start - before.end > _JOIN_TOLERANCE_SECONDS
        ],
        np.float64,
    )


def _require_offsets(offsets: Iterable[int]) -> tuple[int, ...]:
    given = tuple(offsets)
    numbers = tuple(number for number in map(as_index, given) if number is not None)
    if not given or len(numbers) < len(given):
        raise InvalidValue(f"offsets must be one or more integers, not {format_value(given)}")
    return numbers


def _require_times(offsets_seconds: Iterable[float]) -> tuple[float, ...]:
    given = tuple(offsets_seconds)
    times = tuple(float(time) for time in map(as_fraction, given) if time is not None)
    if not given or len(times) < len(given):
        raise InvalidValue(
            f"offsets_seconds must be one or more numbers, not {format_value(given)}"
        )
    return times


def _as_duration(seconds: float | None, *, what: str) -> float | None:
    return None if seconds is None else require_duration(seconds, what=what)
