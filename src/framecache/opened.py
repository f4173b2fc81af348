"""What a program knows of a timeline that it reads, and when it looks again."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from framecache.errors import Cleared, FrameCacheError, NotCached, UndecodableFrame
from framecache.index import FrameRow, Index, Snapshot, find, is_current
from framecache.info import extent
from framecache.instants import Seconds, instant, told
from framecache.reader import (
    FrameSource,
    as_sequences,
    local_frames,
    position_on_screen,
)
from framecache.store import Store, is_remote
from framecache.tier import FrameTier
from framecache.usage import note_use

Item = TypeVar("Item")


class Opened:
    """A timeline as it was when it was last looked at. Safe to share between threads."""

    def __init__(self, store: Store, timeline_id: str, tier: FrameTier | None) -> None:
        """Know nothing yet; no request is made.

        Args:
            store: where the timeline lies.
            timeline_id: which it is.
            tier: where fetched frames are kept on local disk; None: nowhere.
        """
        self._store = store
        self._timeline_id = timeline_id
        self._tier = tier
        self._known: FrameSource | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Another process looks for itself."""
        return vars(self) | {"_known": None}

    @property
    def is_open(self) -> bool:
        """Whether anything is known of it."""
        return self._known is not None

    def forget(self) -> None:
        """Look again next time."""
        self._known = None

    def look_up(self) -> Snapshot:
        """The timeline as it is now."""
        return self._looked_up().snapshot

    def _looked_up(self) -> FrameSource:
        snapshot = find(self._store, self._timeline_id)
        local = local_frames(self._tier, self._store, snapshot)
        source = FrameSource(self._store, snapshot, local)
        self._known = source
        return source

    def source(self) -> FrameSource:
        """What is known of it; what is there when nothing is."""
        return self._known or self._looked_up()

    def latest_source(self) -> FrameSource:
        """What is known if it is complete and still the latest: two requests tell."""
        known = self._known
        if known is None or not known.snapshot.is_complete:
            return self._looked_up()
        description = known.snapshot.description
        if description is None or not is_current(self._store, description):
            return self._looked_up()
        return known

    def each_of_latest(self, read: Callable[[FrameSource], Iterator[Item]]) -> Iterator[Item]:
        """What a reader gives of the timeline as it is now, with its use noted."""
        known = self._known
        if known is None or not is_remote(self._store):
            latest = self.latest_source()
            return self.each(latest, read(latest))
        return self._each_unless_changed(known, read, read(known))

    def _each_unless_changed(
        self,
        known: FrameSource,
        read: Callable[[FrameSource], Iterator[Item]],
        results: Iterator[Item],
    ) -> Iterator[Item]:
        """Begin with what is known while it is asked whether that is still the latest."""
        first: list[Item] = []
        failure: FrameCacheError | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="framecache-look") as pool:
            looking = pool.submit(self.latest_source)
            try:
                first += islice(results, 1)
            except FrameCacheError as error:
                failure = error
            latest = looking.result()
        if latest is not known:
            del results  # which ends what it has begun
            yield from self.each(latest, read(latest))
            return
        if failure is not None:
            with self.reading(known):
                raise failure
        yield from self.each(known, chain(first, results))

    @contextmanager
    def reading(self, source: FrameSource) -> Iterator[None]:
        """Note the use; look again next time when it turns out to be no longer the known one."""
        try:
            yield
        except Cleared:
            self._known = None
            raise
        # Afterwards, so that nothing is stored beside what was deleted.
        note_use(self._store, source.snapshot.description)

    def each(self, source: FrameSource, results: Iterator[Item]) -> Iterator[Item]:
        """What a reader gives, with its use noted."""
        with self.reading(source):
            for result in results:
                note_use(self._store, source.snapshot.description)
                yield result

    def find(self, sequence: int) -> tuple[FrameSource, FrameRow]:
        """The row of a sequence: see :meth:`find_all`."""
        source, positions = self.find_all([sequence])
        return source, source.snapshot.index.row(int(positions[0]))

    def find_all(self, sequences: Iterable[int]) -> tuple[FrameSource, npt.NDArray[np.int64]]:
        """The rows of sequences that have a picture; looks again once when one is unknown.

        Raises:
            NotCached: the timeline has no such frame; UndecodableFrame: it has no picture.
        """
        wanted = as_sequences(sequences)
        was_known = self.is_open
        source = self.source()
        positions = source.snapshot.index.positions(wanted)
        if was_known and (positions < 0).any():
            source = self.latest_source()
            positions = source.snapshot.index.positions(wanted)
        if len(unknown := wanted[positions < 0]):
            raise NotCached(
                f"timeline {self._timeline_id} in {self._store.url} has no frame {unknown[0]}: "
                f"{extent(source.snapshot)}"
            )
        self._require_pictures(source.snapshot.index, positions)
        return source, positions

    def find_at(
        self, seconds: Seconds, *, tolerance_seconds: Seconds | None = None
    ) -> tuple[FrameSource, int]:
        """The row of the frame on screen at a time; looks again once when none is known.

        Raises:
            NotCached: the timeline shows nothing then; UndecodableFrame: it has no picture.
        """
        time = instant(seconds, tolerance_seconds=tolerance_seconds)
        was_known = self.is_open
        source = self.source()
        position = position_on_screen(source.snapshot, time)
        if position is None and was_known:
            source = self.latest_source()
            position = position_on_screen(source.snapshot, time)
        if position is None:
            raise NotCached(
                f"timeline {self._timeline_id} in {self._store.url} shows no cached frame at "
                f"{told(seconds)}: {extent(source.snapshot)}"
            )
        self._require_pictures(source.snapshot.index, np.array([position]))
        return source, position

    def _require_pictures(self, index: Index, positions: npt.NDArray[np.int64]) -> None:
        lacking = positions[~index.is_ok[positions]]
        if len(lacking):
            row = index.row(int(lacking[0]))
            raise UndecodableFrame(
                f"frame {row.sequence} of timeline {self._timeline_id} has no picture "
                f"({row.reason}): skip it, or repair the video and rebuild"
            )
