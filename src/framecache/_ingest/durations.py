"""Durations of written frames, which programs mostly supply without durations."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._index import FrameRow, Index

_Times = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Sequences, ascending, and their timestamps in seconds."""

_NO_NEXT_FRAME: Final = np.inf


def with_durations(rows: Iterable[FrameRow], cached: Index) -> list[FrameRow]:
    """Set each frame's duration to the time until the next; the last repeats the one before it.

    A frame that was given with a duration keeps it. A cached frame whose own time and whose
    successor's time are unchanged keeps its duration. The duration of a single frame, or where
    times do not increase, is unknown: 0.0.

    Args:
        rows: the rows to be committed, in any order.
        cached: the frames already cached; `rows` replace those with the same sequence.
    """
    ordered = sorted(rows, key=lambda row: row.sequence)
    given = np.array([row.sequence for row in ordered], np.int64)
    before = cached.sequence, cached.timestamp
    stays = ~np.isin(cached.sequence, given)
    sequences = np.concatenate([cached.sequence[stays], given])
    order = np.argsort(sequences)
    timestamps = np.concatenate([cached.timestamp[stays], [row.timestamp for row in ordered]])
    after = sequences[order], timestamps[order]
    return [
        replace(
            row,
            duration=row.duration
            or _kept_duration(row, cached, before, after)
            or _gap(row.sequence, after),
        )
        for row in ordered
    ]


def _kept_duration(row: FrameRow, cached: Index, before: _Times, after: _Times) -> float:
    """Return a frame's cached duration; 0.0 if it is not cached or its times changed."""
    position = cached.position(row.sequence)
    if position is None or cached.timestamp[position] != row.timestamp:
        return 0.0
    is_next_same = _next_start(row.sequence, before) == _next_start(row.sequence, after)
    return float(cached.duration[position]) if is_next_same else 0.0


def _next_start(sequence: int, times: _Times) -> float:
    """Return the start of the frame after `sequence`."""
    sequences, timestamps = times
    position = int(np.searchsorted(sequences, sequence)) + 1
    return float(timestamps[position]) if position < len(timestamps) else _NO_NEXT_FRAME


def _gap(sequence: int, times: _Times) -> float:
    sequences, timestamps = times
    position = int(np.searchsorted(sequences, sequence))
    first = max(0, min(position, len(timestamps) - 2))
    return max(0.0, float(np.diff(timestamps[first : first + 2]).sum()))
