"""Run of an extraction: decode every segment once, store its frames, commit its index part."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.manifest import Manifest
from framecache._core.sampling import EveryFrame
from framecache._core.threads import BackgroundCheck
from framecache._index import (
    MAX_PROBED_PARTS,
    Index,
    commit_part,
    compact,
    load_snapshot_at,
)
from framecache._index.lease import LeaseManager
from framecache._ingest.chunk_frames import (
    chunk_provenance,
    max_picture_bytes,
    store_frames,
)
from framecache._ingest.chunk_plan import ChunkPlan
from framecache._ingest.deletion import cleanup_if_deleted, delete_older_epochs
from framecache._ingest.epochs import RunningEpoch, find_epoch_conflict, wait_until_inactive
from framecache._ingest.open_chunks import ChunkPlans, FetchedChunks, OpenChunk
from framecache._ingest.progress_counter import ProgressCounter
from framecache._ingest.resolve import (
    ResolvedManifest,
    resolve_replan,
)
from framecache._ingest.rolling_compaction import RollingCompaction
from framecache._ingest.work_queue import Elsewhere, SegmentQueue
from framecache._layouts import layout_of
from framecache._layouts.encoding import EncoderPool
from framecache._media import video
from framecache.errors import CorruptFrame, TimelineCleared
from framecache.model import ExtractReport, ProgressCallback
from framecache.store import BlobFile, Store

_COMPACTION_ATTEMPTS: Final = 3
_PICTURES_PER_DECODER: Final = 24
"""Number of pictures that a decoder and its threads hold to emit them in time order."""
_MAX_DECODER_BYTES: Final = 2**30
"""Limit on the memory for the pictures that all decoders hold together, in bytes."""


@dataclass(frozen=True, slots=True)
class _SegmentResult:
    """Counts of the frames and bytes that this run stored for one segment."""

    chunk_id: int
    frames: int
    undecodable: int
    bytes_stored: int


@dataclass(frozen=True, slots=True)
class _Shared:
    """Shared state of the threads of one run."""

    leases: LeaseManager
    plans: ChunkPlans
    encoders: EncoderPool
    finish: Callable[[Segment], None]
    """Called with each segment that is committed."""
    compaction: RollingCompaction | None
    """Compaction of committed segments; None if the timeline has few."""
    threads: int
    """Threads of each decoder."""


class _LeaseLost(Exception):
    """Raised when another process considered this run dead and took over its segment."""


def create_run(
    store: Store, resolved: ResolvedManifest, workers: int, progress: ProgressCallback | None
) -> "ExtractionRun":
    segments = tuple(segment for entry in resolved.entries for segment in entry.segments)
    return ExtractionRun(
        store,
        resolved,
        resolved.manifest,
        segments,
        RunningEpoch(store, resolved.manifest),
        workers,
        ProgressCounter(segments, progress),
    )


@dataclass(frozen=True, slots=True)
class ExtractionRun:
    """Work of one call on one timeline."""

    store: Store
    resolved: ResolvedManifest
    manifest: Manifest
    """Manifest that this call resolved."""
    segments: tuple[Segment, ...]
    """Segments of the requested chunks."""
    epoch: RunningEpoch
    workers: int
    progress: ProgressCounter
    before_read: Callable[[], None] | None = None
    """Called before each read of a chunk; an error that it raises ends the run."""
    elsewhere: Elsewhere = "wait"

    def execute_or_replan(self, started_at: float, *, max_index_files: int) -> ExtractReport:
        """Do the same as `execute`; begin again, once, if a video contradicts its sample tables.

        All chunks are then planned from their packets, in a new epoch.
        """
        try:
            return self.execute(started_at, max_index_files=max_index_files)
        except video.TablesContradicted:
            resolved = resolve_replan(self.store, self.manifest)
        run = create_run(self.store, resolved, self.workers, self.progress.callback)
        return run.execute(started_at, max_index_files=max_index_files)

    def execute(self, started_at: float, *, max_index_files: int) -> ExtractReport:
        """Extract the requested segments that are missing, several at once, and report the result.

        If the timeline is then complete, and more than ``max_index_files`` index files would
        have to be read to open it, compact them into one.

        Raises:
            SettingsConflict: another extraction ended the epoch before anything was committed.
        """
        entries = self.resolved.entries
        end_previous_epochs(self.store, self.resolved)
        try:
            with LeaseManager(self.store, self.manifest) as leases:
                results = self._extract_all(leases) if entries else []
                self._compact_if_complete(leases, max_index_files)
        except TimelineCleared as cleared:
            cleanup_if_deleted(self.store, self.manifest.timeline_id)
            if (other := find_epoch_conflict(self.store, self.epoch.manifest)) is not None:
                raise other from cleared
            raise
        chunks_extracted = len({result.chunk_id for result in results})
        return ExtractReport(
            timeline_id=self.manifest.timeline_id,
            chunks_extracted=chunks_extracted,
            chunks_cached=len(entries) - chunks_extracted,
            frames_extracted=sum(result.frames for result in results),
            frames_undecodable=sum(result.undecodable for result in results),
            frame_count=self.manifest.frame_count,
            bytes_stored=sum(result.bytes_stored for result in results),
            seconds=time.monotonic() - started_at,
            timing=tuple(entry.timing for entry in entries if entry.timing.notes),
            segments_extracted=len(results),
            segments_cached=len(self.segments) - len(results),
        )

    def _extract_all(self, leases: LeaseManager) -> list[_SegmentResult]:
        """Wait until every segment is committed; return the results of those that this run did."""
        entries = self.resolved.entries
        fetched = FetchedChunks(self.resolved.fetched, self.segments)

        def finish(segment: Segment) -> None:
            fetched.finish(segment)
            self.progress.finish(segment)

        queue = SegmentQueue(
            self.store,
            self.manifest,
            self.segments,
            leases,
            on_cached=finish,
            on_waiting=self.progress.report_waiting,
            elsewhere=self.elsewhere,
        )
        if not self.resolved.is_new:
            queue.skip_committed()
        picture_bytes = max(max_picture_bytes(entry) for entry in entries)
        held_bytes = _PICTURES_PER_DECODER * picture_bytes
        decoders = max(1, min(len(self.segments), self.workers, _MAX_DECODER_BYTES // held_bytes))
        # If every frame is wanted, decoding is up to half of the work. If only some are wanted,
        # an extra thread would decode frames that are otherwise skipped. Many more threads would
        # only have more pictures in flight than the CPU caches hold.
        wants_all = isinstance(self.manifest.settings.sampling, EveryFrame)
        threads = max(1, self.workers // decoders // 2 + wants_all)
        with (
            layout_of(self.manifest).create_encoders(
                self.store, workers=self.workers, picture_bytes=picture_bytes
            ) as encoders,
            ThreadPoolExecutor(decoders, thread_name_prefix="framecache-decode") as pool,
        ):
            shared = _Shared(
                leases,
                ChunkPlans(self.resolved.scan_of, self.manifest.settings.sampling, most=decoders),
                encoders,
                finish,
                self._create_compaction(leases),
                threads,
            )
            work = partial(self._extract_from_queue, queue, shared)
            futures = [pool.submit(work) for _ in range(decoders)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                return [result for future in futures if future.done() for result in future.result()]
            except BaseException as error:
                queue.stop()
                encoders.stop(error)
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _extract_from_queue(self, queue: SegmentQueue, shared: _Shared) -> list[_SegmentResult]:
        results: list[_SegmentResult] = []
        with OpenChunk(self.store, self.before_read, self.resolved.fetched) as chunk:
            for segment in queue:
                try:
                    file = chunk.open(segment.chunk)
                    planned = shared.plans.get(segment.chunk, file).of_segment(segment)
                    result = self._extract_segment(segment, file, planned, shared)
                except _LeaseLost:
                    queue.requeue(segment)
                    continue
                finally:
                    shared.leases.release(segment.part)
                results += [result] if result is not None else []
                shared.finish(segment)
                if shared.compaction is not None:
                    shared.compaction.count_commit()
        return results

    def _extract_segment(
        self, segment: Segment, file: BlobFile, planned: ChunkPlan, shared: _Shared
    ) -> _SegmentResult | None:
        """Extract and commit a segment; return None if another committed its index part first."""
        if not layout_of(self.manifest).stores_frames:
            return self._index_segment(segment, file, planned, shared)
        entry = segment.chunk
        count = partial(self.progress.add_frame, segment)
        with layout_of(self.manifest).create_storage(
            self.store, self.manifest, segment.part, shared.encoders, on_stored=lambda _: count()
        ) as storage:
            with self._create_check(segment, shared.leases) as check:
                part = store_frames(
                    file,
                    self.manifest,
                    entry,
                    planned,
                    storage,
                    threads=shared.threads,
                    check=check,
                    on_undecodable=count,
                )
            self.epoch.ensure_begun()
        index = part.build()
        about = chunk_provenance(entry)
        committed = commit_part(self.store, self.manifest, segment.part, index, provenance=about)
        if committed is not index and not _is_own_part(index, committed):
            storage.discard()
            self._require_equal_frames(entry, index, committed)
            return None
        stored = [row for row in part.rows if row.status == "ok"]
        return _SegmentResult(
            chunk_id=entry.chunk_id,
            frames=len(stored),
            undecodable=len(part) - len(stored),
            bytes_stored=sum(row.stored_bytes for row in stored),
        )

    def _create_compaction(self, leases: LeaseManager) -> RollingCompaction | None:
        """Return the compaction that runs during an extraction of many segments, else None."""
        is_divided = any(len(entry.segment_starts) > 1 for entry in self.resolved.entries)
        if not is_divided or count_index_files(self.manifest) <= MAX_PROBED_PARTS:
            return None
        return RollingCompaction(self.store, self.epoch, leases, segments=len(self.segments))

    def _index_segment(
        self, segment: Segment, file: BlobFile, planned: ChunkPlan, shared: _Shared
    ) -> _SegmentResult | None:
        """Commit the index of a segment whose frames are not stored."""
        from framecache._ingest import chunk_index  # noqa: PLC0415 -- see `_media.video`

        entry = segment.chunk
        about = chunk_index.describe_provenance(file, entry, planned.scan)
        index = chunk_index.index_rows(self.manifest, entry, planned).build()
        self._ensure_leased(segment, shared.leases)
        self.epoch.ensure_begun()
        committed = commit_part(self.store, self.manifest, segment.part, index, provenance=about)
        if committed is not index:
            return None
        return _SegmentResult(entry.chunk_id, len(index), undecodable=0, bytes_stored=0)

    def _require_equal_frames(self, entry: ChunkEntry, made: Index, committed: Index) -> None:
        """Check that two concurrent extractions of a chunk made the same frames.

        Packs have unique keys. Frames stored as single blobs do not: the last writer wins, and
        its frames must match the committed index part.

        Raises:
            CorruptFrame: the checksums of frames with the same keys differ.
        """
        has_same_names = np.array_equal(made.key, committed.key)
        if has_same_names and not np.array_equal(made.crc32c, committed.crc32c):
            timeline_id = self.manifest.timeline_id
            raise CorruptFrame(
                f"chunk {entry.chunk_id} of timeline {timeline_id} was extracted by another "
                f"program at the same time, with another version of an encoder; "
                f"run: framecache verify {timeline_id} --repair"
            )

    def _create_check(
        self, segment: Segment, leases: LeaseManager
    ) -> AbstractContextManager[Callable[[], None]]:
        check = partial(self._ensure_leased, segment, leases)
        # If keys are unique, a late write cannot overwrite the work of others.
        can_overwrite = layout_of(self.manifest).has_public_keys
        return nullcontext(check) if can_overwrite else BackgroundCheck(check)

    def _ensure_leased(self, segment: Segment, leases: LeaseManager) -> None:
        """Raise if the epoch ended or the lease was lost.

        A process that was suspended must not overwrite what others stored in the meantime.
        """
        self.epoch.ensure_current()
        if not leases.is_held(segment.part):
            raise _LeaseLost

    def _compact_if_complete(self, leases: LeaseManager, max_index_files: int) -> None:
        if count_index_files(self.epoch.manifest) <= max_index_files:
            return
        if not leases.acquire(keys.COMPACTION):
            return
        if not self.epoch.manifest.begun:
            # Others committed every chunk, and with that a later version of the manifest.
            self.epoch.ensure_current()
        for _ in range(_COMPACTION_ATTEMPTS):
            manifest = self.epoch.manifest
            if count_index_files(manifest) <= max_index_files:
                return
            snapshot = load_snapshot_at(self.store, manifest)
            if not snapshot.is_complete:
                return
            if compact(self.store, manifest, snapshot) is not manifest:
                return
            self.epoch.ensure_current()  # another program stored a later version


def end_previous_epochs(store: Store, resolved: ResolvedManifest) -> None:
    """Wait until no program is active in the epoch before, and delete what older epochs left."""
    if resolved.previous_epoch_watch is not None:
        wait_until_inactive(resolved.previous_epoch_watch)
    if resolved.has_leftovers:
        delete_older_epochs(store, resolved.manifest)


def count_index_files(manifest: Manifest) -> int:
    """Return the number of index files to read to open the timeline once it is complete."""
    covered = manifest.compaction.parts if manifest.compaction else ()
    return len(set(manifest.parts) - set(covered)) + bool(covered)


def _is_own_part(made: Index, committed: Index) -> bool:
    """Return True if the committed index part names packs that this run made.

    Then this run committed it, even though the response was lost and the copy read back was
    damaged.
    """
    return bool(made.offset.any()) and np.array_equal(made.key, committed.key)
