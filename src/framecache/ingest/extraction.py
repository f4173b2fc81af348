"""Extraction: decode every chunk once, store its frames, commit its index part."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final

import numpy as np

from framecache import keys, video
from framecache.claims import Claims
from framecache.errors import Cleared, CorruptFrame
from framecache.index import (
    Index,
    PartBuilder,
    commit_part,
    compact,
    ensure_current,
    load,
)
from framecache.ingest.beside import Beside
from framecache.ingest.chunk_frames import about_chunk, picture_bytes_of, store_frames
from framecache.ingest.describe import (
    Choose,
    Described,
    describe_append,
    describe_extraction,
    describe_rebuild,
    identify,
)
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.plan import plan
from framecache.ingest.sharing import ChunkQueue
from framecache.ingest.slot import Slot
from framecache.ingest.storage import FrameStorage, storage_of
from framecache.manifest import ChunkEntry, Description, Settings
from framecache.model import Chunk, ExtractReport, Progress, ProgressCallback
from framecache.sampling import EveryFrame
from framecache.store import BlobFile, Store, open_blob_file
from framecache.sweep import sweep_older, withdraw_if_deleted

INDEX_FILES_AFTER_EXTRACT: Final = 1
_MOST_INDEX_FILES: Final = 16
_PICTURES_HELD: Final = 24
"""By a decoder and its threads, to give them out in the order of time."""
_DECODER_BYTES: Final = 2**30
"""Of pictures that all decoders hold."""
_FRAMES_OF_A_SMALL_INDEX: Final = 2**16
"""Whose rows take about a megabyte."""


def extract(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    choose: Choose,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Cache the frames of ``chunks`` as the timeline; what is committed already is left alone."""
    began = time.monotonic()
    described = describe_extraction(store, timeline_id, identify(chunks), choose)
    run = _Run(store, described, workers, _ProgressCounter(described.entries, progress))
    return run.fill(began, most_index_files=INDEX_FILES_AFTER_EXTRACT)


