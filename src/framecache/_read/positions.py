"""Map a sequence, a time or a range to rows of an index."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.numeric import require_int
from framecache._core.times import Instant, Seconds, format_time, parse_time
from framecache._index import Index, Snapshot
from framecache.errors import InvalidValue

_MIN_DECIMALS: Final = 3
_MAX_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class Range:
    """Half-open range of frames; each end is a sequence, a time, or None (unbounded)."""

    start: int | None = None
    stop: int | None = None
    step: int = 1
    start_at: Instant | None = None
    stop_at: Instant | None = None


def parse_range(
    start: int | None,
    stop: int | None,
    step: int,
    *,
    start_seconds: Seconds | None,
    stop_seconds: Seconds | None,
    tolerance_seconds: Seconds | None = None,
) -> Range:
    """Return the range that the arguments of a call describe.

    Raises:
        InvalidValue: an end is given twice, or out of its range.
    """
    if start is not None and start_seconds is not None:
        raise InvalidValue("give either a sequence or a time to start at, not both")
    if stop is not None and stop_seconds is not None:
        raise InvalidValue("give either a sequence or a time to stop at, not both")

    def at(seconds: Seconds | None) -> Instant | None:
        return None if seconds is None else parse_time(seconds, tolerance_seconds=tolerance_seconds)

    return Range(
        None if start is None else keys.check_sequence(start),
        None if stop is None else keys.check_sequence(stop),
        require_int(step, what="step", minimum=1),
        at(start_seconds),
        at(stop_seconds),
    )


def positions_in_range(index: Index, wanted: Range) -> npt.NDArray[np.int64]:
    """Return the positions of the rows in a range that have a picture."""
    rows = rows_in_range(index, wanted)
    return rows[index.is_ok[rows]]


def rows_in_range(index: Index, wanted: Range) -> npt.NDArray[np.int64]:
    """Return the positions of the rows in a range, also of those without a picture."""
    begin, end = 0, len(index)
    if wanted.start is not None:
        begin = int(np.searchsorted(index.sequence, wanted.start))
    if wanted.stop is not None:
        end = int(np.searchsorted(index.sequence, wanted.stop))
    rows = slice(begin, max(begin, end))
    sequence, timestamp = index.sequence[rows], index.timestamp[rows]
    chosen = np.ones(len(sequence), dtype=np.bool_)
    if wanted.start_at is not None:
        chosen &= timestamp >= snap_to_frame_start(index, wanted.start_at)
    if wanted.stop_at is not None:
        chosen &= timestamp < snap_to_frame_start(index, wanted.stop_at)
    if wanted.step > 1 and chosen.any():
        first = sequence[chosen.argmax()] if wanted.start is None else wanted.start
        chosen &= (sequence - first) % wanted.step == 0
    return begin + np.flatnonzero(chosen)


def find_displayed_position(snapshot: Snapshot, moment: Instant) -> int | None:
    """Return the position of the frame on screen at a time; None where none is shown."""
    index, manifest = snapshot.index, snapshot.manifest
    if manifest is None or not index.is_in_time_order:
        return None
    seconds = snap_to_frame_start(index, moment)
    position = index.position_at(seconds)
    if position is None:
        return None
    if not manifest.chunks:
        end = float(index.timestamp[-1] + index.duration[-1])
        is_shown = _is_before(end, seconds, moment) or seconds == index.timestamp[-1]
        return position if is_shown else None
    chunks = manifest.chunks
    shown = bisect_right(chunks, seconds, key=lambda chunk: float(chunk.start)) - 1
    # The index has no times for a chunk that is not cached: do not show the chunk before it.
    if shown + 1 < len(chunks):
        following = float(chunks[shown + 1].start)
        if _is_within_tolerance(index, moment, following, position):
            shown, seconds = shown + 1, following
    if shown < 0 or not _is_before(chunks[shown].end, seconds, moment):
        return None
    # A sampled frame may stay on screen into later segments, but those must be cached as well.
    if not snapshot.is_complete:
        missing = _find_missing_after(snapshot, position, chunks[: shown + 1])
        start = None if missing is None else float(missing.start)
        if start is not None and (
            start <= seconds or _is_within_tolerance(index, moment, start, position)
        ):
            return None
    return position


def _find_missing_after(
    snapshot: Snapshot, position: int, chunks: Sequence[ChunkEntry]
) -> Segment | None:
    """Return the first segment of ``chunks`` that is missing between a row and the next one."""
    index = snapshot.index
    sequence, since = int(index.sequence[position]), int(index.chunk_id[position])
    following = int(index.sequence[position + 1]) if position + 1 < len(index) else None
    if following == sequence + 1 and index.chunk_id[position + 1] == since:
        return None
    missing = set(snapshot.missing_parts)
    between = (
        segment
        for chunk in chunks[since:]
        for segment in chunk.segments
        if segment.first_sequence > sequence
        and (following is None or segment.first_sequence <= following)
    )
    return next((segment for segment in between if segment.part in missing), None)


def _is_before(end: Fraction | float, seconds: float, moment: Instant) -> bool:
    """Return True if a time lies before an end, even if both have the same nearest float."""
    return seconds < float(end) or (moment.seconds != seconds and moment.seconds < end)


def snap_to_frame_start(index: Index, moment: Instant) -> float:
    """Return the frame start that a rounded time was made from; the time itself if there is none.

    This is the nearest time at which a frame begins, if its distance is at most the tolerance and
    at most half the duration of the frame on screen (of the first frame, for a time before it).
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
    return start if _is_within_tolerance(index, moment, start, max(0, shown)) else seconds


def _is_within_tolerance(index: Index, moment: Instant, start: float, position: int) -> bool:
    """Return whether a time that shows the frame at `position` may be a rounded `start`."""
    distance = abs(moment.seconds - Fraction(start))
    # Timestamps are rounded to floats themselves.
    if distance > moment.tolerance + Fraction(math.ulp(start)) / 2:
        return False
    # Durations are another column to read; most times do not need it.
    return start == float(moment.seconds) or distance <= _half_duration(index, position)


def _half_duration(index: Index, position: int) -> float:
    """Return half a frame's duration in seconds; infinity if the duration is unknown."""
    known = float(index.duration[position]) if index.is_in_time_order else 0.0
    return known / 2 or math.inf


def count_timestamp_decimals(index: Index, position: int) -> int:
    """Return the number of decimals needed so that a frame's printed time identifies the frame.

    Three (milliseconds), or more if frames follow each other faster.
    """
    seconds = float(index.timestamp[position])
    for decimals in range(_MIN_DECIMALS, _MAX_DECIMALS):
        read = snap_to_frame_start(index, parse_time(format_time(seconds, decimals=decimals)))
        # Up to its middle, since the sum may be rounded to a float beyond the frame's end.
        is_shown = read <= seconds + index.duration[position] / 2
        if is_shown and index.position_at(read) == position:
            return decimals
    return _MAX_DECIMALS


def as_sequences(sequences: Iterable[int]) -> npt.NDArray[np.int64]:
    """Return sequences as an int64 array, in the order given.

    Raises:
        InvalidValue: one of them is not a valid sequence.
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
