"""Selection of the frames that a program reads: ranges, their order, and least change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from framecache._core.chunk_entry import Segment
from framecache._core.numeric import format_value, require_int
from framecache._core.times import Seconds
from framecache._index import Index
from framecache._read.hash_distance import HASH_BITS, ChangeFilter, Hashes
from framecache._read.positions import (
    Range,
    parse_range,
    positions_in_range,
    snap_to_frame_start,
)
from framecache.errors import InvalidValue
from framecache.model import Missing, Scene, SecondsRange, SequenceRange

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Selection:
    """Frames to read."""

    ranges: tuple[Range, ...]
    """Ranges of frames, in reading order."""
    reverse: bool = False
    """True if the last of these frames comes first."""
    min_change: int | None = None
    """Least distance of a frame's hash to that of the frame before; None: take every frame."""
    missing: Missing = "skip"
    """Action for frames in the ranges that have no picture in the cache."""

    def positions(self, index: Index) -> Positions:
        """Return the positions of the selected rows that have a picture, in reading order."""
        pieces = [positions_in_range(index, one) for one in self.ranges]
        positions = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if self.reverse:
            positions = positions[::-1]
        if self.min_change is not None:
            if index.is_decoded_on_demand[positions].any():
                raise InvalidValue(
                    "min_change compares hashes, which are not stored in layout video: read the "
                    "frames with Timeline.frames, or repack the timeline first"
                )
            positions = keep_changed(index, positions, ChangeFilter(self.min_change))
        return positions


@dataclass(frozen=True, slots=True)
class MissingFrame:
    """First frame of a selection that has no picture."""

    sequence: int
    position: int | None
    """Row of the frame if it is undecodable; None if the index has no row of it."""


def parse_selection(
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
    *,
    start_seconds: Seconds | None = None,
    stop_seconds: Seconds | None = None,
    tolerance_seconds: Seconds | None = None,
    ranges: Iterable[SequenceRange] | None = None,
    ranges_seconds: Iterable[SecondsRange] | None = None,
    reverse: bool = False,
    min_change: int | None = None,
    missing: Missing = "skip",
) -> Selection:
    """Return the selection that the arguments of a call describe.

    Raises:
        InvalidValue: an argument is out of its range, or contradicts another one.
    """
    given = (start, stop, start_seconds, stop_seconds)
    has_bounds = any(bound is not None for bound in given)
    if has_bounds + (ranges is not None) + (ranges_seconds is not None) > 1:
        raise InvalidValue(
            "give the ends of one range, ranges or ranges_seconds, not several of them"
        )
    ends: list[tuple[Any, Any, Any, Any]]
    if ranges is not None:
        ends = [(*pair, None, None) for pair in _ends_of(ranges, "ranges")]
    elif ranges_seconds is not None:
        ends = [(None, None, *pair) for pair in _ends_of(ranges_seconds, "ranges_seconds")]
    else:
        ends = [given]
    wanted = tuple(
        parse_range(
            first,
            last,
            step,
            start_seconds=first_seconds,
            stop_seconds=last_seconds,
            tolerance_seconds=tolerance_seconds,
        )
        for first, last, first_seconds, last_seconds in ends
    )
    return Selection(
        wanted,
        _require_bool(reverse, what="reverse"),
        None if min_change is None else require_min_change(min_change),
        require_missing(missing),
    )


def require_min_change(min_change: int) -> int:
    """Return a distance of hashes in bits, if it is valid.

    Raises:
        InvalidValue: it is not an integer from 1 to 64.
    """
    return require_int(min_change, what="min_change", minimum=1, below=HASH_BITS + 1)


def require_missing(missing: Missing) -> Missing:
    """Return ``missing`` if it is valid; otherwise raise InvalidValue."""
    if missing in get_args(Missing):
        return missing
    raise InvalidValue(f'missing must be "raise" or "skip", not {format_value(missing)}')


def keep_changed(index: Index, positions: Positions, changed: ChangeFilter) -> Positions:
    """Return those of these rows whose hashes differ enough from the kept row before."""
    return positions[changed.keep(Hashes.of_rows(index, positions))]


def find_missing(index: Index, wanted: Range, uncached: Sequence[Segment]) -> MissingFrame | None:
    """Return the first frame of a range that has no picture; None if all have one.

    Args:
        index: rows of the cached frames.
        wanted: range of frames. An end that is not given is that of the frames of the timeline.
        uncached: segments of the timeline that are not committed.
    """
    in_time = _is_in_time(index, wanted)
    spans = [
        (segment.first_sequence, segment.stop_sequence)
        for segment in uncached
        if segment.frame_count and _overlaps(segment, wanted)
    ]
    if in_time.any():
        inside = index.sequence[in_time]
        spans.append((int(inside[0]), int(inside[-1]) + 1))
    starts, stops = zip(*spans, strict=True) if spans else ((0,), (0,))
    first = min(starts) if wanted.start is None else wanted.start
    expected = range(first, max(stops) if wanted.stop is None else wanted.stop, wanted.step)
    is_expected = (index.sequence >= expected.start) & (index.sequence < expected.stop)
    is_expected &= (index.sequence - first) % wanted.step == 0
    rows = np.flatnonzero(is_expected & index.is_ok)
    present = index.sequence[rows]
    (gaps,) = np.nonzero(present != first + wanted.step * np.arange(len(present)))
    number = int(gaps[0]) if len(gaps) else len(present)
    if number >= len(expected):
        return None
    return MissingFrame(expected[number], index.position(expected[number]))


def _is_in_time(index: Index, wanted: Range) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that begin between the times of a range."""
    chosen = np.ones(len(index), dtype=np.bool_)
    if wanted.start_at is not None:
        chosen &= index.timestamp >= snap_to_frame_start(index, wanted.start_at)
    if wanted.stop_at is not None:
        chosen &= index.timestamp < snap_to_frame_start(index, wanted.stop_at)
    return chosen


def _overlaps(segment: Segment, wanted: Range) -> bool:
    """Return True if a segment has frames within the times of a range."""
    begins_in_time = wanted.stop_at is None or segment.start < wanted.stop_at.seconds
    return begins_in_time and (wanted.start_at is None or segment.end > wanted.start_at.seconds)


def _ends_of(ranges: Iterable[Any], name: str) -> list[tuple[Any, Any]]:
    """Return the two ends of each range.

    Raises:
        InvalidValue: an item is not a scene and not a pair.
    """
    is_time = name == "ranges_seconds"
    ends = []
    try:
        for one in ranges:
            if isinstance(one, Scene):
                pair = (one.start_seconds, one.stop_seconds) if is_time else (one.start, one.stop)
                ends.append(pair)
                continue
            first, last = one
            ends.append((first, last))
    except (TypeError, ValueError) as error:
        raise InvalidValue(
            f"{name} must be pairs of start and stop, such as [(0, 50), (200, 250)]: {error}"
        ) from error
    if not ends:
        raise InvalidValue(f"{name} is empty: give at least one pair of start and stop")
    return ends


def _require_bool(value: object, *, what: str) -> bool:
    """Return a bool; a number in its place is probably an argument of another name."""
    if isinstance(value, bool):
        return value
    raise InvalidValue(f"{what} must be True or False, not {format_value(value)}")
