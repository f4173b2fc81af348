"""Missing, repeated, decreasing or stray times are replaced, and all others kept."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._media.video.time_repair import SUBDIVISIONS, repair_times

STATED = st.lists(st.one_of(st.none(), st.integers(0, 40)), min_size=1, max_size=9)


def repaired(*times: int | None, step: int = 4) -> list[Fraction]:
    found = repair_times(times, average_step=step)
    assert found is not None
    return list(found.times)


@given(STATED)
def test_repaired_times_ascend_strictly(times: list[int | None]) -> None:
    found = repair_times(times, average_step=4)
    if found is not None:
        assert len(found.times) == len(times)
        assert all(before < after for before, after in pairwise(found.times))
        assert all((time * SUBDIVISIONS).denominator == 1 for time in found.times)


@given(st.lists(st.integers(0, 10**9), unique=True, min_size=1))
def test_ascending_times_are_unchanged(times: list[int]) -> None:
    found = repair_times(sorted(times), average_step=1)
    assert found is not None
    assert list(found.times) == sorted(times)
    assert (found.replaced, found.restarts) == (0, 0)


@pytest.mark.parametrize(
    ("stated", "right"),
    [
        pytest.param([0, 4, 9000, 12, 16], [0, 4, 8, 12, 16], id="ahead"),
        pytest.param([20, 24, 1, 32, 36], [20, 24, 28, 32, 36], id="behind"),
        pytest.param([0, 4, None, 12], [0, 4, 8, 12], id="missing"),
        pytest.param([None, None, 12, 16], [4, 8, 12, 16], id="missing at the start"),
        pytest.param([0, 4, None, None], [0, 4, 8, 12], id="missing at the end"),
        pytest.param([0, 0, 8, 8, 16], [0, 4, 8, 12, 16], id="in pairs"),
        pytest.param([0, 4, 8, 9000], [0, 4, 8, 9000], id="a gap at the end"),
        pytest.param([0, 4, 9000, 9004], [0, 4, 9000, 9004], id="a gap"),
        pytest.param([7, 7, 7], [7, 11, 15], id="all equal"),
        pytest.param([None, None, None], [0, 4, 8], id="none"),
        pytest.param(
            [0, 4, None, None, 5],
            [0, 4, Fraction(4) + Fraction(341, 1024), Fraction(4) + Fraction(682, 1024), 5],
            id="little room",
        ),
    ],
)
def test_stray_time_is_replaced_from_its_neighbors(
    stated: list[int | None], right: list[int | Fraction]
) -> None:
    assert repaired(*stated) == right


def test_restarted_clock_continues_from_the_previous_picture() -> None:
    found = repair_times([*range(100, 140, 4), *range(0, 40, 4)], average_step=1)
    assert found is not None
    assert list(found.times) == list(range(100, 180, 4))
    assert (found.replaced, found.restarts, found.final_offset) == (0, 1, 140)


def test_fewer_than_eight_pictures_with_earlier_times_are_strays() -> None:
    found = repair_times([*range(0, 80, 4), *range(20, 48, 4), *range(108, 200, 4)], average_step=1)
    assert found is not None
    assert (found.replaced, found.restarts) == (7, 0)


def test_times_without_room_between_them_are_not_repaired() -> None:
    assert repair_times([0] * (2 * SUBDIVISIONS) + [1], average_step=1) is None
