"""The format of a pack, and the ranges by which its frames are read, without a store."""

import json
import tarfile
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._index import FrameRow
from framecache._layouts import pack_format
from framecache._layouts.ranges import coalesce_ranges, plan_ranges
from tars import members_of

MEGABYTE: Final = 1_000_000


# Members

SEQUENCE: Final = st.integers(0, 10**15 - 1)
BODIES: Final = st.lists(
    st.tuples(SEQUENCE, st.binary(max_size=2000)), unique_by=lambda one: one[0]
)


@given(bodies=BODIES)
def test_concatenated_members_are_a_tar(bodies: list[tuple[int, bytes]]) -> None:
    blocks = [
        pack_format.frame_members(number, jpeg, {"sequence": number}) for number, jpeg in bodies
    ]
    found = members_of(b"".join(blocks) + pack_format.END_OF_ARCHIVE)
    expected: dict[str, bytes] = {}
    for number, jpeg in bodies:
        expected |= {f"{number}.jpg": jpeg, f"{number}.json": b'{"sequence":%d}' % number}
    assert found == expected
    assert list(found) == list(expected)


@given(jpeg=st.binary(max_size=2000), sequence=SEQUENCE)
def test_jpeg_starts_after_the_header(jpeg: bytes, sequence: int) -> None:
    members = pack_format.frame_members(sequence, jpeg, {})
    assert members[pack_format.HEADER_BYTES : pack_format.HEADER_BYTES + len(jpeg)] == jpeg
    assert len(members) % tarfile.BLOCKSIZE == 0


def test_frame_metadata_is_stored_as_json() -> None:
    about = {"timestamp": 0.1 + 0.2, "perceptual_hash": 'ä"\n', "big": 10**18, "none": None}
    members = members_of(pack_format.frame_members(7, b"x", about) + pack_format.END_OF_ARCHIVE)
    assert json.loads(members["7.json"]) == about


def test_members_have_no_time_and_no_owner() -> None:
    header = tarfile.TarInfo.frombuf(
        pack_format.frame_members(7, b"x", {})[: pack_format.HEADER_BYTES], "utf-8", "strict"
    )
    fields = (header.mtime, header.uid, header.gid, header.uname, header.gname)
    assert fields == (0, 0, 0, "", "")
    assert header.isreg()


# Ranges


def row(offset: int, size: int, *, key: str = "a") -> FrameRow:
    return FrameRow(
        sequence=offset,
        chunk_id=0,
        timestamp=0.0,
        duration=0.0,
        width=1,
        height=1,
        key=key,
        offset=offset,
        size=size,
        crc32c=0,
        perceptual_hash="",
        status="ok",
    )


