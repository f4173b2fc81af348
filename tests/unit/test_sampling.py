"""Sampling against a second, slower implementation: one instant at a time, in fractions."""

import math
from bisect import bisect_right
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core import sampling
from framecache._core.sampling import AtRate, EveryFrame, EveryNth, Keyframes, Sampling
from framecache.errors import InvalidValue

TIME_BASES = st.sampled_from([Fraction(1, 12800), Fraction(1, 90000), Fraction(1001, 30000)])
GAPS = st.lists(st.integers(1, 3000), min_size=1, max_size=40)
STARTS = st.fractions(0, 20, max_denominator=30000)
RATES = st.sampled_from(
    [Fraction(1), Fraction(5), Fraction(1, 2), Fraction(30000, 1001), Fraction(240), Fraction(7, 3)]
)


def select(
    by: Sampling, gaps: list[int], time_base: Fraction, start: Fraction, first: int = 0
) -> list[int]:
    elapsed = np.cumsum([0, *gaps[:-1]]).astype(np.int64)
    chosen = sampling.select(
        by,
        elapsed=elapsed,
        is_key=elapsed % 3 == 0,
        duration=sum(gaps),
        time_base=time_base,
        start=start,
        first_source_frame=first,
    )
    return [int(position) for position in chosen]


def on_screen_at_instants(
    gaps: list[int], time_base: Fraction, start: Fraction, rate: Fraction
) -> list[int]:
    times = [start + elapsed * time_base for elapsed in accumulate(gaps, initial=0)]
    instant, chosen = Fraction(-(-start * rate // 1)) / rate, list[int]()
    while instant < times[-1]:
        shown = bisect_right(times, instant) - 1
        if shown not in chosen:
            chosen.append(shown)
        instant += 1 / rate
    return chosen


@given(GAPS, TIME_BASES, STARTS, RATES)
def test_rate_selects_the_frame_on_screen_at_each_instant_once(
    gaps: list[int], time_base: Fraction, start: Fraction, rate: Fraction
) -> None:
    expected = on_screen_at_instants(gaps, time_base, start, rate)
    assert select(AtRate(rate), gaps, time_base, start) == expected


@given(GAPS, TIME_BASES, st.integers(0, 60), RATES)
def test_rate_selects_the_same_frames_of_a_cut_video(
    gaps: list[int], time_base: Fraction, cut: int, rate: Fraction
) -> None:
    cut = min(cut, len(gaps) - 1)
    whole = select(AtRate(rate), gaps, time_base, Fraction(0))
    first = select(AtRate(rate), gaps[:cut], time_base, Fraction(0)) if cut else []
    join = sum(gaps[:cut]) * time_base
    second = select(AtRate(rate), gaps[cut:], time_base, join)
    # An instant belongs to the frame on screen, on either side of the join.
    assert first + [cut + position for position in second] == whole


@given(GAPS, TIME_BASES, st.integers(1, 9), st.integers(0, 60))
def test_every_nth_counts_across_chunks(
    gaps: list[int], time_base: Fraction, n: int, cut: int
) -> None:
    cut = min(cut, len(gaps) - 1)
    whole = select(EveryNth(n), gaps, time_base, Fraction(0))
    first = select(EveryNth(n), gaps[:cut], time_base, Fraction(0)) if cut else []
    second = select(EveryNth(n), gaps[cut:], time_base, Fraction(0), first=cut)
    assert first + [cut + position for position in second] == whole == list(range(0, len(gaps), n))


def test_huge_times_and_strides_are_sampled() -> None:
    gaps = [2**60, 1, 2**60, 2**61]
    assert select(AtRate(Fraction(1_000_000)), gaps, Fraction(1), Fraction(0)) == [0, 1, 2, 3]
    assert select(AtRate(Fraction(1, 10**9)), gaps, Fraction(1, 10**9), Fraction(0)) == [0, 2, 3]
    assert select(EveryNth(2**70), [1] * 7, Fraction(1), Fraction(0)) == [0]
    assert select(EveryNth(2**70), [1] * 7, Fraction(1), Fraction(0), first=3) == []


def test_every_frame_and_keyframes_are_selected() -> None:
    assert select(EveryFrame(), [1] * 7, Fraction(1, 25), Fraction(0)) == [0, 1, 2, 3, 4, 5, 6]
    assert select(Keyframes(), [1] * 7, Fraction(1, 25), Fraction(0)) == [0, 3, 6]


@pytest.mark.parametrize("by", [EveryFrame(), EveryNth(7), AtRate(Fraction("29.97")), Keyframes()])
def test_sampling_survives_a_round_trip_through_json(by: Sampling) -> None:
    assert sampling.from_json(sampling.to_json(by)) == by


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (29.97, "2997/100"),
        (23.976, "2997/125"),
        (0.1, "1/10"),
        (1 / 3, "1/3"),
        (23.976023976, "23.976023976"),  # ten digits, as ffprobe prints no rate
        (3.141592653589793, "3.141592653589793"),
        ("29.97", "2997/100"),
        ("30000/1001", "30000/1001"),
        ("30/1.001", "30000/1001"),
        ("11.988011988011989", "12000/1001"),
        (np.float32(29.97), "2997/100"),
        (np.float32(30000 / 1001), "30000/1001"),
        (np.float32(60000 / 1001), "60000/1001"),
        (np.float32(0.1), "1/10"),
        (np.float32(12.5), "25/2"),
        (np.array(24000 / 1001, np.float32), "24000/1001"),
        (np.float16(25), "25"),
        (Decimal("29.97002997"), "29.97002997"),
        (Fraction(10**12 + 1, 10**12), "1000000000001/1000000000000"),
        (np.uint8(5), "5"),
    ],
    ids=repr,
)
def test_float_rate_becomes_the_fraction_it_was_made_from(fps: float, rate: str) -> None:
    assert sampling.from_arguments(fps=fps) == AtRate(Fraction(rate))


