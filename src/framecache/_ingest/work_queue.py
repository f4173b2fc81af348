"""Work queue of a timeline's segments, shared by all threads and programs that extract them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest
from framecache._index import committed_parts
from framecache._index.lease import LeaseManager
from framecache.store import Store

_MIN_WAIT_SECONDS: Final = 0.1
_MAX_WAIT_SECONDS: Final = 1.0

Elsewhere = Literal["wait", "skip"]
"""Treatment of segments that other programs are extracting: wait for their commit, or not."""


class SegmentQueue:
    """Queue of segments that no other program is extracting; it ends when all are committed.

    With ``elsewhere="skip"`` it ends earlier: when all others are being extracted elsewhere.

    Safe to share between threads: one of them queries the store, and the others wait for it.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        segments: Sequence[Segment],
        leases: LeaseManager,
        *,
        on_cached: Callable[[Segment], None],
        on_waiting: Callable[[Sequence[Segment]], None],
        elsewhere: Elsewhere = "wait",
    ) -> None:
        """Initialize with all segments pending; no request is made.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            segments: the segments to commit.
            leases: the leases of this run.
            on_cached: called with each segment that is found to be committed already.
            on_waiting: called repeatedly with the pending segments while other programs are
                extracting all of them.
            elsewhere: treatment of segments that other programs are extracting.
        """
        self._store = store
        self._manifest = manifest
        self._leases = leases
        self._on_cached = on_cached
        self._on_waiting = on_waiting
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pending = deque(segments)

    def skip_committed(self) -> None:
        """Skip committed segments, and read the leases of others, before iterating.

        Iteration checks each segment as well. This call checks them concurrently, which saves time
        if many are committed.
        """
        self._skip_committed(list(self._pending))
        if self._pending:
            self._leases.refresh()

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments that this run is to extract, each with its lease acquired.

        Several threads may iterate at once; each segment goes to one of them.
        """
        while (segment := self._next()) is not None:
            yield segment

    def requeue(self, segment: Segment) -> None:
        """Put a segment that another program took over back into the queue, to wait for it."""
        with self._lock:
            self._pending.append(segment)

    def stop(self) -> None:
        """End all iterations."""
        self._stopped.set()

    def _next(self) -> Segment | None:
        with self._lock:
            wait_seconds = _MIN_WAIT_SECONDS
            while self._pending and not self._stopped.is_set():
                if (segment := self._acquire_next()) is not None:
                    return segment
                if not self._pending or self._elsewhere == "skip":
                    break
                self._on_waiting(tuple(self._pending))
                self._stopped.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _MAX_WAIT_SECONDS)
                self._refresh()
        return None

    def _acquire_next(self) -> Segment | None:
        for segment in list(self._pending):
            if not self._leases.acquire(segment.part):
                continue
            # It may have been committed, and its lease released, since the last check.
            if segment.part in committed_parts(self._store, self._manifest, [segment.part]):
                self._leases.release(segment.part)
                self._skip(segment)
                continue
            self._pending.remove(segment)
            return segment
        return None

    def _refresh(self) -> None:
        """Update leases and committed segments with one listing each."""
        self._leases.refresh()
        prefix = keys.epoch_prefix(self._manifest.timeline_id, self._manifest.epoch)
        listed = {blob.key for blob in self._store.list(prefix)}
        # A listing is only a hint: check that each index part itself exists.
        self._skip_committed(
            [
                segment
                for segment in self._pending
                if self._manifest.index_key(segment.part) in listed
            ]
        )

    def _skip_committed(self, segments: Sequence[Segment]) -> None:
        parts = [segment.part for segment in segments]
        committed = committed_parts(self._store, self._manifest, parts)
        for segment in segments:
            if segment.part in committed:
                self._skip(segment)

    def _skip(self, segment: Segment) -> None:
        self._pending.remove(segment)
        self._on_cached(segment)
