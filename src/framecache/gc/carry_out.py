"""Taking away what was planned of one timeline, unless it changed since."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Self

import numpy as np

from framecache import keys, manifest
from framecache.claims import Claims
from framecache.errors import FrameCacheError, StoreDenied, StoreUnavailable
from framecache.gc.rules import FrameBlobs, Reason, TimelineState
from framecache.gc.sources import why_not_rebuildable
from framecache.index import advance, committed_parts, fetch, is_latest
from framecache.ingest.settling import settle
from framecache.manifest import ChunkEntry, Description
from framecache.store import BlobInfo, BlobMissing, Store
from framecache.sweep import Removal

_BATCH: Final = 1000
_NOTHING: Final = Removal(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What is to be done about one timeline."""

    state: TimelineState
    is_evicted: bool

    @property
    def is_anything_to_do(self) -> bool:
        """Whether something can go, or a replacement that stopped can be finished."""
        state = self.state
        return self.is_evicted or bool(state.blobs or state.frames) or not state.is_settled


@dataclass(frozen=True, slots=True)
class Skipped:
    """A timeline that was left alone, or of which only some went."""

    timeline_id: str
    why: str


@dataclass(frozen=True, slots=True)
class GcReport:
    """What has gone."""

    removed: Mapping[Reason, Removal] = field(default_factory=dict)
    """By reason, besides evictions."""
    evicted: Mapping[str, Removal] = field(default_factory=dict)
    """By timeline."""
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, reports: Iterable["GcReport"]) -> Self:
        """The sum of several."""
        removed = dict.fromkeys(Reason, _NOTHING)
        evicted: dict[str, Removal] = {}
        skipped: list[Skipped] = []
        for report in reports:
            for reason, amount in report.removed.items():
                removed[reason] += amount
            evicted |= report.evicted
            skipped += report.skipped
        return cls(removed, evicted, tuple(skipped))

    @property
    def removal(self) -> Removal:
        """All that has gone."""
        return sum((*self.removed.values(), *self.evicted.values()), _NOTHING)

    def plus(self, reason: Reason, amount: Removal) -> "GcReport":
        """With something more that has gone."""
        return replace(self, removed={**self.removed, reason: self.removed[reason] + amount})


def carry_out(store: Store, work: Work, *, before: datetime) -> GcReport:
    """Take away what can go of a timeline, and all of its frames if it is to be evicted.

    Args:
        store: where it lies.
        work: what was planned.
        before: what was stored later is not what was planned.
    """
    removing = _Removing(store, work.state, before)
    skipped: tuple[Skipped, ...] = ()
    try:
        if work.is_evicted:
            removing.evict()
        else:
            removing.clean()
    except (StoreDenied, StoreUnavailable):
        raise
    except _Changed as change:
        skipped = (Skipped(work.state.timeline_id, str(change)),)
    except FrameCacheError as error:
        skipped = (Skipped(work.state.timeline_id, str(error)),)
    evicted = {work.state.timeline_id: removing.evicted} if removing.evicted.blobs else {}
    return GcReport(removing.removed, evicted, skipped)


class _Changed(Exception):
    """The timeline is no longer what it was when the plan was made."""


