"""Times as strings and numbers, read and printed by one rule."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core.times import SECONDS_LIMIT, Instant, exact_seconds, format_time, parse_time
from framecache.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("62.5", "62.5"),
        ("62.5s", "62.5"),
        ("62.5 s", "62.5"),
        (" 62.5 ", "62.5"),
        ("62.", "62"),
        (".5", "0.5"),
        ("1:02.5", "62.5"),
        ("1:02.5s", "62.5"),
        ("1:2", "62"),
        ("0:00", "0"),
        ("90:00", "5400"),
        ("1:01:02.5", "3662.5"),
        ("100:00:00", "360000"),
        ("-0:01.5", "-1.5"),
        ("+3", "3"),
        ("1e-07", "0.0000001"),
        ("2.5e3", "2500"),
        ("1700000000.25", "1700000000.25"),
    ],
)
def test_time_text_is_parsed_to_its_seconds(text: str, seconds: str) -> None:
    assert parse_time(text).seconds == exact_seconds(text) == Fraction(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *("", "s", "x", "1:75", "1:60", "1:2:3:4", "1:75:00", "1::2", ":5", "nan", "inf", "1e9999"),
        *("1e99", "--1", "1,5", "٣", "1" * 100, "1 2", "0x10", "1_0", "1:-2"),
        *(True, None, b"1", [1], 1j, float("nan"), float("inf"), np.float32("nan"), 1e300),
        *(SECONDS_LIMIT, -SECONDS_LIMIT, Decimal("1e999999999"), Fraction(10**40)),
    ],
    ids=lambda value: f"{value!r}"[:20],
)
def test_invalid_time_is_refused(value: str) -> None:
    for take in (parse_time, exact_seconds):
        with pytest.raises(InvalidValue, match="a time must be a number of seconds, or") as raised:
            take(value)
        assert len(str(raised.value)) < 160


@pytest.mark.parametrize(
    ("value", "tolerance"),
    [
        (3, 0),
        (np.int64(3), 0),
        (Fraction(1, 3), 0),
        (0.25, Fraction(1, 10**6)),
        (np.float64(0.25), Fraction(1, 10**6)),
        (np.float32(0.25), Fraction(1, 10**6)),
        (np.float32(4096), Fraction(1, 4096)),  # 24 bits: adjacent floats are 2**-11 apart
        (np.array(4096, np.float32), Fraction(1, 4096)),
        (np.float16(1), Fraction(1, 2048)),  # 11 bits: 2**-10
        (2.0**40, Fraction(1, 2**12)),  # 53 bits: adjacent floats are further apart than 1 µs
        ("3", Fraction(1, 2)),
        ("3.1", Fraction(1, 20)),
        ("1:02.500", Fraction(1, 2000)),
        ("1:02.5 s", Fraction(1, 20)),
        ("3e2", Fraction(1, 2)),
        ("1.5e-3", Fraction(1, 20_000)),
        ("0.3333333333333333", Fraction(1, 2 * 10**6)),
        (Decimal("0.31"), Fraction(1, 200)),
        (Decimal("3e2"), Fraction(1, 2)),
    ],
    ids=lambda value: f"{value!r}",
)
def test_default_tolerance_depends_on_the_type_of_the_time(
    value: float, tolerance: Fraction
) -> None:
    assert parse_time(value).tolerance == tolerance


@pytest.mark.parametrize("tolerance", [0, 0.5, "0.5", "0:01", Fraction(1, 3), np.float32(0.25)])
def test_given_tolerance_replaces_the_default(tolerance: float) -> None:
    found = parse_time("1.5", tolerance_seconds=tolerance)
    assert found == Instant(Fraction(3, 2), exact_seconds(tolerance))


@pytest.mark.parametrize("tolerance", [-1, -0.1, float("nan"), float("inf"), True, "x", "-1", [1]])
def test_invalid_tolerance_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidValue):
        parse_time(1, tolerance_seconds=tolerance)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (10 / 3, "3.3333333333333335"),
        (-0.0, "0"),
        (1_700_000_000.1, "1700000000.1"),
        (Decimal("0.10"), "0.1"),
        (Fraction(1, 3), "1/3"),
        ("1:02.1", "62.1"),
    ],
)
def test_exact_seconds_of_float_is_its_printed_decimal(value: float, seconds: str) -> None:
    assert exact_seconds(value) == Fraction(seconds)


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 3, "0:00.000"),
        (5.28, 3, "0:05.280"),
        (727, 3, "12:07.000"),
        (3600.5, 3, "1:00:00.500"),
        (59.9996, 3, "1:00.000"),
        (3599.9999, 3, "1:00:00.000"),
        (0.9593, 3, "0:00.959"),
        (Fraction(1001, 30000), 6, "0:00.033367"),
        (62.4, 0, "1:02"),
        (-1.5, 3, "-0:01.500"),
        (-0.0001, 3, "0:00.000"),
        (1_700_000_000.25, 3, "472222:13:20.250"),
    ],
)
def test_time_is_formatted_as_a_clock(seconds: float, decimals: int, text: str) -> None:
    assert format_time(seconds, decimals=decimals) == text


@given(st.fractions(-(10**10), 10**10, max_denominator=10**6), st.integers(0, 9))
def test_formatted_time_is_parsed_within_rounding(seconds: Fraction, decimals: int) -> None:
    read = parse_time(format_time(seconds, decimals=decimals)).seconds
    assert abs(read - seconds) <= Fraction(1, 2 * 10**decimals)
