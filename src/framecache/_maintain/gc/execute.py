"""Execution of a plan on one timeline, unless the timeline changed since."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Self

import numpy as np

from framecache._core import keys, manifest
from framecache._core.manifest import Manifest
from framecache._index import committed_parts, fetch_document, is_latest, update_manifest
from framecache._index.lease import LeaseManager
from framecache._ingest.deletion import DeletionSummary
from framecache._ingest.relocation import relocate
from framecache._maintain.gc.frame_blobs import FrameBlobs
from framecache._maintain.gc.rules import Reason, TimelineState
from framecache._maintain.gc.source_availability import find_unavailable_source
from framecache.errors import FrameCacheError, StorePermissionDenied, StoreUnavailable
from framecache.store import BlobInfo, BlobMissing, Store

_BATCH: Final = 1000
_NOTHING: Final = DeletionSummary(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class GcAction:
    """Planned work on one timeline."""

    state: TimelineState
    is_evicted: bool

    @property
    def has_work(self) -> bool:
        """True if something can be deleted, or an interrupted replacement can be finished."""
        state = self.state
        return self.is_evicted or bool(state.blobs or state.frames) or not state.is_relocated


@dataclass(frozen=True, slots=True)
class SkippedTimeline:
    """Timeline that was left alone, or from which only a part was deleted."""

    timeline_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class GcReport:
    """Summary of what was deleted."""

    removed: Mapping[Reason, DeletionSummary] = field(default_factory=dict)
    """Amounts by reason, besides evictions."""
    evicted: Mapping[str, DeletionSummary] = field(default_factory=dict)
    """Amounts by timeline."""
    skipped: tuple[SkippedTimeline, ...] = ()

    @classmethod
    def merged(cls, reports: Iterable["GcReport"]) -> Self:
        """Return the sum of several reports."""
        removed = dict.fromkeys(Reason, _NOTHING)
        evicted: dict[str, DeletionSummary] = {}
        skipped: list[SkippedTimeline] = []
        for report in reports:
            for reason, amount in report.removed.items():
                removed[reason] += amount
            evicted |= report.evicted
            skipped += report.skipped
        return cls(removed, evicted, tuple(skipped))

    @property
    def removal(self) -> DeletionSummary:
        """Total amount deleted."""
        return sum((*self.removed.values(), *self.evicted.values()), _NOTHING)

    def plus(self, reason: Reason, amount: DeletionSummary) -> "GcReport":
        """Return a copy with another deleted amount added."""
        return replace(self, removed={**self.removed, reason: self.removed[reason] + amount})


def execute(store: Store, action: GcAction, *, before: datetime) -> GcReport:
    """Delete what can be deleted from a timeline, and all of its frames if it is to be evicted.

    Args:
        store: the store that holds the timeline.
        action: the planned work.
        before: blobs stored later were not part of the plan.
    """
    removing = _TimelineDeletion(store, action.state, before)
    skipped: tuple[SkippedTimeline, ...] = ()
    try:
        if action.is_evicted:
            removing.evict()
        else:
            removing.clean()
    except (StorePermissionDenied, StoreUnavailable):
        raise
    except _TimelineChanged as change:
        skipped = (SkippedTimeline(action.state.timeline_id, str(change)),)
    except FrameCacheError as error:
        skipped = (SkippedTimeline(action.state.timeline_id, str(error)),)
    evicted = {action.state.timeline_id: removing.evicted} if removing.evicted.blobs else {}
    return GcReport(removing.removed, evicted, skipped)


class _TimelineChanged(Exception):
    """Raised if the timeline differs from what it was when the plan was made."""


class _TimelineDeletion:
    """Deletes and counts the blobs of one timeline.

    Index files are deleted before the frames and packs that they name. Frames of a segment are
    deleted while this process holds its lease, so that no other process extracts it meanwhile:
    the key of a frame is fixed, so a newly stored frame looks like the old one.
    """

    def __init__(self, store: Store, state: TimelineState, before: datetime) -> None:
        self.removed = dict.fromkeys(Reason, _NOTHING)
        self.evicted = _NOTHING
        self._store = store
        self._state = state
        self._before = before
        self._timeline_id = state.timeline_id

    def clean(self) -> None:
        """Delete what can be deleted, and keep what is cached."""
        description = self._state.manifest
        if description is None:
            self._remove_leftover()
            return
        for reason in (Reason.OLD_EPOCHS, Reason.ORPHANS):
            self._remove_listed(description, reason, keys.indexes_prefix)
            self._remove_listed(description, reason, keys.packs_prefix)
            self._remove_renditions(description, reason)
            self._remove_listed(description, reason, keys.sprites_prefix)
        for reason, frames in self._state.frames.items():
            for amount in self._remove_frames(description, frames):
                self.removed[reason] += amount
        self._remove_leases_and_manifests(description)
        if not self._state.is_relocated and not self._state.is_being_extracted:
            relocate(self._store, self._timeline_id, workers=1)

    def evict(self) -> None:
        """Delete all frames, and whatever else can be deleted.

        This is a clear, except that other programs may fill the timeline again during the deletion.
        """
        description = self._state.manifest
        assert description is not None  # only timelines with chunks are evicted
        if fault := find_unavailable_source(self._store, description):
            raise _TimelineChanged(f"{fault}: its frames were kept")
        self._require_unused(description)
        cleared = self._clear(description)
        for amount in self._remove_cached(cleared):
            self.evicted += amount
        self._remove_leases_and_manifests(cleared)

    def _remove_leftover(self) -> None:
        """Delete what programs stored after a delete, if nothing else is left of the timeline."""
        planned = self._state.blobs.get(Reason.ORPHANS, ())
        found = list(self._store.list(keys.timeline_prefix(self._timeline_id)))
        if {blob.key for blob in found} <= {blob.key for blob in planned}:
            self.removed[Reason.ORPHANS] += self._remove(found)

    def _remove_leases_and_manifests(self, manifest: Manifest) -> None:
        """Delete old leases and manifests, which take little space."""
        self._remove_expired_leases(manifest)
        # One by one: the store may delete the keys of a batch in any order.
        self._remove_listed(manifest, Reason.OLD_MANIFESTS, keys.manifests_prefix, batch_size=1)

    def _remove_expired_leases(self, manifest: Manifest) -> None:
        """Take over the parts with expired leases, then delete these leases.

        Taking a part over keeps other programs from doing so meanwhile.
        """
        planned = self._state.blobs.get(Reason.EXPIRED_LEASES, ())
        if not planned:
            return
        current = keys.leases_prefix(self._timeline_id, manifest.epoch)
        others = [blob for blob in planned if not blob.key.startswith(current)]
        for batch in _batches(others, _BATCH):
            self._require_unchanged(manifest)
            self.removed[Reason.EXPIRED_LEASES] += self._remove(batch)
        dead = [blob for blob in planned if blob.key.startswith(current)]
        parts = {parsed[0] for blob in dead if (parsed := keys.parse_lease(blob.key))}
        with LeaseManager(self._store, manifest) as leases:
            leases.refresh()
            for part in sorted(parts):
                if leases.acquire_stale(part, silent_since=self._before):
                    leases.release(part)
        left = {blob.key for blob in self._store.list(current)}
        for blob in dead:
            if blob.key not in left:
                self.removed[Reason.EXPIRED_LEASES] += DeletionSummary(1, blob.size_bytes)

    def _remove_listed(
        self,
        manifest: Manifest,
        reason: Reason,
        prefix: Callable[[str], str],
        *,
        batch_size: int = _BATCH,
    ) -> None:
        """Delete what was planned and is as old as it was then: a name may have been used again."""
        planned = {blob.key for blob in self._state.blobs.get(reason, ())}
        if not planned:
            return
        found = [
            blob
            for blob in self._store.list(prefix(self._timeline_id))
            if blob.key in planned and blob.modified_at <= self._before
        ]
        found.sort(key=_key)
        for batch in _batches(found, batch_size):
            self._require_unchanged(manifest)
            self.removed[reason] += self._remove(batch)

    def _remove_renditions(self, manifest: Manifest, reason: Reason) -> None:
        """Delete renditions as `_remove_listed` does, while no program works on the timeline.

        The key of a rendition that is a blob of its own is fixed within the epoch.
        """
        planned = {blob.key for blob in self._state.blobs.get(reason, ())}
        if not planned:
            return
        for batch in _batches(self._store.list(keys.renditions_prefix(self._timeline_id)), _BATCH):
            chosen = [
                blob for blob in batch if blob.key in planned and blob.modified_at <= self._before
            ]
            if chosen:
                self._require_unused_keys(manifest)
                self.removed[reason] += self._remove(chosen)

    def _remove_frames(self, manifest: Manifest, frames: FrameBlobs) -> Iterator[DeletionSummary]:
        beyond = np.ones(len(frames), dtype=np.bool_)
        for chunk in manifest.chunks:
            first, last = np.searchsorted(
                frames.sequences, [chunk.first_sequence, chunk.stop_sequence]
            )
            beyond[first:last] = False
        if not beyond.all():
            yield from self._remove_chunk_frames(manifest, frames)
        if beyond.any():
            yield from self._remove_frames_outside_chunks(manifest, frames.where(beyond))

    def _remove_chunk_frames(
        self, manifest: Manifest, frames: FrameBlobs
    ) -> Iterator[DeletionSummary]:
        with LeaseManager(self._store, manifest) as leases:
            leases.refresh()
            for segment in manifest.segments:
                planned = frames.between(segment.first_sequence, segment.stop_sequence)
                part = segment.part
                if len(planned) and leases.acquire_stale(part, silent_since=self._before):
                    try:
                        yield from self._remove_frames_of_part(manifest, part, planned, leases)
                    finally:
                        leases.release(part)

    def _remove_frames_of_part(
        self, manifest: Manifest, part: str, frames: FrameBlobs, leases: LeaseManager
    ) -> Iterator[DeletionSummary]:
        """Delete some frames of a segment whose lease this run holds."""
        was_evicted = manifest is not self._state.manifest
        was_missing = was_evicted or part in self._state.missing_parts
        if was_missing and committed_parts(self._store, manifest, [part]):
            return  # another program finished it since
        for start in range(0, len(frames), _BATCH):
            # In this order: a program that stored frames of the part before this run had its lease
            # is at work, or has committed its manifest since.
            self._require_not_moved(manifest)
            self._require_unchanged(manifest)
            if not leases.is_held(part):
                return  # this run was suspended, and its lease expired
            some = frames.at(start, start + _BATCH)
            self._store.delete(
                keys.frame(self._timeline_id, sequence) for sequence in some.sequences.tolist()
            )
            yield some.amount

    def _remove_frames_outside_chunks(
        self, manifest: Manifest, frames: FrameBlobs
    ) -> Iterator[DeletionSummary]:
        """Delete frames that belong to no chunk, for which there is no lease.

        A program that writes such frames, or is about to append chunks, may be storing a frame
        under one of these keys, or may find an intact frame there. So they are deleted page by
        page, each right after a check that no program holds a lease on the timeline.
        """
        listing = self._store.list(keys.frames_prefix(self._timeline_id))
        old = (blob for blob in listing if blob.modified_at <= self._before)
        for batch in _batches(old, _BATCH):
            sequences = [keys.parse_frame(self._timeline_id, blob.key) for blob in batch]
            known = np.array([-1 if number is None else number for number in sequences])
            chosen = list(itertools.compress(batch, frames.contains(known).tolist()))
            if chosen:
                self._require_unused_keys(manifest)
                yield self._remove(chosen)

    def _remove_cached(self, cleared: Manifest) -> Iterator[DeletionSummary]:
        """Delete index files, packs, renditions and sheets of older epochs, then frames."""
        yield from self._remove_older(cleared, keys.indexes_prefix, keys.parse_index)
        parse_pack = partial(keys.parse_pack, self._timeline_id)
        yield from self._remove_older(cleared, keys.packs_prefix, parse_pack)
        parse_rendition = partial(keys.parse_rendition, self._timeline_id)
        yield from self._remove_older(cleared, keys.renditions_prefix, parse_rendition)
        parse_sprite = partial(keys.parse_sprite, self._timeline_id)
        yield from self._remove_older(cleared, keys.sprites_prefix, parse_sprite)
        frames = FrameBlobs.from_pairs(
            (sequence, blob.size_bytes)
            for blob in self._store.list(keys.frames_prefix(self._timeline_id))
            if (sequence := keys.parse_frame(self._timeline_id, blob.key)) is not None
        )
        yield from self._remove_frames(cleared, frames)

    def _remove_older(
        self,
        cleared: Manifest,
        prefix: Callable[[str], str],
        parse: Callable[[str], object],
    ) -> Iterator[DeletionSummary]:
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

    def _require_unused(self, manifest: Manifest) -> None:
        """Raise if the timeline was used since the plan was made: only unused ones are evicted."""
        self._require_unleased(manifest)
        with suppress(BlobMissing):
            used_at = self._store.head(keys.access_log(self._timeline_id)).modified_at
            if used_at > self._state.last_used_at:
                raise _TimelineChanged("it was read in the meantime: its frames were kept")

    def _require_unused_keys(self, manifest: Manifest) -> None:
        """Raise if a program may have stored blobs under keys that are to be removed.

        One that has done so and is at work has a lease, one that is done has changed the manifest.
        A program may begin between two requests, or end.
        """
        self._require_unleased(manifest)
        self._require_unchanged(manifest)
        self._require_unleased(manifest)

    def _require_unleased(self, manifest: Manifest) -> None:
        if any(self._renewed_leases(manifest)):
            raise _TimelineChanged("another program is extracting it now: its frames were kept")

    def _require_not_moved(self, manifest: Manifest) -> None:
        """Raise if a program is moving frames into another layout.

        It releases the lease of a part when it has stored its frames, and makes them current much
        later. Until then it holds a lease that belongs to no segment.
        """
        leases = map(keys.parse_lease, self._renewed_leases(manifest))
        if any(lease is not None and keys.is_written_part(lease[0]) for lease in leases):
            raise _TimelineChanged("another program is moving its frames now: they were kept")

    def _renewed_leases(self, manifest: Manifest) -> Iterator[str]:
        """Yield the keys of the leases that were acquired or renewed since the plan."""
        for blob in self._store.list(keys.leases_prefix(self._timeline_id, manifest.epoch)):
            if blob.modified_at > self._before:
                yield blob.key

    def _clear(self, manifest: Manifest) -> Manifest:
        def change(current: Manifest | None) -> Manifest:
            if current is None or current.write_id != manifest.write_id:
                raise _TimelineChanged(_CHANGED)
            return current.next_epoch()

        return update_manifest(self._store, self._timeline_id, change)

    def _require_unchanged(self, expected: Manifest) -> None:
        """Check with two requests that the timeline is the planned one.

        The version itself is read as well: a timeline that was deleted and created again may have
        reached the same version number.
        """
        key = keys.manifest(self._timeline_id, expected.version)
        try:
            is_same = (
                fetch_document(self._store, key, manifest.decode).write_id == expected.write_id
            )
        except BlobMissing:
            is_same = False
        if not is_same or not is_latest(self._store, expected):
            raise _TimelineChanged(_CHANGED)

    def _remove(self, blobs: Sequence[BlobInfo]) -> DeletionSummary:
        self._store.delete(blob.key for blob in blobs)
        return DeletionSummary(len(blobs), sum(blob.size_bytes for blob in blobs))


_CHANGED: Final = "another program changed it in the meantime: run gc again"


def _batches(blobs: Iterable[BlobInfo], size: int) -> Iterator[list[BlobInfo]]:
    remaining = iter(blobs)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _key(blob: BlobInfo) -> str:
    return blob.key