class _Removing:
    """Removes blobs of one timeline, and counts them.

    Index files go before the frames and packs they name. Frames of a chunk go under the chunk's
    claim, so that nobody extracts it meanwhile: what is put under a frame's fixed name cannot be
    told from what lay there.
    """

    def __init__(self, store: Store, state: TimelineState, before: datetime) -> None:
        self.removed = dict.fromkeys(Reason, _NOTHING)
        self.evicted = _NOTHING
        self._store = store
        self._state = state
        self._before = before
        self._timeline_id = state.timeline_id

    def clean(self) -> None:
        """Remove what can go, and leave what is cached."""
        description = self._state.description
        if description is None:
            self._remove_leftover()
            return
        for reason in (Reason.OLD_EPOCHS, Reason.ORPHANS):
            self._remove_listed(description, reason, keys.indexes_prefix)
            self._remove_listed(description, reason, keys.packs_prefix)
            self._remove_listed(description, reason, keys.sprites_prefix)
        for reason, frames in self._state.frames.items():
            for amount in self._remove_frames(description, frames):
                self.removed[reason] += amount
        self._remove_traces(description)
        if not self._state.is_settled and not self._state.is_being_filled:
            settle(self._store, self._timeline_id, workers=1)

    def evict(self) -> None:
        """Remove all frames, and what else can go.

        This is a clear, except that others may fill the timeline again while its frames go.
        """
        description = self._state.description
        assert description is not None  # only what has chunks is evicted
        if fault := why_not_rebuildable(description):
            raise _Changed(f"{fault}: its frames stay")
        self._require_unused(description)
        cleared = self._clear(description)
        for amount in self._remove_cached(cleared):
            self.evicted += amount
        self._remove_traces(cleared)

    def _remove_leftover(self) -> None:
        """What programs stored after a delete, where it is all that is left of a timeline."""
        planned = self._state.blobs.get(Reason.ORPHANS, ())
        found = list(self._store.list(keys.timeline_prefix(self._timeline_id)))
        if {blob.key for blob in found} <= {blob.key for blob in planned}:
            self.removed[Reason.ORPHANS] += self._remove(found)

    def _remove_traces(self, description: Description) -> None:
        """What tells of the past, and takes little room."""
        self._remove_dead_claims(description)
        # One by one, since a batch goes in an order of the store's own.
        self._remove_listed(
            description, Reason.OLD_DESCRIPTIONS, keys.descriptions_prefix, at_once=1
        )

    def _remove_dead_claims(self, description: Description) -> None:
        """Take each part over that somebody died at, which nobody else can meanwhile."""
        planned = self._state.blobs.get(Reason.DEAD_CLAIMS, ())
        if not planned:
            return
        current = keys.claims_prefix(self._timeline_id, description.epoch)
        others = [blob for blob in planned if not blob.key.startswith(current)]
        for batch in _batches(others, _BATCH):
            self._require_unchanged(description)
            self.removed[Reason.DEAD_CLAIMS] += self._remove(batch)
        dead = [blob for blob in planned if blob.key.startswith(current)]
        parts = {parsed[0] for blob in dead if (parsed := keys.parse_claim(blob.key))}
        with Claims(self._store, description) as claims:
            claims.look()
            for part in sorted(parts):
                if claims.take_over(part, silent_since=self._before):
                    claims.release(part)
        left = {blob.key for blob in self._store.list(current)}
        for blob in dead:
            if blob.key not in left:
                self.removed[Reason.DEAD_CLAIMS] += Removal(1, blob.size_bytes)

    def _remove_listed(
        self,
        description: Description,
        reason: Reason,
        prefix: Callable[[str], str],
        *,
        at_once: int = _BATCH,
    ) -> None:
        """Remove what was planned and is as old as it was then: a name may be used again."""
        planned = {blob.key for blob in self._state.blobs.get(reason, ())}
        if not planned:
            return
        found = [
            blob
            for blob in self._store.list(prefix(self._timeline_id))
            if blob.key in planned and blob.modified_at <= self._before
        ]
        found.sort(key=_key)
        for batch in _batches(found, at_once):
            self._require_unchanged(description)
            self.removed[reason] += self._remove(batch)

    def _remove_frames(self, description: Description, frames: FrameBlobs) -> Iterator[Removal]:
        beyond = np.ones(len(frames), dtype=np.bool_)
        for chunk in description.chunks:
            first, last = np.searchsorted(
                frames.sequences, [chunk.first_sequence, chunk.stop_sequence]
            )
            beyond[first:last] = False
        if not beyond.all():
            yield from self._remove_of_chunks(description, frames)
        if beyond.any():
            yield from self._remove_beyond(description, frames.where(beyond))

    def _remove_of_chunks(self, description: Description, frames: FrameBlobs) -> Iterator[Removal]:
        with Claims(self._store, description) as claims:
            claims.look()
            for chunk in description.chunks:
                planned = frames.between(chunk.first_sequence, chunk.stop_sequence)
                if len(planned) and claims.take_over(chunk.part, silent_since=self._before):
                    try:
                        yield from self._remove_of_chunk(description, chunk, planned, claims)
                    finally:
                        claims.release(chunk.part)

    def _remove_of_chunk(
        self, description: Description, chunk: ChunkEntry, frames: FrameBlobs, claims: Claims
    ) -> Iterator[Removal]:
        """Remove some frames of a chunk that this run has claimed."""
        was_evicted = description is not self._state.description
        was_missing = was_evicted or chunk.part in self._state.missing_parts
        if was_missing and committed_parts(self._store, description, [chunk.part]):
            return  # somebody finished it since
        for start in range(0, len(frames), _BATCH):
            self._require_unchanged(description)
            if not claims.holds(chunk.part):
                return  # this run slept, and was taken for dead
            some = frames.at(start, start + _BATCH)
            self._store.delete(
                keys.frame(self._timeline_id, sequence) for sequence in some.sequences.tolist()
            )
            yield some.amount

    def _remove_beyond(self, description: Description, frames: FrameBlobs) -> Iterator[Removal]:
        """Remove frames that are no chunk's, so that there is nothing to claim.

        A program that writes such frames, or is about to append chunks, may be storing one of
        that name, or find one there that is as it should be. So they go page by page, right
        after a look whether anybody has claimed the timeline.
        """
        listing = self._store.list(keys.frames_prefix(self._timeline_id))
        old = (blob for blob in listing if blob.modified_at <= self._before)
        for batch in _batches(old, _BATCH):
            sequences = [keys.parse_frame(self._timeline_id, blob.key) for blob in batch]
            known = np.array([-1 if number is None else number for number in sequences])
            chosen = list(itertools.compress(batch, frames.contain(known).tolist()))
            if chosen:
                self._require_unchanged(description)
                self._require_unclaimed(description)
                yield self._remove(chosen)

    def _remove_cached(self, cleared: Description) -> Iterator[Removal]:
        """Remove index files, packs and sheets of all epochs but this new one, then frames."""
        yield from self._remove_older(cleared, keys.indexes_prefix, keys.parse_index)
        parse_pack = partial(keys.parse_pack, self._timeline_id)
        yield from self._remove_older(cleared, keys.packs_prefix, parse_pack)
        parse_sprite = partial(keys.parse_sprite, self._timeline_id)
        yield from self._remove_older(cleared, keys.sprites_prefix, parse_sprite)
        frames = FrameBlobs.listed(
            (sequence, blob.size_bytes)
            for blob in self._store.list(keys.frames_prefix(self._timeline_id))
            if (sequence := keys.parse_frame(self._timeline_id, blob.key)) is not None
        )
        yield from self._remove_frames(cleared, frames)

    def _remove_older(
        self,
        cleared: Description,
        prefix: Callable[[str], str],
        parse: Callable[[str], object],
    ) -> Iterator[Removal]:
        listing = self._store.list(prefix(self._timeline_id))
        older = [
            blob
            for blob in listing
            if parse(blob.key) is not None
            and keys.parse_epoch(self._timeline_id, blob.key) != cleared.epoch
        ]
        for batch in _batches(older, _BATCH):
            self._require_unchanged(cleared)
            yield self._remove(batch)

    def _require_unused(self, description: Description) -> None:
        """An eviction is planned for want of use: whoever came since keeps it."""
        self._require_unclaimed(description)
        with suppress(BlobMissing):
            used_at = self._store.head(keys.used(self._timeline_id)).modified_at
            if used_at > self._state.last_used_at:
                raise _Changed("it was read in the meantime: its frames stay")

    def _require_unclaimed(self, description: Description) -> None:
        for blob in self._store.list(keys.claims_prefix(self._timeline_id, description.epoch)):
            if blob.modified_at > self._before:
                raise _Changed("another program is filling it by now: its frames stay")

    def _clear(self, description: Description) -> Description:
        def change(current: Description | None) -> Description:
            if current is None or current.write_id != description.write_id:
                raise _Changed(_CHANGED)
            return current.next_epoch()

        return advance(self._store, self._timeline_id, change)

    def _require_unchanged(self, description: Description) -> None:
        """Look, with two requests, whether the timeline is the planned one.

        The version itself is read, too: a timeline that was deleted and made anew may have come
        as far as this version, as another.
        """
        key = keys.description(self._timeline_id, description.version)
        try:
            is_same = fetch(self._store, key, manifest.decode).write_id == description.write_id
        except BlobMissing:
            is_same = False
        if not is_same or not is_latest(self._store, description):
            raise _Changed(_CHANGED)

    def _remove(self, blobs: Sequence[BlobInfo]) -> Removal:
        self._store.delete(blob.key for blob in blobs)
        return Removal(len(blobs), sum(blob.size_bytes for blob in blobs))


_CHANGED: Final = "another program changed it in the meantime: run gc again"


def _batches(blobs: Iterable[BlobInfo], size: int) -> Iterator[list[BlobInfo]]:
    remaining = iter(blobs)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _key(blob: BlobInfo) -> str:
    return blob.key
