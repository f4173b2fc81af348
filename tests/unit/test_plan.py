"""Rows selected by a range, a time or many sequences, compared with plain Python."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Settings, first_manifest
from framecache._core.times import parse_time
from framecache._index import FrameRow, Index, PartBuilder, Snapshot
from framecache._read import (
    as_sequences,
    find_displayed_position,
    parse_range,
    positions_in_range,
)
from framecache.errors import InvalidValue

ROWS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 40), st.booleans()),
    unique_by=lambda row: row[0],
    max_size=25,
).map(sorted)
"""Sequence, quarters of a second, and whether there is a picture: times in any order."""
ENDS = st.none() | st.integers(0, 65)
SECONDS = st.none() | st.integers(-4, 44).map(lambda quarters: quarters / 4)


def index_of(rows: Iterable[tuple[int, int, bool]], chunk_ids: Iterable[int] = ()) -> Index:
    builder = PartBuilder()
    ids = iter(chunk_ids)
    for sequence, quarters, is_ok in rows:
        builder.add(
            FrameRow(
                sequence=sequence,
                chunk_id=next(ids, 0),
                timestamp=quarters / 4,
                duration=0.25,
                width=4,
                height=2,
                key="",
                offset=0,
                size=0,
                crc32c=0,
                perceptual_hash="",
                status="ok" if is_ok else "undecodable",
            )
        )
    return builder.build()


@given(ROWS, ENDS, ENDS, st.integers(1, 7), SECONDS, SECONDS)
def test_range_selects_the_rows_within_its_limits(
    rows: list[tuple[int, int, bool]],
    start: int | None,
    stop: int | None,
    step: int,
    start_seconds: float | None,
    stop_seconds: float | None,
) -> None:
    start = None if start_seconds is not None else start
    stop = None if stop_seconds is not None else stop
    within = [
        (position, sequence, is_ok)
        for position, (sequence, quarters, is_ok) in enumerate(rows)
        if (start is None or sequence >= start)
        and (stop is None or sequence < stop)
        and (start_seconds is None or quarters / 4 >= start_seconds)
        and (stop_seconds is None or quarters / 4 < stop_seconds)
    ]
    first = start if start is not None else next((row[1] for row in within), 0)
    expected = [
        position for position, sequence, is_ok in within if is_ok and (sequence - first) % step == 0
    ]
    wanted = parse_range(start, stop, step, start_seconds=start_seconds, stop_seconds=stop_seconds)
    found = positions_in_range(index_of(rows), wanted)
    assert found.tolist() == expected
    assert found.dtype == np.int64


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Consecutive chunks, with gaps between some; some of them have frames, sampled."""
    manifest = first_manifest("t", Settings())
    chunks: list[ChunkEntry] = []
    rows: list[tuple[int, int, bool]] = []
    chunk_ids: list[int] = []
    missing: list[str] = []
    quarters = 0
    for chunk_id in range(draw(st.integers(1, 5))):
        quarters += draw(st.integers(0, 2))
        length = draw(st.integers(1, 4))
        sampled = draw(st.sets(st.integers(0, length - 1)))
        chunk = ChunkEntry(
            chunk_id=chunk_id,
            url=f"c{chunk_id}",
            etag="",
            size_bytes=0,
            start=Fraction(quarters, 4),
            end=Fraction(quarters + length, 4),
            start_is_given=False,
            first_sequence=chunks[-1].stop_sequence if chunks else 0,
            frame_count=len(sampled),
            first_source_frame=0,
            source_frame_count=length,
            width=4,
            height=2,
            codec="",
        )
        chunks.append(chunk)
        if draw(st.booleans()):
            missing.append(chunk.parts[0])
        else:
            rows += [
                (chunk.first_sequence + nth, quarters + offset, True)
                for nth, offset in enumerate(sorted(sampled))
            ]
            chunk_ids += [chunk_id] * len(sampled)
        quarters += length
    return Snapshot(
        manifest.next_version(chunks=tuple(chunks)), index_of(rows, chunk_ids), tuple(missing)
    )


@given(snapshots(), st.integers(-2, 60))
def test_displayed_frame_is_found_if_no_chunk_since_its_start_is_missing(
    snapshot: Snapshot, eighths: int
) -> None:
    seconds = eighths / 8
    assert snapshot.manifest is not None
    chunks = snapshot.manifest.chunks
    begun = [
        (position, row)
        for position, row in enumerate(snapshot.index.rows(range(len(snapshot.index))))
        if row.timestamp <= seconds
    ]
    expected = None
    for chunk in chunks:
        if begun and chunk.start <= seconds < chunk.end:
            position, row = begun[-1]
            since = [
                other.parts[0]
                for other in chunks
                if row.chunk_id <= other.chunk_id <= chunk.chunk_id
            ]
            expected = None if set(since) & set(snapshot.missing_parts) else position
    assert find_displayed_position(snapshot, parse_time(seconds)) == expected


@pytest.mark.parametrize(
    "sequences",
    [
        [5, 0, 10**15 - 1],
        range(7, 90, 3),
        range(0),
        [],
        np.array([3, 1], dtype=np.uint8),
        np.array([], dtype=np.float64),
        (np.int32(4), 5),
        {8: "", 9: ""},
    ],
)
def test_sequences_keep_their_order(sequences: Any) -> None:  # noqa: ANN401 -- of any kind
    assert as_sequences(sequences).tolist() == list(sequences)
    assert as_sequences(iter(sequences)).dtype == np.int64


@pytest.mark.parametrize(
    "bad",
    [
        [0, -1],
        [10**15],
        [2**63],
        [2**70, -1],
        [True],
        [1, 2.0],
        [None],
        ["1"],
        range(-3, 3),
        np.array([1.0]),
        np.array([True]),
        np.array([[1]]),
        np.array([2**63], dtype=np.uint64),
    ],
    ids=repr,
)
def test_invalid_sequence_is_refused(bad: Any) -> None:  # noqa: ANN401 -- of any kind
    with pytest.raises(InvalidValue, match="a sequence must be an integer from 0"):
        as_sequences(bad)
