"""Dataset of single frames."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from framecache import Timeline
from framecache._core.times import Seconds
from framecache._read import DecodeOptions
from framecache.model import Color
from framecache.torch.images import (
    Channels,
    FrameRequest,
    ImageOptions,
    ReadFrame,
    read_frames,
)
from framecache.torch.opened_timelines import LazyTimelines
from framecache.torch.samples import FrameSample, Target, Transform
from framecache.torch.timeline_dataset import TimelineDataset, as_numbers

Sequences = range | npt.NDArray[np.int64]
"""Sequences of one timeline, ascending; a range takes no memory."""


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Range of frames, as `Timeline.frames` takes it."""

    start: int | None
    stop: int | None
    step: int
    start_seconds: Seconds | None
    stop_seconds: Seconds | None
    tolerance_seconds: Seconds | None

    def sequences(self, timeline: Timeline) -> Sequences:
        """Return the sequences of a timeline that are in this range and have a picture."""
        found = np.array(
            timeline.sequences(
                self.start,
                self.stop,
                self.step,
                start_seconds=self.start_seconds,
                stop_seconds=self.stop_seconds,
                tolerance_seconds=self.tolerance_seconds,
            ),
            np.int64,
        )
        return compact(found)


class FrameDataset(TimelineDataset[Sequences]):
    """Frames of timelines, for `torch.utils.data.DataLoader`. Works in its worker processes.

    An item is a `FrameSample`, a dict:

    - ``image``: uint8 tensor ``(3, height, width)``, or the result of ``transform``
    - ``timeline_id``: str
    - ``sequence``: int
    - ``timestamp``: float, seconds on the timeline
    - ``chunk_id``: int
    - ``target``: result of ``target``, if one was given

    A loader's batch is read by one call, with its requests and decoding in parallel. The images of
    a batch share one block of memory, which is freed when none of them is used any more.

    In layout ``video``, frames are decoded from the chunks, and a batch is cheap if its frames are
    neighbors: see `BlockSampler`.

    The dataset is opened by its first use, such as ``len(dataset)``, with at most three requests
    for each timeline. Its items are fixed from then on: frames that are appended later need a new
    dataset.
    """

    def __init__(
        self,
        timelines: Timeline | Iterable[Timeline],
        *,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
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
            start: first sequence on each timeline: see `Timeline.frames`.
            stop: one past the last sequence.
            step: take sequences ``start, start + step, …``.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            tolerance_seconds: largest rounding error of these times: see `Timeline.frame_at`.
            scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
            max_side: instead of ``scale``: largest width and height: see `Timeline.frame`.
            color: ``"rgb"``, ``"bgr"`` or ``"gray"`` (one channel).
            channels: ``"first"``: ``(channels, height, width)``, in PyTorch's memory format
                "channels last"; ``"last"``: ``(height, width, channels)``.
            transform: function of the image tensor, whose result replaces it. The loader calls it
                in its workers.
            target: function of ``timeline_id`` and ``sequence``, such as a `TableTarget`.

        Raises:
            InvalidValue: an argument is out of its range, or no timeline was given.

        Reading raises the errors of `Timeline.batch`, and also:

        - NotCached: a timeline has no cached frame.
        - InvalidValue: no timeline has a frame in the range.
        - TimelineCleared: a timeline was cleared or rebuilt since the dataset was opened.
        """
        chosen = FrameRange(
            start, stop, step, start_seconds, stop_seconds, tolerance_seconds
        ).sequences
        super().__init__(
            LazyTimelines(timelines, chosen, kind="frames"),
            options=ImageOptions(DecodeOptions(color, scale, max_side), channels),
            transform=transform,
            target=target,
        )

    def __getitems__(self, numbers: Sequence[SupportsIndex]) -> list[FrameSample]:
        """Return several items, read by one call; a loader calls it with the numbers of a batch."""
        opened = self._opened
        timelines, positions = opened.locate(as_numbers(numbers, len(opened)))
        requests = []
        for timeline in np.unique(timelines).tolist():
            (places,) = np.nonzero(timelines == timeline)
            one = opened.timelines[timeline]
            sequences = take(one.items, positions[places])
            requests.append(FrameRequest(one, sequences, places))
        return [self._sample(frame) for frame in read_frames(requests, self._options)]

    def _sample(self, frame: ReadFrame) -> FrameSample:
        image: Any = frame.image
        sample = FrameSample(
            image=image if self._transform is None else self._transform(image),
            timeline_id=frame.timeline_id,
            sequence=frame.sequence,
            timestamp=frame.timestamp,
            chunk_id=frame.chunk_id,
        )
        if self._target is not None:
            sample["target"] = self._target(frame.timeline_id, frame.sequence)
        return sample


def compact(sequences: npt.NDArray[np.int64]) -> Sequences:
    """Return ascending sequences as a range if they have one step."""
    if len(sequences) == 0:
        return range(0)
    step = int(sequences[1] - sequences[0]) if len(sequences) > 1 else 1
    if (np.diff(sequences) == step).all():
        return range(int(sequences[0]), int(sequences[-1]) + 1, step)
    return sequences


def take(sequences: Sequences, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sequences at these positions."""
    if isinstance(sequences, range):
        return sequences.start + sequences.step * positions
    return sequences[positions]
