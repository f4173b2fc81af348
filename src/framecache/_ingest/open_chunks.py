"""Chunks that an extraction has open or planned, so that their segments share that work."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Self

from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.sampling import Sampling
from framecache._ingest.chunk_frames import open_chunk
from framecache._ingest.chunk_plan import ChunkPlan, list_frames, plan_chunk
from framecache._media import video
from framecache.store import BlobFile, FetchedBytes, Store


def list_chunk(store: Store, entry: ChunkEntry) -> "video.VideoScan":
    """List the frames of a chunk of a manifest, for the programs that extract its segments.

    Raises:
        ChunkChanged: its ETag or size is not the recorded one.
        UnreadableChunk: it is missing or cannot be read.
    """
    with open_chunk(store, entry) as file:
        return list_frames(file, entry)


class OpenChunk:
    """Chunk that one thread has open: it stays open until the thread needs another one."""

    def __init__(
        self, store: Store, before_read: Callable[[], None] | None, fetched: FetchedBytes
    ) -> None:
        self._store = store
        self._before_read = before_read
        self._fetched = fetched
        self._file: BlobFile | None = None
        self._chunk_id: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self, entry: ChunkEntry) -> BlobFile:
        """Return the open video of a chunk."""
        if self._file is None or self._chunk_id != entry.chunk_id:
            self.close()
            self._file = open_chunk(
                self._store, entry, before_read=self._before_read, fetched=self._fetched
            )
            self._chunk_id = entry.chunk_id
        return self._file

    def close(self) -> None:
        """Close the video, if one is open."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class ChunkPlans:
    """Plans of the chunks that an extraction works on. Safe to share between threads."""

    def __init__(
        self,
        scan_of: "Callable[[ChunkEntry], video.VideoScan | None]",
        sampling: Sampling,
        *,
        most: int,
    ) -> None:
        """Start without plans.

        Args:
            scan_of: returns the scan of a chunk; None: the chunk is scanned.
            sampling: the sampling of the timeline.
            most: number of chunks whose plans are kept; the one used least recently is dropped.
        """
        self._scan_of = scan_of
        self._sampling = sampling
        self._most = most
        self._lock = Lock()
        self._locks: OrderedDict[int, Lock] = OrderedDict()
        """A lock for each chunk that is planned, so that it is scanned once."""
        self._plans: dict[int, ChunkPlan] = {}

    def get(self, entry: ChunkEntry, file: BlobFile) -> ChunkPlan:
        """Return the plan of a chunk, from its open video if it is not known.

        Raises:
            ChunkChanged: the video no longer has the frames that the manifest lists.
            UnreadableChunk: the video cannot be read.
        """
        with self._lock:
            lock = self._locks.setdefault(entry.chunk_id, Lock())
            self._locks.move_to_end(entry.chunk_id)
        with lock:
            plan = self._plans.get(entry.chunk_id)
            if plan is None:
                scan = self._scan_of(entry) or list_frames(file, entry)
                plan = plan_chunk(entry, scan, self._sampling)
                with self._lock:
                    self._plans[entry.chunk_id] = plan
                    # While this one was scanned, it may have become the least recent.
                    self._locks[entry.chunk_id] = lock
                    while len(self._locks) > self._most:
                        chunk_id, _ = self._locks.popitem(last=False)
                        self._plans.pop(chunk_id, None)
        return plan


class FetchedChunks:
    """Bytes that were fetched of the chunks; those of a chunk go with its last segment.

    Safe to share between threads.
    """

    def __init__(self, fetched: FetchedBytes, segments: Sequence[Segment]) -> None:
        self._fetched = fetched
        self._left = Counter(segment.chunk.url for segment in segments)
        self._lock = Lock()

    def finish(self, segment: Segment) -> None:
        """Count a segment that is committed."""
        chunk = segment.chunk
        with self._lock:
            self._left[chunk.url] -= 1
            if not self._left[chunk.url]:
                self._fetched.release(chunk.url, chunk.etag)
