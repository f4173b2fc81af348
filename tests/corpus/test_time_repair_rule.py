"""The second implementation of the rule for times gives what its text says, on small examples."""

from fractions import Fraction

import pytest

from corpus.mending import repaired


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 4, 8, 12], [0, 4, 8, 12]),
        # A stray takes the kept time before it, and both share the time up to the next.
        ([0, 4, 9000, 12, 16], [0, 4, 8, 12, 16]),
        ([0, 4, None, 12, 16], [0, 4, 8, 12, 16]),
        ([None, 4, 8, 12], [0, 4, 8, 12]),
        # Equal times spread up to the next one, by the usual step at most.
        ([0, 0, 4, 4, 8, 8], [0, 2, 4, 6, 8, 12]),
        ([0, 4, 4, 40, 44], [0, 4, 8, 40, 44]),
        # A jump forward is a gap.
        ([0, 4, 800, 804], [0, 4, 800, 804]),
        # Nine strays cost more than a restart.
        ([*range(100, 148, 4), *range(0, 40, 4)], list(range(0, 88, 4))),
        ([None, None, None], [0, 5, 10]),
    ],
)
def test_irregular_times_are_repaired_by_the_rule(
    times: list[int | None], expected: list[int]
) -> None:
    assert repaired(times, step=5) == [Fraction(time) for time in expected]


def test_interpolated_time_is_rounded_down_to_a_1024th_of_the_time_base() -> None:
    assert repaired([0, 0, 0, 1, 2, 3], step=1)[1:3] == [Fraction(341, 1024), Fraction(682, 1024)]
