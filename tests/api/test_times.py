"""Times and rates as programs have them: floats of 64 and 32 bits, strings, Unix time."""

from fractions import Fraction

import clips
import numpy as np
import pytest

from framecache import Chunk, FrameCache, InvalidValue, SettingsConflict, Timeline

NTSC = ["24000/1001", "30000/1001", "60000/1001"]


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


@pytest.mark.parametrize("rate", [*NTSC, "25", "30"])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_float_fraction_of_rate_keeps_every_nth_frame(memory_url: str, rate: str, n: int) -> None:
    path = clips.clip(rate=rate)
    t = timeline(memory_url)
    t.extract(path, fps=float(Fraction(rate)) / n)
    assert [clips.nearest(one.image, path) for one in t.frames()] == [*range(0, 45, n)]


@pytest.mark.parametrize("rate", NTSC)
def test_frame_number_divided_by_rate_gives_that_frame(memory_url: str, rate: str) -> None:
    t, fps = timeline(memory_url), float(Fraction(rate))
    t.extract(clips.clip(rate=rate))
    for n in range(45):
        for seconds in (
            n / fps,
            n * (1 / fps),
            np.float32(n / fps),
            np.float32(n) / np.float32(fps),
            Fraction(n) / Fraction(rate),
            f"{n / fps:.3f}",
            f"{n / fps}",
            f"0:{n / fps:06.3f}",
            round(n / fps, 6),
        ):
            assert t.sequence_at(seconds) == n
        assert t.sequence_at(round(n / fps, 3), tolerance_seconds=0.0005) == n
        assert t.sequences(start_seconds=n / fps, stop_seconds=(n + 3) / fps) == [
            *range(n, min(45, n + 3))
        ]


@pytest.mark.parametrize("start", [1_700_000_000, 1_700_000_000.25, "1700000000.25"])
def test_timeline_may_be_in_unix_time(memory_url: str, start: float) -> None:
    path = clips.clip(rate="30000/1001")
    t = timeline(memory_url)
    t.extract(Chunk(str(path), start_seconds=start))
    exact = [Fraction(start) + Fraction(1001 * n, 30000) for n in range(45)]
    assert t.index.timestamp.tolist() == [float(one) for one in exact]
    for n, one in enumerate(exact):
        for seconds in (one, float(one), float(start) + n / (30000 / 1001), f"{float(one):.3f}"):
            assert t.sequence_at(seconds) == n


def test_unix_time_in_milliseconds_is_rejected(memory_url: str) -> None:
    with pytest.raises(InvalidValue, match=r"start_seconds of .* in seconds from 0, below"):
        timeline(memory_url).extract(Chunk(str(clips.clip()), 1_700_000_000_000))


def test_start_seconds_may_be_a_string(memory_url: str) -> None:
    t = timeline(memory_url)
    t.extract(Chunk(str(clips.clip()), "1:02.5"))
    assert t.frame(0).timestamp == 62.5


FIRST_ENDS = Fraction(45 * 1001, 30000)
"""1.5015 s, in units of 1/30000 s."""


@pytest.mark.parametrize(
    "early", [Fraction(1, 10**9), Fraction(1, 10**6), Fraction(1, 60_001)], ids=str
)
def test_start_less_than_half_a_tick_before_previous_end_is_that_end(
    memory_url: str, early: Fraction
) -> None:
    first, second = clips.clip(rate="30000/1001"), clips.clip(rate="30000/1001", kind="mov")
    placed = [Chunk(str(first)), Chunk(str(second), FIRST_ENDS - early)]
    t, followed = timeline(memory_url), timeline(memory_url, "followed")
    t.extract(placed)
    followed.extract([first, second])
    assert t.index.timestamp.tolist() == followed.index.timestamp.tolist()
    assert t.extract(placed).chunks_cached == 2
    t.rebuild()
    assert t.index.timestamp.tolist() == followed.index.timestamp.tolist()


def test_start_half_a_tick_before_previous_end_is_an_overlap(memory_url: str) -> None:
    first, second = clips.clip(rate="30000/1001"), clips.clip(rate="30000/1001", kind="mov")
    with pytest.raises(InvalidValue, match="must be in time order"):
        timeline(memory_url).extract([first, Chunk(str(second), FIRST_ENDS - Fraction(1, 60_000))])


def test_different_start_seconds_conflicts(memory_url: str) -> None:
    first, second = clips.clip(rate="30000/1001"), clips.clip(rate="30000/1001", kind="mov")
    for start in (FIRST_ENDS, Fraction(3)):
        t = timeline(memory_url, f"at-{float(start)}")
        t.extract([first, Chunk(str(second), start)])
        for other in (start - Fraction(1, 10), start + Fraction(1, 10**6), None):
            with pytest.raises(SettingsConflict):
                t.extract([first, Chunk(str(second), other)])
