"""Extraction: decode every chunk once, store its frames, commit its index part."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Final

import numpy as np

from framecache._core import keys
from framecache._core.manifest import ChunkEntry, Manifest, Settings
from framecache._core.sampling import EveryFrame
from framecache._core.threads import BackgroundCheck
from framecache._index import (
    Index,
    PartBuilder,
    commit_part,
    compact,
    load_snapshot_at,
)
from framecache._index.lease import LeaseManager
from framecache._ingest.chunk_frames import (
    chunk_provenance,
    max_picture_bytes,
    open_chunk,
    store_frames,
)
from framecache._ingest.chunk_plan import plan_chunk
from framecache._ingest.deletion import cleanup_if_deleted, delete_older_epochs
from framecache._ingest.epochs import RunningEpoch, find_epoch_conflict, wait_until_inactive
from framecache._ingest.resolve import (
    ResolvedManifest,
    SettingsResolver,
    resolve_append,
    resolve_chunks,
    resolve_extraction,
    resolve_rebuild,
)
from framecache._ingest.work_queue import ChunkQueue, Elsewhere
from framecache._layouts import FrameStorage, layout_of
from framecache._layouts.encoding import EncoderPool, FramePosition
from framecache._media import video
from framecache.errors import CorruptFrame, TimelineCleared
from framecache.model import Chunk, ExtractReport, Progress, ProgressCallback
from framecache.store import BlobFile, Store

MAX_INDEX_FILES_AFTER_EXTRACT: Final = 1
_MAX_INDEX_FILES: Final = 16
_PICTURES_PER_DECODER: Final = 24
"""Number of pictures that a decoder and its threads hold to emit them in time order."""
_MAX_DECODER_BYTES: Final = 2**30
"""Limit on the memory for the pictures that all decoders hold together, in bytes."""
_SMALL_INDEX_FRAMES: Final = 2**16
"""Number of frames up to which an index is small; their rows take about a megabyte."""


def extract(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    resolve_settings: SettingsResolver,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Cache the frames of ``chunks`` as the timeline; skip chunks that are already committed."""
    began = time.monotonic()
    described = resolve_extraction(
        store, timeline_id, resolve_chunks(store, chunks), resolve_settings
    )
    run = _create_run(store, described, workers, progress)
    return run.execute(began, max_index_files=MAX_INDEX_FILES_AFTER_EXTRACT)


