"""Read frames from the disk cache while their timeline is still the one that was loaded."""

import time
from typing import Final

from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Snapshot, ensure_current
from framecache._read.disk_cache import DiskCache
from framecache.store import Store

MANIFEST_TTL_SECONDS: Final = 10.0
"""Time after which a reader that needs nothing from the store checks the manifest again."""


class TimelineDiskCache:
    """Disk cache entries of one timeline's frames. Safe to share between threads.

    A reader of the store notices a clear because frames are missing or differ there. Cached copies
    do not change, so the timeline's manifest is checked at intervals.
    """

    def __init__(self, disk_cache: DiskCache, store: Store, manifest: Manifest) -> None:
        self._disk_cache = disk_cache
        self._store = store
        self._manifest = manifest
        self._checked_at = time.monotonic()

    def prefetch(self, row: FrameRow) -> bool:
        """Ask the operating system to read a copy ahead; return whether there seems to be one."""
        return self._disk_cache.prefetch(row)

    def get(self, row: FrameRow) -> bytes | None:
        """Return the frame's bytes as they were committed, or None.

        Raises:
            TimelineCleared: the timeline was cleared, rebuilt or deleted; noticed within 10
                seconds.
        """
        data = self._disk_cache.get(row)
        if data is not None:
            self._ensure_current()
        return data

    def put(self, row: FrameRow, data: bytes) -> None:
        """Keep bytes that are known to be the committed ones."""
        self._disk_cache.put(row, data)

    def get_decoded(self, identity: str) -> bytes | None:
        """Return what `put_decoded` kept, or None; does not check the manifest."""
        return self._disk_cache.get_sealed(identity)

    def put_decoded(self, identity: str, data: bytes) -> None:
        """Keep a frame that is not stored, by what determines it."""
        self._disk_cache.put_sealed(identity, data)

    def _ensure_current(self) -> None:
        now = time.monotonic()
        if now - self._checked_at >= MANIFEST_TTL_SECONDS:
            # Set first, so that only one of several threads checks.
            self._checked_at = now
            ensure_current(self._store, self._manifest)


def open_timeline_cache(
    disk_cache: DiskCache | None, store: Store, snapshot: Snapshot
) -> TimelineDiskCache | None:
    """Return the disk cache of a timeline's frames.

    None if there is no disk cache, or if the timeline has no index, so that the CRCs of its frames
    are not known.
    """
    if disk_cache is None or snapshot.manifest is None or snapshot.index.is_unindexed:
        return None
    return TimelineDiskCache(disk_cache, store, snapshot.manifest)
