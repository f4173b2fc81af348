"""A frame's time finds that frame, also after it was rounded or printed."""

import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Settings, first_manifest
from framecache._core.times import format_time, parse_time
from framecache._index import FrameRow, Index, PartBuilder, Snapshot
from framecache._read import (
    count_timestamp_decimals,
    find_displayed_position,
    parse_range,
    positions_in_range,
)

UNIX = Fraction(1_700_000_000)
TIME_BASES = [Fraction(1, base) for base in (90_000, 12_800, 1000, 48_000, 10**6)]


@dataclass(frozen=True, slots=True)
class Video:
    """The exact times at which frames begin, and at which the last one ends."""

    starts: list[Fraction]
    end: Fraction

    @property
    def snapshot(self) -> Snapshot:
        builder = PartBuilder()
        for sequence, (start, end) in enumerate(pairwise([*self.starts, self.end])):
            builder.add(row(sequence, float(start), float(end - start)))
        chunk = ChunkEntry(
            chunk_id=0,
            url="c0",
            etag="",
            size_bytes=0,
            start=self.starts[0],
            end=self.end,
            start_is_given=True,
            first_sequence=0,
            frame_count=len(self.starts),
            first_source_frame=0,
            source_frame_count=len(self.starts),
            width=4,
            height=2,
            codec="",
        )
        manifest = first_manifest("t", Settings(), chunks=(chunk,))
        return Snapshot(manifest, builder.build(), ())

    @property
    def shortest(self) -> Fraction:
        """Seconds between two frames that follow each other fastest."""
        return min(after - before for before, after in pairwise([*self.starts, self.end]))


def row(sequence: int, timestamp: float, duration: float) -> FrameRow:
    return FrameRow(
        sequence=sequence,
        chunk_id=0,
        timestamp=timestamp,
        duration=duration,
        width=4,
        height=2,
        key="k",
        offset=0,
        size=0,
        crc32c=0,
        perceptual_hash="",
        status="ok",
    )


@st.composite
def videos(draw: st.DrawFn, *, shortest: Fraction = Fraction(2, 10**6)) -> Video:
    """Frames at a variable rate, from 0, from some later time, or in Unix time.

    They last longer than ``shortest``: in Unix time, floats are 0.24 µs apart.
    """
    time_base = draw(st.sampled_from(TIME_BASES))
    fewest = int(shortest / time_base) + 1
    gaps = draw(st.lists(st.integers(fewest, fewest + 5000), min_size=1, max_size=12))
    begin = draw(st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(86_399), UNIX]))
    ticks = np.cumsum([0, *gaps]).tolist()
    times = [begin + tick * time_base for tick in ticks]
    return Video(times[:-1], times[-1])


def shown(snapshot: Snapshot, time: Any) -> int | None:  # noqa: ANN401 -- of any type
    return find_displayed_position(snapshot, parse_time(time))


EXACTLY: dict[str, Callable[[Fraction], Any]] = {
    "a fraction": lambda time: time,
    "a float": float,
    "a float of numpy": lambda time: np.float64(float(time)),
    "an array without dimensions": lambda time: np.array(float(time)),
    "a float as Python prints it": lambda time: repr(float(time)),
    "a float as JSON has it": lambda time: json.dumps(float(time)),
    "a float as a decimal": lambda time: Decimal(float(time)),
    "17 digits": lambda time: f"{float(time):.17g}",
    "a float one step too early": lambda time: float(np.nextafter(float(time), -1)),
    "a float one step too late": lambda time: float(np.nextafter(float(time), 1e12)),
}


@pytest.mark.parametrize("way", EXACTLY)
@given(videos())
def test_exact_time_finds_its_frame(way: str, video: Video) -> None:
    snapshot = video.snapshot
    given_times = [EXACTLY[way](start) for start in video.starts]
    assert [shown(snapshot, time) for time in given_times] == [*range(len(video.starts))]


@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 6, 9])
@pytest.mark.parametrize("kind", ["plain", "with a unit", "clock", "decimal"])
@given(st.data())
def test_printed_time_finds_its_frame_if_its_digits_suffice(
    kind: str, decimals: int, data: st.DataObject
) -> None:
    video = data.draw(videos(shortest=Fraction(1, 10 ** min(decimals, 5))))
    snapshot = video.snapshot
    for position, start in enumerate(video.starts):
        text = f"{float(start):.{decimals}f}"
        printed = {
            "plain": text,
            "with a unit": f"{text} s",
            "clock": format_time(start, decimals=decimals),
            "decimal": Decimal(text),
        }[kind]
        assert shown(snapshot, printed) == position


@given(videos(shortest=Fraction(1, 60)))
def test_float32_time_finds_its_frame_if_its_bits_suffice(video: Video) -> None:
    assume(video.shortest > 2 * Fraction(float(np.spacing(np.float32(float(video.end))))))
    snapshot = video.snapshot
    for position, start in enumerate(video.starts):
        assert shown(snapshot, np.float32(float(start))) == position


@given(
    st.sampled_from(["24000/1001", "30000/1001", "60000/1001", "25", "30", "12.5", "1000/7"]),
    st.integers(0, 10**6),
)
def test_frame_number_divided_by_rate_finds_that_frame(rate: str, first: int) -> None:
    exact = Fraction(rate)
    numbers = range(first, first + 20)
    snapshot = Video([n / exact for n in numbers], numbers.stop / exact).snapshot
    for position, n in enumerate(numbers):
        assert shown(snapshot, n / float(exact)) == position
        assert shown(snapshot, n * (1 / float(exact))) == position
        assert shown(snapshot, f"{n / float(exact)}") == position
        assert shown(snapshot, n / exact) == position


