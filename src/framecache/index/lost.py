"""A current description that is damaged, and the last sound version before it."""

from dataclasses import dataclass

from framecache import keys, manifest
from framecache.errors import CorruptFrame, StoreUnavailable
from framecache.index.descriptions import versions
from framecache.index.fetch import fetch
from framecache.manifest import Description
from framecache.store import BlobMissing, Store


@dataclass(frozen=True, slots=True)
class LostDescription:
    """What is known where the highest version of a description is damaged."""

    timeline_id: str
    version: int
    before: Description | None
    """The highest version that is sound; None when none is left."""

    @property
    def key(self) -> str:
        """Of the damaged version."""
        return keys.description(self.timeline_id, self.version)


def find_lost(store: Store, timeline_id: str) -> LostDescription | None:
    """Look whether the highest version is damaged where it lies; None when it is not, or is gone.

    Raises:
        StoreUnavailable: it reads differently each time, so that nothing can be said of it.
        SettingsConflict: a newer framecache wrote the version before it.
    """
    found = sorted(versions(store, timeline_id), reverse=True)
    if not found or not _is_damaged(store, keys.description(timeline_id, found[0])):
        return None
    for version in found[1:]:
        try:
            before = fetch(store, keys.description(timeline_id, version), manifest.decode)
        except (BlobMissing, CorruptFrame):
            continue
        return LostDescription(timeline_id, found[0], before)
    return LostDescription(timeline_id, found[0], None)


def _is_damaged(store: Store, key: str) -> bool:
    try:
        body = store.get(key)
        manifest.decode(body, key=key)
    except BlobMissing:
        return False
    except CorruptFrame:
        # What is damaged on the way only is another thing each time, or has another length.
        try:
            is_stored_so = store.get(key) == body and store.head(key).size_bytes == len(body)
        except BlobMissing:
            return False
        if is_stored_so:
            return True
        raise StoreUnavailable(
            f"{key} in {store.url} reads differently each time: check the network between, then "
            f"try again"
        ) from None
    return False
