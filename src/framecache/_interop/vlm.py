"""Messages of stored JPEGs for servers of vision-language models, with the time of each frame.

Such a server computes the time of a frame as ``index / fps``. So a clip states the indices and the
rate with which this computation gives the frames' own times.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from framecache._core.numeric import require_int
from framecache._core.times import Seconds
from framecache._index import Index
from framecache._read import (
    DecodeOptions,
    FrameSource,
    Range,
    parse_range,
    positions_in_range,
    read_jpegs,
)
from framecache._read.info import describe_extent
from framecache.errors import InvalidValue, NotCached

VlmTiming = Literal["indices", "rate"]
"""``indices``: the receiver divides frame indices by the rate. ``rate``: it only uses the rate."""

MAX_TIME_ERROR_SECONDS: Final = 0.001
_GRID_FPS: Final = Fraction(1000)
"""Rate for times that do not follow one of their own; its indices are milliseconds."""
_MAX_RATE_DENOMINATOR: Final = 1001


@dataclass(frozen=True, slots=True)
class VlmClip:
    """Frames of a timeline for a vision-language model, and the numbers that give their times."""

    sequences: tuple[int, ...]
    timestamps: tuple[float, ...]
    """Seconds on the timeline, ascending."""
    jpegs: tuple[bytes, ...]
    sizes: tuple[tuple[int, int], ...]
    """Width and height of each frame in pixels."""
    fps: float
    frames_indices: tuple[int, ...]
    """Index of each frame at that rate; ``origin_seconds + index / fps`` is its timestamp."""
    total_num_frames: int
    """Number of frames at that rate up to the end of the last frame."""
    origin_seconds: float
    """Time on the timeline from which the receiver counts."""

    @property
    def duration_seconds(self) -> float:
        """Time from the origin to the end of the last frame, in seconds."""
        return self.total_num_frames / self.fps

    @property
    def image_parts(self) -> list[dict[str, Any]]:
        """Message parts as OpenAI's chat API takes them: the time of each frame, then its image."""
        parts: list[dict[str, Any]] = []
        for timestamp, data in zip(self.timestamps, self.jpegs, strict=True):
            url = f"data:image/jpeg;base64,{_base64(data)}"
            parts.append({"type": "text", "text": f"{timestamp:.3f} s"})
            parts.append({"type": "image_url", "image_url": {"url": url}})
        return parts

    @property
    def video_part(self) -> dict[str, Any]:
        """One message part with all frames, as vLLM takes it; send :attr:`media_io_kwargs` with it.

        Raises:
            InvalidValue: the frames differ in size, which such a video cannot.
        """
        if len(set(self.sizes)) > 1:
            other = next(at for at, size in enumerate(self.sizes) if size != self.sizes[0])
            raise InvalidValue(
                f"frames {self.sequences[0]} and {self.sequences[other]} differ in size, and a "
                "video has one: use image parts, or a range of one size"
            )
        frames = ",".join(map(_base64, self.jpegs))
        return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}

    @property
    def media_io_kwargs(self) -> dict[str, dict[str, Any]]:
        """Field ``media_io_kwargs`` of a request to vLLM: the indices and the rate of the frames.

        ``num_frames`` keeps vLLM from dropping frames after its default number.
        """
        return {
            "video": {
                "num_frames": len(self.jpegs),
                "fps": self.fps,
                "frames_indices": list(self.frames_indices),
                "total_num_frames": self.total_num_frames,
                "duration": self.duration_seconds,
            }
        }

    @property
    def video_metadata(self) -> dict[str, Any]:
        """Arguments of ``transformers.video_utils.VideoMetadata``."""
        width, height = self.sizes[0]
        return {
            "total_num_frames": self.total_num_frames,
            "fps": self.fps,
            "width": width,
            "height": height,
            "duration": self.duration_seconds,
            "video_backend": "jpeg_sequence",
            "frames_indices": list(self.frames_indices),
        }


@dataclass(frozen=True, slots=True)
class _Timing:
    fps: Fraction
    indices: tuple[int, ...]
    total: int
    origin: float


@dataclass(frozen=True, slots=True)
class VlmSelection:
    """Checked arguments of :meth:`framecache.Timeline.to_vlm`."""

    start_seconds: Seconds | None
    stop_seconds: Seconds | None
    wanted: Range
    """The range of both."""
    max_frames: int
    decoding: DecodeOptions
    timing: VlmTiming

    @classmethod
    def parse(
        cls,
        start_seconds: Seconds | None,
        stop_seconds: Seconds | None,
        *,
        max_frames: int,
        scale: float,
        max_side: int | None,
        timing: VlmTiming,
    ) -> Self:
        """Check the arguments.

        Raises:
            InvalidValue: one of them is not valid.
        """
        if timing not in get_args(VlmTiming):
            raise InvalidValue(f'timing must be "indices" or "rate", not {timing!r}')
        return cls(
            start_seconds,
            stop_seconds,
            parse_range(None, None, 1, start_seconds=start_seconds, stop_seconds=stop_seconds),
            require_int(max_frames, what="max_frames", minimum=1),
            DecodeOptions("rgb", scale, max_side),
            timing,
        )


