"""Find windows of frames at fixed offsets from each frame. Pure: arrays in, arrays out."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_USUAL_INTERVALS: Final = 3.0
"""A next frame that begins later than this number of usual intervals is behind a gap."""

_TOLERATED_INTERVALS: Final = 0.5
_ROUNDING_SECONDS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one timeline. Most share a few patterns, so they take little memory."""

    anchors: Integers
    """Row of the frame from which each window's offsets count."""
    patterns: Integers
    """Distinct windows ``(patterns, frames)``: distances in rows from the anchor."""
    pattern_of: Integers | None
    """Pattern of each window; None: they all have the first."""

    def __len__(self) -> int:
        return len(self.anchors)

    def rows(self, numbers: Integers) -> Integers:
        """Return the rows of some windows, ``(windows, frames)``."""
        anchors = self.anchors[numbers][:, None]
        if self.pattern_of is None:
            return anchors + self.patterns
        return anchors + self.patterns[self.pattern_of[numbers]]


def at_frames(row_count: int, anchors: Integers, offsets: Integers) -> Windows:
    """Return the windows whose frames all exist, for offsets in rows."""
    first, last = min(0, int(offsets.min())), max(0, int(offsets.max()))
    exists = (anchors + first >= 0) & (anchors + last < row_count)
    return Windows(anchors[exists], offsets[None, :], None)


def at_times(
    timestamps: Floats, anchors: Integers, offsets_seconds: Floats, tolerance_seconds: float | None
) -> Windows:
    """Return the windows whose frames each begin within the tolerance of the wanted time.

    Args:
        timestamps: start of each row, ascending.
        anchors: rows from which the offsets count.
        offsets_seconds: wanted times, relative to that of the anchor.
        tolerance_seconds: None: half the usual interval between rows.
    """
    wanted = timestamps[anchors][:, None] + offsets_seconds
    rows = _nearest_rows(timestamps, wanted)
    tolerance = (
        _TOLERATED_INTERVALS * usual_interval(timestamps)
        if tolerance_seconds is None
        else tolerance_seconds
    )
    fits = (np.abs(timestamps[rows] - wanted) <= tolerance + _ROUNDING_SECONDS).all(axis=1)
    kept = anchors[fits]
    patterns, pattern_of = np.unique(rows[fits] - kept[:, None], axis=0, return_inverse=True)
    return Windows(kept, patterns, pattern_of.reshape(-1))


def without_gaps(windows: Windows, is_gap: Mask) -> Windows:
    """Return the windows that lie on one side of every gap, together with their anchor.

    Args:
        windows: windows to filter.
        is_gap: True for each row that is followed by a gap.
    """
    gaps_before = np.concatenate([[0], np.cumsum(is_gap)])
    if windows.pattern_of is None:
        first, last = windows.patterns[0].min(), windows.patterns[0].max()
    else:
        first = windows.patterns.min(axis=1)[windows.pattern_of]
        last = windows.patterns.max(axis=1)[windows.pattern_of]
    begin = windows.anchors + np.minimum(0, first)
    end = windows.anchors + np.maximum(0, last)
    kept = gaps_before[begin] == gaps_before[end]
    return Windows(
        windows.anchors[kept],
        windows.patterns,
        None if windows.pattern_of is None else windows.pattern_of[kept],
    )


def gaps_after(
    sequences: Integers,
    timestamps: Floats,
    chunk_starts_after_gap: Floats,
    max_interval_seconds: float | None,
) -> Mask:
    """Return True for each row that is followed by a gap.

    A gap is a missing sequence, a start of a chunk later than the end of the chunk before it, or
    an interval that is too long.

    Args:
        sequences: sequence of each row.
        timestamps: start of each row in seconds.
        chunk_starts_after_gap: times at which such chunks start.
        max_interval_seconds: longest interval between the starts of two rows; None: three times
            the usual one.
    """
    if len(sequences) == 0:
        return np.zeros(0, np.bool_)
    intervals = np.diff(timestamps)
    longest = (
        _USUAL_INTERVALS * usual_interval(timestamps)
        if max_interval_seconds is None
        else max_interval_seconds
    )
    is_gap = (np.diff(sequences) > 1) | (intervals > longest + _ROUNDING_SECONDS)
    after = np.searchsorted(timestamps, chunk_starts_after_gap - _ROUNDING_SECONDS)
    is_gap[after[(after > 0) & (after < len(timestamps))] - 1] = True
    return np.append(is_gap, False)


def usual_interval(timestamps: Floats) -> float:
    """Return the median interval between the starts of two rows; 0.0 if there is none."""
    intervals = np.diff(timestamps)
    return float(np.median(intervals)) if len(intervals) else 0.0


def _nearest_rows(timestamps: Floats, wanted: Floats) -> Integers:
    """Return the row that begins nearest to each time; of two, the earlier."""
    after = np.clip(np.searchsorted(timestamps, wanted), 1, max(1, len(timestamps) - 1))
    before = after - 1
    after = np.minimum(after, len(timestamps) - 1)
    is_after = timestamps[after] - wanted < wanted - timestamps[before]
    return np.where(is_after, after, before)
