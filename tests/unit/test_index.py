"""The index: merging, searching, and refusing damaged parts."""

import io
import itertools
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._index import FrameRow, Index, PartBuilder, Rendition, aggregates_of, arrow, parquet
from framecache._index.aggregates import EMPTY, Aggregates
from framecache._index.parquet import add_checksum
from framecache._read import parse_range, positions_in_range
from framecache._read.hash_distance import ChangeFilter
from framecache._read.selection import keep_changed
from framecache.errors import CorruptFrame
from long_index import hash_of, is_ok, key_of, long_index, size_of


def part(sequences: list[int], *, size: int = 10) -> Index:
    builder = PartBuilder()
    for sequence in sequences:
        builder.add(
            FrameRow(
                sequence=sequence,
                chunk_id=0,
                timestamp=sequence / 25,
                duration=0.04,
                width=4,
                height=2,
                key=f"frames/{sequence}.jpg",
                offset=0,
                size=size,
                crc32c=sequence,
                perceptual_hash="0" * 16,
                status="undecodable" if sequence % 7 == 6 else "ok",
            )
        )
    return builder.build()


SEQUENCES = st.lists(st.integers(0, 500), unique=True, max_size=60)


@given(SEQUENCES)
def test_decoded_part_equals_the_encoded_one(sequences: list[int]) -> None:
    index = part(sequences)
    assert Index.decode(index.encode(b"{}"), key="k").to_arrow().equals(index.to_arrow())


def test_zeros_keep_their_signs() -> None:
    rows = [replace(part([n]).row(0), duration=value) for n, value in enumerate((0.0, -0.0, 0.0))]
    signs = np.signbit(stored(built(rows)).duration)
    assert signs.tolist() == [False, True, False]


@given(SEQUENCES)
def test_position_finds_exactly_the_stored_sequences(sequences: list[int]) -> None:
    index = part(sequences)
    for sequence in range(501):
        position = index.position(sequence)
        assert (position is not None) == (sequence in sequences)
        if position is not None:
            assert index.row(position).sequence == sequence


@given(SEQUENCES, st.floats(-1, 25))
def test_position_at_time_is_the_last_frame_begun(sequences: list[int], seconds: float) -> None:
    begun = [sequence for sequence in sequences if sequence / 25 <= seconds]
    index = part(sequences)
    position = index.position_at(seconds)
    found = None if position is None else int(index.sequence[position])
    assert found == max(begun, default=None)


@given(SEQUENCES, st.lists(st.integers(-5, 510), max_size=40))
def test_positions_finds_exactly_the_stored_sequences(
    sequences: list[int], wanted: list[int]
) -> None:
    places = {sequence: place for place, sequence in enumerate(sorted(sequences))}
    found = part(sequences).positions(wanted)
    assert found.tolist() == [places.get(sequence, -1) for sequence in wanted]
    assert found.dtype == np.int64


@given(SEQUENCES, SEQUENCES)
def test_merge_orders_by_sequence_and_keeps_the_later_row(
    first: list[int], second: list[int]
) -> None:
    merged = Index.merged([part(first, size=1), part(second, size=2)])
    assert merged.sequence.tolist() == sorted({*first, *second})
    sizes = dict(zip(merged.sequence.tolist(), merged.size.tolist(), strict=True))
    assert sizes == dict.fromkeys(first, 1) | dict.fromkeys(second, 2)


TEXTS = st.one_of(st.just(""), st.text("0123456789abcdefAF-é", max_size=20))
NUMBERS = st.integers(-(2**63), 2**63 - 1)
RENDITIONS = st.lists(
    st.builds(
        Rendition,
        max_side=st.sampled_from([640, 320, 224]),
        key=TEXTS.filter(bool) | st.just("renditions/000000-0/640/000000-0.tar"),
        offset=NUMBERS,
        size=st.integers(1, 2**40),
        crc32c=st.integers(0, 2**32 - 1),
        origin=st.sampled_from(["planes", "jpeg"]),
    ),
    max_size=3,
    unique_by=lambda one: one.max_side,
).map(lambda found: tuple(sorted(found, key=lambda one: -one.max_side)))
ROWS = st.builds(
    FrameRow,
    sequence=st.integers(0, 10**15 - 1),
    chunk_id=st.integers(0, 2**31 - 1) | st.just(0),
    timestamp=st.floats(allow_nan=False),
    duration=st.floats(0, 10.0**20) | st.just(0.04),  # added to any time: no overflow, no nan
    width=st.integers(0, 2**31 - 1) | st.just(1280),
    height=st.integers(0, 2**31 - 1) | st.just(720),
    key=TEXTS | st.sampled_from(["packs/000000-0.tar", "packs/000001-0.tar"]),
    offset=NUMBERS,
    size=NUMBERS,
    crc32c=st.integers(0, 2**32 - 1),
    perceptual_hash=TEXTS | st.integers(0, 2**64 - 1).map(lambda value: f"{value:016x}"),
    status=st.sampled_from(["ok", "undecodable"]),
    pts=NUMBERS,
    reason=TEXTS,
)


