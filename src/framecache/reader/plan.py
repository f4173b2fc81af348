"""Which rows of an index a sequence, a time or a range means."""

import math
from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.errors import InvalidValue
from framecache.index import Index, Snapshot


def positions_in_range(
    index: Index,
    start: int | None,
    stop: int | None,
    step: int,
    start_seconds: float | None,
    stop_seconds: float | None,
) -> npt.NDArray[np.int64]:
    """The rows with a picture that a half-open range names, by sequences or by seconds.

    Raises:
        InvalidValue: an end is given twice, or out of its range.
    """
    if start is not None and start_seconds is not None:
        raise InvalidValue("a range starts at a sequence or at a time: both were given")
    if stop is not None and stop_seconds is not None:
        raise InvalidValue("a range stops at a sequence or at a time: both were given")
    if type(step) is not int or step < 1:
        raise InvalidValue(f"step is a whole number from 1, not {step!r}")
    begin, end = 0, len(index)
    if start is not None:
        begin = int(np.searchsorted(index.sequence, keys.check_sequence(start)))
    if stop is not None:
        end = int(np.searchsorted(index.sequence, keys.check_sequence(stop)))
    rows = slice(begin, max(begin, end))
    sequence, timestamp = index.sequence[rows], index.timestamp[rows]
    chosen = np.ones(len(sequence), dtype=np.bool_)
    if start_seconds is not None:
        chosen &= timestamp >= check_seconds(start_seconds)
    if stop_seconds is not None:
        chosen &= timestamp < check_seconds(stop_seconds)
    if step > 1 and chosen.any():
        first = sequence[chosen.argmax()] if start is None else start
        chosen &= (sequence - first) % step == 0
    chosen &= index.is_ok[rows]
    return begin + np.flatnonzero(chosen)


def position_on_screen(snapshot: Snapshot, seconds: float) -> int | None:
    """The row of the frame on screen at a time; None where the timeline shows nothing."""
    index, description = snapshot.index, snapshot.description
    if description is None or not index.is_in_time_order:
        return None
    position = index.position_at(seconds)
    if position is None:
        return None
    if not description.chunks:
        end = index.timestamp[-1] + index.duration[-1]
        return position if seconds < end or seconds == index.timestamp[-1] else None
    chunks = description.chunks
    shown = bisect_right(chunks, seconds, key=lambda chunk: float(chunk.start)) - 1
    if shown < 0 or seconds >= float(chunks[shown].end):
        return None
    # A sampled frame may stay on screen into later chunks, but what they show must be known.
    since = int(index.chunk_id[position])
    known = snapshot.is_complete or all(
        chunk.part not in snapshot.missing_parts for chunk in chunks[since : shown + 1]
    )
    return position if known else None


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


def check_seconds(seconds: float) -> float:
    """Return a time on the timeline unchanged, if it is one; else raise InvalidValue."""
    try:
        is_time = not isinstance(seconds, bool) and math.isfinite(seconds)
    except (TypeError, OverflowError):
        is_time = False
    if not is_time:
        raise InvalidValue(f"a time on the timeline is a number of seconds, not {seconds!r}")
    return seconds