NAMED_RATES = [
    *("24000/1001", "30000/1001", "60000/1001", "120000/1001", "24", "25", "30", "50", "60"),
    *("12.5", "15", "10", "23.976", "29.97", "59.94", "119.88"),
]


@pytest.mark.parametrize("named", NAMED_RATES)
def test_float_of_rate_divided_by_n_becomes_that_fraction(named: str) -> None:
    rate = Fraction(named)
    for n in range(1, 1001):
        for fps in (float(rate) / n, float(rate / n), f"{float(rate) / n}", 1 / (n / float(rate))):
            assert sampling.from_arguments(fps=fps) == AtRate(rate / n)


@given(st.sampled_from(NAMED_RATES), st.integers(1, 40))
def test_float32_rate_selects_every_nth_frame(named: str, n: int) -> None:
    rate = Fraction(named)
    chosen = sampling.from_arguments(fps=np.float32(float(rate) / n))
    frames = 2000
    assert select(chosen, [1] * frames, 1 / rate, Fraction(0)) == [*range(0, frames, n)]


@given(st.decimals(Decimal("0.001"), 1000, places=6))
def test_short_decimal_rate_is_kept_exactly(rate: Decimal) -> None:
    assert sampling.from_arguments(fps=float(rate)) == AtRate(Fraction(rate))
    assert sampling.from_arguments(fps=str(rate)) == AtRate(Fraction(rate))


@given(st.floats(1e-6, 10**6))
def test_rate_is_within_two_ulps_of_the_float(fps: float) -> None:
    chosen = sampling.from_arguments(fps=fps)
    assert isinstance(chosen, AtRate)
    assert abs(chosen.rate - Fraction(fps)) <= Fraction(5, 2) * Fraction(math.ulp(fps))


@pytest.mark.parametrize(
    "fps",
    [
        *(0, -1, float("nan"), float("inf"), "x", "1/0", "1/0.0", True, 1e9, 1e-300, -0.0),
        *(np.float32("nan"), np.float32(0), np.True_, b"5", [5], 5j, np.array([5.0])),
        *(Decimal("NaN"), Decimal("1e999999999"), "٥", "1e3"),
        # Powers too large for memory, and fractions too long for a manifest.
        *("1e999999999", "1e-999999999", "1" * 5000, Fraction(3**9000 - 1, 3**9000)),
    ],
)
def test_invalid_rate_is_refused(fps: float | str | Fraction) -> None:
    with pytest.raises(InvalidValue, match="fps must be a rate above 0"):
        sampling.from_arguments(fps=fps)


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_invalid_stride_is_refused(every: int) -> None:
    with pytest.raises(InvalidValue, match="every must be an integer from 1"):
        sampling.from_arguments(every=every)


def test_two_samplings_together_are_refused() -> None:
    with pytest.raises(InvalidValue, match="not fps and keyframes together"):
        sampling.from_arguments(fps=5, keyframes=True)