@st.composite
def tables(draw: st.DrawFn) -> list[FrameRow]:
    """Rows in order; their keys and hashes are often of the kind that framecache writes."""
    rows = draw(st.lists(ROWS, max_size=30, unique_by=lambda row: row.sequence))
    if draw(st.booleans()):
        rows = [replace(row, renditions=draw(RENDITIONS)) for row in rows]
    if draw(st.booleans()):
        folder = draw(st.sampled_from(["frames/", "1/frames/", ""]))
        rows = [replace(row, key=row.key and f"{folder}{row.sequence}.jpg") for row in rows]
    if draw(st.booleans()):
        hashes = draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(rows), max_size=len(rows)))
        rows = [
            replace(row, perceptual_hash=row.perceptual_hash and f"{value:016x}")
            for row, value in zip(rows, hashes, strict=True)
        ]
    return sorted(rows, key=lambda row: row.sequence)


def held(rows: list[FrameRow], way: str) -> Index:
    builder = PartBuilder()
    for row in rows:
        builder.add(row)
    index = builder.build()
    if way == "as a table":
        return index
    body = index.encode(b"{}")
    if way == "as an unopened file":
        return Index.decode_lazy(body, key="k")
    if way == "as a file":
        return Index.decode(body, key="k")
    middle = len(rows) // 2
    files = [held(some, "as a file") for some in (rows[:middle], rows[middle:])]
    return Index.merged(files)


@pytest.mark.parametrize("way", ["as a table", "as a file", "as an unopened file", "as two files"])
@given(rows=tables(), data=st.data())
def test_rows_columns_and_table_have_the_stored_values(
    way: str, rows: list[FrameRow], data: st.DataObject
) -> None:
    index = held(rows, way)
    assert len(index) == len(rows)
    positions = data.draw(
        st.lists(st.integers(0, len(rows) - 1), max_size=9) if rows else st.just([])
    )
    assert index.rows(positions) == [rows[position] for position in positions]
    assert [index.row(position) for position in positions] == index.rows(positions)
    for field in fields(FrameRow)[:-1]:
        expected = [getattr(row, field.name) for row in rows]
        assert getattr(index, field.name).tolist() == expected
        assert index.to_arrow()[field.name].to_pylist() == expected
    sides = {one.max_side for row in rows for one in row.renditions}
    assert index.rendition_sides == tuple(sorted(sides, reverse=True))
    for side in sides:
        sizes = [sum(one.size for one in row.renditions if one.max_side == side) for row in rows]
        assert index.to_arrow()[f"size_{side}"].to_pylist() == sizes
        assert index.has_rendition(side).tolist() == [size > 0 for size in sizes]
    assert index.is_ok.tolist() == [row.status == "ok" for row in rows]


@pytest.mark.parametrize("way", ["as a table", "as a file", "as two files"])
@given(rows=tables(), max_side=st.none() | st.sampled_from([1, 224, 225, 640, 641]))
def test_index_for_a_size_locates_the_smallest_rendition_that_suffices(
    way: str, rows: list[FrameRow], max_side: int | None
) -> None:
    expected = []
    for row in rows:
        sufficient = [
            one for one in row.renditions if max_side is not None and one.max_side >= max_side
        ]
        best = min(sufficient, key=lambda one: one.max_side, default=row)
        expected.append((row.sequence, row.width, best.key, best.offset, best.size, best.crc32c))
    index = held(rows, way).for_size(max_side)
    found = index.rows(range(len(rows)))
    assert [
        (row.sequence, row.width, row.key, row.offset, row.size, row.crc32c) for row in found
    ] == expected
    assert not any(row.renditions for row in found)
    assert held(rows, way).for_size(max_side).sequence.tolist() == [row.sequence for row in rows]


