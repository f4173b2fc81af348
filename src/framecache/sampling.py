"""Which instants of a timeline become frames. Pure, and exact: integers and fractions only."""

import operator
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Any, Final, SupportsIndex, cast

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue

_MOST_FPS: Final = 1_000_000
_LEAST_FPS: Final = Fraction(1, 1_000_000_000)
_MOST_DENOMINATOR: Final = 2**128
_RATE: Final = re.compile(r"\s*\d{1,30}(\.\d{0,30})?(/\d{1,30})?\s*")
"""Fraction itself would work for hours on an exponent of a few digits."""


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """Every displayed frame."""

    def __str__(self) -> str:
        return "every frame"


@dataclass(frozen=True, slots=True)
class AtRate:
    """For each instant k / rate of the timeline, the frame on screen then; never one twice."""

    rate: Fraction

    def __str__(self) -> str:
        return f"{self.rate} fps"


@dataclass(frozen=True, slots=True)
class EveryNth:
    """Frames 0, n, 2n… of the timeline's source frames, counted across chunks."""

    n: int

    def __str__(self) -> str:
        return f"every {self.n} frames"


@dataclass(frozen=True, slots=True)
class Keyframes:
    """The frames the video marks as decodable on their own."""

    def __str__(self) -> str:
        return "keyframes"


Sampling = EveryFrame | AtRate | EveryNth | Keyframes


def choose(
    *,
    fps: float | str | Fraction | None = None,
    every: int | None = None,
    keyframes: bool = False,
) -> Sampling:
    """The sampling that the arguments of a call ask for; with none of them, every frame.

    Args:
        fps: instants a second; a float means the decimal it prints as, so ``29.97`` is 2997/100.
        every: a positive stride in source frames.
        keyframes: keyframes only.

    Raises:
        InvalidValue: more than one is given, or one is out of range.
    """
    given = [
        name
        for name, is_given in (("fps", fps is not None), ("every", every is not None))
        if is_given
    ] + (["keyframes"] if keyframes else [])
    if len(given) > 1:
        raise InvalidValue(f"choose one way of sampling: {' and '.join(given)} were given together")
    if fps is not None:
        return AtRate(_rate(fps))
    if every is not None:
        n = _whole(every)
        if n < 1:
            raise InvalidValue(f"every is a whole number from 1, not {every!r}")
        return EveryFrame() if n == 1 else EveryNth(n)
    return Keyframes() if keyframes else EveryFrame()


def select(
    sampling: Sampling,
    *,
    elapsed: npt.NDArray[np.int64],
    is_key: npt.NDArray[np.bool_],
    duration: int,
    time_base: Fraction,
    start: Fraction,
    first_source_frame: int,
) -> npt.NDArray[np.int64]:
    """Which of a chunk's displayed frames the sampling keeps, as ascending positions.

    Args:
        sampling: what to keep.
        elapsed: each frame's PTS less the first one's, ascending, in units of ``time_base``.
        is_key: whether each frame is a keyframe; same shape.
        duration: from the first frame's PTS to the end of the last frame, in ``time_base``.
        time_base: seconds a unit.
        start: seconds of the chunk's first frame on the timeline.
        first_source_frame: how many source frames of the timeline come before this chunk.
    """
    match sampling:
        case EveryFrame():
            return np.arange(len(elapsed), dtype=np.int64)
        case Keyframes():
            return np.flatnonzero(is_key)
        case EveryNth(n):
            # Not numpy's range, which fails at a stride of more than 64 bits.
            return np.array(range(-first_source_frame % n, len(elapsed), n), dtype=np.int64)
        case AtRate(rate):
            instants = _instants_before([*elapsed.tolist(), duration], time_base, start, rate)
            kept = [n for n, (now, then) in enumerate(pairwise(instants)) if now < then]
            return np.array(kept, dtype=np.int64)


def to_json(sampling: Sampling) -> dict[str, Any]:
    """The sampling as a description stores it."""
    match sampling:
        case EveryFrame():
            return {"kind": "every_frame"}
        case Keyframes():
            return {"kind": "keyframes"}
        case EveryNth(n):
            return {"kind": "every", "n": n}
        case AtRate(rate):
            return {"kind": "fps", "rate": str(rate)}


def from_json(value: dict[str, Any]) -> Sampling:
    """The inverse of :func:`to_json`; raises KeyError or ValueError for anything else."""
    match value["kind"]:
        case "every_frame":
            return EveryFrame()
        case "keyframes":
            return Keyframes()
        case "every":
            return EveryNth(int(value["n"]))
        case "fps":
            return AtRate(Fraction(value["rate"]))
        case kind:
            raise ValueError(f"unknown sampling {kind!r}")


def _instants_before(
    elapsed: Sequence[int], time_base: Fraction, start: Fraction, rate: Fraction
) -> list[int]:
    """How many instants k / rate, k ≥ 0, lie before each time: ⌈time · rate⌉, in integers."""
    offset, unit = start * rate, time_base * rate
    denominator = lcm(offset.denominator, unit.denominator)
    offset_scaled, unit_scaled = int(offset * denominator), int(unit * denominator)
    return [-(-(offset_scaled + ticks * unit_scaled) // denominator) for ticks in elapsed]


def _whole(value: object) -> int:
    """An int or what numpy has instead; -1 for anything else."""
    try:
        return -1 if isinstance(value, bool) else operator.index(cast("SupportsIndex", value))
    except TypeError:
        return -1


def _rate(fps: float | str | Fraction) -> Fraction:
    rate = Fraction(0)
    if not isinstance(fps, str) or _RATE.fullmatch(fps):
        with suppress(ValueError, TypeError, ZeroDivisionError, OverflowError):
            rate = Fraction(str(fps)) if isinstance(fps, float) else Fraction(fps)
    in_range = _LEAST_FPS <= rate <= _MOST_FPS and rate.denominator <= _MOST_DENOMINATOR
    if isinstance(fps, bool) or not in_range:
        raise InvalidValue(
            f"fps is a rate above 0 and up to {_MOST_FPS}, such as 5, 0.5 or '30000/1001', not "
            f"{fps!r}"
        )
    return rate
