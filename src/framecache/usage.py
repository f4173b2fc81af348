"""When a timeline was last used, noted in the store so that what nobody uses can go first."""

import time
from contextlib import suppress
from typing import Final

from framecache import keys
from framecache.errors import StoreDenied, StoreUnavailable
from framecache.manifest import Description
from framecache.store import Store

INTERVAL_SECONDS: Final = 3600.0
"""How often one process notes the use of one timeline, at most."""

_MOST_REMEMBERED: Final = 100_000
_NOTE: Final = b"\n"
"""Of one byte, so that one request tells when it was made."""

_noted: Final[dict[tuple[str, str], float]] = {}
"""When the use of a store's timeline was noted last; seconds of this process's monotonic clock."""

_denying: Final[set[str]] = set()
"""Stores that let this process read only."""


def note_use(store: Store, description: Description | None) -> None:
    """Note that a timeline's frames are being read: a PUT now and then, mostly nothing.

    Only what can be extracted again may be removed for want of use, so only such use is noted.
    A store that refuses is not asked again. Threads that read at once may note a use twice.
    """
    if description is None or not description.chunks:
        return
    name, now = (store.url, description.timeline_id), time.monotonic()
    noted_at = _noted.get(name)
    if noted_at is not None and now - noted_at < INTERVAL_SECONDS:
        return
    if store.url in _denying:
        return
    if len(_noted) >= _MOST_REMEMBERED:
        _noted.clear()
    _noted[name] = now
    # Reading goes on whatever becomes of the note.
    with suppress(StoreUnavailable):
        try:
            store.put(keys.used(description.timeline_id), _NOTE)
        except StoreDenied:
            _denying.add(store.url)