def test_column_is_built_once() -> None:
    index = part([1, 2])
    assert index.key is index.key
    assert index.size is index.size


def test_columns_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        part([1, 2]).sequence[0] = 7


def test_index_from_listing_has_sequences_keys_and_sizes_only() -> None:
    index = Index.from_listing([(10, "frames/10.jpg", 7), (9, "frames/9.jpg", 5)])
    assert index.is_unindexed
    assert index.sequence.tolist() == [9, 10]
    assert index.size.tolist() == [5, 7]
    assert index.row(0).key == "frames/9.jpg"
    assert (index.chunk_id.tolist(), index.timestamp.tolist()) == ([0, 0], [0.0, 0.0])
    assert index.perceptual_hash.tolist() == ["", ""]
    assert not part([1]).is_unindexed


# Very many frames


@pytest.fixture(scope="module", params=["objects", "packs"])
def million(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    """The layout of a million frames, and the file of their index."""
    return request.param, long_index(1_000_000, layout=request.param).encode(b"{}")


def test_million_frames_are_found_and_read(million: tuple[str, bytes]) -> None:
    layout, body = million
    index = Index.decode(body, key="k")
    wanted = [999_999, 0, 65_536, 131_071, 131_072, 9_972, 777_777]
    assert index.positions(wanted).tolist() == wanted
    for sequence, row in zip(wanted, index.rows(index.positions(wanted)), strict=True):
        assert row == index.row(sequence)
        assert (row.sequence, row.timestamp) == (sequence, sequence / 25)
        assert row.status == ("ok" if is_ok(sequence) else "undecodable")
        stored = (row.key, row.perceptual_hash, row.size)
        known = (key_of(sequence, layout=layout), hash_of(sequence), size_of(sequence))
        assert stored == (known if is_ok(sequence) else ("", "", 0))
        assert index.position_at(sequence / 25 + 0.03) == sequence
    assert index.position(1_000_000) is None
    wanted_range = parse_range(500_000, None, 3, start_seconds=None, stop_seconds=39_999.0)
    chosen = positions_in_range(index, wanted_range)
    assert chosen.tolist() == [n for n in range(500_000, 999_975, 3) if is_ok(n)]


def test_million_frames_take_less_than_100_mb_of_memory(
    million: tuple[str, bytes],
) -> None:
    _, body = million
    Index.decode(body, key="k").rows([0])  # imports, and objects that are created once
    tracemalloc.start()
    try:
        index = Index.decode(bytes(bytearray(body)), key="k")
        index.rows(index.positions(range(5, 1_000_000, 100_000)))
        assert index.position_at(39_999.0) == 999_975
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 100e6


def test_frames_are_selected_by_change_without_strings_of_their_hashes() -> None:
    index = Index.decode(long_index(100_000, layout="objects").encode(b"{}"), key="k")
    index.rows([0])
    tracemalloc.start()
    try:
        kept = keep_changed(index, np.arange(100_000), ChangeFilter(1))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 100_000
    assert held_bytes < 2e6


def test_pickled_index_of_million_frames_is_as_small_as_its_file(
    million: tuple[str, bytes],
) -> None:
    _, body = million
    index = Index.decode(body, key="k")
    rows = index.rows([0, 999_999])
    sent = pickle.dumps(index)
    assert len(sent) < len(body) + 10_000
    assert pickle.loads(sent).rows([0, 999_999]) == rows


def test_concurrent_threads_decode_a_file_once(
    million: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, body = million
    decoded: list[int] = []
    to_columns = arrow.to_columns

    def counted(*arguments: Any) -> Any:  # noqa: ANN401 -- passed on
        decoded.append(1)
        return to_columns(*arguments)

    monkeypatch.setattr(arrow, "to_columns", counted)
    index = Index.decode(body, key="k")
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(index.row, [131_072] * 8))
    assert len(set(rows)) == len(decoded) == 1


_FORK_WHILE_A_FILE_IS_DECODED = """
import faulthandler, os, sys, threading
from framecache._index import Index, arrow
body = sys.stdin.buffer.read()
inside, is_over = threading.Event(), threading.Event()
to_columns = arrow.to_columns
def slow_to_columns(batches):
    if threading.current_thread().name == "slow":
        inside.set()
        is_over.wait()
    return to_columns(batches)
arrow.to_columns = slow_to_columns
index = Index.decode(body, key="k")
slow = threading.Thread(target=index.row, args=[1], name="slow")
slow.start()
inside.wait()
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(30, exit=True)
    print(index.row(1).sequence, flush=True)
    os._exit(0)
os.waitpid(child, 0)
is_over.set()
slow.join()
"""


def test_process_forked_during_decode_decodes_the_file_itself() -> None:
    command = [sys.executable, "-c", _FORK_WHILE_A_FILE_IS_DECODED]
    body = part([3, 4]).encode(b"{}")
    run = subprocess.run(command, check=True, capture_output=True, input=body, timeout=100)
    assert run.stdout == b"4\n", run.stderr


@pytest.mark.parametrize("way", ["as a table", "as two files"])
def test_negative_position_is_refused(way: str) -> None:
    index = held([part([n]).row(0) for n in range(4)], way)
    with pytest.raises(IndexError, match="no row -1"):
        index.row(-1)
    with pytest.raises(IndexError, match="no row -1"):
        index.rows(index.positions([1, 77]))
    with pytest.raises(IndexError):
        index.row(4)


# Files


def test_file_with_other_compression_and_row_groups_is_read() -> None:
    index = part(list(range(100)))
    sink = io.BytesIO()
    pq.write_table(index.to_arrow(), sink, compression="zstd", row_group_size=7)
    body = add_checksum(sink.getvalue())
    read = Index.decode(body, key="k")
    assert read.rows(range(100)) == index.rows(range(100))
    assert read.to_arrow().equals(index.to_arrow())


PARTS = st.lists(
    st.builds(
        FrameRow,
        sequence=st.integers(0, 2**40),
        chunk_id=st.just(0),
        timestamp=st.floats(0, 1e6),
        duration=st.floats(0, 10),
        width=st.integers(0, 9000),
        height=st.integers(0, 9000),
        key=st.just("frames/0.jpg"),
        offset=st.just(0),
        size=st.integers(0, 2**40),
        crc32c=st.just(0),
        perceptual_hash=st.just(""),
        status=st.sampled_from(["ok", "undecodable"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row.sequence,
)


def built(rows: list[FrameRow]) -> Index:
    builder = PartBuilder()
    for row in rows:
        builder.add(row)
    return builder.build()


def expected_aggregates(rows: list[FrameRow]) -> Aggregates:
    """Return the aggregates as computed from the rows by plain Python."""
    ordered = sorted(rows, key=lambda row: row.sequence)
    first, last = ordered[0], ordered[-1]
    return Aggregates(
        frame_count=len(rows),
        undecodable_count=sum(row.status == "undecodable" for row in rows),
        size_bytes=sum(row.size for row in rows),
        width=first.width,
        height=first.height,
        first_sequence=first.sequence,
        last_sequence=last.sequence,
        end_seconds=last.timestamp + last.duration,
    )


def stored(index: Index) -> Index:
    return Index.decode(index.encode(b"{}"), key="k")


def stored_unopened(index: Index) -> Index:
    return Index.decode_lazy(index.encode(b"{}"), key="k")


def stored_by_an_earlier_version(index: Index) -> Index:
    sink = io.BytesIO()
    pq.write_table(index.to_arrow(), sink)
    return Index.decode(add_checksum(sink.getvalue()), key="k")


@pytest.mark.parametrize(
    "keep", [stored, stored_unopened, stored_by_an_earlier_version, lambda index: index]
)
@given(PARTS, st.integers(0, 12))
def test_aggregates_equal_those_of_all_rows_in_one_or_two_parts(
    keep: Callable[[Index], Index], rows: list[FrameRow], first_part: int
) -> None:
    ordered = sorted(rows, key=lambda row: row.sequence)
    parts = [keep(built(some)) for some in (ordered[:first_part], ordered[first_part:])]
    assert aggregates_of(Index.merged(parts)) == expected_aggregates(rows)


@given(PARTS, PARTS)
def test_aggregates_count_a_frame_of_two_parts_once(
    earlier: list[FrameRow], later: list[FrameRow]
) -> None:
    merged = Index.merged([stored(built(earlier)), stored(built(later))])
    counting = {row.sequence: row for row in [*earlier, *later]}
    assert aggregates_of(merged) == expected_aggregates([*counting.values()])


def test_rows_taken_from_an_index_have_their_own_aggregates() -> None:
    whole = stored(part([0, 1, 2, 3]))
    assert aggregates_of(whole.take(np.arange(2))).frame_count == 2


def test_index_without_frames_has_empty_aggregates() -> None:
    assert [*map(aggregates_of, [Index.empty(), stored(part([]))])] == [EMPTY, EMPTY]


def test_aggregates_of_listed_frames_are_count_and_bytes() -> None:
    sums = aggregates_of(Index.from_listing([(4, "b", 30), (2, "a", 20)]))
    assert (sums.frame_count, sums.size_bytes, sums.first_sequence, sums.last_sequence) == (
        *(2, 50),
        *(2, 4),
    )


def test_aggregates_are_read_without_decoding_a_row() -> None:
    body = bytearray(part([0, 1, 2], size=7).encode(b"{}"))
    pages_end = pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0).column(0).data_page_offset
    body[pages_end : pages_end + 8] = bytes(8)
    index = Index.decode_lazy(with_checksum(bytes(body)), key="k")
    assert (aggregates_of(index).frame_count, aggregates_of(index).size_bytes) == (3, 21)
    with pytest.raises(CorruptFrame, match="it is not an index"):
        _ = index.sequence


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"frame_count": "x"}', b"[" * 999])
def test_invalid_aggregates_are_computed_from_the_rows(said: bytes) -> None:
    table = part([0, 1]).to_arrow().replace_schema_metadata({parquet.AGGREGATES_KEY: said})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert aggregates_of(Index.decode(add_checksum(sink.getvalue()), key="k")).frame_count == 2


def test_lazy_file_with_wrong_aggregates_is_corrupt_once_decoded() -> None:
    table = (
        part([0, 1]).to_arrow().replace_schema_metadata({parquet.AGGREGATES_KEY: EMPTY.to_json()})
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    index = Index.decode_lazy(add_checksum(sink.getvalue()), key="the-part")
    assert len(index) == 0
    with pytest.raises(CorruptFrame, match="its aggregates are not those of its rows"):
        _ = index.sequence


@pytest.mark.parametrize("key", ["framecache.sums", "\x18\x0fframecache.sums\x18", "a" * 300])
@pytest.mark.parametrize("about", [b"{}", b'{"framecache.sums": "framecache.sums"}'])
def test_row_texts_are_not_mistaken_for_aggregates(key: str, about: bytes) -> None:
    index = built([replace(part([3]).row(0), key=key, perceptual_hash=f"{key}\x02{{}}")])
    unopened = Index.decode_lazy(index.encode(about), key="k")
    assert aggregates_of(unopened) == aggregates_of(index)
    assert unopened.rows([0]) == index.rows([0])


def test_lazy_files_merged_in_order_stay_undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [long_index(100_000, layout="objects").encode(b"{}"), part([2**31]).encode(b"{}")]
    monkeypatch.setattr(parquet, "_open_parquet", None)
    merged = Index.merged([Index.decode_lazy(body, key="k") for body in bodies])
    assert len(merged) == aggregates_of(merged).frame_count == 100_001
    monkeypatch.undo()
    assert merged.sequence.tolist() == [*range(100_000), 2**31]


def test_index_that_grows_part_by_part_holds_each_row_once() -> None:
    parts = [part([*range(first, first + 300)]) for first in range(0, 60_000, 300)]
    at_once = Index.merged(parts)
    grown = Index.empty()
    tracemalloc.start()
    try:
        assert at_once.row(59_999).sequence == 59_999
        held_at_once, _ = tracemalloc.get_traced_memory()
        for one in parts:
            grown = Index.merged([grown, one])
            assert grown.row(len(grown) - 1) == one.row(299)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes - held_at_once < 1.5 * held_at_once


def test_index_grows_by_any_number_of_parts() -> None:
    grown = Index.empty()
    for sequence in range(1200):
        grown = Index.merged([grown, part([sequence])])
        assert grown.position(sequence) == len(grown) - 1 == sequence


def with_checksum(file: bytes) -> bytes:
    """Return a file that was changed, with a matching checksum."""
    footer_start = len(file) - 8 - int.from_bytes(file[-8:-4], "little")
    return add_checksum(file[: footer_start - 4] + file[footer_start:])


def test_every_flipped_bit_in_a_part_is_detected() -> None:
    body = part(list(range(40))).encode(b'{"write_id": "x"}')
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        assert_damaged(bytes(damaged))


def test_every_wrong_length_of_a_part_is_detected() -> None:
    body = part(list(range(40))).encode(b'{"write_id": "x"}')
    for length in range(len(body)):
        assert_damaged(body[:length])
    for more in (b"\0", b"PAR1", body[-4:], body[-12:], body):
        assert_damaged(body + more)


def assert_damaged(body: bytes) -> None:
    for decode in (Index.decode, Index.decode_lazy):
        with pytest.raises(CorruptFrame, match=r"the-part is damaged: .*--repair"):
            decode(body, key="the-part").rows([])


def test_checksum_is_the_crc_of_all_other_bytes() -> None:
    body = part([1, 2]).encode(b"{}")
    footer_start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    checksum = body[footer_start - 4 : footer_start]
    others = body[: footer_start - 4] + body[footer_start:]
    assert int.from_bytes(checksum, "little") == crc32c_bit_by_bit(others)


def crc32c_bit_by_bit(data: bytes) -> int:
    """RFC 3720's CRC, as its polynomial says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("other", ["less", "text"])
def test_other_table_with_valid_checksum_is_corrupt(other: str) -> None:
    table = part([1]).to_arrow()
    others = {"less": table.drop_columns("key"), "text": table.set_column(0, "sequence", [["1"]])}
    sink = io.BytesIO()
    pq.write_table(others[other], sink)
    assert_damaged(add_checksum(sink.getvalue()))


def test_unpickled_index_is_read_only() -> None:
    index = pickle.loads(pickle.dumps(part([1, 2])))
    assert index.rows([0, 1]) == part([1, 2]).rows([0, 1])
    with pytest.raises(ValueError, match="read-only"):
        index.sequence[0] = 7


def test_invalid_metadata_is_corrupt_at_every_access() -> None:
    table = part([1]).to_arrow().replace_schema_metadata({parquet.METADATA_KEY: b"not json"})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    source = parquet.FileSource(add_checksum(sink.getvalue()), key="k")
    for _ in range(2):
        with pytest.raises(CorruptFrame, match="it is not an index"):
            _ = source.metadata


def test_different_files_are_decoded_concurrently(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = itertools.count(1)
    are_two_inside = threading.Event()
    to_columns = arrow.to_columns

    def record(batches: Any) -> Any:  # noqa: ANN401 -- passed on
        if next(inside) > 1:
            are_two_inside.set()
        assert are_two_inside.wait(timeout=60)
        return to_columns(batches)

    monkeypatch.setattr(arrow, "to_columns", record)
    # Two may have one lock, but not all of them.
    indexes = [Index.decode(part([n]).encode(b"{}"), key="k") for n in range(8)]
    with ThreadPoolExecutor(len(indexes)) as threads:
        found = threads.map(lambda index: index.row(0).sequence, indexes)
        assert [*found] == [*range(8)]


def test_malformed_footer_with_valid_checksum_is_corrupt() -> None:
    body = part([1]).encode(b"{}")
    footer_start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    assert_damaged(
        with_checksum(body[:footer_start] + bytes(len(body) - 8 - footer_start) + body[-8:])
    )


def test_column_with_nulls_is_corrupt() -> None:
    table = part([1, 2]).to_arrow()
    sink = io.BytesIO()
    holes = pa.array([0, None], pa.int32())
    pq.write_table(table.set_column(1, table.schema.field(1), holes), sink)
    index = Index.decode(add_checksum(sink.getvalue()), key="the-part")
    with pytest.raises(CorruptFrame, match="it is not an index"):
        index.rows([0])


def test_plain_parquet_reader_reads_a_part(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(part(list(range(100))).encode(b"{}"))
    read = pq.read_table(path, page_checksum_verification=True)
    assert read["sequence"].to_pylist() == list(range(100))
    # By the statistics of its row groups, whose place the footer states.
    chosen = pq.read_table(path, columns=["key"], filters=[("sequence", ">", 97)])
    assert chosen["key"].to_pylist() == ["frames/98.jpg", "frames/99.jpg"]
    statistics = pq.read_metadata(path).row_group(0).column(0).statistics
    assert statistics is not None
    assert (statistics.min, statistics.max) == (0, 99)
