"""The index: merging, finding, and refusing damaged parts."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache.errors import CorruptFrame
from framecache.index import FrameRow, Index, PartBuilder
from framecache.index.seal import sealed


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


def test_every_flipped_bit_in_a_part_is_met() -> None:
    body = part(list(range(40))).encode(b'{"write_id": "x"}')
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        assert_damaged(bytes(damaged))


def test_every_length_but_its_own_is_met() -> None:
    body = part(list(range(40))).encode(b'{"write_id": "x"}')
    for length in range(len(body)):
        assert_damaged(body[:length])
    for more in (b"\0", b"PAR1", body[-4:], body[-12:], body):
        assert_damaged(body + more)


def assert_damaged(body: bytes) -> None:
    with pytest.raises(CorruptFrame, match=r"the-part is damaged: .*--repair"):
        Index.decode(body, key="the-part")


def test_the_seal_is_the_crc_of_all_other_bytes() -> None:
    body = part([1, 2]).encode(b"{}")
    footer_start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    seal = body[footer_start - 4 : footer_start]
    others = body[: footer_start - 4] + body[footer_start:]
    assert int.from_bytes(seal, "little") == crc32c_bit_by_bit(others)


def crc32c_bit_by_bit(data: bytes) -> int:
    """RFC 3720's CRC, as its polynomial says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def test_a_sound_seal_around_another_table_does_not_make_it_an_index() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"sequence": [1]}), sink)
    assert_damaged(sealed(sink.getvalue()))


def test_any_parquet_reader_reads_a_part(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(part(list(range(100))).encode(b"{}"))
    read = pq.read_table(path, page_checksum_verification=True)
    assert read["sequence"].to_pylist() == list(range(100))
    # By the statistics of its row groups, whose place the footer tells.
    chosen = pq.read_table(path, columns=["key"], filters=[("sequence", ">", 97)])
    assert chosen["key"].to_pylist() == ["frames/98.jpg", "frames/99.jpg"]
    statistics = pq.read_metadata(path).row_group(0).column(0).statistics
    assert statistics is not None
    assert (statistics.min, statistics.max) == (0, 99)
