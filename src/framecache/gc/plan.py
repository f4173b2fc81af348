"""Planning: what can go of all timelines, and which of them are used least."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from framecache import keys
from framecache.errors import FrameCacheError, InvalidValue, NotCached
from framecache.gc.carry_out import GcReport, Work, carry_out
from framecache.gc.look import look
from framecache.gc.rules import Reason, TimelineState
from framecache.gc.sources import why_not_rebuildable
from framecache.numeric import exact, shown, whole
from framecache.store import Store, abandoned_uploads, is_remote, remove_abandoned_uploads
from framecache.sweep import Removal

GcProgress = Callable[[int, int], None]
"""Told how many timelines are done, and of how many."""

LARGEST_SHARE: Final = 0.5
"""How much of everything goes without being allowed to."""

_CONCURRENT_TIMELINES: Final = 8
_NOTHING: Final = Removal(0, 0)
# An evicted timeline loses these in any case.
_CACHED_REASONS: Final = (Reason.OLD_EPOCHS, Reason.ORPHANS, Reason.ABANDONED_ATTEMPTS)

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Eviction:
    """A timeline whose frames go, and can be extracted again."""

    timeline_id: str
    amount: Removal
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """Frames that no quota or age takes away."""

    timeline_id: str
    amount: Removal
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class GcPlan:
    """What would go, and why. Nothing has gone yet: see :meth:`carry_out`."""

    store: Store
    before: datetime
    """What was stored later stays, by the store's clock, unless its timeline is evicted."""
    grace_seconds: float
    max_bytes: int | None
    states: tuple[TimelineState, ...]
    """All timelines that were looked at, by name."""
    evicted: tuple[TimelineState, ...]
    """Those whose frames go, least recently used first."""
    irreplaceable: Mapping[str, str]
    """Timelines that would be evicted if their chunks could be extracted again; why they cannot."""
    uploads: Removal

    @property
    def total(self) -> Removal:
        """All blobs of the timelines that were looked at."""
        return sum((state.total for state in self.states), _NOTHING)

    @property
    def amounts(self) -> Mapping[Reason, Removal]:
        """What would go for each reason, besides evictions."""
        amounts = {
            reason: sum((state.amount(reason) for state in self._with(reason)), _NOTHING)
            for reason in Reason
        }
        return amounts | {Reason.ABANDONED_UPLOADS: self.uploads}

    @property
    def evictions(self) -> tuple[Eviction, ...]:
        """The timelines whose frames would go, least recently used first."""
        return tuple(
            Eviction(state.timeline_id, state.cached, state.last_used_at) for state in self.evicted
        )

    @property
    def removal(self) -> Removal:
        """All that would go."""
        evicted = sum((eviction.amount for eviction in self.evictions), _NOTHING)
        return sum(self.amounts.values(), evicted)

    @property
    def share(self) -> float:
        """How much of everything would go, 0 to 1: by bytes or by blobs, whichever is more."""
        removal, total = self.removal, self.total + self.uploads
        return max(
            removal.size_bytes / max(1, total.size_bytes), removal.blobs / max(1, total.blobs)
        )

    @property
    def size_bytes_after(self) -> int:
        """Of all timelines that were looked at."""
        return self.total.size_bytes + self.uploads.size_bytes - self.removal.size_bytes

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What no quota or age can take away: frames that nobody could bring back."""
        return tuple(
            Kept(state.timeline_id, state.cached, why)
            for state in self.states
            if state.cached.blobs and (why := self._why_kept(state))
        )

    @property
    def unreadable(self) -> Mapping[str, FrameCacheError]:
        """Timelines of which nothing goes, because what they are cannot be told, and why."""
        return {
            state.timeline_id: state.problem for state in self.states if state.problem is not None
        }

    def timelines_with(self, reason: Reason) -> int:
        """Of how many timelines something would go for a reason."""
        return sum(1 for _ in self._with(reason))

    def carry_out(
        self, *, largest_share: float = LARGEST_SHARE, progress: GcProgress | None = None
    ) -> GcReport:
        """Take away what is planned; what changed since is left alone.

        It can be interrupted and planned again at any time.

        Args:
            largest_share: how much of everything may go, 0 to 1.
            progress: told after each timeline, on the calling thread.

        Raises:
            InvalidValue: more than that would go. Nothing has.
            StoreDenied, StoreUnavailable: the store's. Some may have gone.
        """
        if self.share > largest_share:
            raise InvalidValue(
                f"{self.removal.blobs:,} blobs of {self.removal.size_bytes:,} bytes would go from "
                f"{self.store.url}, {self.share:.0%} of everything: see whether that is meant, "
                f"then allow a larger share than {largest_share:.0%}"
            )
        report = GcReport.of(
            _each(
                partial(carry_out, self.store, before=self.before),
                self._works(),
                self.store,
                progress,
            )
        )
        if not self.uploads.blobs:
            return report
        uploads = remove_abandoned_uploads(self.store, older_than_seconds=self.grace_seconds)
        return report.plus(Reason.ABANDONED_UPLOADS, Removal(uploads.count, uploads.size_bytes))

    def _why_kept(self, state: TimelineState) -> str:
        if state.problem is not None or state.can_be_rebuilt:
            return self.irreplaceable.get(state.timeline_id, "")
        return (
            "another program stored them" if state.description is None else "a program wrote them"
        )

    def _works(self) -> list[Work]:
        evicted = {state.timeline_id for state in self.evicted}
        works = [Work(state, is_evicted=state.timeline_id in evicted) for state in self.states]
        return [work for work in works if work.is_anything_to_do]

    def _with(self, reason: Reason) -> Iterator[TimelineState]:
        """The timelines of which something goes for a reason."""
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
    """Look at every timeline, or at some, and decide what would go: see ``FrameCache.plan_gc``."""
    now = datetime.now(UTC)
    before, used_before = _ago(now, "grace_seconds", grace_seconds), None
    if max_age_seconds is not None:
        used_before = _ago(now, "max_age_seconds", max_age_seconds)
    if max_bytes is not None:
        max_bytes = whole(max_bytes, what="max_bytes")
    names = _names(store, timelines)
    states = tuple(_each(partial(look, store, before=before), names, store, progress))
    _require_named(store, timelines, states)
    uploads = _uploads(store, float(grace_seconds)) if timelines is None else _NOTHING
    evicted, irreplaceable = _evictions(states, max_bytes=max_bytes, used_before=used_before)
    return GcPlan(store, before, grace_seconds, max_bytes, states, evicted, irreplaceable, uploads)


def _evictions(
    states: Sequence[TimelineState], *, max_bytes: int | None, used_before: datetime | None
) -> tuple[tuple[TimelineState, ...], Mapping[str, str]]:
    """Which timelines lose their frames, and which do not for want of their chunks, and why.

    Only the chunks of timelines whose turn comes are looked at.

    Args:
        states: all timelines.
        max_bytes: what may be left of all of them once everything else that can go has gone.
        used_before: those that were used last before this time go in any case.
    """
    left = sum(state.total.size_bytes - _garbage(state).size_bytes for state in states)
    chosen: list[TimelineState] = []
    irreplaceable: dict[str, str] = {}
    for state in sorted(states, key=lambda state: (state.last_used_at, state.timeline_id)):
        is_unused = used_before is not None and state.last_used_at <= used_before
        is_too_much = max_bytes is not None and left > max_bytes
        if not (is_unused or is_too_much) or not _can_be_evicted(state):
            continue
        assert state.description is not None
        if fault := why_not_rebuildable(state.description):
            irreplaceable[state.timeline_id] = fault
        else:
            chosen.append(state)
            left -= _evicting_frees(state).size_bytes
    return tuple(chosen), irreplaceable


def _can_be_evicted(state: TimelineState) -> bool:
    return state.can_be_rebuilt and not state.is_being_filled and _evicting_frees(state).blobs > 0


def _garbage(state: TimelineState) -> Removal:
    return sum((state.amount(reason) for reason in Reason), _NOTHING)


def _evicting_frees(state: TimelineState) -> Removal:
    """What goes of a timeline only if it is evicted."""
    anyway = sum((state.amount(reason) for reason in _CACHED_REASONS), _NOTHING)
    return Removal(state.cached.blobs - anyway.blobs, state.cached.size_bytes - anyway.size_bytes)


def _names(store: Store, timelines: Iterable[str] | None) -> list[str]:
    if timelines is None:
        return [name for name in store.list_folders(keys.ROOT) if keys.is_id(name)]
    if isinstance(timelines, str):
        raise InvalidValue("timelines are several: give a list, even of one")
    return sorted({keys.check_id(name, what="timeline_id") for name in timelines})


def _require_named(
    store: Store, timelines: Iterable[str] | None, states: Sequence[TimelineState]
) -> None:
    """Who names a timeline wants to know that it is another's name."""
    missing = [state.timeline_id for state in states if not state.total.blobs]
    if timelines is not None and missing:
        raise NotCached(f"there is no timeline {missing[0]} in {store.url}")


def _uploads(store: Store, grace_seconds: float) -> Removal:
    found = abandoned_uploads(store, older_than_seconds=grace_seconds)
    return sum((Removal(1, upload.size_bytes) for upload in found), _NOTHING)


def _ago(now: datetime, name: str, seconds: float) -> datetime:
    period = exact(seconds)
    try:
        if period is not None and period >= 0:
            return now - timedelta(seconds=float(period))
    except OverflowError:
        pass  # before there were years
    raise InvalidValue(
        f"{name} is a number of seconds from 0, fewer than since the year 1, not {shown(seconds)}"
    )


def _each(
    work: Callable[[Item], Done],
    items: Sequence[Item],
    store: Store,
    progress: GcProgress | None,
) -> Iterator[Done]:
    """The results of work on each item, in order: several at once where a network is waited for."""
    threads = _CONCURRENT_TIMELINES if is_remote(store) else 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="framecache-gc")
    try:
        for done, result in enumerate(pool.map(work, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