def make_clip(
    source: FrameSource, selection: VlmSelection, *, max_bytes: int | None = None
) -> VlmClip:
    """Return the selected frames for a model: see :meth:`framecache.Timeline.to_vlm`.

    Args:
        source: source of the frames.
        selection: the range of frames, and how they are sent.
        max_bytes: largest total size of the JPEGs; None for no limit.

    Raises:
        InvalidValue: also if the JPEGs are larger in total.
    """
    if not source.snapshot.exists:
        raise NotCached(f"the timeline has no frames: {describe_extent(source.snapshot)}")
    index, decoding = source.snapshot.index, selection.decoding
    if index.is_unindexed or not index.is_in_time_order:
        raise InvalidValue(
            "the frames of this timeline have no times, or times that do not ascend, so a model "
            "cannot know when each is shown: write them with times first"
        )
    positions = positions_in_range(index, selection.wanted)
    if not len(positions):
        start, stop = selection.start_seconds, selection.stop_seconds
        raise NotCached(
            f"no frame begins from {0 if start is None else start} to "
            f"{'the end' if stop is None else f'{stop} s'}: give a longer range"
        )
    chosen = _choose(positions, selection.max_frames, selection.timing)
    has_rate = selection.timing == "rate"
    times = _by_rate(index, chosen) if has_rate else _by_indices(index, chosen)
    encoded = _within(max_bytes, read_jpegs(source, chosen, decoding, missing="raise"))
    shapes = [decoding.shape(row) for row in index.rows(chosen)]
    return VlmClip(
        sequences=tuple(index.sequence[chosen].tolist()),
        timestamps=tuple(index.timestamp[chosen].tolist()),
        jpegs=tuple(encoded),
        sizes=tuple((shape[1], shape[0]) for shape in shapes),
        fps=float(times.fps),
        frames_indices=times.indices,
        total_num_frames=times.total,
        origin_seconds=times.origin,
    )


def _within(max_bytes: int | None, jpegs: Iterator[bytes]) -> Iterator[bytes]:
    size_bytes = 0
    for data in jpegs:
        size_bytes += len(data)
        if max_bytes is not None and size_bytes > max_bytes:
            raise InvalidValue(
                f"these frames take more than {max_bytes / 2**20:g} MiB: ask for fewer frames, or "
                "a smaller scale"
            )
        yield data


def _choose(
    positions: npt.NDArray[np.int64], limit: int, timing: VlmTiming
) -> npt.NDArray[np.int64]:
    """Return at most ``limit`` positions, evenly spread, or with one stride if times need it."""
    if len(positions) <= limit:
        return positions
    if timing == "rate":
        return positions[:: -(-len(positions) // limit)]
    return positions[np.linspace(0, len(positions) - 1, limit).round().astype(np.int64)]


def _by_indices(index: Index, chosen: npt.NDArray[np.int64]) -> _Timing:
    times, last = index.timestamp[chosen], float(index.duration[chosen[-1]])
    for fps in (*_own_rates(index, chosen), _GRID_FPS):
        indices = [round(Fraction(time) * fps) for time in times.tolist()]
        ascends = all(np.diff(indices) > 0)
        if ascends and _error(indices, fps, times, 0.0) <= MAX_TIME_ERROR_SECONDS / 2:
            total = indices[-1] + max(1, round(Fraction(last) * fps))
            return _Timing(fps, tuple(indices), total, 0.0)
    raise InvalidValue(
        "these frames follow each other within a millisecond, which no index can express: give "
        "a longer range, or fewer max_frames"
    )


def _by_rate(index: Index, chosen: npt.NDArray[np.int64]) -> _Timing:
    times = index.timestamp[chosen]
    first, count = float(times[0]), len(chosen)
    span = float(times[-1]) - first
    step = span / (count - 1) if count > 1 else float(index.duration[chosen[0]])
    fps = 1 / Fraction(step) if step > 0 else Fraction(1)
    simple = fps.limit_denominator(_MAX_RATE_DENOMINATOR)
    for rate in (simple, fps):
        if rate > 0 and _error(range(count), rate, times, first) <= MAX_TIME_ERROR_SECONDS:
            return _Timing(rate, tuple(range(count)), count, first)
    raise InvalidValue(
        "these frames do not follow each other at one rate, as they must for a receiver that "
        'computes times from the rate alone: use timing="indices", image parts, or a range '
        "without gaps"
    )


def _own_rates(index: Index, chosen: npt.NDArray[np.int64]) -> Iterator[Fraction]:
    """Yield the rate of the first frame's video, by its duration, if it is known."""
    duration = Fraction(float(index.duration[chosen[0]]))
    if duration > 0:
        rate = (1 / duration).limit_denominator(_MAX_RATE_DENOMINATOR)
        if 0 < rate < _GRID_FPS:
            yield rate


def _error(
    indices: "list[int] | range", fps: Fraction, times: npt.NDArray[np.float64], origin: float
) -> float:
    """Return the largest error of the receiver's own computation, in seconds."""
    rate = float(fps)
    computed = np.array([index / rate for index in indices])
    return float(np.abs(computed - (times - origin)).max())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
