"""Planning: what can be deleted from all timelines, and which of them were used least recently."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from framecache._core import keys
from framecache._core.numeric import as_fraction, format_value, require_int
from framecache._index import current_manifest, load_snapshot_at, resolve_timeline_ids
from framecache._ingest.deletion import DeletionSummary
from framecache._ingest.relocation import is_relocated
from framecache._maintain.gc.execute import GcAction, GcReport, execute
from framecache._maintain.gc.rules import (
    NOTHING_COMMITTED,
    CommittedState,
    Reason,
    TimelineState,
    classify,
)
from framecache._maintain.gc.source_availability import find_unavailable_source
from framecache._maintain.inventory import References
from framecache.errors import (
    FrameCacheError,
    InvalidValue,
    NotCached,
    StorePermissionDenied,
    StoreUnavailable,
)
from framecache.store import Store, abandoned_uploads, map_requests, remove_abandoned_uploads

GcProgress = Callable[[int, int], None]
"""Callback that gets the number of timelines done and their total."""

DEFAULT_MAX_SHARE: Final = 0.5
"""Share of everything up to which deletion needs no explicit permission."""

_CONCURRENT_TIMELINES: Final = 8
_NOTHING: Final = DeletionSummary(0, 0)
# Evicting a timeline deletes these in any case.
_CACHED_REASONS: Final = (Reason.OLD_EPOCHS, Reason.ORPHANS, Reason.UNFINISHED_EXTRACTIONS)

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Eviction:
    """Timeline whose frames are deleted, and can be extracted again."""

    timeline_id: str
    amount: DeletionSummary
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class KeptTimeline:
    """Frames that no quota or age limit deletes."""

    timeline_id: str
    amount: DeletionSummary
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class GcPlan:
    """Plan of what to delete, and why. Nothing is deleted before :meth:`execute`."""

    store: Store
    before: datetime
    """Blobs stored later stay, by the store's clock, unless their timeline is evicted."""
    grace_seconds: float
    max_bytes: int | None
    states: tuple[TimelineState, ...]
    """All timelines that were scanned, by name."""
    evicted: tuple[TimelineState, ...]
    """Timelines whose frames are deleted, least recently used first."""
    irreplaceable: Mapping[str, str]
    """Timelines that are not evicted because their chunks cannot be extracted again; the reason."""
    uploads: DeletionSummary

    @property
    def total(self) -> DeletionSummary:
        """All blobs of the timelines that were scanned."""
        return sum((state.total for state in self.states), _NOTHING)

    @property
    def amounts(self) -> Mapping[Reason, DeletionSummary]:
        """Amount to delete for each reason, besides evictions."""
        amounts = {
            reason: sum((state.amount(reason) for state in self._states_with(reason)), _NOTHING)
            for reason in Reason
        }
        return amounts | {Reason.ABANDONED_UPLOADS: self.uploads}

    @property
    def evictions(self) -> tuple[Eviction, ...]:
        """Timelines whose frames would be deleted, least recently used first."""
        return tuple(
            Eviction(state.timeline_id, state.cached, state.last_used_at) for state in self.evicted
        )

    @property
    def removal(self) -> DeletionSummary:
        """Total amount to delete."""
        evicted = sum((eviction.amount for eviction in self.evictions), _NOTHING)
        return sum(self.amounts.values(), evicted)

    @property
    def share(self) -> float:
        """Share of everything that would be deleted, 0 to 1: the larger of bytes and blobs."""
        removal, total = self.removal, self.total + self.uploads
        return max(
            removal.size_bytes / max(1, total.size_bytes), removal.blobs / max(1, total.blobs)
        )

    @property
    def size_bytes_after(self) -> int:
        """Bytes left in all timelines that were scanned."""
        return self.total.size_bytes + self.uploads.size_bytes - self.removal.size_bytes

    @property
    def kept(self) -> tuple[KeptTimeline, ...]:
        """Frames that no quota or age limit can delete, because they cannot be restored."""
        return tuple(
            KeptTimeline(state.timeline_id, state.cached, why)
            for state in self.states
            if state.cached.blobs and (why := self._keep_reason(state))
        )

    @property
    def unreadable(self) -> Mapping[str, FrameCacheError]:
        """Timelines that are left alone because their state cannot be read; the error of each."""
        return {state.timeline_id: state.error for state in self.states if state.error is not None}

    def timelines_with(self, reason: Reason) -> int:
        """Return the number of timelines of which something would be deleted for a reason."""
        return sum(1 for _ in self._states_with(reason))

    def execute(
        self, *, max_share: float = DEFAULT_MAX_SHARE, progress: GcProgress | None = None
    ) -> GcReport:
        """Execute the plan; whatever changed since is left alone.

        It can be interrupted, and planned again, at any time.

        Args:
            max_share: the share of everything that may be deleted, 0 to 1.
            progress: called after each timeline, on the calling thread.

        Raises:
            InvalidValue: more than that would be deleted. Nothing was.
            StorePermissionDenied, StoreUnavailable: the store failed. Some blobs may have been
                deleted.
        """
        if self.share > max_share:
            raise InvalidValue(
                f"{self.removal.blobs:,} blobs of {self.removal.size_bytes:,} bytes would be "
                f"removed from {self.store.url}, {self.share:.0%} of everything: check that "
                f"this is intended, then allow a larger share than {max_share:.0%}"
            )
        report = GcReport.merged(
            _map_timelines(
                partial(execute, self.store, before=self.before),
                self._actions(),
                self.store,
                progress,
            )
        )
        if not self.uploads.blobs:
            return report
        uploads = remove_abandoned_uploads(self.store, older_than_seconds=self.grace_seconds)
        return report.plus(
            Reason.ABANDONED_UPLOADS, DeletionSummary(uploads.count, uploads.size_bytes)
        )

    def _keep_reason(self, state: TimelineState) -> str:
        if state.error is not None or state.can_be_rebuilt:
            return self.irreplaceable.get(state.timeline_id, "")
        return "another program stored them" if state.manifest is None else "a program wrote them"

    def _actions(self) -> list[GcAction]:
        evicted = {state.timeline_id for state in self.evicted}
        works = [GcAction(state, is_evicted=state.timeline_id in evicted) for state in self.states]
        return [work for work in works if work.has_work]

    def _states_with(self, reason: Reason) -> Iterator[TimelineState]:
        """Yield the timelines of which something is deleted for a reason."""
        evicted = {state.timeline_id for state in self.evicted}
        for state in self.states:
            goes_anyway = reason in _CACHED_REASONS and state.timeline_id in evicted
            if not goes_anyway and (reason in state.blobs or reason in state.frames):
                yield state


