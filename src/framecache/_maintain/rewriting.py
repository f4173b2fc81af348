"""Rewriting of index parts, so that their rows name what is stored now.

What the rows of each part will name is stored. Then the next generation of the part, which names
it, is committed. One manifest makes all of these generations current at once: until then nothing
changes, and readers see a complete timeline before and after. Only then are blobs removed that are
no longer referenced.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import Any, ClassVar, Final

from framecache._core import keys
from framecache._core.manifest import Manifest, Settings, new_write_id
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    blob_exists,
    blob_keys,
    commit_repair,
    compact,
    current_manifest,
    ensure_current,
    is_latest,
    lease,
    live_rows,
    load_parts,
    load_snapshot_at,
    pack_keys,
    update_manifest,
)
from framecache._index.lease import LeaseManager
from framecache._layouts import layout_of
from framecache._layouts.encoding import FramePosition
from framecache.errors import (
    CorruptFrame,
    FrameCacheError,
    StorePermissionDenied,
    StoreUnavailable,
    TimelineCleared,
)
from framecache.model import Progress, ProgressCallback
from framecache.store import Store

_BATCH: Final = 1000
_POLL_SECONDS: Final = 1.0
_MAX_LEASE_TIMEOUTS: Final = 2
"""Number of lease timeouts to wait for a lease that does not expire."""


@dataclass(frozen=True, slots=True)
class RewrittenPart:
    """Part of which a new generation exists, which no manifest names yet."""

    part: str
    generation: int
    """Generation that names the new locations."""
    old_generation: int
    """Generation that names the old locations."""
    old_keys: Sequence[str]
    packs: Sequence[str]
    """Packs that were stored for it."""
    frames: int
    bytes_stored: int


class PartsRewrite(ABC):
    """One rewriting of the index parts of one timeline."""

    action: ClassVar[str]
    """What is done to the timeline, as in "while it was repacked"."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        leases: LeaseManager,
        progress: ProgressCallback | None,
    ) -> None:
        self.store = store
        self.manifest = manifest
        self.target = replace(manifest, settings=self.change_settings(manifest.settings))
        """Manifest with the settings after the rewriting."""
        self.leases = leases
        self._progress = progress
        self._done = self._total = 0
        self._counting = Lock()

    @abstractmethod
    def change_settings(self, current: Settings) -> Settings:
        """Return the settings of the timeline after the rewriting."""

    @abstractmethod
    def needs_rewrite(self, index: Index) -> bool:
        """Return True if a part with these rows is to be rewritten."""

    @abstractmethod
    def count_steps(self, index: Index) -> int:
        """Return the number of frames of a part for which progress is reported."""

    @abstractmethod
    def store_part(self, part: str, index: Index) -> Sequence[FrameRow]:
        """Store what the new rows of a part name; return these rows.

        The lease on the part is held. Blobs that will not be referenced because of an error are
        deleted if their keys are unique.
        """

    @abstractmethod
    def old_keys(self, index: Index) -> Sequence[str]:
        """Return the keys of blobs that a part may no longer reference after the rewriting."""

    @abstractmethod
    def provenance(self, index: Index) -> Mapping[str, Any]:
        """Return the provenance of the new generation of a part."""

    @abstractmethod
    def bytes_stored(self, row: FrameRow) -> int:
        """Return the bytes of JPEG that were stored for a frame."""

    def lease_imported_frames(self) -> None:
        """Keep other programs from moving written frames meanwhile.

        Raises:
            StoreUnavailable: another program is moving them.
        """
        if not self.manifest.written_parts:
            return
        self.acquire_lease(keys.REPACKING)
        latest = current_manifest(self.store, self.manifest.timeline_id)
        if latest is None or latest.epoch != self.manifest.epoch:
            ensure_current(self.store, self.manifest)
        else:
            self.manifest = latest
            self.target = replace(latest, settings=self.change_settings(latest.settings))

    def rewrite_all(self) -> list[RewrittenPart]:
        """Rewrite all parts that need it, and commit a manifest for them."""
        wanted = {
            part: index for part, index in self._committed().items() if self.needs_rewrite(index)
        }
        counting = self._without_replaced(wanted)
        self._total = sum(map(self.count_steps, counting.values()))
        # While this lease exists, gc keeps what is stored but not yet named by a manifest.
        self.leases.acquire(keys.write_lease_part(new_write_id()))
        self.leases.refresh()
        rewritten: list[RewrittenPart] = []
        try:
            for part, index in wanted.items():
                rewritten.append(self._rewrite(part, counting[part], self.old_keys(index)))
                # Before the manifest is committed, it is checked that the part was not repaired
                # since.
                self.leases.release(part)
        except FrameCacheError:
            self._roll_back(rewritten)
            raise
        self._commit_manifest(rewritten)
        return rewritten

    def remove_unreferenced(self, moved: Sequence[RewrittenPart]) -> int:
        """Remove unreferenced blobs, while the timeline keeps its new settings."""
        latest = current_manifest(self.store, self.manifest.timeline_id)
        if latest is None or not self._is_target(latest):
            return 0
        snapshot = load_snapshot_at(self.store, latest)
        if not {part.part for part in moved}.isdisjoint(snapshot.missing_parts):
            return 0  # its rows are lost: the old blobs may be all that is left
        named = blob_keys(snapshot.index)
        unnamed = (
            key for part in moved for key in dict.fromkeys(part.old_keys) if key not in named
        )
        removed = 0
        while (batch := list(islice(unnamed, _BATCH))) and is_latest(self.store, latest):
            removed += self.store.delete(batch)
        return removed

    def has_unmoved_frames(self) -> bool:
        """Return True if frames that other programs wrote meanwhile may not be where they belong.

        These programs have left moving them to this one, which must `relocate` them.
        """
        if not layout_of(self.target).has_public_keys or self.manifest.chunks:
            return False
        latest = current_manifest(self.store, self.manifest.timeline_id)
        return latest is not None and latest.written_parts != self.manifest.written_parts

    def _committed(self) -> dict[str, Index]:
        parts = self.manifest.parts
        found = dict(zip(parts, load_parts(self.store, self.manifest, parts), strict=True))
        compaction = self.manifest.compaction
        for part in compaction.parts if compaction else ():
            if found[part] is None:
                ensure_current(self.store, self.manifest)
                raise CorruptFrame(
                    f"index part {self.manifest.index_key(part)} in {self.store.display_name} is "
                    f"missing; run: framecache verify {self.manifest.timeline_id} --repair"
                )
        return {part: index for part, index in found.items() if index is not None}

    def _without_replaced(self, parts: Mapping[str, Index]) -> Mapping[str, Index]:
        """Return the parts without frames that were replaced since: their pictures may be gone."""
        if parts.keys().isdisjoint(self.manifest.written_parts):
            return parts
        whole = load_snapshot_at(self.store, self.manifest).index
        return {part: live_rows(index, whole) for part, index in parts.items()}

    def _rewrite(self, part: str, index: Index, old_keys: Sequence[str]) -> RewrittenPart:
        """Store what a part will name, and commit its new rows."""
        self.acquire_lease(part)
        stored = PartBuilder()
        for row in self.store_part(part, index):
            stored.add(row)
        rows = stored.build()
        generation = commit_repair(
            self.store, self.target, part, rows, provenance=self.provenance(index)
        )
        return RewrittenPart(
            part,
            generation,
            old_generation=self.manifest.generations.get(part, 0),
            old_keys=old_keys,
            packs=sorted(pack_keys(rows) - pack_keys(index)),
            frames=sum(row.status == "ok" for row in stored.rows),
            bytes_stored=sum(map(self.bytes_stored, stored.rows)),
        )

    def acquire_lease(self, part: str) -> None:
        """Acquire the lease on a part; waits for a lease whose owner may have died.

        Raises:
            StoreUnavailable: another program is working on the part, or changed it since its rows
                were read: what is stored for old rows may overwrite what new ones name.
        """
        if not self.leases.acquire(part):
            self._wait_for_lease(part)
        if is_latest(self.store, self.manifest):
            return
        latest = current_manifest(self.store, self.manifest.timeline_id)
        if latest is None or latest.epoch != self.manifest.epoch:
            return  # found when something is stored
        if latest.index_key(part) != self.manifest.index_key(part):
            raise StoreUnavailable(
                f"another program changed part {part} of timeline {self.manifest.timeline_id} in "
                f"{self.store.display_name} in the meantime: try again"
            )

    def _wait_for_lease(self, part: str) -> None:
        deadline = time.monotonic() + _MAX_LEASE_TIMEOUTS * lease.LEASE_TTL_SECONDS
        while not self.leases.acquire(part):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another program is working on part {part} of timeline "
                    f"{self.manifest.timeline_id} in {self.store.display_name}: try again when it "
                    "is done"
                )
            time.sleep(_POLL_SECONDS)
            self.leases.refresh()

    def _roll_back(self, moved: Sequence[RewrittenPart]) -> None:
        """Remove the new packs, which no other program can reference.

        Frames that are separate blobs stay.
        """
        # Index parts stay, because another program may use their names meanwhile. Without the
        # permission to delete, the packs are left to gc.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self.store.delete([key for one in moved for key in one.packs])

    def require_lease(self, part: str) -> None:
        """Raise if the timeline or the lease was lost, so that newer data is not overwritten."""
        ensure_current(self.store, self.manifest)
        if not self.leases.is_held(part):
            raise StoreUnavailable(
                f"another program took over part {part} of timeline {self.manifest.timeline_id} "
                f"in {self.store.display_name}, because this one sent no heartbeat in time: try "
                "again"
            )

    def count_frame(self, _: FramePosition | None = None) -> None:
        """Report progress by one frame."""
        with self._counting:
            self._done += 1
            if self._progress is not None:
                self._progress(Progress(self._done, self._total))

    def _commit_manifest(self, moved: Sequence[RewrittenPart]) -> None:
        """Make the new generations and the settings current, all at once."""

        def change(current: Manifest | None) -> Manifest:
            if current is None or current.epoch != self.manifest.epoch:
                raise TimelineCleared(
                    f"timeline {self.manifest.timeline_id} in {self.store.display_name} was "
                    "cleared, rebuilt or deleted by another program while it was "
                    f"{self.action}: start again"
                )
            settings = self.change_settings(current.settings)
            if not moved and current.settings == settings:
                return current
            self._require_stored(moved)
            for part in moved:
                if current.generations.get(part.part, 0) != part.old_generation:
                    raise StoreUnavailable(
                        f"another program repaired part {part.part} of timeline "
                        f"{current.timeline_id} while it was {self.action}: try again"
                    )
            generations = {part.part: part.generation for part in moved}
            return current.next_version(
                settings=settings,
                generations={**current.generations, **generations},
                compaction=None if moved else current.compaction,
            )

        manifest = update_manifest(self.store, self.manifest.timeline_id, change)
        if not moved:
            return
        snapshot = load_snapshot_at(self.store, manifest)
        if snapshot.is_complete:
            compact(self.store, manifest, snapshot)
        else:
            # Commit another version with these locations. If the only such version were damaged,
            # the one before it would name blobs that are about to be removed.
            update_manifest(self.store, manifest.timeline_id, _next_version)

    def _require_stored(self, moved: Sequence[RewrittenPart]) -> None:
        """Check that the index parts to be named were not removed by another program."""
        for part in moved:
            key = keys.index_part(
                self.manifest.timeline_id,
                epoch=self.manifest.epoch,
                part=part.part,
                generation=part.generation,
            )
            if not blob_exists(self.store, key):
                raise StoreUnavailable(
                    f"{key} in {self.store.display_name} was removed by another program while the "
                    f"timeline was {self.action}: try again"
                )

    def _is_target(self, latest: Manifest) -> bool:
        is_same_epoch = latest.epoch == self.manifest.epoch
        return is_same_epoch and latest.settings == self.change_settings(latest.settings)


def _next_version(current: Manifest | None) -> Manifest:
    if current is None:
        raise TimelineCleared("the timeline was deleted by another program in the meantime")
    return current.next_version()
