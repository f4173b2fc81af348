"""Durations of written frames, which programs give without them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache.index import FrameRow, Index

_Times = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Sequences, ascending, and their timestamps in seconds."""

_NONE_AFTER: Final = np.inf


def with_durations(rows: Iterable[FrameRow], cached: Index) -> list[FrameRow]:
    """Give each frame the time until the next of the timeline, and the last that of the one before.

    A frame that is cached, and keeps its time and the time of the frame after it, keeps its
    duration. Of a frame alone, or of times that do not increase, the duration is unknown: 0.0.

    Args:
        rows: what is to be committed, in any order.
        cached: the frames that are there already; those of `rows` take their places.
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
            row, duration=_kept_duration(row, cached, before, after) or _gap(row.sequence, after)
        )
        for row in ordered
    ]


def _kept_duration(row: FrameRow, cached: Index, before: _Times, after: _Times) -> float:
    """The duration that a frame was cached with; 0.0 if it is not cached or its times changed."""
    position = cached.position(row.sequence)
    if position is None or cached.timestamp[position] != row.timestamp:
        return 0.0
    is_next_same = _next(row.sequence, before) == _next(row.sequence, after)
    return float(cached.duration[position]) if is_next_same else 0.0


def _next(sequence: int, times: _Times) -> float:
    """When the frame after one begins."""
    sequences, timestamps = times
    position = int(np.searchsorted(sequences, sequence)) + 1
    return float(timestamps[position]) if position < len(timestamps) else _NONE_AFTER


def _gap(sequence: int, times: _Times) -> float:
    sequences, timestamps = times
    position = int(np.searchsorted(sequences, sequence))
    first = max(0, min(position, len(timestamps) - 2))
    return max(0.0, float(np.diff(timestamps[first : first + 2]).sum()))