def append(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    settings: Settings,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Cache ``chunks`` at the end of the timeline, with its settings; those it has are left alone.

    ``settings`` count only where the timeline does not exist yet.
    """
    began = time.monotonic()
    described = describe_append(store, timeline_id, identify(chunks), settings)
    run = _Run(store, described, workers, _ProgressCounter(described.entries, progress))
    most = index_files_after_append(described.description)
    return run.fill(began, most_index_files=most)


def rebuild(
    store: Store,
    timeline_id: str,
    *,
    alter: Callable[[Settings], Settings],
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Extract the described chunks anew, as a new epoch, with altered settings."""
    began = time.monotonic()
    described = describe_rebuild(store, timeline_id, alter)
    run = _Run(store, described, workers, _ProgressCounter(described.entries, progress))
    return run.fill(began, most_index_files=INDEX_FILES_AFTER_EXTRACT)


def fill(
    store: Store, description: Description, entries: Sequence[ChunkEntry], *, workers: int
) -> ExtractReport:
    """Cache some chunks of a timeline as it is described."""
    described = Described(description, tuple(entries), {})
    run = _Run(store, described, workers, _ProgressCounter(entries, None))
    return run.fill(time.monotonic(), most_index_files=INDEX_FILES_AFTER_EXTRACT)


def index_files_after_append(description: Description) -> int:
    """How many index files may have to be read to open a timeline that has grown.

    Writing all rows anew for each small append to a long timeline would take time and room that
    grow with the square of its length.
    """
    is_long = description.frame_count > _FRAMES_OF_A_SMALL_INDEX
    return _MOST_INDEX_FILES if is_long else INDEX_FILES_AFTER_EXTRACT


@dataclass(frozen=True, slots=True)
class _ChunkResult:
    """What this run stored of one chunk."""

    frames: int
    undecodable: int
    bytes_stored: int


class _ProgressCounter:
    """Adds up the frames of all chunks, and tells a callback that need not be thread-safe."""

    def __init__(self, entries: Sequence[ChunkEntry], callback: ProgressCallback | None) -> None:
        self._total = sum(entry.frame_count for entry in entries)
        self._done = 0
        self._done_of_chunk = Counter[int]()
        self._callback = callback
        self._lock = Lock()

    def add_frame(self, chunk_id: int) -> None:
        """A frame is stored, or known to have no picture."""
        with self._lock:
            self._advance(chunk_id, 1)

    def finish_chunk(self, entry: ChunkEntry) -> None:
        """A chunk is committed, whoever did it."""
        with self._lock:
            if missing := entry.frame_count - self._done_of_chunk[entry.chunk_id]:
                self._advance(entry.chunk_id, missing)

    def wait_for(self, chunks: int) -> None:
        """Nothing is left to do but to wait for others."""
        with self._lock:
            self._tell(chunks)

    def _advance(self, chunk_id: int, frames: int) -> None:
        self._done_of_chunk[chunk_id] += frames
        self._done += frames
        self._tell(0)

    def _tell(self, chunks_elsewhere: int) -> None:
        if self._callback is not None:
            self._callback(Progress(self._done, self._total, chunks_elsewhere))


class _TakenOver(Exception):
    """Another took this run for dead, and extracts the chunk in its place."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One call's work on one described timeline."""

    store: Store
    described: Described
    workers: int
    progress: _ProgressCounter

    @property
    def description(self) -> Description:
        """The timeline as it was agreed on."""
        return self.described.description

    def fill(self, began: float, *, most_index_files: int) -> ExtractReport:
        """Extract what is missing of the chunks asked for, several at once, and report.

        Once the timeline is complete, and more index files than ``most_index_files`` would have
        to be read to open it, they are compacted into one.
        """
        entries = self.described.entries
        if self.described.replaces_leftovers:
            sweep_older(self.store, self.description)
        with Claims(self.store, self.description) as claims:
            try:
                results = self._extract_all(entries, claims) if entries else []
            except Cleared:
                withdraw_if_deleted(self.store, self.description.timeline_id)
                raise
            self._compact_when_complete(claims, most_index_files)
        return ExtractReport(
            timeline_id=self.description.timeline_id,
            chunks_extracted=len(results),
            chunks_cached=len(entries) - len(results),
            frames_extracted=sum(result.frames for result in results),
            frames_undecodable=sum(result.undecodable for result in results),
            frame_count=self.description.frame_count,
            bytes_stored=sum(result.bytes_stored for result in results),
            seconds=time.monotonic() - began,
            timing=tuple(entry.timing for entry in entries if entry.timing.notes),
        )

    def _extract_all(self, entries: Sequence[ChunkEntry], claims: Claims) -> list[_ChunkResult]:
        """Have every chunk committed; returns those that this run did."""
        queue = ChunkQueue(
            self.store,
            self.description,
            entries,
            claims,
            on_cached=self.progress.finish_chunk,
            on_waiting=self.progress.wait_for,
        )
        if not self.described.is_new:
            queue.pass_over_committed()
        picture_bytes = max(picture_bytes_of(entry) for entry in entries)
        held_bytes = _PICTURES_HELD * picture_bytes
        decoders = max(1, min(len(entries), self.workers, _DECODER_BYTES // held_bytes))
        # Decoding every frame takes up to half of the work. Where some are wanted, one more thread
        # would decode those that skipping spares. Many more would only have more pictures under
        # way at once than the caches of the cores hold.
        wants_all = isinstance(self.description.settings.sampling, EveryFrame)
        threads = max(1, self.workers // decoders // 2 + wants_all)
        layout = self.description.settings.layout
        with (
            EncoderPool(
                self.store, layout, workers=self.workers, picture_bytes=picture_bytes
            ) as encoders,
            ThreadPoolExecutor(decoders, thread_name_prefix="framecache-decode") as pool,
        ):
            work = partial(self._extract_from, queue, claims, encoders, threads)
            futures = [pool.submit(work) for _ in range(decoders)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                return [result for future in futures if future.done() for result in future.result()]
            except BaseException as error:
                queue.stop()
                encoders.stop(error)
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _extract_from(
        self, queue: ChunkQueue, claims: Claims, encoders: EncoderPool, threads: int
    ) -> list[_ChunkResult]:
        results: list[_ChunkResult] = []
        for entry in queue:
            try:
                result = self._extract_chunk(entry, claims, encoders, threads)
            except _TakenOver:
                queue.give_back(entry)
                continue
            finally:
                claims.release(entry.part)
            results += [result] if result is not None else []
            self.progress.finish_chunk(entry)
        return results

    def _extract_chunk(
        self, entry: ChunkEntry, claims: Claims, encoders: EncoderPool, threads: int
    ) -> _ChunkResult | None:
        """Extract a chunk and commit it; None when another's part was committed before."""
        with storage_of(
            self.store, self.description, entry.part, encoders, on_stored=self._count
        ) as storage:
            with open_blob_file(
                entry.url, expected_etag=entry.etag, expected_size=entry.size_bytes
            ) as file:
                part = self._store_frames(file, entry, claims, storage, threads)
            ensure_current(self.store, self.description)
        index = part.build()
        about = about_chunk(entry)
        committed = commit_part(self.store, self.description, entry.part, index, about=about)
        if committed is not index and not _is_own(index, committed):
            storage.discard()
            self._require_same(entry, index, committed)
            return None
        sizes = [row.size for row in part.rows if row.status == "ok"]
        return _ChunkResult(
            frames=len(sizes), undecodable=len(part) - len(sizes), bytes_stored=sum(sizes)
        )

    def _require_same(self, entry: ChunkEntry, made: Index, committed: Index) -> None:
        """Two made the same chunk at once: whoever stored last, the frames must be those named.

        Each has packs of its own, but not frames that are blobs of their own.
        """
        has_same_names = np.array_equal(made.key, committed.key)
        if has_same_names and not np.array_equal(made.crc32c, committed.crc32c):
            timeline_id = self.description.timeline_id
            raise CorruptFrame(
                f"chunk {entry.chunk_id} of timeline {timeline_id} was extracted by another "
                f"program at the same time, with another version of an encoder; "
                f"run: framecache verify {timeline_id} --repair"
            )

    def _count(self, slot: Slot) -> None:
        self.progress.add_frame(slot.chunk_id)

    def _store_frames(
        self,
        file: BlobFile,
        entry: ChunkEntry,
        claims: Claims,
        storage: FrameStorage,
        threads: int,
    ) -> PartBuilder:
        scan = self.described.scans.get(entry.url) or video.scan(file, name=entry.url)
        with self._checking(entry, claims) as check:
            return store_frames(
                file,
                self.description,
                entry,
                plan(entry, scan, self.description.settings.sampling),
                storage,
                threads=threads,
                check=check,
                on_undecodable=partial(self.progress.add_frame, entry.chunk_id),
            )

    def _checking(
        self, entry: ChunkEntry, claims: Claims
    ) -> AbstractContextManager[Callable[[], None]]:
        check = partial(self._ensure_mine, entry, claims)
        # A pack has a name of its own: nothing can be put over what others have made meanwhile.
        is_harmless = self.description.settings.layout == "packs"
        return Beside(check) if is_harmless else nullcontext(check)

    def _ensure_mine(self, entry: ChunkEntry, claims: Claims) -> None:
        """Whoever slept must not store over what others have made meanwhile."""
        ensure_current(self.store, self.description)
        if not claims.holds(entry.part):
            raise _TakenOver

    def _compact_when_complete(self, claims: Claims, most_index_files: int) -> None:
        compaction = self.description.compaction
        covered = compaction.parts if compaction else ()
        files = len(set(self.description.parts) - set(covered)) + bool(covered)
        if files <= most_index_files or not claims.take(keys.COMPACTION):
            return
        snapshot = load(self.store, self.description)
        if snapshot.is_complete:
            compact(self.store, self.description, snapshot.index)


def _is_own(made: Index, committed: Index) -> bool:
    """Whether what is committed names packs that this run has made.

    So it is its own part, though its answer was lost and what was read back was damaged.
    """
    return bool(made.offset.any()) and np.array_equal(made.key, committed.key)
