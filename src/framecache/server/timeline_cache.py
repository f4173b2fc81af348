"""Cache of recently requested timelines, so that a frame takes one request to the store.

To look at a timeline is to check in the store for its current snapshot, and load it if it changed.
"""

import math
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import google_crc32c
from cachetools import LRUCache

from framecache._core.times import Instant
from framecache._index import Index, Snapshot, load_snapshot
from framecache._read import FrameSource, find_displayed_position
from framecache._sprites import Sprites
from framecache.cache import FrameCache
from framecache.errors import (
    FrameCacheError,
    NotCached,
    StorePermissionDenied,
    StoreUnavailable,
    TimelineCleared,
)
from framecache.server.settings import Limits
from framecache.server.work_limits import QueuedConcurrencyLimit, WorkLimits, current_client
from framecache.store import map_requests

_CONCURRENT_LOADS: Final = 16
_MAX_LOAD_WAITERS: Final = 15
"""Maximum of requests that wait for the first look at a timeline; a page makes several at once.

It is below the limit per client, so that a timeline whose look hangs does not block a client's
requests for others.
"""
_MAX_MEMOIZED: Final = 8

Result = TypeVar("Result")


class CachedTimeline:
    """One timeline as of the last look at the store. Safe to share between threads."""

    def __init__(
        self,
        cache: FrameCache,
        timeline_id: str,
        limits: Limits,
        work_limits: WorkLimits,
        *,
        on_load: Callable[[], None],
    ) -> None:
        """Create an empty entry; no request is made.

        Args:
            cache: cache that holds the timeline.
            timeline_id: id of the timeline.
            limits: limits of the service, among them the time until the next look.
            work_limits: concurrency limits that this timeline shares with all others.
            on_load: called after each look, which may have changed the number of rows.
        """
        self.timeline = cache.timeline(timeline_id)
        self._snapshot_cache = self.timeline.snapshot_cache
        self._limits = limits
        self._work_limits = work_limits
        self._on_load = on_load
        self._load_limit = QueuedConcurrencyLimit(
            "This timeline", max_concurrent=1, max_waiting=_MAX_LOAD_WAITERS
        )
        self._lock = threading.Lock()
        """Never held during a request to the store."""
        self._memo: LRUCache[tuple[str, str], object] = LRUCache(_MAX_MEMOIZED)

    @property
    def row_count(self) -> int:
        """Number of rows in the held index; 0 if none is held."""
        held = self._snapshot_cache.last_lookup
        return len(held.source.snapshot.index) if held is not None else 0

    def cached_source(self) -> FrameSource | None:
        """Return the held source, or None if it is too old; make no request."""
        held = self._snapshot_cache.last_lookup
        if held is None:
            return None
        max_age_seconds = max(
            self._limits.cache_ttl_seconds,
            self._limits.cache_ttl_load_factor * (held.ended_at - held.started_at),
        )
        return held.source if time.monotonic() < held.ended_at + max_age_seconds else None

    def source(self) -> FrameSource:
        """Return a source of the timeline.

        It is recent, or the last one known while another request looks at the timeline or too
        many look at others.

        Raises:
            ProblemError: too many requests wait for the first look at it, or look at others.
        """
        if (fresh := self.cached_source()) is not None:
            return fresh
        held = self._snapshot_cache.last_lookup
        if held is None:
            with self._work_limits.loads.slot(), self._load_limit.slot():
                return self.cached_source() or self.load()
        with (
            self._work_limits.loads.slot_if_free() as may_look,
            self._load_limit.slot_if_free() as is_free,
        ):
            if may_look and is_free:
                return self.cached_source() or self.load()
            return held.source

    def force_refresh(self) -> None:
        """Look at the timeline, unless another request does so after this was called.

        Raises:
            ProblemError: too many requests wait for a look at it, or look at others.
        """
        called_at = time.monotonic()
        gates = self._work_limits
        with gates.refreshes.slot(), gates.loads.slot(), self._load_limit.slot():
            held = self._snapshot_cache.last_lookup
            if held is None or held.started_at < called_at:
                self.load()

    def load(self) -> FrameSource:
        """Look at the timeline; return its source."""
        source = self._snapshot_cache.latest_source()
        self._on_load()
        return source

    def existing_source(self) -> FrameSource:
        """Return a source as `source` does, but only if the timeline exists.

        Raises:
            NotCached: the timeline has neither a manifest nor frames.
        """
        source = self.source()
        if source.snapshot.manifest is None and not source.snapshot.exists:
            raise NotCached(f"there is no timeline {self.timeline.timeline_id}")
        return source

    def snapshot(self) -> Snapshot:
        """Return the snapshot of :meth:`existing_source`, which may raise."""
        return self.existing_source().snapshot

    def invalidate(self) -> None:
        """Drop the held source, so that the next request looks at the store."""
        self._snapshot_cache.invalidate()

    def sprites(self, source: FrameSource) -> Sprites:
        """Return the sprite sheets of a source; make no request."""
        return Sprites(
            source,
            self.timeline.timeline_id,
            self._snapshot_cache.track_read,
            render_context=self._work_limits.sheets.slot,
            decode_context=partial(self._work_limits.decodes.nested_slot, current_client.get()),
        )

    def read(self, operation: Callable[[FrameSource], Result]) -> Result:
        """Return the result of ``operation``; run it again if the timeline was cleared meanwhile.

        The second run may see another epoch, so ``operation`` must take everything from its source.

        Raises:
            NotCached: the timeline has neither a manifest nor frames.
        """
        source = self.existing_source()
        try:
            with self._snapshot_cache.track_read(source):
                return operation(source)
        except TimelineCleared:
            self.invalidate()
        latest = self.existing_source()
        with self._snapshot_cache.track_read(latest):
            return operation(latest)

    def memoized(self, name: str, compute: Callable[[Snapshot], Result]) -> Result:
        """Return the result of ``compute`` for the snapshot; cached per version of the timeline."""
        snapshot = self.snapshot()
        place = (name, version_of(snapshot))
        with self._lock:
            if place in self._memo:
                return self._memo[place]  # type: ignore[return-value]
        made = compute(snapshot)
        with self._lock:
            self._memo[place] = made
        return made


