"""Sampling: the choice of source frames to cache. Pure and exact: integers and fractions only."""

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

from framecache._core import json_documents
from framecache._core.numeric import as_fraction, float_spacing, format_value, require_int, scalar
from framecache.errors import InvalidValue

_MAX_FPS: Final = 1_000_000
_MIN_FPS: Final = Fraction(1, 1_000_000_000)
_MAX_DENOMINATOR: Final = 2**128
_MAX_SIMPLE_DENOMINATOR: Final = 1_001_000
"""Largest denominator of an NTSC rate, such as 30000/1001, divided by n, for n up to 1,000."""
_NTSC: Final = Fraction(1000, 1001)
_MAX_ULPS: Final = 2
"""Largest error, in units in the last place, of a rate that was rounded and divided by an integer.
"""
_RATE: Final = re.compile(
    r"\s*(?P<number>[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:/(?P<divisor>[0-9]{1,30}(?:\.[0-9]{0,30})?))?\s*"
)
"""Pattern of rates. `Fraction` alone would compute for hours on an exponent of a few digits."""


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """Every displayed frame."""

    def __str__(self) -> str:
        return "every frame"


@dataclass(frozen=True, slots=True)
class AtRate:
    """For each instant k / rate of the timeline, the frame shown then; each frame at most once."""

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
    """Frames that the video marks as decodable on their own."""

    def __str__(self) -> str:
        return "keyframes"


Sampling = EveryFrame | AtRate | EveryNth | Keyframes

Rate = float | str | Fraction | Decimal | SupportsFloat | SupportsIndex
"""Instants per second, a number of any type or a string: 5, 0.5, ``"30000/1001"``."""


def from_arguments(
    *,
    fps: Rate | None = None,
    every: SupportsIndex | None = None,
    keyframes: bool = False,
) -> Sampling:
    """Return the sampling that the arguments select; every frame if none is given.

    Args:
        fps: instants per second. A float, or its digits as a string, stands for the fraction with a
            denominator of at most 1,001,000 that lies within two floats of it, else for the decimal
            it prints as: ``29.97`` is 2997/100; ``30000 / 1001`` and ``"29.97002997002997"`` are
            the NTSC rate.
        every: positive stride in source frames.
        keyframes: select keyframes only.

    Raises:
        InvalidValue: more than one is given, or one is out of range.
    """
    given = [
        name
        for name, is_given in (("fps", fps is not None), ("every", every is not None))
        if is_given
    ] + (["keyframes"] if keyframes else [])
    if len(given) > 1:
        raise InvalidValue(f"give only one way of sampling, not {' and '.join(given)} together")
    if fps is not None:
        return AtRate(_rate(fps))
    if every is not None:
        n = require_int(every, what="every", minimum=1)
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
    """Return the ascending positions of the chunk's displayed frames that the sampling keeps.

    Args:
        sampling: sampling to apply.
        elapsed: each frame's PTS minus the first one's, ascending, in units of ``time_base``.
        is_key: for each frame, True if it is a keyframe; same shape as ``elapsed``.
        duration: time from the first frame's PTS to the end of the last frame, in ``time_base``.
        time_base: seconds per unit.
        start: seconds of the chunk's first frame on the timeline.
        first_source_frame: number of source frames of the timeline before this chunk.
    """
    match sampling:
        case EveryFrame():
            return np.arange(len(elapsed), dtype=np.int64)
        case Keyframes():
            return np.flatnonzero(is_key)
        case EveryNth(n):
            # np.arange fails if the stride exceeds 64 bits.
            return np.array(range(-first_source_frame % n, len(elapsed), n), dtype=np.int64)
        case AtRate(rate):
            instants = _count_instants_before([*elapsed.tolist(), duration], time_base, start, rate)
            kept = [n for n, (now, then) in enumerate(pairwise(instants)) if now < then]
            return np.array(kept, dtype=np.int64)


def to_json(sampling: Sampling) -> dict[str, Any]:
    """Return the sampling in the form that a manifest stores."""
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
    """Invert :func:`to_json`; raise KeyError or ValueError for any other value."""
    match value["kind"]:
        case "every_frame":
            return EveryFrame()
        case "keyframes":
            return Keyframes()
        case "every":
            return EveryNth(int(value["n"]))
        case "fps":
            return AtRate(json_documents.parse_fraction(value["rate"]))
        case kind:
            raise ValueError(f"unknown sampling {kind!r}")


def _count_instants_before(
    elapsed: Sequence[int], time_base: Fraction, start: Fraction, rate: Fraction
) -> list[int]:
    """Count the instants k / rate, k ≥ 0, before each time: ⌈time · rate⌉, in integers."""
    offset, unit = start * rate, time_base * rate
    denominator = lcm(offset.denominator, unit.denominator)
    offset_scaled, unit_scaled = int(offset * denominator), int(unit * denominator)
    return [-(-(offset_scaled + ticks * unit_scaled) // denominator) for ticks in elapsed]


def _rate(fps: Rate) -> Fraction:
    rate = _rate_of_text(fps) if isinstance(fps, str) else _rate_of_number(fps)
    in_range = _MIN_FPS <= rate <= _MAX_FPS and rate.denominator <= _MAX_DENOMINATOR
    if not in_range:
        raise InvalidValue(
            f"fps must be a rate above 0 and up to {_MAX_FPS}, such as 5, 0.5 or "
            f"'30000/1001', not {format_value(fps)}"
        )
    return rate


def _rate_of_text(fps: str) -> Fraction:
    """Return the rate that a string stands for, or 0 if it is not a rate."""
    match = _RATE.fullmatch(fps)
    if match is None:
        return Fraction(0)
    if match["divisor"] is None:
        return _undo_rounding(Fraction(match["number"]))
    divisor = Fraction(match["divisor"])
    return Fraction(match["number"]) / divisor if divisor else Fraction(0)


def _rate_of_number(fps: Rate) -> Fraction:
    """Return the rate that a number stands for, or 0 if it is not a rate."""
    number = scalar(fps)
    rate = as_fraction(number)
    if rate is None or (step := float_spacing(number)) is None:
        return rate or Fraction(0)
    if isinstance(number, np.float16 | np.float32):
        return (
            _undo_float_shortening(rate - step / 2, rate + step / 2) if rate > step else Fraction(0)
        )
    return _undo_rounding(Fraction(str(float(rate))))


def _undo_rounding(decimal: Fraction) -> Fraction:
    """Return the simple fraction of which a float's decimal is the rounded value, else itself."""
    simple = decimal.limit_denominator(_MAX_SIMPLE_DENOMINATOR)
    if decimal > _MAX_FPS:
        return decimal
    most = _MAX_ULPS * Fraction(ulp(float(decimal)))
    return simple if abs(simple - decimal) <= most else decimal


def _undo_float_shortening(least: Fraction, most: Fraction) -> Fraction:
    """Return the likeliest rate that rounds to a short float: the simplest one in its interval.

    Candidates are simple fractions, and 1000/1001 of simple fractions (NTSC rates).
    """
    plain = _simplest_in_interval(least, most)
    of_ntsc = _simplest_in_interval(least / _NTSC, most / _NTSC)
    return plain if plain.denominator <= of_ntsc.denominator else of_ntsc * _NTSC


def _simplest_in_interval(least: Fraction, most: Fraction) -> Fraction:
    """Return the fraction of least denominator in ``[least, most]``, both above 0."""
    whole_part = -(-least.numerator // least.denominator)
    if whole_part <= most:
        return Fraction(whole_part)
    floor = whole_part - 1
    return floor + 1 / _simplest_in_interval(1 / (most - floor), 1 / (least - floor))
