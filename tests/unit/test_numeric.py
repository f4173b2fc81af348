"""Numbers of other libraries; `operator.index` decides which are integers."""

import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core.numeric import as_fraction, as_index, float_spacing, require_int
from framecache.errors import InvalidValue


class Integer:
    """Integer of another library."""

    def __index__(self) -> int:
        return 7


class Real:
    """A real number of another library."""

    def __float__(self) -> float:
        return 0.5


class Tensor:
    """Container of one number that is given as an array, as by torch."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.array(self._value)


@pytest.mark.parametrize(
    "value",
    [7, np.int8(7), np.uint8(7), np.int64(7), np.uint64(7), np.array(7, np.int32), Integer()],
    ids=lambda value: type(value).__name__,
)
def test_integer_of_any_type_becomes_int(value: object) -> None:
    assert require_int(value, what="n") == operator.index(value) == 7  # type: ignore[arg-type]
    assert type(require_int(value, what="n")) is int


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.True_, 1.0, np.float64(1), Decimal(1), Fraction(1), "1", b"1", None, 1 + 0j),
        *([1], np.array([1]), np.array(True), float("nan"), -1, 10**5000),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_value_that_is_not_an_integer_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue, match="n must be an integer from 0") as raised:
        require_int(value, what="n")
    assert len(str(raised.value)) < 120


def test_integer_out_of_bounds_is_refused_with_the_bounds() -> None:
    with pytest.raises(InvalidValue, match="n must be an integer from 1, below 5, not 5"):
        require_int(5, what="n", minimum=1, below=5)


@pytest.mark.parametrize(
    "value",
    [
        *(0.5, np.float16(0.5), np.float32(0.5), np.float64(0.5), np.longdouble(0.5)),
        *(np.array(0.5), np.array(0.5, np.float32), Tensor(np.float32(0.5)), Decimal("0.5")),
        *(Fraction(1, 2), Real()),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_real_number_of_any_type_becomes_a_fraction(value: object) -> None:
    assert as_fraction(value) == Fraction(1, 2)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_becomes_its_exact_fraction(value: float) -> None:
    assert as_fraction(value) == Fraction(value)


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.False_, "1", b"1", None, 1 + 0j, np.complex64(1), [1.0], np.array([1.0])),
        *(float("nan"), float("inf"), np.float32("-inf"), Decimal("NaN"), Decimal("sNaN")),
        *(Decimal("Infinity"), Decimal("1e999999999"), Decimal("1e-999999999")),
        *(np.datetime64("2020"), np.timedelta64(1, "s"), np.array("1"), np.array(None)),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:30],
)
def test_value_that_is_not_finite_and_real_is_none(value: object) -> None:
    assert as_fraction(value) is None


@pytest.mark.parametrize("value", [1, Fraction(1, 3), Decimal("0.1"), np.int64(4), Integer()])
def test_exact_types_have_no_spacing(value: object) -> None:
    assert float_spacing(value) is None


@given(st.floats(width=32, min_value=2**-60, max_value=2**60))
def test_float32_spacing_reaches_the_next_float(value: float) -> None:
    after = np.nextafter(np.float32(value), np.float32("inf"))
    assert Fraction(value) + (float_spacing(np.float32(value)) or 0) == Fraction(float(after))


@given(st.integers())
def test_as_index_returns_the_integer_unchanged(value: int) -> None:
    assert as_index(value) == value
