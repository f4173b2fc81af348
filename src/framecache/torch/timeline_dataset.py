"""Base of the datasets: their length, single items and the timelines behind them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import index as as_integer
from typing import Generic, SupportsIndex

import numpy as np
from torch.utils.data import Dataset

from framecache.torch.images import ImageOptions
from framecache.torch.opened_timelines import Integers, ItemsT, LazyTimelines, OpenedTimelines
from framecache.torch.samples import FrameSample, Target, Transform


class TimelineDataset(Dataset[FrameSample], ABC, Generic[ItemsT]):  # type: ignore[misc]
    """Items of several timelines, numbered through."""

    def __init__(
        self,
        timelines: LazyTimelines[ItemsT],
        *,
        options: ImageOptions,
        transform: Transform | None,
        target: Target | None,
    ) -> None:
        """Record what to read; no request is made."""
        self._timelines = timelines
        self._options = options
        self._transform = transform
        self._target = target

    def __len__(self) -> int:
        """Return the number of items; opens the dataset."""
        return len(self._opened)

    def __getitem__(self, number: SupportsIndex) -> FrameSample:
        """Return one item.

        Raises:
            IndexError: there is no such item.
        """
        return self.__getitems__([number])[0]

    @abstractmethod
    def __getitems__(self, numbers: Sequence[SupportsIndex]) -> list[FrameSample]:
        """Return several items, read by one call; a loader calls it with the numbers of a batch."""

    @property
    def timeline_ids(self) -> list[str]:
        """Id of each timeline, in the order of the items; opens the dataset."""
        return [one.timeline.timeline_id for one in self._opened.timelines]

    @property
    def timeline_sizes(self) -> list[int]:
        """Number of items of each timeline, in the order of the items; opens the dataset."""
        sizes: list[int] = self._opened.sizes.tolist()
        return sizes

    @property
    def _opened(self) -> OpenedTimelines[ItemsT]:
        return self._timelines.opened()


def as_numbers(numbers: Sequence[SupportsIndex], count: int) -> Integers:
    """Return the numbers of items, counted from 0; negative ones are counted from the end.

    Raises:
        IndexError: there is no such item.
    """
    given = np.array([as_integer(number) for number in numbers], np.int64)
    wrong = (given < -count) | (given >= count)
    if wrong.any():
        raise IndexError(f"the dataset has {count} items: there is no item {given[wrong][0]}")
    return np.where(given < 0, given + count, given)
