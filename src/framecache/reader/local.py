"""Frames from local disk, as long as their timeline is the one whose index was read."""

import time
from typing import Final

from framecache.index import FrameRow, Snapshot, ensure_current
from framecache.manifest import Description
from framecache.store import Store
from framecache.tier import FrameTier

_CURRENT_FOR_SECONDS: Final = 10.0


class LocalFrames:
    """The copies of one timeline's frames. Safe to share between threads.

    Whoever gets frames from the store meets a clear by what is gone or differs there. Here nothing
    ever is, so the timeline's description is looked at now and then.
    """

    def __init__(self, tier: FrameTier, store: Store, description: Description) -> None:
        self._tier = tier
        self._store = store
        self._description = description
        self._current_at = time.monotonic()

    def prefetch(self, row: FrameRow) -> bool:
        """Have the system begin to read a copy; whether there seems to be one."""
        return self._tier.prefetch(row)

    def get(self, row: FrameRow) -> bytes | None:
        """The frame's bytes, as they were committed, or None.

        Raises:
            Cleared: the timeline was cleared, rebuilt or deleted; noticed within 10 seconds.
        """
        data = self._tier.get(row)
        if data is not None:
            self._ensure_current()
        return data

    def put(self, row: FrameRow, data: bytes) -> None:
        """Keep bytes that are those which were committed."""
        self._tier.put(row, data)

    def _ensure_current(self) -> None:
        now = time.monotonic()
        if now - self._current_at >= _CURRENT_FOR_SECONDS:
            # Set first, so that of many threads one asks.
            self._current_at = now
            ensure_current(self._store, self._description)


def local_frames(tier: FrameTier | None, store: Store, snapshot: Snapshot) -> LocalFrames | None:
    """The copies of a timeline's frames; None of one that is listed, whose CRCs nobody knows."""
    if tier is None or snapshot.description is None or snapshot.index.is_listed:
        return None
    return LocalFrames(tier, store, snapshot.description)
