"""Ascending times for pictures whose own times are missing, repeat, go back or stray. No I/O.

The order of the pictures is the decoder's and never changes. As many of their times as possible
are kept; the others follow from those. Where the clock of a file begins again, as in files that
were joined byte by byte, time goes on from the picture before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

_RESTART_COST: Final = 8
"""A restart of the clock is assumed where it saves more stray times than this."""

SUBDIVISIONS: Final = 1024
"""Mended times are multiples of the time base divided by this."""


@dataclass(frozen=True, slots=True)
class MendedTimes:
    """Times that replace those a video states."""

    times: tuple[Fraction, ...]
    """One for each picture, ascending, in the time base of the video."""
    replaced: int
    """Pictures with another time than their own, a restart of the clock aside."""
    restarts: int
    """Places at which the clock begins again."""
    last_shift: int | None
    """Added, since the last restart, to the times that the video states; None: none is kept."""


def mend_times(times: Sequence[int | None], *, average_step: int) -> MendedTimes | None:
    """Return ascending times for pictures in display order; None where there are none.

    A time is kept unless it is missing or stray. Kept times ascend or repeat; where one is below
    the one kept before it, the clock restarts. The choice has the fewest strays and restarts, a
    restart counting as eight strays; of equal ones, it has the fewest restarts, then the earliest
    kept times.

    Args:
        times: what the video states, in its time base; None where it states nothing.
        average_step: between two pictures, for want of known times.
    """
    step = _median_step(times) or average_step
    kept = _kept(times)
    if not kept:
        paced = tuple(Fraction(position * step) for position in range(len(times)))
        return MendedTimes(paced, replaced=len(times), restarts=0, last_shift=None)
    level, restarts = _without_restarts(times, kept, step)
    mended = _spread(level, step)
    if any(after <= before for before, after in pairwise(mended)):
        return None
    unchanged = sum(mended[position] == level[position] for position in kept)
    return MendedTimes(
        tuple(mended),
        replaced=len(times) - unchanged,
        restarts=restarts,
        last_shift=level[kept[-1]] - _own(times, kept[-1]),
    )


def _median_step(times: Sequence[int | None]) -> int:
    """The lower median of the positive differences between known times, else 0."""
    known = [time for time in times if time is not None]
    steps = sorted(after - before for before, after in pairwise(known) if after > before)
    return steps[(len(steps) - 1) // 2] if steps else 0


def _kept(times: Sequence[int | None]) -> list[int]:
    """The positions of the times to keep."""
    positions = [position for position, time in enumerate(times) if time is not None]
    values = [time for time in times if time is not None]
    if all(before <= after for before, after in pairwise(values)):
        return positions
    return [positions[chosen] for chosen in _best_chain(values)]


def _best_chain(values: Sequence[int]) -> list[int]:
    """The positions of the values that are kept, by dynamic programming from the end.

    ``best[i]`` is the best that follows when value i is kept: kept values less the cost of
    restarts, then as few restarts, then as early positions as possible.
    """
    count = len(values)
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    # A Fenwick tree of the best chain that begins at a value of a rank or higher.
    tree: list[tuple[int, int, int]] = [_NO_CHAIN] * (len(ranks) + 1)
    any_chain = _NO_CHAIN
    following = [-1] * count
    for position in range(count - 1, -1, -1):
        rank = ranks[values[position]]
        ascending = _NO_CHAIN
        at = len(ranks) - rank
        while at:
            ascending = max(ascending, tree[at])
            at &= at - 1
        gain, restarts, start = any_chain
        restarted = (gain - _RESTART_COST, restarts - 1, start)
        chosen = max((0, 0, _NOTHING), ascending, restarted)
        following[position] = -chosen[2]
        chain = (chosen[0] + 1, chosen[1], -position)
        any_chain = max(any_chain, chain)
        at = len(ranks) - rank
        while at <= len(ranks):
            tree[at] = max(tree[at], chain)
            at += at & -at
    kept, position = [], -any_chain[2]
    while position < count:
        kept.append(position)
        position = following[position]
    return kept


_NOTHING: Final = -(2**62)
_NO_CHAIN: Final = (_NOTHING, 0, _NOTHING)


def _without_restarts(
    times: Sequence[int | None], kept: Sequence[int], step: int
) -> tuple[list[int], int]:
    """Return times that ascend or repeat, and the number of restarts.

    Kept times are shifted by the restarts before them; strays have the time before them.
    """
    level = [0] * len(times)
    shift, restarts = 0, 0
    before, before_own = kept[0], _own(times, kept[0])
    for stray in range(before):
        level[stray] = before_own - (before - stray) * step
    for position in kept:
        own = _own(times, position)
        if own < before_own:
            restarts += 1
            shift = level[before] + step * (position - before) - own
        for stray in range(before + 1, position):
            level[stray] = level[before]
        level[position] = own + shift
        before, before_own = position, own
    for stray in range(before + 1, len(times)):
        level[stray] = level[before]
    return level, restarts


def _own(times: Sequence[int | None], position: int) -> int:
    own = times[position]
    assert own is not None
    return own


def _spread(level: Sequence[int], step: int) -> list[Fraction]:
    """Spread each run of equal times over the room before the next one."""
    mended = list[Fraction]()
    begin = 0
    while begin < len(level):
        end = begin + 1
        while end < len(level) and level[end] == level[begin]:
            end += 1
        size = end - begin
        pace = Fraction(step)
        if end < len(level):
            pace = min(Fraction(level[end] - level[begin], size), pace)
        mended += [
            level[begin] + Fraction(int(place * pace * SUBDIVISIONS), SUBDIVISIONS)
            for place in range(size)
        ]
        begin = end
    return mended
