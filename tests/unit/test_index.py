"""The index: merging, finding, and refusing damaged parts."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache.errors import CorruptFrame
from framecache.index import FrameRow, Index, PartBuilder


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
def test_a_part_is_read_as_it_was_stored(sequences: list[int]) -> None:
    index = part(sequences)
    assert Index.decode(index.encode(b"{}"), key="k").to_arrow().equals(index.to_arrow())


@given(SEQUENCES)
def test_a_sequence_is_found_where_it_is_and_nowhere_else(sequences: list[int]) -> None:
    index = part(sequences)
    for sequence in range(501):
        position = index.position(sequence)
        assert (position is not None) == (sequence in sequences)
        if position is not None:
            assert index.row(position).sequence == sequence


@given(SEQUENCES, st.floats(-1, 25))
def test_the_frame_at_a_time_is_the_last_that_began(sequences: list[int], seconds: float) -> None:
    begun = [sequence for sequence in sequences if sequence / 25 <= seconds]
    index = part(sequences)
    position = index.position_at(seconds)
    found = None if position is None else int(index.sequence[position])
    assert found == max(begun, default=None)


@given(SEQUENCES, SEQUENCES)
def test_merging_orders_by_sequence_and_keeps_the_later_row(
    first: list[int], second: list[int]
) -> None:
    merged = Index.merged([part(first, size=1), part(second, size=2)])
    assert merged.sequence.tolist() == sorted({*first, *second})
    sizes = dict(zip(merged.sequence.tolist(), merged.size.tolist(), strict=True))
    assert sizes == dict.fromkeys(first, 1) | dict.fromkeys(second, 2)


def test_rows_and_columns_say_the_same() -> None:
    index = part([5, 6, 3])
    rows = index.rows([2, 0])
    assert [row.sequence for row in rows] == [6, 3]
    assert rows[0] == index.row(2)
    assert index.is_ok.tolist() == [True, True, False]
    assert index.status.tolist() == ["ok", "ok", "undecodable"]


def test_columns_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        part([1, 2]).sequence[0] = 7


def test_a_listed_index_knows_sequences_keys_and_sizes_only() -> None:
    index = Index.listed([(10, "frames/10.jpg", 7), (9, "frames/9.jpg", 5)])
    assert index.is_listed
    assert index.sequence.tolist() == [9, 10]
    assert index.size.tolist() == [5, 7]
    assert index.row(0).key == "frames/9.jpg"
    assert (index.chunk_id.tolist(), index.timestamp.tolist()) == ([0, 0], [0.0, 0.0])
    assert index.perceptual_hash.tolist() == ["", ""]
    assert not part([1]).is_listed


@pytest.mark.parametrize("seed", range(200))
def test_a_flipped_bit_or_a_cut_in_a_part_is_an_error_or_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    index = part(list(range(40)))
    body = bytearray(index.encode(b'{"write_id": "x"}'))
    position = int(random.integers(len(body)))
    if seed % 4 == 0:
        body = body[:position]
    else:
        body[position] ^= 1 << int(random.integers(8))
    try:
        read = Index.decode(bytes(body), key="the-part")
    except CorruptFrame as error:
        assert "the-part is damaged" in str(error)  # noqa: PT017 -- either outcome is checked
    else:
        assert read.to_arrow().equals(index.to_arrow())


def test_any_parquet_reader_reads_a_part(tmp_path: "pytest.TempPathFactory") -> None:
    path = f"{tmp_path}/part.parquet"
    with open(path, "wb") as file:  # noqa: PTH123 -- a plain file for another program
        file.write(part([1, 2]).encode(b"{}"))
    assert pq.read_table(path)["sequence"].to_pylist() == [1, 2]
