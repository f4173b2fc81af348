"""Which instants of a timeline become frames. Pure, and exact: integers and fractions only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import lcm, ulp
from typing import Any, Final, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue
from framecache.numeric import exact, scalar, shown, spacing, whole

_MOST_FPS: Final = 1_000_000
_LEAST_FPS: Final = Fraction(1, 1_000_000_000)
_MOST_DENOMINATOR: Final = 2**128
_MOST_SIMPLE: Final = 1_001_000
"""Denominator of n-th parts of the NTSC rates, such as 30000/1001, for n up to 1,000."""
_NTSC: Final = Fraction(1000, 1001)
_FLOATS_OFF: Final = 2
"""How many floats away a rate may be that was rounded, and divided by a whole number."""
_RATE: Final = re.compile(
    r"\s*(?P<number>[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:/(?P<divisor>[0-9]{1,30}(?:\.[0-9]{0,30})?))?\s*"
)
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

Rate = float | str | Fraction | Decimal | SupportsFloat | SupportsIndex
"""Instants a second, a number of any type or a text: 5, 0.5, ``"30000/1001"``."""


def choose(
    *,
    fps: Rate | None = None,
    every: SupportsIndex | None = None,
    keyframes: bool = False,
) -> Sampling:
    """The sampling that the arguments of a call ask for; with none of them, every frame.

    Args:
        fps: instants a second. A float, or its digits, means the fraction with a denominator up
            to 1,001,000 within two floats of it, else the decimal it prints as: ``29.97`` is
            2997/100, ``30000 / 1001`` and ``"29.97002997002997"`` are the NTSC rate.
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
        n = whole(every, what="every", least=1)
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


def _rate(fps: Rate) -> Fraction:
    rate = _rate_of_text(fps) if isinstance(fps, str) else _rate_of_number(fps)
    in_range = _LEAST_FPS <= rate <= _MOST_FPS and rate.denominator <= _MOST_DENOMINATOR
    if not in_range:
        raise InvalidValue(
            f"fps is a rate above 0 and up to {_MOST_FPS}, such as 5, 0.5 or '30000/1001', not "
            f"{shown(fps)}"
        )
    return rate


def _rate_of_text(fps: str) -> Fraction:
    """The rate that a text means, 0 if none."""
    match = _RATE.fullmatch(fps)
    if match is None:
        return Fraction(0)
    if match["divisor"] is None:
        return _before_rounding(Fraction(match["number"]))
    divisor = Fraction(match["divisor"])
    return Fraction(match["number"]) / divisor if divisor else Fraction(0)


def _rate_of_number(fps: Rate) -> Fraction:
    """The rate that a number means, 0 if none."""
    number = scalar(fps)
    rate = exact(number)
    if rate is None or (step := spacing(number)) is None:
        return rate or Fraction(0)
    if isinstance(number, np.float16 | np.float32):
        return _before_shortening(rate - step / 2, rate + step / 2) if rate > step else Fraction(0)
    return _before_rounding(Fraction(str(float(rate))))


def _before_rounding(decimal: Fraction) -> Fraction:
    """The simple fraction that a decimal with all digits of a float was made from, else itself."""
    simple = decimal.limit_denominator(_MOST_SIMPLE)
    if decimal > _MOST_FPS:
        return decimal
    most = _FLOATS_OFF * Fraction(ulp(float(decimal)))
    return simple if abs(simple - decimal) <= most else decimal


def _before_shortening(least: Fraction, most: Fraction) -> Fraction:
    """The rate that a short float was made from, of the many that it may have been made from.

    Rates are simple fractions, or 1000/1001 of one, as those of NTSC.
    """
    plain = _simplest(least, most)
    of_ntsc = _simplest(least / _NTSC, most / _NTSC)
    return plain if plain.denominator <= of_ntsc.denominator else of_ntsc * _NTSC


def _simplest(least: Fraction, most: Fraction) -> Fraction:
    """The fraction of the least denominator from ``least`` to ``most``, both above 0."""
    whole_part = -(-least.numerator // least.denominator)
    if whole_part <= most:
        return Fraction(whole_part)
    floor = whole_part - 1
    return floor + 1 / _simplest(1 / (most - floor), 1 / (least - floor))
