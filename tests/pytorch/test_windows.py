"""Windows of frames, compared with a search of every possibility."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache.torch.windows import Windows, at_frames, at_times, gaps_after, without_gaps

COUNTS = st.integers(1, 25)
OFFSETS = st.lists(st.integers(-6, 6), min_size=1, max_size=4)
TICKS = st.lists(st.integers(0, 200), min_size=1, max_size=20, unique=True).map(sorted)
"""Times in units of 1/64 s, which floats represent exactly."""
TICK_OFFSETS = st.lists(st.integers(-40, 40), min_size=1, max_size=3)
TICK = 1 / 64


def rows_of(windows: Windows) -> list[list[int]]:
    rows: list[list[int]] = windows.rows(np.arange(len(windows))).tolist()
    return rows


@given(count=COUNTS, offsets=OFFSETS, step=st.integers(1, 4))
def test_offsets_in_frames_give_all_windows_within_the_timeline(
    count: int, offsets: list[int], step: int
) -> None:
    found = at_frames(count, np.arange(0, count, step), np.array(offsets))
    wanted = [[anchor + offset for offset in offsets] for anchor in range(0, count, step)]
    assert rows_of(found) == [one for one in wanted if all(0 <= row < count for row in one)]


def nearest(ticks: Sequence[int], wanted: int) -> int:
    """The row that begins nearest to a time; of two, the earlier."""
    return min(range(len(ticks)), key=lambda row: (abs(ticks[row] - wanted), row))


@given(ticks=TICKS, offsets=TICK_OFFSETS, tolerance=st.integers(0, 12))
def test_offsets_in_seconds_give_the_nearest_frames_within_the_tolerance(
    ticks: list[int], offsets: list[int], tolerance: int
) -> None:
    found = at_times(
        np.array(ticks) * TICK,
        np.arange(len(ticks)),
        np.array(offsets) * TICK,
        tolerance * TICK,
    )
    wanted = []
    for tick in ticks:
        rows = [nearest(ticks, tick + offset) for offset in offsets]
        distances = [
            abs(ticks[row] - tick - offset) for row, offset in zip(rows, offsets, strict=True)
        ]
        if max(distances) <= tolerance:
            wanted.append(rows)
    assert rows_of(found) == wanted


@given(count=COUNTS, offsets=OFFSETS, gaps=st.sets(st.integers(0, 24)))
def test_window_with_a_gap_between_its_frames_or_its_anchor_is_omitted(
    count: int, offsets: list[int], gaps: set[int]
) -> None:
    is_gap = np.array([row in gaps for row in range(count)])
    windows = at_frames(count, np.arange(count), np.array(offsets))
    kept = rows_of(without_gaps(windows, is_gap))
    wanted = []
    for anchor in windows.anchors.tolist():
        rows = [anchor, *(anchor + offset for offset in offsets)]
        if not any(row in gaps for row in range(min(rows), max(rows))):
            wanted.append(rows[1:])
    assert kept == wanted


@given(ticks=TICKS, offsets=TICK_OFFSETS, gaps=st.sets(st.integers(0, 20)))
def test_windows_of_several_patterns_with_a_gap_are_omitted(
    ticks: list[int], offsets: list[int], gaps: set[int]
) -> None:
    is_gap = np.array([row in gaps for row in range(len(ticks))])
    windows = at_times(
        np.array(ticks) * TICK, np.arange(len(ticks)), np.array(offsets) * TICK, 5 * TICK
    )
    pairs = zip(windows.anchors.tolist(), rows_of(windows), strict=True)
    wanted = [
        rows
        for anchor, rows in pairs
        if not any(row in gaps for row in range(min(anchor, *rows), max(anchor, *rows)))
    ]
    assert rows_of(without_gaps(windows, is_gap)) == wanted


def test_default_tolerance_is_half_the_usual_interval() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 3.4])
    found = at_times(times, np.arange(5), np.array([0.5]), None)
    assert rows_of(found) == [[0], [1], [2], [4], [4]]
    assert rows_of(at_times(times, np.arange(5), np.array([0.6]), 0.39)) == [[4]]


def gaps(
    sequences: list[int],
    times: list[float],
    starts: Sequence[float] = (),
    longest: float | None = None,
) -> list[int]:
    """The rows that are followed by a gap."""
    found = gaps_after(np.array(sequences), np.array(times), np.array(starts, float), longest)
    rows: list[int] = np.flatnonzero(found).tolist()
    return rows


def test_missing_sequence_is_a_gap() -> None:
    assert gaps([0, 1, 3, 4], [0.0, 1.0, 2.0, 3.0]) == [1]


def test_long_interval_is_a_gap() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 6.0, 9.5]
    assert gaps([*range(6)], times) == [4]
    assert gaps([*range(6)], times, longest=2.0) == [3, 4]
    assert gaps([*range(6)], times, longest=9.0) == []


@pytest.mark.parametrize("start", [2.0, 1.5])
def test_chunk_that_starts_late_is_a_gap(start: float) -> None:
    assert gaps([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], starts=[start]) == [1]
    assert gaps([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], starts=[0.0, 9.0]) == []


def test_zero_or_one_frames_have_no_gap() -> None:
    assert gaps([], []) == []
    assert gaps([7], [1.0]) == []
