"""Work queue of a timeline's chunks, shared by all threads and programs that extract them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from framecache._core import keys
from framecache._core.manifest import ChunkEntry, Manifest
from framecache._index import committed_parts
from framecache._index.lease import LeaseManager
from framecache.store import Store

_MIN_WAIT_SECONDS: Final = 0.1
_MAX_WAIT_SECONDS: Final = 1.0

Elsewhere = Literal["wait", "skip"]
"""Treatment of chunks that other programs are extracting: wait until they are committed, or not."""


class ChunkQueue:
    """Queue of chunks that no other program is extracting; it ends when all are committed.

    With ``elsewhere="skip"`` it ends earlier: when all others are being extracted elsewhere.

    Safe to share between threads: one of them queries the store, and the others wait for it.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        entries: Sequence[ChunkEntry],
        leases: LeaseManager,
        *,
        on_cached: Callable[[ChunkEntry], None],
        on_waiting: Callable[[int], None],
        elsewhere: Elsewhere = "wait",
    ) -> None:
        """Initialize with all chunks pending; no request is made.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            entries: the chunks to commit.
            leases: the leases of this run.
            on_cached: called with each chunk that is found to be committed already.
            on_waiting: called repeatedly with the number of pending chunks while other programs
                are extracting all of them.
            elsewhere: treatment of chunks that other programs are extracting.
        """
        self._store = store
        self._manifest = manifest
        self._leases = leases
        self._on_cached = on_cached
        self._on_waiting = on_waiting
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pending = deque(entries)

    def skip_committed(self) -> None:
        """Skip committed chunks, and read the leases of others, before iterating.

        Iteration checks each chunk as well. This call checks them concurrently, which saves time
        if many are committed.
        """
        self._skip_committed(list(self._pending))
        if self._pending:
            self._leases.refresh()

    def __iter__(self) -> Iterator[ChunkEntry]:
        """Yield the chunks that this run is to extract, each with its lease acquired.

        Several threads may iterate at once; each chunk goes to one of them.
        """
        while (entry := self._next()) is not None:
            yield entry

    def requeue(self, entry: ChunkEntry) -> None:
        """Put a chunk that another program took over back into the queue, to wait for it."""
        with self._lock:
            self._pending.append(entry)

    def stop(self) -> None:
        """End all iterations."""
        self._stopped.set()

    def _next(self) -> ChunkEntry | None:
        with self._lock:
            wait_seconds = _MIN_WAIT_SECONDS
            while self._pending and not self._stopped.is_set():
                if (entry := self._acquire_next()) is not None:
                    return entry
                if not self._pending or self._elsewhere == "skip":
                    break
                self._on_waiting(len(self._pending))
                self._stopped.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _MAX_WAIT_SECONDS)
                self._refresh()
        return None

    def _acquire_next(self) -> ChunkEntry | None:
        for entry in list(self._pending):
            if not self._leases.acquire(entry.part):
                continue
            # It may have been committed, and its lease released, since the last check.
            if entry.part in committed_parts(self._store, self._manifest, [entry.part]):
                self._leases.release(entry.part)
                self._skip(entry)
                continue
            self._pending.remove(entry)
            return entry
        return None

    def _refresh(self) -> None:
        """Update leases and committed chunks with one listing each."""
        self._leases.refresh()
        prefix = keys.epoch_prefix(self._manifest.timeline_id, self._manifest.epoch)
        listed = {blob.key for blob in self._store.list(prefix)}
        # A listing is only a hint: check that each index part itself exists.
        self._skip_committed(
            [entry for entry in self._pending if self._manifest.index_key(entry.part) in listed]
        )

    def _skip_committed(self, entries: Sequence[ChunkEntry]) -> None:
        parts = [entry.part for entry in entries]
        committed = committed_parts(self._store, self._manifest, parts)
        for entry in entries:
            if entry.part in committed:
                self._skip(entry)

    def _skip(self, entry: ChunkEntry) -> None:
        self._pending.remove(entry)
        self._on_cached(entry)
