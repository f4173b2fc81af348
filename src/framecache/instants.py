"""Times on a timeline, as callers give them and as they are printed. Pure: no I/O.

A time is seldom given exactly: it was rounded to a float, or to the digits that were printed. What
it was rounded by is its tolerance, and whoever looks a time up allows for it.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NoReturn, SupportsFloat, SupportsIndex

import numpy as np

from framecache.errors import InvalidValue
from framecache.numeric import exact, scalar, shown, spacing

Seconds = float | str | Fraction | Decimal | SupportsFloat | SupportsIndex
"""A time: a number of any type, or a text such as ``"62.5"``, ``"62.5s"`` or ``"1:02.5"``."""

MOST_SECONDS: Final = 10**20
"""No time is later, not even of a program that counts nanoseconds since 1970."""
_FLOAT_TOLERANCE: Final = Fraction(1, 1_000_000)
_MOST_DECIMALS: Final = 6
"""More of them come from a float that was printed, which is not right to the last of them."""
_SECONDS_A_MINUTE: Final = 60
_MINUTES_AN_HOUR: Final = 60
_LONGEST_TEXT: Final = 80
_CLOCK: Final = re.compile(
    r"(?P<sign>[-+]?)(?:(?P<hours>[0-9]+):(?=[0-5]?[0-9]:))?(?P<minutes>[0-9]+):"
    r"(?P<seconds>[0-5]?[0-9](?:\.[0-9]*)?)\s*s?"
)
_PLAIN: Final = re.compile(
    r"(?P<sign>[-+]?)(?P<seconds>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE](?P<exponent>[-+]?[0-9]{1,3}))?\s*s?"
)


@dataclass(frozen=True, slots=True)
class Instant:
    """A time on a timeline, and what it may have been rounded by."""

    seconds: Fraction
    tolerance: Fraction
    """Seconds, from 0."""


def instant(value: Seconds, *, tolerance_seconds: Seconds | None = None) -> Instant:
    """Take a time as a caller gives it.

    A whole number and a ``Fraction`` are exact. A float allows for 1 µs, one of 16 or 32 bits for
    half the distance to its neighbour if that is more, and a text or ``Decimal`` of d decimals for
    half a unit of the last of them.

    Args:
        value: a number, or a text: ``62.5``, ``62.5s``, ``1:02.5``, ``1:01:02.5``.
        tolerance_seconds: allow for this much instead.

    Raises:
        InvalidValue: it is no time, or beyond :data:`MOST_SECONDS`.
    """
    if isinstance(value, str):
        seconds, tolerance = _parsed(value)
    else:
        seconds = _number(value)
        tolerance = _rounded_by(value, seconds)
    if tolerance_seconds is not None:
        # A float stands for any number that rounds to it.
        is_float = not isinstance(value, str) and spacing(value) is not None
        tolerance = _tolerance(tolerance_seconds) + (_step(seconds) / 2 if is_float else 0)
    return Instant(seconds, tolerance)


def exact_seconds(value: Seconds) -> Fraction:
    """The seconds of a time, exactly; a float means the decimal it prints as.

    Raises:
        InvalidValue: it is no time, or beyond :data:`MOST_SECONDS`.
    """
    if isinstance(value, str):
        return _parsed(value)[0]
    seconds, number = _number(value), scalar(value)
    if spacing(number) is None:
        return seconds
    # numpy's short floats know fewer digits than Python's.
    return Fraction(str(number if isinstance(number, np.float16 | np.float32) else float(number)))


def clock(seconds: float | Fraction, *, decimals: int = 3) -> str:
    """``0:05.280``, ``12:07.000``, ``1:00:00.500``: a time, rounded to so many decimals."""
    units = round(abs(Fraction(seconds)) * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    minutes, whole = divmod(whole, _SECONDS_A_MINUTE)
    hours, minutes = divmod(minutes, _MINUTES_AN_HOUR)
    sign = "-" if seconds < 0 and units else ""
    tail = f"{whole:02d}.{rest:0{decimals}d}" if decimals else f"{whole:02d}"
    return sign + (f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}")


def told(value: Seconds) -> str:
    """A time as a message shows it."""
    if isinstance(value, str):
        return value.strip()
    return f"{value} s" if len(f"{value}") <= _LONGEST_TEXT else shown(value)


def _parsed(text: str) -> tuple[Fraction, Fraction]:
    """Seconds, and what they were rounded by."""
    given = text.strip() if len(text) <= _LONGEST_TEXT else ""
    if match := _CLOCK.fullmatch(given):
        digits, exponent = match["seconds"], 0
        minutes = int(match["hours"] or 0) * _MINUTES_AN_HOUR + int(match["minutes"])
        seconds = minutes * _SECONDS_A_MINUTE + Fraction(digits.rstrip("."))
    elif match := _PLAIN.fullmatch(given):
        digits, exponent = match["seconds"], int(match["exponent"] or 0)
        seconds = Fraction(digits.rstrip(".")) * Fraction(10) ** exponent
    else:
        _refuse(text)
    if seconds >= MOST_SECONDS:
        _refuse(text)
    decimals = len(digits.partition(".")[2]) - exponent
    return (-seconds if match["sign"] == "-" else seconds), _half_unit(seconds, decimals)


def _rounded_by(value: object, seconds: Fraction) -> Fraction:
    number = scalar(value)
    if isinstance(number, Decimal):
        exponent = number.as_tuple().exponent
        return _half_unit(seconds, -exponent if isinstance(exponent, int) else 0)
    step = spacing(number)
    return Fraction(0) if step is None else max(_FLOAT_TOLERANCE, step / 2, _step(seconds))


def _half_unit(seconds: Fraction, decimals: int) -> Fraction:
    """Half a unit of the last decimal, and no less than a float at that time is off by."""
    unit = Fraction(1, 10 ** min(_MOST_DECIMALS, max(0, decimals)))
    return max(unit / 2, _step(seconds))


def _step(seconds: Fraction) -> Fraction:
    """Between neighbouring floats at a time: a sum of two is off by no more."""
    return Fraction(math.ulp(float(seconds)))


def _number(value: object) -> Fraction:
    seconds = exact(value)
    if seconds is None or not -MOST_SECONDS < seconds < MOST_SECONDS:
        _refuse(value)
    return seconds


def _tolerance(value: Seconds) -> Fraction:
    try:
        seconds = exact_seconds(value)
    except InvalidValue:
        seconds = Fraction(-1)
    if seconds < 0:
        raise InvalidValue(f"tolerance_seconds is a number of seconds from 0, not {shown(value)}")
    return seconds


def _refuse(value: object) -> NoReturn:
    raise InvalidValue(
        f"a time is a number of seconds, or a text such as 62.5, 62.5s or 1:02.5, not "
        f"{shown(value)}"
    )