@given(videos())
@example(Video([Fraction(289, 45_000), Fraction(5579, 90_000)], Fraction(31, 500)))
def test_printed_timestamp_finds_its_frame(video: Video) -> None:
    snapshot = video.snapshot
    index = snapshot.index
    for position, timestamp in enumerate(index.timestamp.tolist()):
        decimals = count_timestamp_decimals(index, position)
        assert decimals >= 3
        assert shown(snapshot, format_time(timestamp, decimals=decimals)) == position
        assert shown(snapshot, f"{timestamp:.{decimals}f}") == position


@given(videos(), st.integers(0, 59_999), st.sampled_from([None, 0, 1e-6, 0.01, 1, 1000]))
@example(Video([UNIX], UNIX + Fraction(1, 90_000)), 59_867, None)
@example(Video([UNIX], UNIX + Fraction(1, 45_000)), 59_867, None)
def test_time_finds_only_the_frame_begun_or_the_next_if_nearer(
    video: Video, offset: int, tolerance: float | None
) -> None:
    times = [*video.starts, video.end]
    asked = times[0] + (times[-1] - times[0]) * Fraction(offset, 60_000)
    begun = bisect_right(video.starts, asked) - 1
    is_late = begun + 1 < len(video.starts) and asked - times[begun] > times[begun + 1] - asked
    found = find_displayed_position(video.snapshot, parse_time(asked, tolerance_seconds=tolerance))
    assert found in ({begun, begun + 1} if is_late else {begun})


@given(videos(), st.integers(0, 59_999))
def test_fraction_time_finds_the_last_frame_begun(video: Video, offset: int) -> None:
    assume(video.starts[0] < UNIX)  # where floats, as timestamps are, lie far apart
    asked = video.starts[0] + (video.end - video.starts[0]) * Fraction(offset, 60_000)
    expected = bisect_right(video.starts, asked) - 1
    assert shown(video.snapshot, asked) == expected


@pytest.mark.parametrize("way", ["a fraction", "a float", "a float one step too late", "17 digits"])
@given(videos(), st.data())
def test_range_between_frame_times_is_half_open_at_those_frames(
    way: str, video: Video, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(video.starts) - 1))
    stop = data.draw(st.integers(0, len(video.starts) - 1))
    wanted = parse_range(
        None,
        None,
        1,
        start_seconds=EXACTLY[way](video.starts[first]),
        stop_seconds=EXACTLY[way](video.starts[stop]),
    )
    found = positions_in_range(video.snapshot.index, wanted)
    assert found.tolist() == [*range(first, stop)]


def sampled() -> Snapshot:
    """Three frames of 25 a second, ten seconds apart."""
    video = Video([Fraction(0), Fraction("10.4"), Fraction("20.8")], Fraction("20.84"))
    builder = PartBuilder()
    for sequence, start in enumerate(video.starts):
        builder.add(row(sequence, float(start), 0.04))
    return Snapshot(video.snapshot.manifest, builder.build(), ())


@pytest.mark.parametrize(
    ("time", "position"),
    [
        ("10", 0),
        ("10.38", 0),
        ("10.40", 1),
        (10, 0),
        ("10.399", 0),
        (10.3999995, 1),
        (10.39999, 0),
    ],
)
def test_tolerance_ends_at_half_the_source_frame_duration(time: float | str, position: int) -> None:
    assert shown(sampled(), time) == position


@pytest.mark.parametrize("way", EXACTLY)
def test_time_of_uncached_frame_finds_no_other_frame(way: str) -> None:
    step = Fraction(1001, 24000)
    video = Video([n * step for n in range(4)], 4 * step)
    manifest = video.snapshot.manifest
    assert manifest is not None
    (chunk,) = manifest.chunks
    lacking = replace(chunk, chunk_id=1, start=chunk.end, end=2 * chunk.end, first_sequence=4)
    two = manifest.next_version(chunks=(chunk, lacking))
    snapshot = Snapshot(two, video.snapshot.index, lacking.parts)
    assert shown(snapshot, EXACTLY[way](3 * step)) == 3
    assert shown(snapshot, EXACTLY[way](chunk.end)) is None


def test_time_after_end_finds_no_frame_within_tolerance() -> None:
    video = Video([Fraction(0), Fraction(1, 25)], Fraction(2, 25))
    for time in (0.08, "0.08", Fraction(2, 25), 1, "1:00"):
        assert shown(video.snapshot, time) is None
    assert shown(video.snapshot, -1e-7) == 0
    assert shown(video.snapshot, -1e-5) is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 40))
def test_range_by_rounded_times_selects_unordered_frames(hundredths: list[int], start: int) -> None:
    builder = PartBuilder()
    for sequence, time in enumerate(hundredths):
        builder.add(row(sequence, time / 100, 0.0))
    index: Index = builder.build()
    late = float(np.nextafter(start / 100, 1))
    wanted = parse_range(None, None, 1, start_seconds=late, stop_seconds=None)
    exactly = [n for n, time in enumerate(hundredths) if time >= start]
    assert positions_in_range(index, wanted).tolist() == exactly