def plan_gc(
    store: Store,
    *,
    timelines: Iterable[str] | None,
    grace_seconds: float,
    max_bytes: int | None,
    max_age_seconds: float | None,
    progress: GcProgress | None = None,
) -> GcPlan:
    """Scan all or some timelines and decide what to delete: see ``FrameCache.plan_gc``."""
    now = datetime.now(UTC)
    before, used_before = _time_before(now, "grace_seconds", grace_seconds), None
    if max_age_seconds is not None:
        used_before = _time_before(now, "max_age_seconds", max_age_seconds)
    if max_bytes is not None:
        max_bytes = require_int(max_bytes, what="max_bytes")
    names = resolve_timeline_ids(store, timelines)
    states = tuple(
        _map_timelines(partial(scan_timeline, store, before=before), names, store, progress)
    )
    _require_existing(store, timelines, states)
    uploads = _sum_abandoned_uploads(store, float(grace_seconds)) if timelines is None else _NOTHING
    evicted, irreplaceable = _evictions(store, states, max_bytes=max_bytes, used_before=used_before)
    return GcPlan(store, before, grace_seconds, max_bytes, states, evicted, irreplaceable, uploads)


def _evictions(
    store: Store,
    states: Sequence[TimelineState],
    *,
    max_bytes: int | None,
    used_before: datetime | None,
) -> tuple[tuple[TimelineState, ...], Mapping[str, str]]:
    """Return the timelines to evict, and those that stay because their chunks are unavailable.

    Chunks are checked only for timelines that are due for eviction.

    Args:
        store: the store that holds the timelines.
        states: all timelines.
        max_bytes: the total size allowed once everything else that can be deleted is gone.
        used_before: timelines last used before this time are evicted in any case.
    """
    left = sum(state.total.size_bytes - _sum_garbage(state).size_bytes for state in states)
    chosen: list[TimelineState] = []
    irreplaceable: dict[str, str] = {}
    for state in sorted(states, key=lambda state: (state.last_used_at, state.timeline_id)):
        is_unused = used_before is not None and state.last_used_at <= used_before
        is_too_much = max_bytes is not None and left > max_bytes
        if not (is_unused or is_too_much) or not _can_be_evicted(state):
            continue
        assert state.manifest is not None
        if fault := find_unavailable_source(store, state.manifest):
            irreplaceable[state.timeline_id] = fault
        else:
            chosen.append(state)
            left -= _freed_by_eviction(state).size_bytes
    return tuple(chosen), irreplaceable


