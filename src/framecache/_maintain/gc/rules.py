"""Rules that decide which blobs of a timeline can be deleted; pure, from a listing and the index.

Nothing younger than the grace period is deleted. The grace period is longer than any program pauses
between two of its requests. Consequences:

- A replaced index file of the current epoch is deleted when *its successor* is older than the grace
  period: a program that still means to read it has not requested it for that long. The oldest file
  stays, because its time shows which overlays are older than all frames of the epoch. So does the
  oldest file of each part that replaced frames.
- A version of the manifest is deleted when the next version is older than the grace period: a
  program that knows version ``n`` only asks whether ``n + 1`` exists. The oldest are deleted first
  and the last two stay. So if ``n + 1`` is gone, ``n`` is gone too, and a reader never takes ``n``
  for the current version.
- If all leases of a part are older than the grace period, no program is working on it. While one
  is, the part's first lease stays however old it is.
- Frames, packs, renditions and generations of index parts that nothing references stay while any
  program is working in the epoch: a repack stores many of them before one manifest names them all.
- Frames that are being stored are mixed with frames that crashed programs left: unreferenced frames
  stay as long as one of them is younger than the grace period, or the timeline has a lease.

Overlays, the current manifest and unknown blobs are never deleted, nor is anything of a timeline
without a manifest, unless all that is left of it was stored after a delete.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, pairwise
from typing import Final

import numpy as np

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._ingest.deletion import DeletionSummary
from framecache._maintain.gc.frame_blobs import NO_FRAMES, FrameBlobs, UnreferencedFrames
from framecache._maintain.inventory import (
    NO_REFERENCES,
    EpochFolder,
    References,
    age_reference_files,
    index_files_by_part,
    parse_epoch_blob,
    referenced_index_files,
)
from framecache.errors import FrameCacheError
from framecache.store import BlobInfo

_CACHED_FOLDERS: Final = tuple({*EpochFolder} - {EpochFolder.LEASES})
_NOTHING: Final = DeletionSummary(0, 0)
_UNIX_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Reason(StrEnum):
    """Reason why something can be deleted."""

    OLD_EPOCHS = "old epochs"
    """Index files, packs, renditions and thumbnails from before a clear or rebuild."""
    EXPIRED_LEASES = "expired leases"
    """Leases of programs that no longer renew them."""
    ORPHANS = "orphans"
    """Frames, packs, renditions and index files of the epoch that nothing references."""
    UNFINISHED_EXTRACTIONS = "unfinished extractions"
    """Frames of segments whose extraction was not finished and is not in progress."""
    OLD_MANIFESTS = "old manifests"
    """Versions of the manifest that were replaced."""
    ABANDONED_UPLOADS = "abandoned uploads"
    """On local disk: partially stored blobs of programs that were killed."""


@dataclass(frozen=True, slots=True, eq=False)
class CommittedState:
    """Committed state of a timeline."""

    manifest: Manifest | None
    """Current manifest; None: the timeline has none."""
    references: References
    missing_parts: frozenset[str]
    """Parts of the manifest that are not committed yet."""
    is_relocated: bool = True
    """True if every frame is stored where its layout requires it."""


NOTHING_COMMITTED: Final = CommittedState(None, NO_REFERENCES, frozenset())


@dataclass(frozen=True, slots=True, eq=False)
class TimelineState:
    """State of a timeline when it was scanned, and what of it can be deleted."""

    timeline_id: str
    manifest: Manifest | None
    error: FrameCacheError | None
    """Error that keeps the state of the timeline from being read."""
    total: DeletionSummary
    """All of its blobs."""
    cached: DeletionSummary
    """Its frames, renditions, index files, packs and thumbnails: what an eviction deletes."""
    last_used_at: datetime
    """Time at which its newest blob was stored; reading a timeline stores one at intervals."""
    is_being_extracted: bool
    missing_parts: frozenset[str]
    """Parts of the manifest that are not committed yet."""
    is_relocated: bool = True
    """True if no replaced frame still has to be copied to its public key."""
    blobs: Mapping[Reason, tuple[BlobInfo, ...]] = field(default_factory=dict)
    """Blobs other than frames that can be deleted."""
    frames: Mapping[Reason, FrameBlobs] = field(default_factory=dict)
    """Frames that can be deleted."""

    def amount(self, reason: Reason) -> DeletionSummary:
        """Return the amount that can be deleted for one reason."""
        blobs = self.blobs.get(reason, ())
        size_bytes = sum(blob.size_bytes for blob in blobs)
        return DeletionSummary(len(blobs), size_bytes) + self.frames.get(reason, NO_FRAMES).amount

    @property
    def can_be_rebuilt(self) -> bool:
        """True if its frames can be extracted again."""
        return self.manifest is not None and bool(self.manifest.chunks)


def classify(
    timeline_id: str,
    listing: Iterable[BlobInfo],
    committed: CommittedState,
    *,
    before: datetime,
    error: FrameCacheError | None = None,
) -> TimelineState:
    """Read a listing of all blobs of a timeline once, and decide what can be deleted.

    Args:
        timeline_id: the timeline.
        listing: its blobs, in any order.
        committed: the committed state; read before the listing was requested.
        before: blobs stored later stay.
        error: the reason why nothing can be decided; then everything stays.
    """
    listed = _BlobsByKind(timeline_id, committed, before)
    for blob in listing:
        listed.add(blob)
    listed.frames.flush()
    manifest = committed.manifest
    is_being_filled = manifest is not None and any(
        blob.modified_at > before for blob in listed.by_epoch[EpochFolder.LEASES][manifest.epoch]
    )
    state = TimelineState(
        timeline_id=timeline_id,
        manifest=manifest,
        error=error,
        total=listed.total,
        cached=listed.cached,
        last_used_at=listed.newest,
        is_being_extracted=is_being_filled,
        missing_parts=committed.missing_parts,
        is_relocated=committed.is_relocated,
    )
    if error is not None:
        return state
    if manifest is None:
        return _with_deletable(
            state, {Reason.ORPHANS: _stored_before(listed.stored_after_delete(), before)}, {}
        )
    blobs = _deletable_blobs(state, listed, manifest, committed.references.age_reference_parts)
    return _with_deletable(state, blobs, _deletable_frames(state, listed, committed))


class _BlobsByKind:
    """Blobs of a timeline, by kind."""

    def __init__(self, timeline_id: str, committed: CommittedState, before: datetime) -> None:
        self.before = before
        self.frames = UnreferencedFrames(committed.references.sequences, before)
        self.by_epoch: dict[EpochFolder, dict[str, list[BlobInfo]]] = {
            folder: defaultdict(list) for folder in EpochFolder
        }
        """Blobs with an epoch, but no referenced packs and renditions, by folder and epoch."""
        self.manifests: dict[int, BlobInfo] = {}
        self.used: list[BlobInfo] = []
        self.total = self.cached = _NOTHING
        self.newest = _UNIX_EPOCH
        self._timeline_id = timeline_id
        self._references = committed.references
        self._access_log = keys.access_log(timeline_id)

    def stored_after_delete(self) -> list[BlobInfo]:
        """Return blobs stored after the timeline was deleted, if there are no others.

        Frames are not among them: they may be another program's.
        """
        found = [*self.used, *(blob for folder in EpochFolder for blob in self.in_folder(folder))]
        return found if len(found) == self.total.blobs else []

    def in_folder(self, folder: EpochFolder) -> Iterator[BlobInfo]:
        """Yield the blobs of all epochs in a folder, but no referenced packs and renditions."""
        return chain.from_iterable(self.by_epoch[folder].values())

    def add(self, blob: BlobInfo) -> None:
        """Count a blob, and put it with those of its kind."""
        amount = DeletionSummary(1, blob.size_bytes)
        self.total += amount
        self.newest = max(self.newest, blob.modified_at)
        sequence = keys.parse_frame(self._timeline_id, blob.key)
        if sequence is not None:
            self.cached += amount
            self.frames.add(sequence, blob)
        elif (place := parse_epoch_blob(self._timeline_id, blob.key)) is not None:
            if not place.is_valid:
                return
            if place.folder is not EpochFolder.LEASES:
                self.cached += amount
            if not self._references.has_epoch_blob(self._timeline_id, blob.key):
                self.by_epoch[place.folder][place.epoch].append(blob)
        elif (version := keys.parse_manifest(self._timeline_id, blob.key)) is not None:
            self.manifests[version] = blob
        elif blob.key == self._access_log:
            self.used.append(blob)


def _deletable_blobs(
    state: TimelineState,
    listed: _BlobsByKind,
    manifest: Manifest,
    age_reference_parts: frozenset[str],
) -> dict[Reason, list[BlobInfo]]:
    before = listed.before
    old_epochs = [
        blob
        for folder in _CACHED_FOLDERS
        for epoch, blobs in listed.by_epoch[folder].items()
        for blob in blobs
        if epoch != manifest.epoch
    ]
    current = listed.by_epoch[EpochFolder.INDEX][manifest.epoch]
    orphans = _replaced_index_files(current, manifest, before)
    if not state.is_being_extracted:
        orphans += _stored_before(_unreferenced_index_files(current, manifest), before)
        # If rows of written frames were lost, the pictures in packs cannot be made again.
        if state.missing_parts.isdisjoint(manifest.written_parts):
            for folder in (EpochFolder.PACKS, EpochFolder.RENDITIONS):
                orphans += _stored_before(listed.by_epoch[folder][manifest.epoch], before)
    dating = age_reference_files(current, manifest, age_reference_parts)
    orphans = [blob for blob in orphans if blob.key not in dating]
    return {
        Reason.OLD_EPOCHS: _stored_before(old_epochs, before),
        Reason.EXPIRED_LEASES: expired_leases(listed.in_folder(EpochFolder.LEASES), before),
        Reason.ORPHANS: orphans,
        Reason.OLD_MANIFESTS: _replaced_manifests(listed, manifest, before),
    }


def expired_leases(blobs: Iterable[BlobInfo], before: datetime) -> list[BlobInfo]:
    """Return the leases of parts of which no lease was renewed since a time."""
    by_part: dict[str, list[BlobInfo]] = defaultdict(list)
    for blob in blobs:
        by_part[blob.key.rpartition("-")[0]].append(blob)
    return [
        blob
        for leases in by_part.values()
        if all(lease.modified_at <= before for lease in leases)
        for blob in leases
    ]


def _replaced_index_files(
    blobs: Iterable[BlobInfo], manifest: Manifest, before: datetime
) -> list[BlobInfo]:
    """Return the index files that were replaced."""
    named = referenced_index_files(manifest)
    found: list[BlobInfo] = []
    for part, files in index_files_by_part(blobs).items():
        current = named.get(part)
        if current in files:
            found += _replaced(files, current, before)
    return found


def _unreferenced_index_files(blobs: Iterable[BlobInfo], manifest: Manifest) -> list[BlobInfo]:
    """Return the index files that the manifest does not name, or not yet."""
    named = referenced_index_files(manifest)
    found: list[BlobInfo] = []
    for part, files in index_files_by_part(blobs).items():
        current = named.get(part)
        if current is None:
            found += files.values()
        elif current in files:
            found += [files[number] for number in files if number > current]
    return found


def _replaced_manifests(
    listed: _BlobsByKind, manifest: Manifest, before: datetime
) -> list[BlobInfo]:
    """Return the oldest versions; the last stays, to recover from if the current one is damaged."""
    replaced = (number for number in listed.manifests if number < manifest.version)
    return _replaced(listed.manifests, max(replaced, default=0), before)


def _replaced(files: Mapping[int, BlobInfo], current: int, before: datetime) -> list[BlobInfo]:
    """Return the files before the current number whose successor is old enough, ascending."""
    numbers = sorted(number for number in files if number <= current)
    return [
        files[number]
        for number, following in pairwise(numbers)
        if max(files[number].modified_at, files[following].modified_at) <= before
    ]


def _deletable_frames(
    state: TimelineState, listed: _BlobsByKind, committed: CommittedState
) -> dict[Reason, FrameBlobs]:
    unnamed = listed.frames.old
    manifest = committed.manifest
    chunks = manifest.chunks if manifest else ()
    if not chunks:
        # A written part is committed before the manifest names it: a missing one was lost, and its
        # frames cannot be made again.
        is_safe = not (
            committed.missing_parts or state.is_being_extracted or listed.frames.has_young
        )
        return {Reason.ORPHANS: unnamed} if is_safe else {}
    are_missing = np.zeros(len(unnamed), dtype=np.bool_)
    missing = set(committed.missing_parts)
    for segment in manifest.segments if manifest else ():
        if segment.part in missing:
            first, last = np.searchsorted(
                unnamed.sequences, [segment.first_sequence, segment.stop_sequence]
            )
            are_missing[first:last] = True
    if state.is_being_extracted:
        return {}
    found = {Reason.ORPHANS: unnamed.where(~are_missing)}
    if not listed.frames.has_young:
        found[Reason.UNFINISHED_EXTRACTIONS] = unnamed.where(are_missing)
    return found


def _with_deletable(
    state: TimelineState,
    blobs: Mapping[Reason, list[BlobInfo]],
    frames: Mapping[Reason, FrameBlobs],
) -> TimelineState:
    return replace(
        state,
        blobs={reason: tuple(found) for reason, found in blobs.items() if found},
        frames={reason: found for reason, found in frames.items() if len(found)},
    )


def _stored_before(blobs: Iterable[BlobInfo], before: datetime) -> list[BlobInfo]:
    return [blob for blob in blobs if blob.modified_at <= before]
