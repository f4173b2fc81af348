"""Compaction of committed segments while the others of a long chunk are extracted.

A timeline that is being filled is opened with few requests then: readers fetch the compaction, and
the parts that were committed since.
"""

from contextlib import suppress
from threading import Lock
from typing import Final

from framecache._core import keys
from framecache._index import compact, load_snapshot_at
from framecache._index.lease import LeaseManager
from framecache._ingest.epochs import RunningEpoch
from framecache.errors import CorruptFrame, StorePermissionDenied, StoreUnavailable
from framecache.store import Store

COMMITS_BETWEEN_CHECKS: Final = 2
COMMITS_BETWEEN_COMPACTIONS: Final = 6
"""Number of committed parts outside the compaction from which they are compacted, too."""


class RollingCompaction:
    """Compaction that a run repeats as it commits segments. Safe to share between threads.

    It is only an optimization: a failure is left to the compaction at the end of the extraction.
    """

    def __init__(
        self, store: Store, epoch: RunningEpoch, leases: LeaseManager, *, segments: int
    ) -> None:
        """Start without any commit; no request is made.

        Args:
            store: store of the timeline.
            epoch: its epoch.
            leases: leases of the run.
            segments: number of segments that the run is to commit at most; it may be one of many
                runs that commit a few each.
        """
        self._store = store
        self._epoch = epoch
        self._leases = leases
        self._commits_between_checks = min(COMMITS_BETWEEN_CHECKS, segments)
        self._lock = Lock()
        self._commits = 0

    def count_commit(self) -> None:
        """Count the commit of a segment; compact if many are committed since the last time."""
        with self._lock:
            self._commits += 1
            is_due = self._commits >= self._commits_between_checks
            self._commits = 0 if is_due else self._commits
        if is_due and self._leases.acquire(keys.COMPACTION):
            try:
                # A damaged part is found by those who read it, and by verify.
                with suppress(CorruptFrame, StorePermissionDenied, StoreUnavailable):
                    self._compact()
            finally:
                self._leases.release(keys.COMPACTION)

    def _compact(self) -> None:
        self._epoch.ensure_current()
        manifest = self._epoch.manifest
        prefix = keys.epoch_prefix(manifest.timeline_id, manifest.epoch)
        listed = {blob.key for blob in self._store.list(prefix)}
        compaction = manifest.compaction
        covered = set(compaction.parts) if compaction else set()
        others = [part for part in manifest.parts if part not in covered]
        committed = [part for part in others if manifest.index_key(part) in listed]
        if len(committed) < min(COMMITS_BETWEEN_COMPACTIONS, len(others)):
            return
        compacted = compact(self._store, manifest, load_snapshot_at(self._store, manifest))
        if compacted is not manifest and compaction is not None:
            # The one before stays for readers that have just read the manifest that names it.
            self._store.delete(
                key
                for key in sorted(listed)
                if (parsed := keys.parse_index(key)) is not None
                and parsed[0] == keys.COMPACTED
                and parsed[1] < compaction.number
            )