def append(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    settings: Settings,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Append ``chunks`` to the timeline, with its settings; skip those that it already has.

    ``settings`` apply only if the timeline does not exist yet.
    """
    began = time.monotonic()
    described = resolve_append(store, timeline_id, resolve_chunks(store, chunks), settings)
    run = _create_run(store, described, workers, progress)
    most = max_index_files_after_append(described.manifest)
    return run.execute(began, max_index_files=most)


def rebuild(
    store: Store,
    timeline_id: str,
    *,
    alter: Callable[[Settings], Settings],
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Extract all chunks of the manifest again, in a new epoch, with altered settings."""
    began = time.monotonic()
    described = resolve_rebuild(store, timeline_id, alter)
    run = _create_run(store, described, workers, progress)
    return run.execute(began, max_index_files=MAX_INDEX_FILES_AFTER_EXTRACT)


def plan(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    resolve_settings: SettingsResolver,
) -> ResolvedManifest:
    """Return the manifest by which any number of programs may extract ``chunks``; decode nothing.

    They call `extract_entries` for one chunk each, and one of them calls it without chunks once all
    are committed.
    """
    resolved = resolve_extraction(
        store, timeline_id, resolve_chunks(store, chunks), resolve_settings
    )
    _end_previous_epochs(store, resolved)
    return resolved


def extract_entries(
    store: Store,
    manifest: Manifest,
    entries: Sequence[ChunkEntry],
    *,
    workers: int,
    scans: "Mapping[str, video.VideoScan] | None" = None,
    max_index_files: int = MAX_INDEX_FILES_AFTER_EXTRACT,
) -> ExtractReport:
    """Cache some chunks of a timeline as its manifest describes them.

    Args:
        store: store that holds the timeline.
        manifest: manifest of the timeline.
        entries: its chunks to extract; without any, the index of a complete timeline is compacted.
        workers: threads that decode and encode.
        scans: scans of some of the chunks, by URL; the others are scanned.
        max_index_files: number of index files that need not be compacted.
    """
    described = ResolvedManifest(manifest, tuple(entries), scans or {})
    run = _create_run(store, described, workers, None)
    return run.execute(time.monotonic(), max_index_files=max_index_files)


def extract_appended(
    store: Store,
    resolved: ResolvedManifest,
    *,
    workers: int,
    progress: ProgressCallback,
    before_read: Callable[[], None],
    elsewhere: Elsewhere,
) -> None:
    """Cache chunks that `resolve_append` placed, in the order of ``resolved.entries``.

    An error that ``progress`` or ``before_read`` raises ends the extraction; what is committed by
    then stays. With ``elsewhere="skip"``, chunks that other programs are extracting are left to
    them.
    """
    run = replace(
        _create_run(store, resolved, workers, progress),
        before_read=before_read,
        elsewhere=elsewhere,
    )
    most = max_index_files_after_append(resolved.manifest)
    run.execute(time.monotonic(), max_index_files=most)


def max_index_files_after_append(manifest: Manifest) -> int:
    """Return the number of index files that an append may leave without a compaction.

    If each small append to a long timeline rewrote all its rows, time and storage would grow with
    the square of its length.
    """
    is_long = manifest.frame_count > _SMALL_INDEX_FRAMES
    return _MAX_INDEX_FILES if is_long else MAX_INDEX_FILES_AFTER_EXTRACT


@dataclass(frozen=True, slots=True)
class _ChunkResult:
    """Counts of the frames and bytes that this run stored for one chunk."""

    frames: int
    undecodable: int
    bytes_stored: int


class _ProgressCounter:
    """Thread-safe count of the frames done in all chunks.

    The callback is called under a lock, so it need not be thread-safe.
    """

    def __init__(self, entries: Sequence[ChunkEntry], callback: ProgressCallback | None) -> None:
        self._total = sum(entry.frame_count for entry in entries)
        self._done = 0
        self._done_by_chunk = Counter[int]()
        self._callback = callback
        self._lock = Lock()

    def add_frame(self, chunk_id: int) -> None:
        """Count a frame that was stored, or that proved undecodable."""
        with self._lock:
            self._advance(chunk_id, 1)

    def finish_chunk(self, entry: ChunkEntry) -> None:
        """Count the remaining frames of a chunk that this run or another committed."""
        with self._lock:
            if missing := entry.frame_count - self._done_by_chunk[entry.chunk_id]:
                self._advance(entry.chunk_id, missing)

    def report_waiting(self, chunks: int) -> None:
        """Report that only ``chunks`` chunks are left, all being extracted by others."""
        with self._lock:
            self._report(chunks)

    def _advance(self, chunk_id: int, frames: int) -> None:
        self._done_by_chunk[chunk_id] += frames
        self._done += frames
        self._report(0)

    def _report(self, chunks_elsewhere: int) -> None:
        if self._callback is not None:
            self._callback(Progress(self._done, self._total, chunks_elsewhere))


class _LeaseLost(Exception):
    """Raised when another process considered this run dead and took over its chunk."""


def _create_run(
    store: Store, resolved: ResolvedManifest, workers: int, progress: ProgressCallback | None
) -> "_ExtractionRun":
    return _ExtractionRun(
        store,
        resolved,
        resolved.manifest,
        RunningEpoch(store, resolved.manifest),
        workers,
        _ProgressCounter(resolved.entries, progress),
    )


@dataclass(frozen=True, slots=True)
class _ExtractionRun:
    """Work of one call on one timeline."""

    store: Store
    resolved: ResolvedManifest
    manifest: Manifest
    """Manifest that this call resolved."""
    epoch: RunningEpoch
    workers: int
    progress: _ProgressCounter
    before_read: Callable[[], None] | None = None
    """Called before each read of a chunk; an error that it raises ends the run."""
    elsewhere: Elsewhere = "wait"

    def execute(self, started_at: float, *, max_index_files: int) -> ExtractReport:
        """Extract the requested chunks that are missing, several at once, and report the result.

        If the timeline is then complete, and more than ``max_index_files`` index files would
        have to be read to open it, compact them into one.

        Raises:
            SettingsConflict: another extraction ended the epoch before anything was committed.
        """
        entries = self.resolved.entries
        _end_previous_epochs(self.store, self.resolved)
        try:
            with LeaseManager(self.store, self.manifest) as leases:
                results = self._extract_all(entries, leases) if entries else []
                self._compact_if_complete(leases, max_index_files)
        except TimelineCleared as cleared:
            cleanup_if_deleted(self.store, self.manifest.timeline_id)
            if (other := find_epoch_conflict(self.store, self.epoch.manifest)) is not None:
                raise other from cleared
            raise
        return ExtractReport(
            timeline_id=self.manifest.timeline_id,
            chunks_extracted=len(results),
            chunks_cached=len(entries) - len(results),
            frames_extracted=sum(result.frames for result in results),
            frames_undecodable=sum(result.undecodable for result in results),
            frame_count=self.manifest.frame_count,
            bytes_stored=sum(result.bytes_stored for result in results),
            seconds=time.monotonic() - started_at,
            timing=tuple(entry.timing for entry in entries if entry.timing.notes),
        )

    def _extract_all(
        self, entries: Sequence[ChunkEntry], leases: LeaseManager
    ) -> list[_ChunkResult]:
        """Wait until every chunk is committed; return the results of those that this run did."""
        queue = ChunkQueue(
            self.store,
            self.manifest,
            entries,
            leases,
            on_cached=self.progress.finish_chunk,
            on_waiting=self.progress.report_waiting,
            elsewhere=self.elsewhere,
        )
        if not self.resolved.is_new:
            queue.skip_committed()
        picture_bytes = max(max_picture_bytes(entry) for entry in entries)
        held_bytes = _PICTURES_PER_DECODER * picture_bytes
        decoders = max(1, min(len(entries), self.workers, _MAX_DECODER_BYTES // held_bytes))
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
            work = partial(self._extract_from_queue, queue, leases, encoders, threads)
            futures = [pool.submit(work) for _ in range(decoders)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                return [result for future in futures if future.done() for result in future.result()]
            except BaseException as error:
                queue.stop()
                encoders.stop(error)
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _extract_from_queue(
        self, queue: ChunkQueue, leases: LeaseManager, encoders: EncoderPool, threads: int
    ) -> list[_ChunkResult]:
        results: list[_ChunkResult] = []
        for entry in queue:
            try:
                result = self._extract_chunk(entry, leases, encoders, threads)
            except _LeaseLost:
                queue.requeue(entry)
                continue
            finally:
                leases.release(entry.part)
            results += [result] if result is not None else []
            self.progress.finish_chunk(entry)
        return results

    def _extract_chunk(
        self, entry: ChunkEntry, leases: LeaseManager, encoders: EncoderPool, threads: int
    ) -> _ChunkResult | None:
        """Extract and commit a chunk; return None if another committed its index part first."""
        if not layout_of(self.manifest).stores_frames:
            return self._index_chunk(entry, leases)
        with layout_of(self.manifest).create_storage(
            self.store, self.manifest, entry.part, encoders, on_stored=self._count_frame
        ) as storage:
            with open_chunk(self.store, entry, before_read=self.before_read) as file:
                part = self._store_frames(file, entry, leases, storage, threads)
            self.epoch.ensure_begun()
        index = part.build()
        about = chunk_provenance(entry)
        committed = commit_part(self.store, self.manifest, entry.part, index, provenance=about)
        if committed is not index and not _is_own_part(index, committed):
            storage.discard()
            self._require_equal_frames(entry, index, committed)
            return None
        sizes = [row.size for row in part.rows if row.status == "ok"]
        return _ChunkResult(
            frames=len(sizes), undecodable=len(part) - len(sizes), bytes_stored=sum(sizes)
        )

    def _index_chunk(self, entry: ChunkEntry, leases: LeaseManager) -> _ChunkResult | None:
        """Commit the index of a chunk whose frames are not stored."""
        from framecache._ingest import chunk_index  # noqa: PLC0415 -- see `_media.video`

        with open_chunk(self.store, entry, before_read=self.before_read) as file:
            scan = self.resolved.scans.get(entry.url) or video.scan(file, name=entry.url)
            planned = plan_chunk(entry, scan, self.manifest.settings.sampling)
            about = chunk_index.describe_provenance(file, entry, scan)
        part = chunk_index.index_rows(self.manifest, entry, planned)
        self._ensure_leased(entry, leases)
        self.epoch.ensure_begun()
        index = part.build()
        committed = commit_part(self.store, self.manifest, entry.part, index, provenance=about)
        if committed is not index:
            return None
        return _ChunkResult(frames=len(part), undecodable=0, bytes_stored=0)

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

    def _count_frame(self, frame_position: FramePosition) -> None:
        self.progress.add_frame(frame_position.chunk_id)

    def _store_frames(
        self,
        file: BlobFile,
        entry: ChunkEntry,
        leases: LeaseManager,
        storage: FrameStorage,
        threads: int,
    ) -> PartBuilder:
        scan = self.resolved.scans.get(entry.url) or video.scan(file, name=entry.url)
        with self._create_check(entry, leases) as check:
            return store_frames(
                file,
                self.manifest,
                entry,
                plan_chunk(entry, scan, self.manifest.settings.sampling),
                storage,
                threads=threads,
                check=check,
                on_undecodable=partial(self.progress.add_frame, entry.chunk_id),
            )

    def _create_check(
        self, entry: ChunkEntry, leases: LeaseManager
    ) -> AbstractContextManager[Callable[[], None]]:
        check = partial(self._ensure_leased, entry, leases)
        # If keys are unique, a late write cannot overwrite the work of others.
        can_overwrite = layout_of(self.manifest).has_public_keys
        return nullcontext(check) if can_overwrite else BackgroundCheck(check)

    def _ensure_leased(self, entry: ChunkEntry, leases: LeaseManager) -> None:
        """Raise if the epoch ended or the lease was lost.

        A process that was suspended must not overwrite what others stored in the meantime.
        """
        self.epoch.ensure_current()
        if not leases.is_held(entry.part):
            raise _LeaseLost

    def _compact_if_complete(self, leases: LeaseManager, max_index_files: int) -> None:
        if _count_index_files(self.epoch.manifest) <= max_index_files:
            return
        if not leases.acquire(keys.COMPACTION):
            return
        if not self.epoch.manifest.begun:
            # Others committed every chunk, and with that a later version of the manifest.
            self.epoch.ensure_current()
        manifest = self.epoch.manifest
        if _count_index_files(manifest) <= max_index_files:
            return
        snapshot = load_snapshot_at(self.store, manifest)
        if snapshot.is_complete:
            compact(self.store, manifest, snapshot.index)


def _end_previous_epochs(store: Store, resolved: ResolvedManifest) -> None:
    """Wait until no program is active in the epoch before, and delete what older epochs left."""
    if resolved.previous_epoch_watch is not None:
        wait_until_inactive(resolved.previous_epoch_watch)
    if resolved.has_leftovers:
        delete_older_epochs(store, resolved.manifest)


def _count_index_files(manifest: Manifest) -> int:
    """Return the number of index files to read to open the timeline once it is complete."""
    covered = manifest.compaction.parts if manifest.compaction else ()
    return len(set(manifest.parts) - set(covered)) + bool(covered)


def _is_own_part(made: Index, committed: Index) -> bool:
    """Return True if the committed index part names packs that this run made.

    Then this run committed it, even though the response was lost and the copy read back was
    damaged.
    """
    return bool(made.offset.any()) and np.array_equal(made.key, committed.key)
