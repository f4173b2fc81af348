"""Order in which a sampler goes through the items of a dataset. Pure: arrays in, arrays out."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

Segment = tuple[int, int]
"""Half-open range of places in an order."""

_INCREMENT: Final = 0x9E3779B97F4A7C15
_FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD: Final = 2**64


class BlockOrder:
    """Order of the items of several timelines, of which any part is computed on its own.

    The items of each timeline are cut into blocks of successive items. The blocks are shuffled,
    and then the items of each few blocks among themselves. The order is the same in every process
    and with every version of NumPy.
    """

    def __init__(
        self, sizes: Sequence[int], *, block_size: int, mixed_blocks: int, key: int | None
    ) -> None:
        """Shuffle the blocks.

        Args:
            sizes: number of items of each timeline.
            block_size: items of a block; the last one of a timeline may have fewer.
            mixed_blocks: number of blocks whose items are shuffled among themselves.
            key: determines the order; None: the order of the dataset.
        """
        starts, lengths = _cut(np.asarray(sizes, np.int64), block_size)
        if key is not None:
            permutation = _shuffled(len(starts), key)
            starts, lengths = starts[permutation], lengths[permutation]
        self._starts, self._lengths = starts, lengths
        self._key = key
        self._mixed_blocks = mixed_blocks
        mixes = np.arange(0, len(starts), mixed_blocks)
        self._ends = np.cumsum(np.add.reduceat(lengths, mixes)) if len(mixes) else mixes

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def items(self, segment: Segment) -> Iterator[int]:
        """Yield the items at a range of places."""
        begin, end = segment
        mix = int(np.searchsorted(self._ends, begin, side="right"))
        while begin < end:
            first = int(self._ends[mix - 1]) if mix else 0
            last = min(end, int(self._ends[mix]))
            yield from self._mixed(mix)[begin - first : last - first].tolist()
            begin, mix = last, mix + 1

    def _mixed(self, mix: int) -> Integers:
        """Return the items of the blocks that are shuffled among themselves."""
        blocks = slice(mix * self._mixed_blocks, (mix + 1) * self._mixed_blocks)
        pairs = zip(self._starts[blocks].tolist(), self._lengths[blocks].tolist(), strict=True)
        items = np.concatenate([np.arange(start, start + length) for start, length in pairs])
        if self._key is None:
            return items
        return items[_shuffled(len(items), hashed(self._key, mix + 1))]


def hashed(*numbers: int) -> int:
    """Return a 64-bit number that depends on all given ones."""
    result = 0
    for number in numbers:
        mixed = _mix(np.array([(result + number * _INCREMENT) % _WORD], np.uint64))
        result = int(mixed[0])
    return result


def split(segments: Sequence[Segment], parts: int) -> list[list[Segment]]:
    """Divide segments into parts of successive places, whose lengths differ by at most one."""
    total = sum(end - begin for begin, end in segments)
    return [
        cut(segments, part * total // parts, (part + 1) * total // parts) for part in range(parts)
    ]


def cut(segments: Sequence[Segment], start: int, stop: int) -> list[Segment]:
    """Return the part of segments from one place to another, counted through all of them."""
    found = []
    passed = 0
    for begin, end in segments:
        first, last = max(start - passed, 0), min(stop - passed, end - begin)
        if first < last:
            found.append((begin + first, begin + last))
        passed += end - begin
    return found


def _cut(sizes: Integers, block_size: int) -> tuple[Integers, Integers]:
    """Return the start and the length of each block."""
    counts = -(-sizes // block_size)
    first_item = np.repeat(np.cumsum(sizes) - sizes, counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = first_item + number * block_size
    ends = np.minimum(starts + block_size, np.repeat(np.cumsum(sizes), counts))
    return starts, ends - starts


def _shuffled(count: int, key: int) -> Integers:
    """Return a permutation that depends on the key.

    Not by `numpy.random`, whose sequences may change with its version: a saved position would then
    refer to another order.
    """
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    return np.argsort(_mix(np.uint64(key) + numbers * np.uint64(_INCREMENT)), kind="stable")


def _mix(values: Keys) -> Keys:
    """Return pseudo-random 64-bit numbers (the output function of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FACTORS[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return values ^ (values >> np.uint64(31))
