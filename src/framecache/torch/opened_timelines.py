"""Timelines of a dataset: opened at the first use, with a fixed number of items each."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from framecache import FrameCacheError, InvalidValue, NotCached, Timeline, TimelineCleared

_CONCURRENT_OPENINGS: Final = 16

Integers = npt.NDArray[np.int64]


class Items(Protocol):
    """Items of one timeline."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...


ItemsT = TypeVar("ItemsT", bound=Items)


@dataclass(frozen=True, slots=True)
class OpenedTimeline(Generic[ItemsT]):
    """Timeline of a dataset, with the items that were chosen when it was opened."""

    timeline: Timeline
    epoch: str | None
    """Epoch from which the items were chosen; None: another program stored the frames."""
    items: ItemsT

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Check before and after a read that the timeline has the epoch it was opened with.

        A process that opens a rebuilt timeline for the first time would otherwise return frames
        of the new epoch for sequences of the old one.

        Raises:
            TimelineCleared: the timeline was cleared, rebuilt or deleted since.
        """
        self._require_epoch()
        try:
            yield
        except TimelineCleared as error:
            raise self._cleared() from error
        except FrameCacheError:
            self._require_epoch()
            raise
        self._require_epoch()

    def _require_epoch(self) -> None:
        if _epoch_of(self.timeline) != self.epoch:
            raise self._cleared()

    def _cleared(self) -> TimelineCleared:
        return TimelineCleared(
            f"{self.timeline!r} was cleared, rebuilt or deleted since the dataset was opened: "
            "create the dataset again once the timeline is complete"
        )


@dataclass(frozen=True, slots=True)
class OpenedTimelines(Generic[ItemsT]):
    """All timelines of a dataset, and the numbers of their items."""

    timelines: Sequence[OpenedTimeline[ItemsT]]
    ends: Integers
    """Number of items up to the end of each timeline, ascending."""

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def sizes(self) -> Integers:
        """Number of items of each timeline."""
        return np.diff(self.ends, prepend=0)

    def locate(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Return the timeline of each item, and the item's number on that timeline."""
        timelines = np.searchsorted(self.ends, numbers, side="right")
        return timelines, numbers - np.concatenate([[0], self.ends])[timelines]


class LazyTimelines(Generic[ItemsT]):
    """Timelines that are opened together, at the first use, before a fork, or to be pickled.

    All processes of a loader thus number the items in the same way, even if a timeline grows.
    """

    def __init__(
        self,
        timelines: Timeline | Iterable[Timeline],
        choose: Callable[[Timeline], ItemsT],
        *,
        kind: str,
    ) -> None:
        """Record the timelines; no request is made.

        Args:
            timelines: one or more timelines.
            choose: opens a timeline and returns its items.
            kind: the plural of an item, for messages.
        """
        self._timelines = _as_timelines(timelines)
        self._choose = choose
        self._kind = kind
        self._opened: OpenedTimelines[ItemsT] | None = None
        _unopened.add(self)

    def __getstate__(self) -> dict[str, object]:
        """Open the timelines, so that other processes get the items of this one."""
        self.opened()
        return vars(self)

    def opened(self) -> OpenedTimelines[ItemsT]:
        """Return the timelines; open them at the first call, with three requests each.

        Raises:
            NotCached: a timeline has no cached frame.
            InvalidValue: no item was chosen from any of them.
        """
        if self._opened is None:
            self._opened = self._open_all()
            _unopened.discard(self)
        return self._opened

    def _open_all(self) -> OpenedTimelines[ItemsT]:
        if len(self._timelines) == 1:
            opened = [self._open(self._timelines[0])]
        else:
            threads = min(_CONCURRENT_OPENINGS, len(self._timelines))
            with ThreadPoolExecutor(threads, "framecache-open") as pool:
                opened = [*pool.map(self._open, self._timelines)]
        ends = np.cumsum([len(one.items) for one in opened], dtype=np.int64)
        if not ends[-1]:
            raise InvalidValue(
                f"the dataset has no {self._kind}: {self._timelines[0]!r} has frames, but none "
                "of them fits the arguments; give a wider range"
            )
        return OpenedTimelines(opened, ends)

    def _open(self, timeline: Timeline) -> OpenedTimeline[ItemsT]:
        items = self._choose(timeline)
        if not len(timeline):
            raise NotCached(
                f"{timeline!r} has no cached frame: extract it first, or leave it out of the "
                "dataset"
            )
        return OpenedTimeline(timeline, _epoch_of(timeline), items)


def _as_timelines(timelines: Timeline | Iterable[Timeline]) -> tuple[Timeline, ...]:
    given = (timelines,) if isinstance(timelines, Timeline) else tuple(timelines)
    if not given:
        raise InvalidValue("a dataset needs at least one timeline: none was given")
    for one in given:
        if not isinstance(one, Timeline):
            raise InvalidValue(
                f"timelines must be Timeline objects, not {type(one).__name__}: "
                "give cache.timeline(timeline_id)"
            )
    return given


def _epoch_of(timeline: Timeline) -> str | None:
    manifest = timeline.snapshot_cache.source().snapshot.manifest
    return None if manifest is None else manifest.epoch


_unopened: "WeakSet[LazyTimelines[Any]]" = WeakSet()
"""Timelines that a forked process would have to open itself."""


def _open_before_fork() -> None:
    for one in [*_unopened]:
        with suppress(FrameCacheError):  # the process that uses it raises it
            one.opened()


os.register_at_fork(before=_open_before_fork)
