"""Move the frames of a timeline to another layout, without changing a byte of any JPEG.

The frames of each part are stored in the new layout. Then the next generation of the part, which
names them there, is committed. One manifest makes all of these generations current at once: until
then nothing changes, and readers see a complete timeline before and after. Only then are blobs
removed that are no longer referenced.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from threading import Lock
from typing import Final

import numpy as np

from framecache._core import keys
from framecache._core.manifest import Manifest, new_write_id
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    Snapshot,
    blob_exists,
    commit_repair,
    compact,
    current_manifest,
    ensure_current,
    is_latest,
    lease,
    live_rows,
    load_parts,
    load_snapshot_at,
    update_manifest,
)
from framecache._index.lease import FRAMES_BETWEEN_CHECKS, LeaseManager
from framecache._ingest import relocate
from framecache._ingest.chunk_frames import open_chunk, store_frames
from framecache._ingest.chunk_plan import list_frames, plan_chunk
from framecache._ingest.deletion import cleanup_if_deleted
from framecache._layouts import LAYOUTS, FrameStorage, layout_of
from framecache._layouts.encoding import EncodedJpeg, FramePosition
from framecache._maintain.repack.report import RepackReport
from framecache._media import jpeg, video
from framecache._read import FrameSource, fetch_in_order
from framecache._read.on_demand.open_chunks import DESCRIPTION_KEY, describe_chunk
from framecache._version import __version__
from framecache.errors import (
    CorruptFrame,
    FrameCacheError,
    NotCached,
    SettingsConflict,
    StorePermissionDenied,
    StoreUnavailable,
    TimelineCleared,
)
from framecache.model import Layout, Progress, ProgressCallback
from framecache.store import Store

_BATCH: Final = 1000
_POLL_SECONDS: Final = 1.0
_MAX_LEASE_TIMEOUTS: Final = 2
"""Number of lease timeouts to wait for a lease that does not expire."""


def repack(
    store: Store,
    timeline_id: str,
    layout: Layout,
    *,
    workers: int,
    progress: ProgressCallback | None = None,
) -> RepackReport:
    """Move all committed frames of a timeline to a layout; nothing is encoded again.

    From layout ``video`` this is an extraction: frames that are not stored are decoded.

    Raises:
        NotCached: the timeline has no manifest.
        SettingsConflict: ``layout`` is one that stores no frames, and they are stored.
        UnreadableChunk: frames are not stored, and their chunk changed, is gone or cannot be read.
        CorruptFrame: a frame is damaged; the timeline is unchanged.
        TimelineCleared: another program cleared the timeline meanwhile.
        StoreUnavailable: another program is working on a part of it.
    """
    began = time.monotonic()
    manifest = current_manifest(store, timeline_id)
    if manifest is None:
        raise NotCached(
            f"timeline {timeline_id} in {store.display_name} has no manifest, so its layout cannot "
            "be changed: extract it first"
        )
    if not LAYOUTS[layout].stores_frames and manifest.settings.layout != layout:
        raise SettingsConflict(
            f"timeline {timeline_id} stores its frames in layout {manifest.settings.layout}, and "
            f"repacking keeps them; to drop them and decode the chunks instead: "
            f"framecache rebuild {timeline_id} --layout {layout}"
        )
    with LeaseManager(store, manifest) as held:
        run = _RepackRun(store, manifest, layout, held, workers, progress)
        try:
            run.lease_imported_frames()
            moved = run.move_all()
        except TimelineCleared:
            cleanup_if_deleted(store, timeline_id)
            raise
        removed = run.remove_unreferenced(moved)
    if run.has_unmoved_frames():
        # Programs that wrote meanwhile have left moving their frames out of packs to this one.
        relocate(store, timeline_id, workers=workers, wait=False)
    frames = sum(part.frames for part in moved)
    return RepackReport(
        timeline_id=timeline_id,
        layout=layout,
        frames_moved=frames,
        parts_moved=len(moved),
        bytes_moved=sum(part.bytes_moved for part in moved),
        blobs_removed=removed,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class _MovedPart:
    """Part whose frames are stored in the new layout as well."""

    part: str
    generation: int
    """Generation that names the new locations."""
    old_generation: int
    """Generation that names the old locations."""
    old_keys: Sequence[str]
    packs: Sequence[str]
    """Packs that its frames were stored in."""
    frames: int
    bytes_moved: int


class _RepackRun:
    """One change of the layout of one timeline."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        layout: Layout,
        leases: LeaseManager,
        workers: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._target = replace(manifest, settings=replace(manifest.settings, layout=layout))
        self._leases = leases
        self._workers = workers
        self._progress = progress
        self._done = self._total = 0
        self._counting = Lock()

    def lease_imported_frames(self) -> None:
        """Keep other programs from moving written frames meanwhile.

        Raises:
            StoreUnavailable: another program is moving them.
        """
        if not self._manifest.written_parts:
            return
        self._acquire_lease(keys.REPACKING)
        latest = current_manifest(self._store, self._manifest.timeline_id)
        if latest is None or latest.epoch != self._manifest.epoch:
            ensure_current(self._store, self._manifest)
        else:
            layout = self._target.settings.layout
            self._manifest = latest
            self._target = replace(latest, settings=replace(latest.settings, layout=layout))

    def has_unmoved_frames(self) -> bool:
        """Return True if frames that other programs wrote meanwhile may be in the old layout."""
        if not layout_of(self._target).has_public_keys or self._manifest.chunks:
            return False
        latest = current_manifest(self._store, self._manifest.timeline_id)
        return latest is not None and latest.written_parts != self._manifest.written_parts

    def move_all(self) -> list[_MovedPart]:
        """Store all frames in the layout that are not yet, and commit a manifest for them."""
        wanted = {
            part: index
            for part, index in self._committed().items()
            if not layout_of(self._target).holds_all(index)
        }
        counting = self._without_replaced(wanted)
        self._total = sum(int(index.is_ok.sum()) for index in counting.values())
        # While this lease exists, gc keeps what is stored but not yet named by a manifest.
        self._leases.acquire(keys.write_lease_part(new_write_id()))
        self._leases.refresh()
        moved: list[_MovedPart] = []
        try:
            for part, index in wanted.items():
                keys_before = index.key[index.is_ok & ~index.is_decoded_on_demand].tolist()
                moved.append(self._move(part, counting[part], keys_before))
                # Before the manifest is committed, it is checked that the part was not repaired
                # since.
                self._leases.release(part)
        except FrameCacheError:
            self._roll_back(moved)
            raise
        self._commit_manifest(moved)
        return moved

    def remove_unreferenced(self, moved: Sequence[_MovedPart]) -> int:
        """Remove unreferenced blobs, while the timeline stays in its new layout."""
        latest = current_manifest(self._store, self._manifest.timeline_id)
        if latest is None or not self._is_target(latest):
            return 0
        snapshot = load_snapshot_at(self._store, latest)
        if not {part.part for part in moved}.isdisjoint(snapshot.missing_parts):
            return 0  # its rows are lost: the old blobs may be all that is left
        named = set(snapshot.index.key.tolist())
        unnamed = (
            key for part in moved for key in dict.fromkeys(part.old_keys) if key not in named
        )
        removed = 0
        while (batch := list(islice(unnamed, _BATCH))) and is_latest(self._store, latest):
            removed += self._store.delete(batch)
        return removed

    def _committed(self) -> dict[str, Index]:
        parts = self._manifest.parts
        found = dict(zip(parts, load_parts(self._store, self._manifest, parts), strict=True))
        compaction = self._manifest.compaction
        for part in compaction.parts if compaction else ():
            if found[part] is None:
                ensure_current(self._store, self._manifest)
                raise CorruptFrame(
                    f"index part {self._manifest.index_key(part)} in {self._store.display_name} is "
                    f"missing; run: framecache verify {self._manifest.timeline_id} --repair"
                )
        return {part: index for part, index in found.items() if index is not None}

    def _without_replaced(self, parts: Mapping[str, Index]) -> Mapping[str, Index]:
        """Return the parts without frames that were replaced since: their pictures may be gone."""
        if parts.keys().isdisjoint(self._manifest.written_parts):
            return parts
        whole = load_snapshot_at(self._store, self._manifest).index
        return {part: live_rows(index, whole) for part, index in parts.items()}

    def _move(self, part: str, index: Index, old_keys: Sequence[str]) -> _MovedPart:
        """Store the frames of a part in the new layout, and commit their locations."""
        self._acquire_lease(part)
        layout = layout_of(self._target)
        with (
            layout.create_encoders(self._store, workers=self._workers) as encoders,
            layout.create_storage(
                self._store, self._target, part, encoders, on_stored=self._count_frame
            ) as storage,
        ):
            rows = PartBuilder()
            stored = (
                self._extract_frames(part, index, storage)
                if index.is_decoded_on_demand.any()
                else self._store_frames(part, index, storage)
            )
            for row in stored:
                rows.add(row)
            ensure_current(self._store, self._manifest)
        about = {**index.provenance, "framecache": __version__, "repacked": layout.name}
        if about.pop(DESCRIPTION_KEY, None) is not None:
            about |= {"ffmpeg": video.ffmpeg_version(), "jpeg_encoder": jpeg.encoder_version()}
        generation = commit_repair(self._store, self._target, part, rows.build(), provenance=about)
        packs = dict.fromkeys(row.key for row in rows.rows if row.offset)
        return _MovedPart(
            part,
            generation,
            old_generation=self._manifest.generations.get(part, 0),
            old_keys=old_keys,
            packs=list(packs),
            frames=sum(row.status == "ok" for row in rows.rows),
            bytes_moved=sum(row.size for row in rows.rows),
        )

    def _acquire_lease(self, part: str) -> None:
        """Acquire the lease on a part; waits for a lease whose owner may have died."""
        if self._leases.acquire(part):
            return
        timeline_id, place = self._manifest.timeline_id, self._store.display_name
        deadline = time.monotonic() + _MAX_LEASE_TIMEOUTS * lease.LEASE_TTL_SECONDS
        while not self._leases.acquire(part):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another program is working on part {part} of timeline {timeline_id} in "
                    f"{place}: try again when it is done"
                )
            time.sleep(_POLL_SECONDS)
            self._leases.refresh()
        latest = current_manifest(self._store, timeline_id)
        if latest is not None and latest.index_key(part) != self._manifest.index_key(part):
            raise StoreUnavailable(
                f"another program repacked or repaired part {part} of timeline {timeline_id} "
                f"in {place} in the meantime: try again"
            )

    def _store_frames(self, part: str, index: Index, storage: FrameStorage) -> list[FrameRow]:
        """Store the frames of a part in the new layout; return its rows."""
        source = FrameSource(self._store, Snapshot(self._manifest, index, ()))
        positions = np.flatnonzero(index.is_ok)
        with closing(fetch_in_order(source, positions)) as fetched:
            for count, (one, crc32c) in enumerate(
                zip(fetched, index.crc32c[positions].tolist(), strict=True)
            ):
                if count % FRAMES_BETWEEN_CHECKS == 0:
                    self._require_lease(part)
                if one.row.crc32c != crc32c:
                    raise StoreUnavailable(
                        f"another program replaced frame {one.row.sequence} of timeline "
                        f"{self._manifest.timeline_id} in {self._store.display_name} while it was "
                        f"repacked: try again"
                    )
                storage.add(
                    _to_frame_position(one.row), partial(_to_encoded_frame, one.row, one.jpeg())
                )
        moved = [_with_location(index, row) for row in storage.finish()]
        return [*moved, *index.rows(np.flatnonzero(~index.is_ok))]

    def _extract_frames(self, part: str, index: Index, storage: FrameStorage) -> Sequence[FrameRow]:
        """Extract the frames of a part that are not stored; return its rows.

        Raises:
            ChunkChanged: the chunk was replaced, or contradicts the sample tables from which its
                frames were listed.
        """
        segment = next(one for one in self._manifest.segments if one.part == part)
        entry = segment.chunk
        snapshot = Snapshot(self._manifest, index, ())
        video.require_packages("repack")
        with open_chunk(self._store, entry) as file:
            # The description of a video does not have the tables, which are checked while decoding.
            scan = (
                list_frames(file, entry)
                if entry.listed_from == "tables"
                else describe_chunk(self._store, snapshot, entry).scan
            )
            planned = plan_chunk(entry, scan, self._manifest.settings.sampling)
            planned = planned.of_segment(segment)
            return store_frames(
                file,
                self._target,
                entry,
                planned,
                storage,
                threads=max(1, self._workers // 2 + 1),
                check=partial(self._require_lease, part),
                on_undecodable=self._count_frame,
            ).rows

    def _roll_back(self, moved: Sequence[_MovedPart]) -> None:
        """Remove the new packs, which no other program can reference.

        Frames that are separate blobs stay.
        """
        # Index parts stay, because another program may use their names meanwhile. Without the
        # permission to delete, the packs are left to gc.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self._store.delete([key for one in moved for key in one.packs])

    def _require_lease(self, part: str) -> None:
        """Raise if the timeline or the lease was lost, so that newer data is not overwritten."""
        ensure_current(self._store, self._manifest)
        if not self._leases.is_held(part):
            raise StoreUnavailable(
                f"another program took over part {part} of timeline {self._manifest.timeline_id} "
                f"in {self._store.display_name}, because this one sent no heartbeat in time: try "
                "again"
            )

    def _count_frame(self, _: FramePosition | None = None) -> None:
        with self._counting:
            self._done += 1
            if self._progress is not None:
                self._progress(Progress(self._done, self._total))

    def _commit_manifest(self, moved: Sequence[_MovedPart]) -> None:
        """Make the new generations and the layout current, all at once."""

        def change(current: Manifest | None) -> Manifest:
            if current is None or current.epoch != self._manifest.epoch:
                raise TimelineCleared(
                    f"timeline {self._manifest.timeline_id} in {self._store.display_name} was "
                    "cleared, rebuilt or deleted by another program while it was repacked: start "
                    "again"
                )
            if not moved and current.settings == self._target.settings:
                return current
            self._require_stored(moved)
            for part in moved:
                if current.generations.get(part.part, 0) != part.old_generation:
                    raise StoreUnavailable(
                        f"another program repaired part {part.part} of timeline "
                        f"{current.timeline_id} while it was repacked: try again"
                    )
            generations = {part.part: part.generation for part in moved}
            return current.next_version(
                settings=self._target.settings,
                generations={**current.generations, **generations},
                compaction=None if moved else current.compaction,
            )

        manifest = update_manifest(self._store, self._manifest.timeline_id, change)
        if not moved:
            return
        snapshot = load_snapshot_at(self._store, manifest)
        if snapshot.is_complete:
            compact(self._store, manifest, snapshot)
        else:
            # Commit another version with these locations. If the only such version were damaged,
            # the one before it would name blobs that are about to be removed.
            update_manifest(self._store, manifest.timeline_id, _next_version)

    def _require_stored(self, moved: Sequence[_MovedPart]) -> None:
        """Check that the index parts to be named were not removed by another program."""
        for part in moved:
            key = keys.index_part(
                self._manifest.timeline_id,
                epoch=self._manifest.epoch,
                part=part.part,
                generation=part.generation,
            )
            if not blob_exists(self._store, key):
                raise StoreUnavailable(
                    f"{key} in {self._store.display_name} was removed by another program while the "
                    f"timeline was repacked: try again"
                )

    def _is_target(self, latest: Manifest) -> bool:
        is_same_epoch = latest.epoch == self._manifest.epoch
        return is_same_epoch and latest.settings.layout == self._target.settings.layout


def _next_version(current: Manifest | None) -> Manifest:
    if current is None:
        raise TimelineCleared("the timeline was deleted by another program while it was repacked")
    return current.next_version()


def _with_location(index: Index, stored: FrameRow) -> FrameRow:
    """Return the row of a frame with its new location and otherwise unchanged."""
    position = index.position(stored.sequence)
    assert position is not None
    return replace(index.row(position), key=stored.key, offset=stored.offset)


def _to_frame_position(row: FrameRow) -> FramePosition:
    return FramePosition(row.sequence, row.chunk_id, row.pts, row.timestamp, row.duration)


def _to_encoded_frame(row: FrameRow, jpeg: bytes) -> EncodedJpeg:
    return EncodedJpeg(jpeg, row.width, row.height, row.crc32c, row.perceptual_hash)
