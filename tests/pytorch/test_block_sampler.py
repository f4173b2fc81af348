"""Epochs of a BlockSampler: whole, divided among ranks, interrupted and resumed."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gray_frames import FRAMES, all_frames, identities, timelines
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from framecache import Frame, FrameCache, InvalidValue, Timeline
from framecache.testing import WrappingStore
from framecache.torch import BlockSampler, FrameDataset


@dataclass(frozen=True)
class Numbers:
    """A dataset whose items are their own numbers."""

    timeline_sizes: list[int]

    @property
    def timeline_ids(self) -> list[str]:
        return [f"t{number}" for number in range(len(self.timeline_sizes))]

    def __len__(self) -> int:
        return sum(self.timeline_sizes)

    def __getitem__(self, number: int) -> int:
        return number


def sampler(numbers: Numbers, **settings: Any) -> BlockSampler:  # noqa: ANN401 -- a number or a bool
    return BlockSampler(numbers, **({"block_size": 4, "mixed_blocks": 2} | settings))


def batches(of: BlockSampler, numbers: Numbers, size: int) -> Iterator[list[int]]:
    """The batches that a loader delivers."""
    loader = DataLoader(numbers, batch_size=size, sampler=of)
    return (batch.tolist() for batch in of.track(loader))


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, int, list[int]]]:
    """Runs of an epoch: ranks, the size of a batch, and the batches that each rank uses."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        ranks = draw(st.integers(1, 4))
        used = [draw(st.integers(0, 4)) for _ in range(ranks)]
        found.append((ranks, draw(st.integers(1, 6)), used))
    return found


@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4).filter(any),
    interrupted=runs(),
    seed=st.integers(0, 1000),
)
def test_resumed_epoch_delivers_every_item_exactly_once(
    sizes: list[int], interrupted: list[tuple[int, int, list[int]]], seed: int
) -> None:
    numbers = Numbers(sizes)
    states: list[dict[str, Any]] = []
    read_numbers: list[int] = []
    for ranks, size, used in [*interrupted, (1, 3, [sum(sizes)])]:
        resumed = [
            sampler(numbers, seed=seed, rank=rank, world_size=ranks) for rank in range(ranks)
        ]
        for one in resumed:
            if states:
                one.load_state_dict(states)
        if resumed[0].epoch > 0:
            break
        for one, count in zip(resumed, used, strict=True):
            read_numbers += chain.from_iterable(islice(batches(one, numbers, size), count))
        states = json.loads(json.dumps([one.state_dict() for one in resumed]))
    assert Counter(read_numbers) == Counter(range(len(numbers)))


def test_state_of_one_rank_suffices_when_all_used_equally_many_items() -> None:
    numbers = Numbers([40, 33])
    ranks = [sampler(numbers, rank=rank, world_size=3) for rank in range(3)]
    read_numbers = [
        one for rank in ranks for batch in islice(batches(rank, numbers, 4), 5) for one in batch
    ]
    assert len(read_numbers) == 60
    resumed = sampler(numbers)
    resumed.load_state_dict(ranks[1].state_dict())
    assert len(resumed) == 13
    assert sorted(
        read_numbers + [one for batch in batches(resumed, numbers, 8) for one in batch]
    ) == [*range(73)]


