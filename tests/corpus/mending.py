"""Corrected times: a plain second implementation of the rule in ``docs/frames.md``.

It tries every choice of kept pictures that can be best, in quadratic time and without cunning.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

_RESTART_COSTS: Final = 8
_FINENESS: Final = 1024
"""Steps of repaired times in one unit of the time base."""


class _Choice(NamedTuple):
    """Kept pictures, up to one of them. Tuples compare as the rule does: the least is best."""

    cost: int
    restarts: int
    kept: tuple[int, ...]


def restarts(times: Sequence[int | None]) -> int:
    """Return at how many pictures the clock begins again."""
    return _best(times).restarts if any(pts is not None for pts in times) else 0


def repaired(times: Sequence[int | None], *, step: int) -> list[Fraction]:
    """Return ascending times of pictures in display order, the first of which is at 0.

    ``times``: the PTS of each picture, None where it has none. ``step``: the average distance of
    frames, for where times do not tell.
    """
    known = [pts for pts in times if pts is not None]
    usual = _usual_step(times, step)
    if not known:
        return [Fraction(place * usual) for place in range(len(times))]
    placed = _placed(times, _best(times).kept, usual)
    spread = _spread(placed, usual)
    return [time - spread[0] for time in spread]


def _usual_step(times: Sequence[int | None], step: int) -> int:
    """Return the lower median of the positive differences of known PTS."""
    known = [pts for pts in times if pts is not None]
    rises = sorted(later - earlier for earlier, later in pairwise(known) if later > earlier)
    return rises[(len(rises) - 1) // 2] if rises else max(step, 1)


def _best(times: Sequence[int | None]) -> _Choice:
    best: list[_Choice | None] = []
    for place, pts in enumerate(times):
        if pts is None:
            best.append(None)
            continue
        choices = [_Choice(place, 0, (place,))]
        for earlier, choice in enumerate(best):
            before = times[earlier]
            if choice is None or before is None:
                continue
            restarts = int(pts < before)
            cost = choice.cost + place - earlier - 1 + _RESTART_COSTS * restarts
            choices.append(_Choice(cost, choice.restarts + restarts, (*choice.kept, place)))
        best.append(min(choices))
    ends = [
        choice._replace(cost=choice.cost + len(times) - 1 - place)
        for place, choice in enumerate(best)
        if choice is not None
    ]
    return min(ends)


def _placed(times: Sequence[int | None], kept: Sequence[int], step: int) -> list[int]:
    """Return the times with strays at the kept picture before them, clock restarts undone."""
    first = kept[0]
    begin = times[first]
    assert begin is not None
    placed = [begin - (first - place) * step for place in range(first)]
    shift, last, last_pts = 0, first, begin
    for place in range(first, len(times)):
        pts = times[place]
        if place in kept and pts is not None:
            if pts < last_pts:
                shift = placed[last] + step * (place - last) - pts
            placed.append(pts + shift)
            last, last_pts = place, pts
        else:
            placed.append(placed[last])
    return placed


def _spread(placed: Sequence[int], step: int) -> list[Fraction]:
    """Set equal times apart."""
    spread: list[Fraction] = []
    while len(spread) < len(placed):
        time = placed[len(spread)]
        rest = placed[len(spread) :]
        count = next((at for at, other in enumerate(rest) if other != time), len(rest))
        following = rest[count] if count < len(rest) else None
        room = Fraction(step) if following is None else Fraction(following - time, count)
        apart = min(room, Fraction(step))
        spread += [
            Fraction((time + number * apart) * _FINENESS // 1, _FINENESS) for number in range(count)
        ]
    return spread
