"""Repair of picture times that are missing, repeat, go back or are outliers. Does no I/O.

The decoder determines the order of the pictures, and the order never changes. As many times as
possible are kept; the others are derived from them. Where the clock of a file restarts, as in
files that were concatenated byte by byte, time continues from the previous picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

_RESTART_COST: Final = 8
"""Number of stray times (outliers) that a clock restart must save to be assumed."""

SUBDIVISIONS: Final = 1024
"""Number of parts of a time base unit; repaired times are multiples of such a part."""


@dataclass(frozen=True, slots=True)
class RepairedTimes:
    """Times that replace those stated by a video."""

    times: tuple[Fraction, ...]
    """Time of each picture, ascending, in the time base of the video."""
    replaced: int
    """Number of pictures whose time was replaced, not counting shifts by clock restarts."""
    restarts: int
    """Number of places at which the clock restarts."""
    final_offset: int | None
    """Offset added to the stated times after the last restart; None if no time is kept."""


def repair_times(times: Sequence[int | None], *, average_step: int) -> RepairedTimes | None:
    """Return ascending times for pictures in display order; None if no such times exist.

    A time is kept unless it is missing or stray (an outlier). Kept times ascend or repeat; if one
    is below the previous kept time, the clock restarts there. The selection minimizes the number
    of strays plus eight times the number of restarts. Ties are resolved by fewer restarts, then by
    earlier positions of the kept times.

    Args:
        times: the times stated by the video, in its time base; None for a picture without one.
        average_step: step between two pictures, used if it cannot be derived from ``times``.
    """
    step = _median_step(times) or average_step
    kept = _select_kept(times)
    if not kept:
        paced = tuple(Fraction(position * step) for position in range(len(times)))
        return RepairedTimes(paced, replaced=len(times), restarts=0, final_offset=None)
    level, restarts = _remove_restarts(times, kept, step)
    mended = _spread_repeats(level, step)
    if any(after <= before for before, after in pairwise(mended)):
        return None
    unchanged = sum(mended[position] == level[position] for position in kept)
    return RepairedTimes(
        tuple(mended),
        replaced=len(times) - unchanged,
        restarts=restarts,
        final_offset=level[kept[-1]] - _known_time(times, kept[-1]),
    )


def _median_step(times: Sequence[int | None]) -> int:
    """Return the lower median of the positive steps between known times; 0 if there is none."""
    known = [time for time in times if time is not None]
    steps = sorted(after - before for before, after in pairwise(known) if after > before)
    return steps[(len(steps) - 1) // 2] if steps else 0


def _select_kept(times: Sequence[int | None]) -> list[int]:
    """Return the positions of the times to keep."""
    positions = [position for position, time in enumerate(times) if time is not None]
    values = [time for time in times if time is not None]
    if all(before <= after for before, after in pairwise(values)):
        return positions
    return [positions[chosen] for chosen in _best_chain(values)]


def _best_chain(values: Sequence[int]) -> list[int]:
    """Return the positions of the values to keep, by dynamic programming from the end.

    A chain is a sequence of kept values up to the end. The best chain that starts at a value has
    the most kept values less the cost of restarts, then the fewest restarts, then the earliest
    positions.
    """
    count = len(values)
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    # Fenwick tree of the best chain that starts at a value of at least a given rank.
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
        chosen = max((0, 0, _NO_GAIN), ascending, restarted)
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


_NO_GAIN: Final = -(2**62)
_NO_CHAIN: Final = (_NO_GAIN, 0, _NO_GAIN)


def _remove_restarts(
    times: Sequence[int | None], kept: Sequence[int], step: int
) -> tuple[list[int], int]:
    """Return times that ascend or repeat, and the number of restarts.

    Kept times are shifted by the restarts before them; stray times take the previous time.
    """
    level = [0] * len(times)
    shift, restarts = 0, 0
    before, before_own = kept[0], _known_time(times, kept[0])
    for stray in range(before):
        level[stray] = before_own - (before - stray) * step
    for position in kept:
        own = _known_time(times, position)
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


def _known_time(times: Sequence[int | None], position: int) -> int:
    own = times[position]
    assert own is not None
    return own


def _spread_repeats(level: Sequence[int], step: int) -> list[Fraction]:
    """Spread each run of equal times over the interval before the next time."""
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