class TimelineIdCache:
    """Cached listing of all timeline ids, shared by all pages. Safe to share between threads."""

    def __init__(self, cache: FrameCache, limits: Limits) -> None:
        self._cache = cache
        self._limits = limits
        self._held: tuple[list[str], float] = [], -math.inf
        """The ids, and the time until which they are used."""

    def ids_after(self, timeline_id: str) -> list[str]:
        """Return the sorted ids after `timeline_id`; if that is empty, list the store again."""
        ids, until = self._held
        began = time.monotonic()
        if not timeline_id or began >= until:
            ids = self._cache.timelines()
            now = time.monotonic()
            seconds = max(
                self._limits.cache_ttl_seconds, self._limits.cache_ttl_load_factor * (now - began)
            )
            self._held = ids, now + seconds
        return ids[bisect_right(ids, timeline_id) :]


class TimelineCache:
    """LRU cache of timelines, bounded by their number and by the rows of their indexes."""

    def __init__(self, cache: FrameCache, limits: Limits, work_limits: WorkLimits) -> None:
        self._cache = cache
        self._limits = limits
        self._work_limits = work_limits
        self._lock = threading.Lock()
        self._entries: LRUCache[str, CachedTimeline] = LRUCache(max(1, limits.max_cached_timelines))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, timeline_id: str) -> CachedTimeline:
        """Return the entry of a timeline, which need not exist.

        Raises:
            InvalidId: the id cannot be part of a key.
        """
        with self._lock:
            one = self._entries.get(timeline_id)
            if one is None:
                one = self._entries[timeline_id] = CachedTimeline(
                    self._cache,
                    timeline_id,
                    self._limits,
                    self._work_limits,
                    on_load=self._evict_rows,
                )
            return one

    def invalidate(self, timeline_id: str) -> None:
        """Drop the held source of a timeline, so that the next request looks at the store."""
        with self._lock:
            one = self._entries.get(timeline_id)
        if one is not None:
            one.invalidate()

    def summarize(
        self, timeline_ids: list[str], serialize: Callable[[str, Snapshot], Result]
    ) -> list[Result | FrameCacheError]:
        """Return the result of ``serialize`` or the error for each of several timelines.

        Timelines that are not in the cache are loaded, and not kept, so that few are in memory at
        a time. The index files of these are only opened if ``serialize`` reads rows.

        Raises:
            ProblemError: too many requests look at timelines.
            StorePermissionDenied: the store refuses access.
            StoreUnavailable: the store does not answer.
        """

        def look(timeline_id: str) -> Result | FrameCacheError:
            with self._lock:
                one = self._entries.get(timeline_id)
            try:
                if one is not None:
                    snapshot = (one.cached_source() or one.load()).snapshot
                else:
                    snapshot = load_snapshot(
                        self._cache.store, timeline_id, decode=Index.decode_lazy
                    )
                return serialize(timeline_id, snapshot)
            except (StorePermissionDenied, StoreUnavailable):
                raise
            except FrameCacheError as error:
                return error

        if not timeline_ids:
            return []
        with self._work_limits.loads.slot():
            store = self._cache.store
            return list(map_requests(look, timeline_ids, store, max_concurrent=_CONCURRENT_LOADS))

    def _evict_rows(self) -> None:
        """Drop entries until the rest have few enough rows, or one is left."""
        with self._lock:
            rows = sum(one.row_count for one in self._entries.values())
            while len(self._entries) > 1 and rows > self._limits.max_cached_frames:
                _, evicted = self._entries.popitem()
                rows -= evicted.row_count


def version_of(snapshot: Snapshot) -> str:
    """Return a name that changes with the snapshot, whatever program changed the timeline."""
    manifest = snapshot.manifest
    if manifest is None:
        index = snapshot.index
        content = google_crc32c.value(index.sequence.tobytes() + index.size.tobytes())
        return f"listed-{content:08x}"
    missing = google_crc32c.value("\n".join(sorted(snapshot.missing_parts)).encode())
    return f"{manifest.epoch}-{manifest.version}-{missing:08x}"


def position_at(snapshot: Snapshot, moment: Instant) -> int:
    """Return the index row of the frame shown at a time.

    Raises:
        NotCached: no frame is shown then.
    """
    position = find_displayed_position(snapshot, moment)
    if position is None:
        raise NotCached(f"no cached frame is shown at {float(moment.seconds)} s")
    return position


def position_of(index: Index, sequence: int) -> int:
    """Return the index row of a sequence.

    Raises:
        NotCached: the index has no such frame.
    """
    position = index.position(sequence)
    if position is None:
        raise NotCached(f"there is no frame {sequence}")
    return position
