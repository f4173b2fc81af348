"""Parsing and formatting of times on a timeline. Pure: no I/O.

A time is rarely given exactly: it was rounded to a float, or to a number of printed digits. Its
tolerance is the largest rounding error, and looking up a time allows for it.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NoReturn, SupportsFloat, SupportsIndex

import numpy as np

from framecache._core.numeric import as_fraction, float_spacing, format_value, scalar
from framecache.errors import InvalidValue

Seconds = float | str | Fraction | Decimal | SupportsFloat | SupportsIndex
"""Time: a number of any type, or a string such as ``"62.5"``, ``"62.5s"`` or ``"1:02.5"``."""

SECONDS_LIMIT: Final = 10**20
"""Exclusive upper bound of times; it allows even for nanoseconds since 1970."""
_FLOAT_TOLERANCE: Final = Fraction(1, 1_000_000)
_MAX_DECIMALS: Final = 6
"""Maximum decimals that count: longer strings are printed floats, whose last digits are inexact."""
_SECONDS_PER_MINUTE: Final = 60
_MINUTES_PER_HOUR: Final = 60
_MAX_TEXT_LENGTH: Final = 80
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
    """Time on a timeline, with its largest possible rounding error."""

    seconds: Fraction
    tolerance: Fraction
    """Largest rounding error in seconds, at least 0."""


def parse_time(value: Seconds, *, tolerance_seconds: Seconds | None = None) -> Instant:
    """Parse a time given by a caller, and determine its tolerance.

    An integer and a ``Fraction`` are exact. The tolerance of a float is 1 µs, or half the
    distance to the neighboring float of its type if that is more (16 and 32 bits). That of a string
    or ``Decimal`` is half a unit of its last decimal.

    Args:
        value: a number, or a string: ``62.5``, ``62.5s``, ``1:02.5``, ``1:01:02.5``.
        tolerance_seconds: tolerance to use instead.

    Raises:
        InvalidValue: the value is not a time, or not below :data:`SECONDS_LIMIT`.
    """
    if isinstance(value, str):
        seconds, tolerance = _parse_text(value)
    else:
        seconds = _number(value)
        tolerance = _rounding_error(value, seconds)
    if tolerance_seconds is not None:
        # A float stands for any number that rounds to it.
        is_float = not isinstance(value, str) and float_spacing(value) is not None
        tolerance = _tolerance(tolerance_seconds) + (_float_step(seconds) / 2 if is_float else 0)
    return Instant(seconds, tolerance)


def exact_seconds(value: Seconds) -> Fraction:
    """Return a time as exact seconds; a float stands for the decimal number that it prints as.

    Raises:
        InvalidValue: the value is not a time, or not below :data:`SECONDS_LIMIT`.
    """
    if isinstance(value, str):
        return _parse_text(value)[0]
    seconds, number = _number(value), scalar(value)
    if float_spacing(number) is None:
        return seconds
    # numpy prints its short floats with fewer digits than Python's float of the same value has.
    return Fraction(str(number if isinstance(number, np.float16 | np.float32) else float(number)))


def require_duration(value: object, *, what: str) -> float:
    """Return a duration in seconds, from a number of any type.

    Raises:
        InvalidValue: it is not a number from 0 to below :data:`SECONDS_LIMIT`; ``what`` names it.
    """
    seconds = as_fraction(value)
    if seconds is None or not 0 <= seconds < SECONDS_LIMIT:
        raise InvalidValue(f"{what} must be a number of seconds from 0, not {format_value(value)}")
    return float(seconds)


def format_time(seconds: float | Fraction, *, decimals: int = 3) -> str:
    """Format a time, rounded: ``0:05.280``, ``12:07.000``, ``1:00:00.500``."""
    units = round(abs(Fraction(seconds)) * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    minutes, whole = divmod(whole, _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _MINUTES_PER_HOUR)
    sign = "-" if seconds < 0 and units else ""
    tail = f"{whole:02d}.{rest:0{decimals}d}" if decimals else f"{whole:02d}"
    return sign + (f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}")


def format_given_time(value: Seconds) -> str:
    """Format a caller's time for a message."""
    if isinstance(value, str):
        return value.strip()
    return f"{value} s" if len(f"{value}") <= _MAX_TEXT_LENGTH else format_value(value)


def _parse_text(text: str) -> tuple[Fraction, Fraction]:
    """Parse a string into seconds and their tolerance."""
    given = text.strip() if len(text) <= _MAX_TEXT_LENGTH else ""
    if match := _CLOCK.fullmatch(given):
        digits, exponent = match["seconds"], 0
        minutes = int(match["hours"] or 0) * _MINUTES_PER_HOUR + int(match["minutes"])
        seconds = minutes * _SECONDS_PER_MINUTE + Fraction(digits.rstrip("."))
    elif match := _PLAIN.fullmatch(given):
        digits, exponent = match["seconds"], int(match["exponent"] or 0)
        seconds = Fraction(digits.rstrip(".")) * Fraction(10) ** exponent
    else:
        _reject(text)
    if seconds >= SECONDS_LIMIT:
        _reject(text)
    decimals = len(digits.partition(".")[2]) - exponent
    return (-seconds if match["sign"] == "-" else seconds), _half_last_digit(seconds, decimals)


def _rounding_error(value: object, seconds: Fraction) -> Fraction:
    number = scalar(value)
    if isinstance(number, Decimal):
        exponent = number.as_tuple().exponent
        return _half_last_digit(seconds, -exponent if isinstance(exponent, int) else 0)
    step = float_spacing(number)
    return Fraction(0) if step is None else max(_FLOAT_TOLERANCE, step / 2, _float_step(seconds))


def _half_last_digit(seconds: Fraction, decimals: int) -> Fraction:
    """Return half a unit of the last decimal, or the spacing of floats at that time if larger."""
    unit = Fraction(1, 10 ** min(_MAX_DECIMALS, max(0, decimals)))
    return max(unit / 2, _float_step(seconds))


def _float_step(seconds: Fraction) -> Fraction:
    """Return the distance between neighboring floats at a time: a sum of two is off by no more."""
    return Fraction(math.ulp(float(seconds)))


def _number(value: object) -> Fraction:
    seconds = as_fraction(value)
    if seconds is None or not -SECONDS_LIMIT < seconds < SECONDS_LIMIT:
        _reject(value)
    return seconds


def _tolerance(value: Seconds) -> Fraction:
    try:
        seconds = exact_seconds(value)
    except InvalidValue:
        seconds = Fraction(-1)
    if seconds < 0:
        raise InvalidValue(
            f"tolerance_seconds must be a number of seconds from 0, not {format_value(value)}"
        )
    return seconds


def _reject(value: object) -> NoReturn:
    raise InvalidValue(
        "a time must be a number of seconds, or a string such as 62.5, 62.5s or 1:02.5, not "
        f"{format_value(value)}"
    )
