"""Cached snapshot of a timeline that a program reads, and the rules for reloading it."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.threads import RequestThreads, result_of
from framecache._core.times import Seconds, format_given_time, parse_time
from framecache._index import (
    FrameRow,
    Snapshot,
    is_current,
    load_snapshot,
    missing_segments,
)
from framecache._index.access_log import touch
from framecache._read import (
    FrameSource,
    as_sequences,
    find_displayed_position,
    open_timeline_cache,
)
from framecache._read.disk_cache import DiskCache
from framecache._read.info import describe_extent
from framecache._read.selection import MissingFrame, Selection, find_missing
from framecache.errors import FrameCacheError, NotCached, TimelineCleared
from framecache.model import Missing
from framecache.store import Store, is_remote

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Lookup:
    """Latest snapshot of a timeline at some time, and when it was looked up."""

    source: FrameSource
    started_at: float
    """Seconds of this process's monotonic clock."""
    ended_at: float
    generation: object
    """Value of `SnapshotCache` when the lookup started; another one after an invalidation."""


class SnapshotCache:
    """The latest known snapshot of a timeline, for the library and the service.

    Safe to share between threads. It has no lock, which a forked process might inherit locked.
    """

    def __init__(self, store: Store, timeline_id: str, disk_cache: DiskCache | None) -> None:
        """Start without a snapshot; no request is made.

        Args:
            store: store that holds the timeline.
            timeline_id: id of the timeline.
            disk_cache: disk cache for fetched frames; None: no disk cache.
        """
        self._store = store
        self._timeline_id = timeline_id
        self._disk_cache = disk_cache
        self._held: Lookup | None = None
        self._generation: object = None

    @property
    def store(self) -> Store:
        """Store that holds the timeline."""
        return self._store

    @property
    def timeline_id(self) -> str:
        """Id of the timeline."""
        return self._timeline_id

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the snapshot, so that another process loads its own."""
        return vars(self) | {"_held": None, "_generation": None}

    @property
    def last_lookup(self) -> Lookup | None:
        """The latest lookup that started after the last invalidation; None: there was none."""
        held = self._held
        return held if held is not None and held.generation is self._generation else None

    def invalidate(self) -> None:
        """Drop the snapshot, and any that is being looked up, so that the next read loads it."""
        self._generation = object()
        self._held = None

    def reload(self) -> Snapshot:
        """Load and return the current snapshot."""
        return self._look_up(None).snapshot

    def source(self) -> FrameSource:
        """Return the cached snapshot's frame source; load the snapshot if none is cached."""
        held = self.last_lookup
        return self._look_up(None) if held is None else held.source

    def latest_source(self) -> FrameSource:
        """Return a source of the latest snapshot.

        The cached snapshot is used if it is complete and still current, which takes two requests
        to check; otherwise it is loaded again.
        """
        held = self.last_lookup
        return self._look_up(None if held is None else held.source)

    def _look_up(self, known: FrameSource | None) -> FrameSource:
        """Return the latest source, which may be the known one, and hold it."""
        generation, started_at = self._generation, time.monotonic()
        source = known if known is not None and self._is_latest(known) else self._load_source()
        held = self.last_lookup
        # A lookup that started later is more recent, and an invalidation may be later than both.
        is_newest = held is None or held.started_at <= started_at
        if is_newest and generation is self._generation:
            self._held = Lookup(source, started_at, time.monotonic(), generation)
        return source

    def _is_latest(self, source: FrameSource) -> bool:
        manifest = source.snapshot.manifest
        if manifest is None or not source.snapshot.is_complete:
            return False
        return is_current(self._store, manifest)

    def _load_source(self) -> FrameSource:
        return self.open_source(load_snapshot(self._store, self._timeline_id))

    def open_source(self, snapshot: Snapshot) -> FrameSource:
        """Return a source of the frames of a snapshot, which the cache does not hold."""
        local = open_timeline_cache(self._disk_cache, self._store, snapshot)
        return FrameSource(self._store, snapshot, local)

    def read_latest(self, read: Callable[[FrameSource], Iterator[Item]]) -> Iterator[Item]:
        """Yield what ``read`` yields for the latest snapshot, and record the timeline's use."""
        held = self.last_lookup
        if held is None or not is_remote(self._store):
            latest = self.latest_source()
            return self.track_results(latest, read(latest))
        return self._read_if_unchanged(held.source, read, read(held.source))

    def _read_if_unchanged(
        self,
        cached: FrameSource,
        read: Callable[[FrameSource], Iterator[Item]],
        results: Iterator[Item],
    ) -> Iterator[Item]:
        """Read from the cached snapshot while a thread checks that it is still the latest.

        Nothing is yielded before the check has ended.
        """
        first: list[Item] = []
        failure: FrameCacheError | None = None
        with RequestThreads(1, name="framecache-look") as pool:
            looking = pool.submit(self.latest_source)
            try:
                first += islice(results, 1)
            except FrameCacheError as error:
                failure = error
            latest = result_of(looking)
        if latest is not cached:
            del results  # closes the generator, which stops its prefetching
            yield from self.track_results(latest, read(latest))
            return
        if failure is not None:
            with self.track_read(cached):
                raise failure
        yield from self.track_results(cached, chain(first, results))

    @contextmanager
    def track_read(self, source: FrameSource) -> Iterator[None]:
        """Record the timeline's use; on `TimelineCleared`, drop the cached snapshot."""
        try:
            yield
        except TimelineCleared:
            self.invalidate()
            raise
        # After reading, so that nothing is stored for a timeline that was deleted.
        touch(self._store, source.snapshot.manifest)

    def track_results(self, source: FrameSource, results: Iterator[Item]) -> Generator[Item]:
        """Yield ``results``, and record the timeline's use."""
        with self.track_read(source):
            for result in results:
                touch(self._store, source.snapshot.manifest)
                yield result

    def find_row(self, sequence: int) -> tuple[FrameSource, FrameRow]:
        """Return the source and the row of a sequence: see :meth:`find_positions`."""
        wanted = keys.check_sequence(sequence)
        held = self.last_lookup
        source = self._look_up(None) if held is None else held.source
        position = source.snapshot.index.position(wanted)
        if position is None and held is not None:
            source = self.latest_source()
            position = source.snapshot.index.position(wanted)
        if position is None:
            raise self.not_cached(source, wanted)
        row = source.snapshot.index.row(position)
        if row.status == "undecodable":
            raise source.undecodable_error(row)
        return source, row

    def select(self, source: FrameSource, selection: Selection) -> npt.NDArray[np.int64]:
        """Return the row positions of a selection, in reading order.

        Raises:
            NotCached: the selection raises on missing frames, and one is not cached.
            UndecodableFrame: the same, and a frame has no picture.
        """
        snapshot = source.snapshot
        if selection.missing == "raise":
            uncached = list(missing_segments(snapshot))
            for wanted in selection.ranges:
                self.require_present(source, find_missing(snapshot.index, wanted, uncached))
        return selection.positions(snapshot.index)

    def require_present(self, source: FrameSource, missing: MissingFrame | None) -> None:
        """Raise the error of a frame that has no picture, if one is given."""
        if missing is None:
            return
        if missing.position is None:
            raise self.not_cached(source, missing.sequence)
        raise source.undecodable_error(source.snapshot.index.row(missing.position))

    def find_positions(
        self, sequences: Iterable[int], missing: Missing = "raise"
    ) -> tuple[FrameSource, npt.NDArray[np.int64]]:
        """Return the source and the row positions of sequences.

        If a sequence is not in the cached snapshot, the latest one is searched too. With
        ``"skip"``, sequences without a picture are left out.

        Raises:
            NotCached: the timeline has no such frame.
            UndecodableFrame: a frame has no picture.
        """
        wanted = as_sequences(sequences)
        was_known = self.last_lookup is not None
        source = self.source()
        positions = source.snapshot.index.positions(wanted)
        if was_known and (positions < 0).any():
            source = self.latest_source()
            positions = source.snapshot.index.positions(wanted)
        if missing == "skip":
            positions = positions[positions >= 0]
            return source, positions[source.snapshot.index.is_ok[positions]]
        if len(unknown := wanted[positions < 0]):
            raise self.not_cached(source, int(unknown[0]))
        self._require_pictures(source, positions)
        return source, positions

    def find_position_at(
        self, seconds: Seconds, *, tolerance_seconds: Seconds | None = None
    ) -> tuple[FrameSource, int]:
        """Return the source and the row position of the frame shown at a time.

        If the cached snapshot shows no frame at that time, the latest one is searched too.

        Raises:
            NotCached: the timeline shows no frame at that time.
            UndecodableFrame: the frame has no picture.
        """
        time = parse_time(seconds, tolerance_seconds=tolerance_seconds)
        was_known = self.last_lookup is not None
        source = self.source()
        position = find_displayed_position(source.snapshot, time)
        if position is None and was_known:
            source = self.latest_source()
            position = find_displayed_position(source.snapshot, time)
        if position is None:
            raise NotCached(
                f"timeline {self._timeline_id} in {self._store.display_name} shows no cached frame "
                f"at {format_given_time(seconds)}: {describe_extent(source.snapshot)}"
            )
        self._require_pictures(source, np.array([position]))
        return source, position

    def _require_pictures(self, source: FrameSource, positions: npt.NDArray[np.int64]) -> None:
        index = source.snapshot.index
        lacking = positions[~index.is_ok[positions]]
        if len(lacking):
            raise source.undecodable_error(index.row(int(lacking[0])))

    def not_cached(self, source: FrameSource, sequence: int) -> NotCached:
        """Return the error of a frame that a source does not have."""
        return NotCached(
            f"timeline {self._timeline_id} in {self._store.display_name} has no frame "
            f"{sequence}: {describe_extent(source.snapshot)}"
        )
