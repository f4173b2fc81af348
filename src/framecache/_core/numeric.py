"""Exact conversion of numbers of any type given by callers. Pure: no I/O."""

import math
import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, SupportsFloat, SupportsIndex, cast

import numpy as np
import numpy.ma  # by np.unique otherwise, which raises RecursionError if two threads use it first

from framecache.errors import InvalidValue

INT64_LIMIT: Final = 2**63
"""Exclusive upper bound of integers: counts of frames, bytes or threads fit into 64 bits."""
_MAX_EXPONENT: Final = 400
"""Largest exponent of a `Decimal`; beyond it, a fraction would take memory without bound."""
_NOT_REAL: Final = (bool, np.bool_, str, bytes, complex, np.complexfloating, np.ndarray)
_MAX_CHARACTERS: Final = 40


def require_int(value: object, *, what: str, minimum: int = 0, below: int = INT64_LIMIT) -> int:
    """Return an integer of any type (PEP 357) as an int.

    Args:
        value: an int or another object with ``__index__`` (numpy, pandas, torch), but not a bool.
        what: name of the number, with which the error message begins.
        minimum: smallest accepted value.
        below: one past the largest accepted value.

    Raises:
        InvalidValue: the value is not an integer, or out of range.
    """
    number = as_index(value)
    if number is None or not minimum <= number < below:
        ceiling = "" if below == INT64_LIMIT else f", below {below}"
        raise InvalidValue(
            f"{what} must be an integer from {minimum}{ceiling}, not {format_value(value)}"
        )
    return number


def as_index(value: object) -> int | None:
    """Return an integer of any type as an int; None for anything else, bools included."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except (TypeError, ValueError, OverflowError):
        return None


def as_fraction(value: object) -> Fraction | None:
    """Return a finite real number of any type as an exact fraction; None for anything else.

    The result is None for bools, strings, complex numbers and arrays that have dimensions.
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


def float_spacing(value: object) -> Fraction | None:
    """Return the spacing of floats of the value's type at the value; None for exact types."""
    number = scalar(value)
    if isinstance(number, Fraction | Decimal) or as_index(number) is not None:
        return None
    if isinstance(number, np.float16 | np.float32):
        return Fraction(float(np.spacing(np.abs(number))))
    return Fraction(math.ulp(float(cast("SupportsFloat", number))))


def _exact_decimal(number: Decimal) -> Fraction | None:
    is_bounded = number.is_finite() and (not number or abs(number.adjusted()) <= _MAX_EXPONENT)
    return Fraction(number) if is_bounded else None


def scalar(value: object) -> Any:  # noqa: ANN401 -- of whatever type it has
    """Return the element of a zero-dimensional array or tensor; anything else unchanged."""
    if hasattr(type(value), "__array__") and not isinstance(value, np.generic):
        try:
            held = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            return value  # a tensor on another device, which float() still accepts
        return held[()] if held.ndim == 0 and held.dtype != np.object_ else value
    return value


def format_value(value: object) -> str:
    """Format a value for an error message: on one line, truncated to 40 characters."""
    try:
        text = " ".join(line.strip() for line in repr(value).splitlines())
    except ValueError:
        return "a number of thousands of digits"  # Python refuses to print such an int
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
