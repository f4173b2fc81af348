"""Relocation of replaced frames from packs to their public keys, in layout ``objects``.

A replaced frame is in a pack when it is committed. Relocation stores it under its public key, over
the previous picture; the next generation of its index part names that key; the pack is deleted.
Until a manifest names that generation, readers find the frame in the pack: no byte that the
current manifest names is overwritten. One program at a time does this. It reads the
committed state only after it has the lease, so an older picture never overwrites a newer one.

If a program stops sending heartbeats meanwhile, another one takes over. That one stores the
frames under their public keys, but its rows still name the pack, because the first program may
resume and store an older picture last. After its grace period, when no program can resume, gc
commits the new location.

Docs: docs/design/0008-replacing.md.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import google_crc32c
import numpy as np

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    Snapshot,
    commit_repair,
    compact,
    current_manifest,
    ensure_current,
    lease,
    live_rows,
    load_parts,
    load_snapshot_at,
    pack_keys,
    update_manifest,
)
from framecache._index.lease import LeaseManager
from framecache._layouts import layout_of
from framecache._read import FrameSource, prefetch_map
from framecache._version import __version__
from framecache.errors import CorruptFrame, StorePermissionDenied, StoreUnavailable, TimelineCleared
from framecache.store import BlobExists, BlobMissing, Store, is_remote

_CONCURRENT_REQUESTS: Final = 16
_POLL_SECONDS: Final = 0.1
_ATTEMPTS: Final = 10


def is_relocated(manifest: Manifest, index: Index) -> bool:
    """Return True unless written frames are in packs although the layout is ``objects``."""
    is_written = layout_of(manifest).has_public_keys and not manifest.chunks
    return not is_written or not bool((index.offset > 0).any())


def relocate(store: Store, timeline_id: str, *, workers: int, wait: bool = True) -> None:
    """Move every replaced frame of a timeline to its public key.

    If another program is doing that, do nothing: that program checks again when it is
    done. If a public key holds a picture that another program may be about to commit, leave the
    frame in its pack; that program moves it.

    Args:
        store: the store of the timeline.
        timeline_id: the timeline.
        workers: the number of threads that read and store.
        wait: whether to wait for other programs that seem to move or write frames, and continue
            if they send no heartbeats. If False, frames stay in their packs, where readers find
            them.

    Raises:
        StorePermissionDenied, StoreUnavailable: the store failed. Committed frames stay committed;
            retry.
    """
    for _ in range(_ATTEMPTS):
        manifest = current_manifest(store, timeline_id)
        if manifest is None or manifest.chunks:
            return
        if not layout_of(manifest).has_public_keys:
            return
        with LeaseManager(store, manifest) as held:
            if not _acquire_lease(held, wait=wait):
                return
            relocation = _Relocation(store, timeline_id, held, workers=workers, wait=wait)
            try:
                with suppress(TimelineCleared, _RelocationLeaseLost):
                    for _ in range(_ATTEMPTS):
                        if relocation.relocate_all():
                            break
            finally:
                relocation.cleanup_if_deleted()
            if held.has_taken_over(keys.REPACKING):
                held.release_keeping_predecessors(keys.REPACKING)
                return
        # A program that committed since then, and found the lease held, has left its frames to
        # this one.
        if not relocation.is_outdated():
            return


def _acquire_lease(leases: LeaseManager, *, wait: bool) -> bool:
    """Acquire the lease on moving frames; return False if another program holds it.

    If ``wait``, watch the other program's heartbeats, and take over if there are none.
    """
    deadline = time.monotonic() + 2 * lease.LEASE_TTL_SECONDS
    leases.refresh()
    watched = leases.newest_heartbeat(keys.REPACKING)
    while not leases.acquire(keys.REPACKING):
        now = leases.newest_heartbeat(keys.REPACKING)
        has_sign = now is not None and watched not in (None, now)
        if not wait or has_sign or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
        watched = now or watched
        leases.refresh()
    return True


class _RelocationLeaseLost(Exception):
    """Raised when another program took over the lease on moving frames."""


@dataclass(frozen=True, slots=True, eq=False)
class _CommittedState:
    """Committed state of a timeline at one moment."""

    manifest: Manifest
    indexes: Sequence[Index]
    """Compacted index, if any, and the parts that it does not cover."""
    current: Index
    """Current row of every frame."""
    parts: Mapping[str, Index]
    """Written parts, including every part that has current rows in packs."""

    def is_committed(self, sequence: int, data: bytes) -> bool:
        """Return True if ``data`` is a committed picture of the frame, even one replaced since."""
        for index in self.indexes:
            position = index.position(sequence)
            if position is not None:
                row = index.row(position)
                if (row.size, row.crc32c) == (len(data), google_crc32c.value(data)):
                    return True
        return False


class _Relocation:
    """Run of `relocate` under one lease."""

    def __init__(
        self, store: Store, timeline_id: str, leases: LeaseManager, *, workers: int, wait: bool
    ) -> None:
        self._wait = wait
        self._store = store
        self._timeline_id = timeline_id
        self._leases = leases
        self._threads = max(workers, _CONCURRENT_REQUESTS if is_remote(store) else 1)
        self._last_manifest: Manifest | None = None
        """Manifest that was current when the committed state was last read."""
        self._uncommitted_keys: set[str] = set()
        """Public keys that this program wrote, and that no manifest names yet for their frames."""

    def is_outdated(self) -> bool:
        """Return True if frames were committed since the committed state was last read."""
        current, seen = current_manifest(self._store, self._timeline_id), self._last_manifest
        if current is None or seen is None:
            return False
        return (current.epoch, current.written_parts) != (seen.epoch, seen.written_parts)

    def cleanup_if_deleted(self) -> None:
        """Delete the frames stored under public keys if the timeline was deleted.

        Otherwise they would look like a timeline that another program wrote.
        """
        if self._uncommitted_keys and current_manifest(self._store, self._timeline_id) is None:
            self._store.delete(sorted(self._uncommitted_keys))

    def relocate_all(self) -> bool:
        """Move frames to their public keys; return False if there may be more to move."""
        known = self._load_state()
        if known is None or is_relocated(known.manifest, known.current):
            return True
        brought = self._move_frames(known)
        if not brought or self._leases.has_taken_over(keys.REPACKING):
            return True
        generations = self._commit(known, brought)
        if not self._commit_manifest(known.manifest, generations):
            return False  # repaired or moved in the meantime: read the state again
        self._uncommitted_keys.clear()  # the manifest names them now
        self._remove_packs(known, brought)
        # Other programs may have replaced more frames, and left them to this one.
        return len(brought) < int((known.current.offset > 0).sum())

    def _load_state(self) -> _CommittedState | None:
        """Read the committed state; return None if a part is missing or nothing was written."""
        manifest = current_manifest(self._store, self._timeline_id)
        self._last_manifest = manifest
        if manifest is None or manifest.chunks:
            return None
        covered = manifest.compaction.parts if manifest.compaction else ()
        others = [part for part in manifest.written_parts if part not in covered]
        parts = self._parts(manifest, others)
        indexes = [*parts.values()]
        if covered:
            only = replace(manifest, written_parts=tuple(covered))
            indexes.insert(0, load_snapshot_at(self._store, only).index)
        whole = Index.merged(indexes)
        packed = (live_rows(index, whole).offset > 0 for index in parts.values())
        if sum(int(are.sum()) for are in packed) < int((whole.offset > 0).sum()):
            parts = self._parts(manifest, covered) | parts
        if len(parts) < len(others):
            return None
        return _CommittedState(manifest, indexes, whole, parts)

    def _parts(self, manifest: Manifest, names: Sequence[str]) -> dict[str, Index]:
        loaded = load_parts(self._store, manifest, names)
        pairs = zip(names, loaded, strict=True)
        return {name: index for name, index in pairs if index is not None}

    def _move_frames(self, state: _CommittedState) -> set[int]:
        """Store frames from packs under their public keys; return the sequences now there."""
        source = FrameSource(self._store, Snapshot(state.manifest, state.current, ()))
        rows = state.current.rows(np.flatnonzero(state.current.offset > 0))
        bring = partial(self._move_frame, source, state)
        results = prefetch_map(bring, rows, threads=self._threads, ahead=2 * self._threads)
        outcomes = dict(zip((row.sequence for row in rows), results, strict=True))
        brought = {sequence for sequence, is_there in outcomes.items() if is_there}
        left = [row for row in rows if outcomes[row.sequence] is None]
        if left and self._wait_for_writers():
            for row in left:
                fetched = source.fetch_frame(row)
                self._require_lease()
                if fetched.row == row:
                    self._overwrite(
                        state, keys.frame(self._timeline_id, row.sequence), fetched.jpeg()
                    )
                    brought.add(row.sequence)
        return brought

    def _move_frame(
        self, source: FrameSource, state: _CommittedState, row: FrameRow
    ) -> bool | None:
        """Store a frame under its public key.

        Returns:
            True if the frame is there now; False if it is unreadable, or was replaced or moved;
            None if the key holds a picture that was not committed, or was deleted just now.
        """
        try:
            fetched = source.fetch_frame(row)
        except CorruptFrame:
            return False  # stays in the pack until it is written again
        if fetched.row != row:
            return False  # replaced or moved in the meantime
        data = fetched.jpeg()
        key = keys.frame(self._timeline_id, row.sequence)
        self._require_lease()
        self._uncommitted_keys.add(key)
        try:
            self._store.create(key, data)
        except BlobExists:
            self._uncommitted_keys.discard(key)
            try:
                found = self._store.get(key)
            except BlobMissing:
                return None
            if found == data:
                return True
            if not state.is_committed(row.sequence, found):
                return None
            self._require_lease()
            self._overwrite(state, key, data)
        return True

    def _overwrite(self, state: _CommittedState, key: str, data: bytes) -> None:
        # If a later epoch has begun, the key may hold a frame that was committed in it.
        ensure_current(self._store, state.manifest)
        self._uncommitted_keys.add(key)
        self._store.put(key, data)

    def _wait_for_writers(self) -> bool:
        """Wait until the leases of all writing programs are stale or gone; return True if so.

        Return False as soon as one sends a heartbeat. Uncommitted pictures may belong to these
        programs; the last of them to finish moves what is left.
        """
        deadline = time.monotonic() + 2 * lease.LEASE_TTL_SECONDS
        self._leases.refresh()
        first = self._leases.other_live_leases()
        if first and not self._wait:
            return False
        while now := self._leases.other_live_leases():
            gives_signs = any(first.get(part, newest) != newest for part, newest in now.items())
            if gives_signs or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
            self._leases.refresh()
        return True

    def _require_lease(self) -> None:
        """Raise if the lease was lost.

        A process that was suspended must not overwrite what others stored in the meantime.
        """
        if not self._leases.is_held(keys.REPACKING):
            raise _RelocationLeaseLost

    def _commit(self, state: _CommittedState, moved: set[int]) -> Mapping[str, int]:
        """Commit the next generation of each affected part, which names the frames' public keys."""
        generations: dict[str, int] = {}
        for part, index in state.parts.items():
            counting = live_rows(index, state.current)
            packed = counting.sequence[counting.offset > 0].tolist()
            if moved.isdisjoint(packed):
                continue
            generations[part] = commit_repair(
                self._store,
                state.manifest,
                part,
                _with_public_keys(counting, self._timeline_id, moved),
                provenance={**index.provenance, "framecache": __version__, "settled": True},
            )
        return generations

    def _commit_manifest(self, manifest: Manifest, generations: Mapping[str, int]) -> bool:
        """Name all new generations in one manifest; return False if another change came first."""

        def change(current: Manifest | None) -> Manifest:
            if current is None or current.epoch != manifest.epoch:
                raise TimelineCleared(
                    f"timeline {self._timeline_id} was cleared while its frames were moved"
                )
            # A repack into packs leaves parts as they are whose frames are in packs already, and
            # removes the frames under their public names.
            if current.settings.layout != manifest.settings.layout or any(
                current.generations.get(name, 0) != manifest.generations.get(name, 0)
                for name in generations
            ):
                return current
            covered = current.compaction.parts if current.compaction else ()
            is_covered = not generations.keys().isdisjoint(covered)
            return current.next_version(
                generations={**current.generations, **generations},
                compaction=None if is_covered else current.compaction,
            )

        described = update_manifest(self._store, self._timeline_id, change)
        if any(described.generations.get(name) != number for name, number in generations.items()):
            return False
        if manifest.compaction is not None and described.compaction is None:
            snapshot = load_snapshot_at(self._store, described)
            if (
                not snapshot.missing_parts
                and compact(self._store, described, snapshot) is not described
            ):
                return True
        # Repeat the manifest: if the only version that names the new keys were damaged, the
        # version before it would name packs that are about to be deleted.
        update_manifest(self._store, self._timeline_id, partial(_repeat_manifest, described.epoch))
        return True

    def _remove_packs(self, state: _CommittedState, moved: set[int]) -> None:
        """Delete the packs that no current row names any more."""
        # Renditions stay where they are.
        parts = [index.for_size(None) for index in state.parts.values()]
        packs = {key for index in parts for key in pack_keys(index)}
        left = state.current.rows(np.flatnonzero(state.current.offset > 0))
        named = {row.key for row in left if row.sequence not in moved}
        # If deletion is denied, gc removes the packs later.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self._store.delete(sorted(packs - named))


def _repeat_manifest(epoch: str, current: Manifest | None) -> Manifest:
    if current is None or current.epoch != epoch:
        raise TimelineCleared("the timeline was cleared while its frames were moved")
    return current.next_version()


def _with_public_keys(rows: Index, timeline_id: str, sequences: set[int]) -> Index:
    """Return the rows as an index in which frames of ``sequences`` have their public keys."""
    part = PartBuilder()
    for row in rows.rows(range(len(rows))):
        is_brought = row.sequence in sequences and row.offset > 0
        key = keys.frame(timeline_id, row.sequence)
        part.add(replace(row, key=key, offset=0) if is_brought else row)
    return part.build()
