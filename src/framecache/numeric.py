"""Numbers of any type that a caller may have, taken exactly. Pure: no I/O."""

import math
import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, SupportsFloat, SupportsIndex, cast

import numpy as np

from framecache.errors import InvalidValue

MOST_WHOLE: Final = 2**63
"""No number of a caller reaches it: what counts frames, bytes or threads fits into 64 bits."""
_MOST_EXPONENT: Final = 400
"""Of a decimal: the fraction of a larger or smaller one would take memory without bound."""
_NOT_REAL: Final = (bool, np.bool_, str, bytes, complex, np.complexfloating, np.ndarray)
_SHOWN_CHARACTERS: Final = 40


def whole(value: object, *, what: str, least: int = 0, below: int = MOST_WHOLE) -> int:
    """Return a whole number of any type (PEP 357) as the int it is.

    Args:
        value: an int, or what has ``__index__``: of numpy, pandas, torch; no bool.
        what: the number's name, which begins the message.
        least: the smallest that is taken.
        below: one past the largest.

    Raises:
        InvalidValue: it is no whole number, or out of that range.
    """
    number = as_index(value)
    if number is None or not least <= number < below:
        ceiling = "" if below == MOST_WHOLE else f", below {below}"
        raise InvalidValue(f"{what} is a whole number from {least}{ceiling}, not {shown(value)}")
    return number


def as_index(value: object) -> int | None:
    """A whole number of any type as an int; None for anything else, bools included."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except (TypeError, ValueError, OverflowError):
        return None


def exact(value: object) -> Fraction | None:
    """A finite real number of any type as the fraction it is; None for anything else.

    Bools, texts and complex numbers are none, and neither are arrays that have a dimension.
    """
    number = scalar(value)
    if isinstance(number, _NOT_REAL):
        return None
    if isinstance(number, Decimal):
        return _exact_decimal(number)
    index = as_index(number)
    if index is not None or isinstance(number, Fraction):
        return Fraction(number if index is None else index)
    try:
        return Fraction(float(number)) if hasattr(type(number), "__float__") else None
    except (TypeError, ValueError, OverflowError):
        return None


def spacing(value: object) -> Fraction | None:
    """How far apart the floats of a value's own type lie at it; None of an exact type."""
    number = scalar(value)
    if isinstance(number, Fraction | Decimal) or as_index(number) is not None:
        return None
    if isinstance(number, np.float16 | np.float32):
        return Fraction(float(np.spacing(np.abs(number))))
    return Fraction(math.ulp(float(cast("SupportsFloat", number))))


def _exact_decimal(number: Decimal) -> Fraction | None:
    is_bounded = number.is_finite() and (not number or abs(number.adjusted()) <= _MOST_EXPONENT)
    return Fraction(number) if is_bounded else None


def scalar(value: object) -> Any:  # noqa: ANN401 -- of whatever type it has
    """What an array without dimensions holds, a tensor's included; anything else as it is."""
    if hasattr(type(value), "__array__") and not isinstance(value, np.generic):
        try:
            held = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            return value  # of a tensor on another device: it still has a float
        return held[()] if held.ndim == 0 and held.dtype != np.object_ else value
    return value


def shown(value: object) -> str:
    """A value as an error shows it: not more than a few words of it."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python does not write out
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