@pytest.mark.parametrize("drop_uneven", [False, True])
@given(count=st.integers(4, 40), ranks=st.integers(1, 4), size=st.integers(1, 9), data=st.data())
def test_state_of_any_rank_resumes_all_up_to_the_end_of_its_share(
    count: int, ranks: int, size: int, data: st.DataObject, *, drop_uneven: bool
) -> None:
    """Shares differ by an item, which may be in the last batch or need one more."""
    numbers = Numbers([count])
    steps = data.draw(st.integers(1, -(-(count // ranks) // size)))
    read_numbers: list[int] = []
    states = []
    for rank in range(ranks):
        one = sampler(numbers, rank=rank, world_size=ranks, drop_uneven=drop_uneven)
        read_numbers += chain.from_iterable(islice(batches(one, numbers, size), steps))
        states.append(one.state_dict())
    resumed = [sampler(numbers) for _ in states]
    for one, state in zip(resumed, states, strict=True):
        one.load_state_dict(state)
    rests = [[*one] if one.epoch == 0 else [] for one in resumed]
    assert rests == rests[:1] * ranks
    repeated = Counter(read_numbers + rests[0]) - Counter(range(count))
    assert not repeated
    assert drop_uneven or len(read_numbers + rests[0]) == count


def test_ranks_differ_by_at_most_one_item() -> None:
    numbers = Numbers([40, 33])
    ranks = [sampler(numbers, rank=rank, world_size=4) for rank in range(4)]
    assert sorted(map(len, ranks)) == [18, 18, 18, 19]
    assert sorted(one for rank in ranks for one in rank) == [*range(73)]
    even = [sampler(numbers, rank=rank, world_size=4, drop_uneven=True) for rank in range(4)]
    assert [*map(len, even)] == [18] * 4
    assert len({one for rank in even for one in rank}) == 72


def test_order_is_determined_by_seed_and_epoch() -> None:
    numbers = Numbers([100])
    one, same, other = (sampler(numbers, seed=seed) for seed in (5, 5, 6))
    assert [*one] == [*same] != [*other]
    before = [*one]
    one.set_epoch(1)
    assert sorted(one) == sorted(before)
    assert [*one] != before
    same.set_epoch(1)
    assert [*one] == [*same]


def test_order_without_shuffling_is_that_of_the_dataset() -> None:
    assert [*sampler(Numbers([7, 5]), shuffle=False)] == [*range(12)]


def test_completed_tracked_epoch_starts_the_next_one() -> None:
    numbers = Numbers([10])
    one = sampler(numbers)
    first = [*batches(one, numbers, 3)]
    assert one.epoch == 1
    assert len(one) == 10
    second = [*batches(one, numbers, 3)]
    assert one.epoch == 2
    assert first != second


def test_interrupted_epoch_continues_at_its_position() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    read_numbers = [*chain.from_iterable(islice(batches(one, numbers, 3), 2))]
    one.set_epoch(0)
    assert len(one) == 14
    read_numbers += chain.from_iterable(batches(one, numbers, 5))
    assert sorted(read_numbers) == [*range(20)]


def test_set_epoch_to_another_epoch_starts_at_its_beginning() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    assert len([*islice(batches(one, numbers, 3), 2)]) == 2
    one.set_epoch(4)
    assert (one.epoch, len(one)) == (4, 20)


def test_state_after_the_last_batch_resumes_with_the_next_epoch() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    states = [one.state_dict() for _ in batches(one, numbers, 6)]
    resumed = sampler(numbers)
    resumed.load_state_dict(states[-1])
    assert (resumed.epoch, len(resumed)) == (1, 20)
    resumed.load_state_dict(states[0])
    assert (resumed.epoch, len(resumed)) == (0, 14)


def test_state_can_be_saved_with_torch(tmp_path: Path) -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    next(batches(one, numbers, 6))
    torch.save({"sampler": one.state_dict()}, tmp_path / "checkpoint")
    resumed = sampler(numbers)
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint", weights_only=True)["sampler"])
    assert len(resumed) == 14


def test_loader_of_another_sampler_cannot_be_tracked() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    with pytest.raises(InvalidValue, match="another sampler"):
        next(one.track(DataLoader(numbers, batch_size=2)))
    batch_sampler = BatchSampler(SequentialSampler(numbers), 2, drop_last=False)
    with pytest.raises(InvalidValue, match="another sampler"):
        next(one.track(DataLoader(numbers, batch_sampler=batch_sampler)))


def test_loader_that_does_not_keep_the_order_cannot_be_tracked() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    with pytest.raises(InvalidValue, match="in_order=True"):
        next(one.track(DataLoader(numbers, sampler=one, in_order=False)))


def test_loader_with_a_batch_sampler_or_without_batches_is_tracked() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    loader = DataLoader(numbers, batch_sampler=BatchSampler(one, 3, drop_last=False))
    assert len([*islice(one.track(loader), 2)]) == 2
    assert one.state_dict()["used"] == 6
    single = DataLoader(numbers, batch_size=None, sampler=one)
    assert len([*islice(one.track(single), 4)]) == 4
    assert one.state_dict()["used"] == 10


def test_untracked_loader_leaves_the_state_unknown() -> None:
    numbers = Numbers([20])
    one = sampler(numbers)
    assert one.state_dict()["used"] == 0
    next(iter(DataLoader(numbers, batch_size=5, sampler=one)))
    with pytest.raises(InvalidValue, match=r"sampler\.track\(loader\), or give used="):
        one.state_dict()
    assert one.state_dict(used=5)["used"] == 5
    with pytest.raises(InvalidValue, match="from 0 to 20"):
        one.state_dict(used=21)
    with pytest.raises(InvalidValue, match="used must be an integer"):
        one.state_dict(used=2.5)  # type: ignore[arg-type]


def test_state_of_another_dataset_or_order_is_rejected() -> None:
    state = sampler(Numbers([20, 5])).state_dict()
    for other in (
        sampler(Numbers([5, 20])),
        sampler(Numbers([20, 5]), seed=1),
        sampler(Numbers([20, 5]), block_size=5),
        sampler(Numbers([20, 5]), mixed_blocks=1),
        sampler(Numbers([20, 5]), shuffle=False),
    ):
        with pytest.raises(InvalidValue, match="another dataset or order"):
            other.load_state_dict(state)


@pytest.mark.parametrize("wrong", [{}, {"epoch": 1}, 7, []], ids=str)
def test_invalid_state_is_rejected(wrong: Any) -> None:  # noqa: ANN401 -- anything
    with pytest.raises(InvalidValue, match="state"):
        sampler(Numbers([20])).load_state_dict(wrong)


def test_state_of_a_missing_rank_is_refused() -> None:
    state = sampler(Numbers([20]), rank=1, world_size=2).state_dict()
    for wrong in ({"rank": 2}, {"world_size": 0}, {"used": 1.5}):
        with pytest.raises(InvalidValue, match=next(iter(wrong))):
            sampler(Numbers([20])).load_state_dict(state | wrong)


def test_integers_of_every_type_are_taken() -> None:
    numbers = Numbers([100])
    one = sampler(numbers, seed=np.uint64(2**64 - 1), block_size=torch.tensor(8), rank=np.int8(0))
    assert json.loads(json.dumps(one.state_dict()))["seed"] == 2**64 - 1
    assert [*one] == [*sampler(numbers, seed=2**64 - 1, block_size=8)]


def test_incomplete_or_inconsistent_rank_states_are_rejected() -> None:
    numbers = Numbers([20])
    states = [sampler(numbers, rank=rank, world_size=3).state_dict() for rank in range(3)]
    with pytest.raises(InvalidValue, match="one of each of the 3 ranks"):
        sampler(numbers).load_state_dict(states[:2])
    with pytest.raises(InvalidValue, match="one of each of the 3 ranks"):
        sampler(numbers).load_state_dict([*states, states[0]])
    with pytest.raises(InvalidValue, match="of one moment"):
        sampler(numbers).load_state_dict([*states[:2], states[2] | {"epoch": 2}])


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": -1},
        {"block_size": 0},
        {"mixed_blocks": 0},
        {"rank": 2, "world_size": 2},
        {"world_size": 0},
        {"rank": 0.5, "world_size": 2},
        {"seed": True},
        {"seed": 2**64},
    ],
    ids=str,
)
def test_setting_out_of_range_is_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(settings))):
        sampler(Numbers([20]), **settings)


