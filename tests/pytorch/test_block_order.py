"""Order of a BlockSampler: each item once, in blocks, the same everywhere."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from framecache.torch.order import BlockOrder, cut, hashed, split

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=8)
SMALL = st.integers(1, 9)
SEGMENTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 30)).map(lambda one: (one[0], sum(one))),
    max_size=5,
)


def places(segments: Sequence[tuple[int, int]]) -> list[int]:
    return [place for begin, end in segments for place in range(begin, end)]


@given(sizes=SIZES, block_size=SMALL, mixed=SMALL, key=st.none() | st.integers(0, 2**64 - 1))
def test_every_item_occurs_once(
    sizes: list[int], block_size: int, mixed: int, key: int | None
) -> None:
    order = BlockOrder(sizes, block_size=block_size, mixed_blocks=mixed, key=key)
    assert len(order) == sum(sizes)
    assert sorted(order.items((0, len(order)))) == [*range(sum(sizes))]


@given(sizes=SIZES, block_size=SMALL, mixed=SMALL, key=st.integers(0, 2**64 - 1), data=st.data())
def test_slice_equals_that_of_the_whole_order(
    sizes: list[int], block_size: int, mixed: int, key: int, data: st.DataObject
) -> None:
    order = BlockOrder(sizes, block_size=block_size, mixed_blocks=mixed, key=key)
    begin = data.draw(st.integers(0, len(order)))
    end = data.draw(st.integers(begin, len(order)))
    assert [*order.items((begin, end))] == [*order.items((0, len(order)))][begin:end]


@given(sizes=SIZES)
def test_order_without_a_key_is_that_of_the_dataset(sizes: list[int]) -> None:
    order = BlockOrder(sizes, block_size=4, mixed_blocks=3, key=None)
    assert [*order.items((0, len(order)))] == [*range(sum(sizes))]


def test_items_of_mixed_blocks_stay_together() -> None:
    order = BlockOrder([320], block_size=8, mixed_blocks=4, key=1)
    items = [*order.items((0, 320))]
    for begin in range(0, 320, 32):
        blocks = {item // 8 for item in items[begin : begin + 32]}
        assert len(blocks) == 4
    assert items != sorted(items)


def test_block_does_not_span_two_timelines() -> None:
    order = BlockOrder([5, 5], block_size=4, mixed_blocks=1, key=3)
    items = [*order.items((0, 10))]
    block_of = [(item // 5, item % 5 // 4) for item in items]
    changes = sum(one != other for one, other in pairwise(block_of))
    assert changes == 3  # four blocks, each without interruption


def test_key_gives_the_same_order_with_every_version_of_numpy() -> None:
    """Kept values: another order would make saved positions refer to other items."""
    order = BlockOrder([10, 6], block_size=4, mixed_blocks=2, key=hashed(7, 2))
    expected = [8, 9, 6, 5, 4, 7, 15, 13, 10, 14, 11, 12, 2, 3, 0, 1]
    assert [*order.items((0, 16))] == expected


def test_hash_is_splitmix64() -> None:
    """The first number of its published implementation for the seed 0."""
    assert hashed(1) == 0xE220A8397B1DCDAF


def test_keys_of_different_seeds_and_epochs_differ() -> None:
    keys = {hashed(seed, epoch) for seed in range(100) for epoch in range(100)}
    assert len(keys) == 10_000


@given(segments=SEGMENTS, parts=st.integers(1, 7))
def test_parts_of_segments_are_disjoint_complete_and_even(
    segments: list[tuple[int, int]], parts: int
) -> None:
    found = [places(part) for part in split(segments, parts)]
    assert [place for part in found for place in part] == places(segments)
    assert max(map(len, found)) - min(map(len, found)) <= 1


@given(segments=SEGMENTS, start=st.integers(0, 80), stop=st.integers(0, 80))
def test_cut_counts_through_all_segments(
    segments: list[tuple[int, int]], start: int, stop: int
) -> None:
    assert places(cut(segments, start, stop)) == places(segments)[start:stop]
