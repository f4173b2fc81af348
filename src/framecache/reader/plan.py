"""Which rows of an index a sequence, a time or a range means."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.errors import InvalidValue
from framecache.index import Index, Snapshot
from framecache.instants import Instant, Seconds, clock, instant
from framecache.numeric import whole

_FEWEST_DECIMALS: Final = 3
_MOST_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open range of frames, each end a sequence or a time; None: all there are."""

    start: int | None = None
    stop: int | None = None
    step: int = 1
    start_at: Instant | None = None
    stop_at: Instant | None = None


def frame_range(
    start: int | None,
    stop: int | None,
    step: int,
    *,
    start_seconds: Seconds | None,
    stop_seconds: Seconds | None,
    tolerance_seconds: Seconds | None = None,
) -> Range:
    """The range that the arguments of a call mean.

    Raises:
        InvalidValue: an end is given twice, or out of its range.
    """
    if start is not None and start_seconds is not None:
        raise InvalidValue("a range starts at a sequence or at a time: both were given")
    if stop is not None and stop_seconds is not None:
        raise InvalidValue("a range stops at a sequence or at a time: both were given")

    def at(seconds: Seconds | None) -> Instant | None:
        return None if seconds is None else instant(seconds, tolerance_seconds=tolerance_seconds)

    return Range(
        None if start is None else keys.check_sequence(start),
        None if stop is None else keys.check_sequence(stop),
        whole(step, what="step", least=1),
        at(start_seconds),
        at(stop_seconds),
    )


def positions_in_range(index: Index, wanted: Range) -> npt.NDArray[np.int64]:
    """The rows with a picture in a range."""
    begin, end = 0, len(index)
    if wanted.start is not None:
        begin = int(np.searchsorted(index.sequence, wanted.start))
    if wanted.stop is not None:
        end = int(np.searchsorted(index.sequence, wanted.stop))
    rows = slice(begin, max(begin, end))
    sequence, timestamp = index.sequence[rows], index.timestamp[rows]
    chosen = np.ones(len(sequence), dtype=np.bool_)
    if wanted.start_at is not None:
        chosen &= timestamp >= meant_seconds(index, wanted.start_at)
    if wanted.stop_at is not None:
        chosen &= timestamp < meant_seconds(index, wanted.stop_at)
    if wanted.step > 1 and chosen.any():
        first = sequence[chosen.argmax()] if wanted.start is None else wanted.start
        chosen &= (sequence - first) % wanted.step == 0
    chosen &= index.is_ok[rows]
    return begin + np.flatnonzero(chosen)


def position_on_screen(snapshot: Snapshot, moment: Instant) -> int | None:
    """The row of the frame on screen at a time; None where the timeline shows nothing."""
    index, description = snapshot.index, snapshot.description
    if description is None or not index.is_in_time_order:
        return None
    seconds = meant_seconds(index, moment)
    position = index.position_at(seconds)
    if position is None:
        return None
    if not description.chunks:
        end = index.timestamp[-1] + index.duration[-1]
        return position if seconds < end or seconds == index.timestamp[-1] else None
    chunks = description.chunks
    shown = bisect_right(chunks, seconds, key=lambda chunk: float(chunk.start)) - 1
    # A chunk that is not cached has no time in the index, and the one before must not be shown.
    if shown + 1 < len(chunks):
        following = float(chunks[shown + 1].start)
        if _is_meant(index, moment, following, position):
            shown, seconds = shown + 1, following
    if shown < 0 or seconds >= float(chunks[shown].end):
        return None
    # A sampled frame may stay on screen into later chunks, but what they show must be known.
    since = int(index.chunk_id[position])
    known = snapshot.is_complete or all(
        chunk.part not in snapshot.missing_parts for chunk in chunks[since : shown + 1]
    )
    return position if known else None


def meant_seconds(index: Index, moment: Instant) -> float:
    """The time that a rounded one was made from: that of a frame if it may be, else itself.

    That is the nearest time at which a frame begins, if it is no further away than the tolerance,
    and than half the duration of the frame that is on screen, or of the first one before that.
    """
    seconds = float(moment.seconds)
    starts = index.timestamp if index.is_in_time_order else np.sort(index.timestamp)
    shown = int(np.searchsorted(starts, seconds, side="right")) - 1
    around = [float(start) for start in starts[max(0, shown) : shown + 2]]
    distances = [abs(moment.seconds - Fraction(start)) for start in around]
    nearest = min(zip(distances, around, strict=True), default=None)
    if nearest is None or distances.count(nearest[0]) > 1:
        return seconds
    start = nearest[1]
    return start if _is_meant(index, moment, start, max(0, shown)) else seconds


def _is_meant(index: Index, moment: Instant, start: float, position: int) -> bool:
    """Whether a time, at which a frame is on screen, may have been made from another one."""
    distance = abs(moment.seconds - Fraction(start))
    # Timestamps are themselves rounded to floats.
    if distance > moment.tolerance + Fraction(math.ulp(start)) / 2:
        return False
    # Durations are a column more to read, which most times do not need.
    return start == float(moment.seconds) or distance <= _half_duration(index, position)


def _half_duration(index: Index, position: int) -> float:
    """Seconds; without end when the duration is unknown."""
    known = float(index.duration[position]) if index.is_in_time_order else 0.0
    return known / 2 or math.inf


def telling_decimals(index: Index, position: int) -> int:
    """How many decimals a frame's time is printed with, so that what is printed leads back to it.

    Milliseconds, unless frames follow each other faster.
    """
    seconds = float(index.timestamp[position])
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS):
        read = meant_seconds(index, instant(clock(seconds, decimals=decimals)))
        is_shown = read == seconds or read < seconds + index.duration[position]
        if is_shown and index.position_at(read) == position:
            return decimals
    return _MOST_DECIMALS


def as_sequences(sequences: Iterable[int]) -> npt.NDArray[np.int64]:
    """Sequences as an array, in the order given.

    Raises:
        InvalidValue: one of them is no number a frame can have.
    """
    given = sequences if isinstance(sequences, np.ndarray | range) else [*sequences]
    if isinstance(given, list) and not {*map(type, given)} <= {int}:
        given = [keys.check_sequence(sequence) for sequence in given]
    array = np.asarray(given)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        return np.array([keys.check_sequence(sequence) for sequence in given], dtype=np.int64)
    if len(array):
        keys.check_sequence(int(array.min()))
        keys.check_sequence(int(array.max()))
    return array.astype(np.int64, copy=False)
