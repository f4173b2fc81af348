"""Access log: the time of a timeline's last use, stored so that unused ones are cleared first."""

import time
from contextlib import suppress
from datetime import datetime
from typing import Final

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.store import BlobMissing, Store

INTERVAL_SECONDS: Final = 3600.0
"""Minimum time between two records of one timeline's use by one process."""

_MAX_REMEMBERED: Final = 100_000
_BODY: Final = b"\n"
"""Body of the blob; its modification time is the record. It has one byte because `Store.head` of
an empty blob takes a second request."""

_touched_at: Final[dict[tuple[str, str], float]] = {}
"""Time of the last record of each store's timeline, in seconds of this process's monotonic clock.
"""

_write_denied: Final[set[str]] = set()
"""URLs of stores to which this process may not write."""


def touch(store: Store, manifest: Manifest | None) -> None:
    """Record that a timeline's frames are being read: an occasional PUT.

    Only timelines that can be extracted again are ever removed for being unused, so only the use
    of these is recorded. A store that denies the write is not tried again. Concurrent threads may
    record a use twice.
    """
    if manifest is None or not manifest.chunks:
        return
    name, now = (store.url, manifest.timeline_id), time.monotonic()
    noted_at = _touched_at.get(name)
    if noted_at is not None and now - noted_at < INTERVAL_SECONDS:
        return
    if store.url in _write_denied:
        return
    if len(_touched_at) >= _MAX_REMEMBERED:
        _touched_at.clear()
    _touched_at[name] = now
    # Reading must not fail because the record does.
    with suppress(StoreUnavailable):
        try:
            store.put(keys.access_log(manifest.timeline_id), _BODY)
        except StorePermissionDenied:
            _write_denied.add(store.url)


def last_access(store: Store, timeline_id: str) -> datetime | None:
    """Return the last recorded use of a timeline by the store's clock, or None if there is none."""
    try:
        return store.head(keys.access_log(timeline_id)).modified_at
    except BlobMissing:
        return None