def _can_be_evicted(state: TimelineState) -> bool:
    return (
        state.can_be_rebuilt
        and not state.is_being_extracted
        and _freed_by_eviction(state).blobs > 0
    )


def _sum_garbage(state: TimelineState) -> DeletionSummary:
    return sum((state.amount(reason) for reason in Reason), _NOTHING)


def _freed_by_eviction(state: TimelineState) -> DeletionSummary:
    """Return the amount that is deleted from a timeline only if it is evicted."""
    anyway = sum((state.amount(reason) for reason in _CACHED_REASONS), _NOTHING)
    return DeletionSummary(
        state.cached.blobs - anyway.blobs, state.cached.size_bytes - anyway.size_bytes
    )


def _require_existing(
    store: Store, timelines: Iterable[str] | None, states: Sequence[TimelineState]
) -> None:
    """Raise if a timeline that the caller named does not exist, as the name may be wrong."""
    missing = [state.timeline_id for state in states if not state.total.blobs]
    if timelines is not None and missing:
        raise NotCached(f"there is no timeline {missing[0]} in {store.display_name}")


def _sum_abandoned_uploads(store: Store, grace_seconds: float) -> DeletionSummary:
    found = abandoned_uploads(store, older_than_seconds=grace_seconds)
    return sum((DeletionSummary(1, upload.size_bytes) for upload in found), _NOTHING)


def _time_before(now: datetime, name: str, seconds: float) -> datetime:
    period = as_fraction(seconds)
    try:
        if period is not None and period >= 0:
            return now - timedelta(seconds=float(period))
    except OverflowError:
        pass  # before the year 1
    raise InvalidValue(
        f"{name} must be a number of seconds from 0, less than the time since the year 1, not "
        f"{format_value(seconds)}"
    )


def _map_timelines(
    function: Callable[[Item], Done],
    items: Sequence[Item],
    store: Store,
    progress: GcProgress | None,
) -> Iterator[Done]:
    """Yield the results of work on each item, in order, and report progress."""
    results = map_requests(function, items, store, max_concurrent=_CONCURRENT_TIMELINES)
    with closing(results):
        for done, result in enumerate(results, start=1):
            if progress is not None:
                progress(done, len(items))
            yield result


def scan_timeline(store: Store, timeline_id: str, *, before: datetime) -> TimelineState:
    """Return the state of a timeline, and which blobs stored before a time can be deleted.

    Nothing can be deleted from a timeline whose manifest or index cannot be read.
    """
    problem: FrameCacheError | None = None
    try:
        committed = _load_committed(store, timeline_id)
    except (StorePermissionDenied, StoreUnavailable):
        raise
    except FrameCacheError as error:
        committed, problem = NOTHING_COMMITTED, error.with_traceback(None)
    listing = store.list(keys.timeline_prefix(timeline_id))
    return classify(timeline_id, listing, committed, before=before, error=problem)


def _load_committed(store: Store, timeline_id: str) -> CommittedState:
    manifest = current_manifest(store, timeline_id)
    if manifest is None:
        return NOTHING_COMMITTED
    snapshot = load_snapshot_at(store, manifest)
    index = snapshot.index
    return CommittedState(
        manifest,
        References.of_rows(manifest, [index]),
        frozenset(snapshot.missing_parts),
        is_relocated=is_relocated(manifest, index),
    )