def pack_of(sizes: list[int], *, key: str = "a") -> list[FrameRow]:
    """The rows of frames of these sizes in one pack, as in a tar."""
    rows, at = list[FrameRow](), 0
    for size in sizes:
        rows.append(row(at + pack_format.HEADER_BYTES, size, key=key))
        at += len(pack_format.frame_members(0, b"", {"some": "json" * 40})) + -(-size // 512) * 512
    return rows


def spans(rows: list[FrameRow]) -> list[tuple[str, int, int]]:
    """Key, start and length of each range."""
    return [
        (one[0].key, one[0].offset, one[-1].offset + one[-1].size - one[0].offset)
        for one in coalesce_ranges(rows)
    ]


SIZES: Final = st.lists(st.integers(1, 4 * MEGABYTE), max_size=60)
ROWS: Final = st.builds(
    lambda sizes, key: pack_of(sizes, key=key), SIZES, st.sampled_from(["a", "b"])
)


@given(groups=st.lists(ROWS, max_size=3), seed=st.integers(0, 99), is_shuffled=st.booleans())
def test_coalesced_ranges_keep_every_row_in_order(
    groups: list[list[FrameRow]], seed: int, *, is_shuffled: bool
) -> None:
    rows = [one for group in groups for one in group]
    if is_shuffled:
        order = np.random.default_rng(seed).integers(0, max(1, len(rows)), len(rows)).tolist()
        rows = [rows[position] for position in order]
    ranges = list(coalesce_ranges(rows))
    assert [one for together in ranges for one in together] == rows
    for together in ranges:
        assert together
        assert len({one.key for one in together}) == 1
        offsets = [one.offset for one in together]
        assert offsets == sorted(offsets)


@given(groups=st.lists(ROWS, max_size=3), seed=st.integers(0, 99))
def test_planned_ranges_deliver_rows_in_order_with_bounded_buffer(
    groups: list[list[FrameRow]], seed: int
) -> None:
    rows = [one for group in groups for one in group]
    order = np.random.default_rng(seed).integers(0, max(1, len(rows)), len(rows)).tolist()
    wanted = [rows[position] for position in order]
    arrived: dict[int, FrameRow] = {}
    delivered: list[FrameRow] = []
    for planned in plan_ranges(wanted):
        assert [len(one) for one in coalesce_ranges(planned.rows)] == [len(planned.rows)]
        arrived |= dict(zip(planned.positions, planned.rows, strict=True))
        while len(delivered) in arrived:
            delivered.append(arrived.pop(len(delivered)))
        assert sum(one.size for one in arrived.values()) <= 20 * MEGABYTE
    assert delivered == wanted
    assert arrived == {}


@given(sizes=SIZES)
def test_range_has_at_most_two_megabytes_or_one_frame(sizes: list[int]) -> None:
    for together in coalesce_ranges(pack_of(sizes)):
        length = together[-1].offset + together[-1].size - together[0].offset
        assert length <= 2 * MEGABYTE or len(together) == 1


@given(sizes=st.lists(st.integers(1, MEGABYTE), min_size=1, max_size=2000), first=st.integers(0))
def test_adjacent_frames_take_one_request_per_megabyte_and_two(
    sizes: list[int], first: int
) -> None:
    rows = pack_of(sizes)[first % len(sizes) :]
    size_bytes = rows[-1].offset + rows[-1].size - rows[0].offset
    assert len(spans(rows)) <= -(-size_bytes // MEGABYTE) + 2


@pytest.mark.parametrize("size", [2_000, 10_000, 26_000, 156_000, 400_000, 999_000])
def test_equal_frames_take_one_request_per_megabyte_and_two(size: int) -> None:
    rows = pack_of([size] * 1000)
    assert len(spans(rows)) <= -(-size * 1000 // MEGABYTE) + 2


@pytest.mark.parametrize("size", [2_000, 26_000, 100_000, 140_000])
def test_every_other_small_frame_takes_one_request_per_megabyte_of_frames(size: int) -> None:
    rows = pack_of([size] * 1000)[::2]
    assert len(spans(rows)) <= -(-size * len(rows) // MEGABYTE) + 2


@pytest.mark.parametrize("size", [140_000, 156_000, 256_000])
def test_every_other_large_frame_takes_one_request_per_fetched_megabyte(size: int) -> None:
    rows = pack_of([size] * 1000)[::2]
    assert len(spans(rows)) <= -(-2 * size * len(rows) // MEGABYTE) + 2


def test_frames_with_large_gaps_take_one_request_each() -> None:
    assert len(spans(pack_of([262_144] * 100)[::2])) == 50


def test_separate_blobs_are_not_coalesced() -> None:
    rows = [replace(row(0, 10), key=f"frames/{n}.jpg") for n in range(5)]
    rows += [rows[-1], rows[-1]]
    assert [len(one) for one in coalesce_ranges(rows)] == [1] * 7


def test_repeated_frame_shares_its_range() -> None:
    rows = pack_of([1000] * 4)
    wanted = [rows[0], rows[0], rows[1], rows[3], rows[3]]
    assert [len(one) for one in coalesce_ranges(wanted)] == [5]


@pytest.mark.parametrize(("stride", "ranges"), [(1, 1), (2, 1), (20, 1), (30, 7), (100, 2)])
def test_small_gaps_are_fetched(stride: int, ranges: int) -> None:
    assert len(spans(pack_of([4000] * 200)[::stride])) == ranges


def test_reversed_frames_take_one_request_each() -> None:
    rows = pack_of([1000] * 4)
    assert len(list(coalesce_ranges(reversed(rows)))) == 4
