"""Sampler whose position in an epoch can be saved and resumed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch.utils.data import Sampler

from framecache import InvalidValue
from framecache._core.numeric import require_int
from framecache.torch.order import BlockOrder, Segment, cut, hashed, split

_FORMAT: Final = 1
_SEED_LIMIT: Final = 2**64
"""Exclusive upper bound of seeds; PyTorch's own are of 64 bits."""
_ORDER: Final = ("format", "seed", "shuffle", "block_size", "mixed_blocks", "items")
"""Parts of a state that must be those of the sampler which loads it."""

State = dict[str, Any]
"""Position in an epoch: a dict of numbers, strings and lists, which JSON and `torch.save` take."""


class SizedDataset(Protocol):
    """Dataset of this package."""

    @property
    def timeline_ids(self) -> list[str]:
        """Id of each timeline."""
        ...

    @property
    def timeline_sizes(self) -> list[int]:
        """Number of items of each timeline."""
        ...


class BlockSampler(Sampler[int]):  # type: ignore[misc]
    """Order of a dataset's items: shuffled in blocks, divided among ranks, saved and resumed.

    Blocks of successive items are shuffled, and then the items of each ``mixed_blocks`` blocks
    among themselves. A batch thus mixes several places of the dataset, and still reads neighboring
    frames together, which is much faster over a network than frames from everywhere. Batches of
    ``block_size * mixed_blocks`` items, 32 by default, or a multiple of that take whole blocks, so
    that almost nothing is fetched twice.

    Pass it to a loader as ``sampler=``, and take the batches from :meth:`track`::

        sampler = BlockSampler(dataset, seed=7)
        loader = DataLoader(dataset, batch_size=32, sampler=sampler, num_workers=8)
        for epoch in range(sampler.epoch, 10):
            sampler.set_epoch(epoch)
            for batch in sampler.track(loader):
                ...                                   # train
                checkpoint["sampler"] = sampler.state_dict()

    In layout ``video``, choose blocks of at least two keyframe intervals, and batches of
    ``block_size * mixed_blocks`` items or a multiple: then few pictures are decoded twice.

    Each item of an epoch is in the batch of exactly one rank, once. That also holds if the epoch is
    resumed from a state with another number of workers, ranks or items in a batch: workers may
    have read further, but only items of batches that :meth:`track` has yielded count as used.
    """

    def __init__(
        self,
        dataset: SizedDataset,
        *,
        seed: int = 0,
        shuffle: bool = True,
        block_size: int = 8,
        mixed_blocks: int = 4,
        rank: int | None = None,
        world_size: int | None = None,
        drop_uneven: bool = False,
    ) -> None:
        """Divide the dataset; opens it.

        Args:
            dataset: a `FrameDataset` or a `ClipDataset`.
            seed: with the epoch, determines the order.
            shuffle: False: the order of the dataset.
            block_size: successive items of a timeline that stay near each other. 1: a shuffle of
                all items.
            mixed_blocks: blocks whose items are shuffled among themselves.
            rank: number of this process among those that train together, from 0. None: that of
                `torch.distributed`, or 0 if it is not initialized.
            world_size: number of these processes. None: that of
                `torch.distributed`, or 1.
            drop_uneven: True: every rank gets the same number of items, so that an epoch leaves out
                up to ``world_size - 1`` of them. False: some ranks get one item more.

        Raises:
            InvalidValue: a number is out of its range.
        """
        self._sizes = dataset.timeline_sizes
        self._items = _fingerprint(dataset.timeline_ids, self._sizes)
        self._seed = require_int(seed, what="seed", below=_SEED_LIMIT)
        self._shuffle = bool(shuffle)
        self._block_size = require_int(block_size, what="block_size", minimum=1)
        self._mixed_blocks = require_int(mixed_blocks, what="mixed_blocks", minimum=1)
        self._world_size = require_int(_world_size(world_size), what="world_size", minimum=1)
        self._rank = require_int(_rank(rank), what="rank")
        if self._rank >= self._world_size:
            raise InvalidValue(
                f"rank must be less than world_size, {self._world_size}, not {self._rank}"
            )
        self._drop_uneven = bool(drop_uneven)
        self._epoch = 0
        self._stages: list[list[int]] = []
        """Items that each rank used of its share, for each run of this epoch before this one."""
        self._used = 0
        """Items of this rank that were used, as if it had enough for whole batches.

        It thus also holds for a rank with an item more that has used as many batches.
        """
        self._is_tracked = False
        self._has_untracked_reads = False

    @property
    def epoch(self) -> int:
        """Number of the epoch, from 0."""
        return self._epoch

    def __len__(self) -> int:
        """Return the number of items that this rank has left in this epoch."""
        return max(0, self._share_size() - self._used)

    def __iter__(self) -> Iterator[int]:
        """Yield the items that this rank has left in this epoch."""
        if not self._is_tracked:
            self._has_untracked_reads = True
        order = self._order()
        for segment in cut(self._share(), self._used, self._share_size()):
            yield from order.items(segment)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch. The epoch that this sampler is in continues where it was."""
        wanted = require_int(epoch, what="epoch")
        if wanted != self._epoch:
            self._begin(wanted)

    def track(self, loader: "torch.utils.data.DataLoader[Any]") -> Iterator[Any]:
        """Yield the batches that the loader has left in this epoch, and count their items as used.

        A batch counts from the moment it is yielded. After the last one the next epoch begins.

        Args:
            loader: a loader with this sampler.

        Raises:
            InvalidValue: the loader has another sampler, or does not keep its order.
        """
        size = self._batch_size(loader)
        self._is_tracked, self._has_untracked_reads = True, False
        try:
            for batch in loader:
                self._used += size
                yield batch
        finally:
            self._is_tracked = False
        self._begin(self._epoch + 1)

    def state_dict(self, *, used: int | None = None) -> State:
        """Return the position in this epoch.

        Args:
            used: number of items that this rank has used since the epoch began or was resumed.
                None: those that :meth:`track` yielded.

        Raises:
            InvalidValue: the loader was not read through :meth:`track`, so that only the caller
                knows how much of what it has read ahead was used.
        """
        if used is None and self._has_untracked_reads:
            raise InvalidValue(
                "the sampler does not know how many of its items were used, because loaders read "
                "ahead: iterate over sampler.track(loader), or give used="
            )
        if used is not None and not 0 <= require_int(used, what="used") <= self._share_size():
            raise InvalidValue(
                f"used must be from 0 to {self._share_size()}, the items of this rank, not {used!r}"
            )
        return {
            **self._shared_state(),
            "stages": [list(stage) for stage in self._stages],
            "world_size": self._world_size,
            "rank": self._rank,
            "used": self._used if used is None else int(used),
        }

    def load_state_dict(self, state: State | Sequence[State]) -> None:
        """Continue an epoch after the items that were used, with any number of ranks.

        Args:
            state: the state of one rank, if all had used equally many batches when it was saved;
                else the states of all ranks, in any order.

        Raises:
            InvalidValue: a state is of another dataset or order, or is not a state; or the states
                are not those of all ranks at one time.
        """
        states = self._checked(state)
        self._begin(min(one["epoch"] for one in states))
        current = [one for one in states if one["epoch"] == self._epoch]
        stages, world_size = current[0]["stages"], current[0]["world_size"]
        self._stages = [list(stage) for stage in stages]
        shares = [_size(share) for share in split(self._left(), world_size)]
        if len(states) == 1:
            used = [states[0]["used"]] * world_size
        else:
            # A rank that has begun the next epoch has used its whole share of this one.
            by_rank = {one["rank"]: one["used"] for one in current}
            used = [by_rank.get(rank, shares[rank]) for rank in range(world_size)]
        counts = [min(one, share) for one, share in zip(used, shares, strict=True)]
        self._stages += [counts] if any(counts) else []
        if not self._left():
            self._begin(self._epoch + 1)

    def _checked(self, state: State | Sequence[State]) -> list[State]:
        """Return the states of one rank or of all, each of this dataset and order."""
        try:
            states = [state] if isinstance(state, Mapping) else [*state]
            for one in states:
                self._check(one)
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidValue(
                f"this is not a state of a BlockSampler ({error!r}): give what state_dict returned"
            ) from error
        if not states:
            raise InvalidValue("no state was given: give that of one rank, or those of all")
        ranks, world_size = sorted(one["rank"] for one in states), states[0]["world_size"]
        if len(states) > 1 and ranks != [*range(world_size)]:
            raise InvalidValue(
                f"states of the ranks {ranks} were given: give that of one rank, or one of each of "
                f"the {world_size} ranks"
            )
        current = min(states, key=lambda one: int(one["epoch"]))
        shared = {name: current[name] for name in ("epoch", "stages", "world_size")}
        begun = {**shared, "epoch": current["epoch"] + 1, "stages": [], "used": 0}
        if not all(_has(one, shared) or _has(one, begun) for one in states):
            raise InvalidValue("the states are not of one moment: save those of all ranks together")
        return states

    def _check(self, state: State) -> None:
        expected = self._shared_state()
        for name in _ORDER:
            if state[name] != expected[name]:
                raise InvalidValue(
                    f"the state is of another dataset or order: its {name} is {state[name]!r}, "
                    f"not {expected[name]!r}"
                )
        for name in ("epoch", "used"):
            require_int(state[name], what=name)
        world_size = require_int(state["world_size"], what="world_size", minimum=1)
        require_int(state["rank"], what="rank", below=world_size)
        for stage in state["stages"]:
            for count in stage:
                require_int(count, what="stages")

    def _shared_state(self) -> State:
        return {
            "format": _FORMAT,
            "seed": self._seed,
            "epoch": self._epoch,
            "shuffle": self._shuffle,
            "block_size": self._block_size,
            "mixed_blocks": self._mixed_blocks,
            "items": self._items,
        }

    def _begin(self, epoch: int) -> None:
        self._epoch, self._stages, self._used = epoch, [], 0
        self._has_untracked_reads = False

    def _order(self) -> BlockOrder:
        return BlockOrder(
            self._sizes,
            block_size=self._block_size,
            mixed_blocks=self._mixed_blocks,
            key=hashed(self._seed, self._epoch) if self._shuffle else None,
        )

    def _left(self) -> list[Segment]:
        """Return the places of the order that were not used before this run."""
        segments = [(0, sum(self._sizes))]
        for counts in self._stages:
            shares = split(segments, len(counts))
            segments = [
                segment
                for share, count in zip(shares, counts, strict=True)
                for segment in cut(share, count, _size(share))
            ]
        return segments

    def _share(self) -> list[Segment]:
        """Return the places of this rank in this run."""
        return split(self._left(), self._world_size)[self._rank]

    def _share_size(self) -> int:
        if self._drop_uneven:
            return _size(self._left()) // self._world_size
        return _size(self._share())

    def _batch_size(self, loader: "torch.utils.data.DataLoader[Any]") -> int:
        batches = loader.batch_sampler
        if (loader.sampler if batches is None else getattr(batches, "sampler", None)) is not self:
            raise InvalidValue("the loader has another sampler: create it with sampler= this one")
        if not loader.in_order:
            raise InvalidValue(
                "the loader may yield batches out of order, so that their number does not show "
                "which items were used: create it with in_order=True"
            )
        if batches is None:
            return 1
        size = getattr(batches, "batch_size", None)
        if not isinstance(size, int):
            raise InvalidValue(
                f"the size of the batches of a {type(batches).__name__} is not known: give the "
                "loader a batch_size"
            )
        return size


def _has(state: State, wanted: State) -> bool:
    return all(state[name] == value for name, value in wanted.items())


def _size(segments: Sequence[Segment]) -> int:
    return sum(end - begin for begin, end in segments)


def _fingerprint(timeline_ids: Sequence[str], sizes: Sequence[int]) -> str:
    """Return a string that differs between datasets of different items."""
    digest = hashlib.sha256()
    for timeline_id, size in zip(timeline_ids, sizes, strict=True):
        digest.update(f"{timeline_id}\n{size}\n".encode())
    return f"{sum(sizes)} items of {len(sizes)} timelines, {digest.hexdigest()[:16]}"


def _rank(given: int | None) -> int:
    if given is not None:
        return given
    return int(torch.distributed.get_rank()) if _is_distributed() else 0


def _world_size(given: int | None) -> int:
    if given is not None:
        return given
    return int(torch.distributed.get_world_size()) if _is_distributed() else 1


def _is_distributed() -> bool:
    return bool(torch.distributed.is_available() and torch.distributed.is_initialized())