def test_every_frame_of_a_dataset_is_delivered_once_per_epoch(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    one = BlockSampler(dataset, block_size=4, mixed_blocks=2)
    loader = DataLoader(dataset, batch_size=5, sampler=one)
    names = [name for batch in one.track(loader) for name in identities(batch)]
    assert sorted(names) == sorted(all_frames())
    assert names != all_frames()
    assert len(names) == 3 * FRAMES


class MeteredStore(WrappingStore):
    """A store that adds up the bytes of the ranges that it is asked for."""

    size_bytes = 0

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        self.size_bytes += length
        return super().get_range(key, start=start, length=length)


def test_batches_of_whole_blocks_fetch_each_frame_once(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (256, 128, 256, 3), np.uint8)  # 40 kB each as a JPEG
    written = FrameCache(tmp_path).timeline("t")
    written.write([Frame(n, 0, n / 25, one) for n, one in enumerate(noise)], layout="packs")
    stored = sum(map(len, written.jpegs(range(len(noise)))))
    store = MeteredStore(FrameCache(tmp_path).store)
    dataset = FrameDataset(Timeline(store, "t"))
    assert len(dataset) == len(noise)

    def fetched(one: BlockSampler) -> int:
        store.size_bytes = 0
        for batch in one.track(DataLoader(dataset, batch_size=32, sampler=one)):
            assert len(batch["image"]) == 32
        return store.size_bytes

    assert stored <= fetched(BlockSampler(dataset, seed=3)) <= 1.1 * stored
    assert fetched(BlockSampler(dataset, seed=3, block_size=16, mixed_blocks=8)) > 1.5 * stored
