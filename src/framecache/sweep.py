"""Clearing and deleting. The new epoch is the clear; what follows only frees space.

Order matters: index parts go before the frames they name, so that nothing that is still
committed names a blob that is gone. Every step can be interrupted and repeated.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from framecache import keys
from framecache.errors import NotCached
from framecache.index import advance, current_description
from framecache.manifest import Description
from framecache.store import BlobInfo, Store

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Removal:
    """What was taken away."""

    blobs: int
    size_bytes: int

    def __add__(self, other: "Removal") -> "Removal":
        return Removal(self.blobs + other.blobs, self.size_bytes + other.size_bytes)


def clear(store: Store, timeline_id: str) -> Removal:
    """Start a new epoch in which nothing is cached, then remove the frames of the old one.

    Chunks, settings, overlays and whatever else someone put beside the frames stay. A timeline
    that has nothing is left as it is.
    """
    index = _end_epoch(store, timeline_id)
    return index + _remove(store, _frames(store, timeline_id, first=0))


def delete(store: Store, timeline_id: str) -> Removal:
    """Remove everything of a timeline: index, frames, overlays, and last its descriptions.

    Descriptions go from the oldest on, so that an interrupted delete never makes an older one
    current again.
    """
    removed = _end_epoch(store, timeline_id)
    descriptions = keys.descriptions_prefix(timeline_id)
    blobs = store.list(keys.timeline_prefix(timeline_id))
    removed += _remove(store, (blob for blob in blobs if not blob.key.startswith(descriptions)))
    for blob in sorted(store.list(descriptions), key=lambda blob: blob.key):
        removed += _remove(store, [blob])
    return removed


def sweep_older(store: Store, description: Description) -> Removal:
    """Remove the index parts of older epochs, and the frames beyond the new last one.

    To be called before the new epoch is filled: another program may then append to it, and its
    frames lie beyond, too.
    """
    latest = current_description(store, description.timeline_id)
    if latest is None or latest.epoch != description.epoch:
        return Removal(0, 0)
    index = _remove_older_index(store, latest)
    beyond = _frames(store, latest.timeline_id, first=latest.frame_count)
    return index + _remove(store, beyond)


def _frames(store: Store, timeline_id: str, *, first: int) -> Iterator[BlobInfo]:
    """The frames from a sequence on."""
    for blob in store.list(keys.frames_prefix(timeline_id)):
        sequence = keys.parse_frame(timeline_id, blob.key)
        if sequence is not None and sequence >= first:
            yield blob


def _end_epoch(store: Store, timeline_id: str) -> Removal:
    if current_description(store, timeline_id) is None:
        return Removal(0, 0)

    def change(current: Description | None) -> Description:
        if current is None:
            raise NotCached(f"timeline {timeline_id} in {store.url} was deleted in the meantime")
        return current.next_epoch()

    return _remove_older_index(store, advance(store, timeline_id, change))


def _remove_older_index(store: Store, description: Description) -> Removal:
    current = keys.epoch_prefix(description.timeline_id, description.epoch)
    blobs = store.list(keys.indexes_prefix(description.timeline_id))
    return _remove(store, (blob for blob in blobs if not blob.key.startswith(current)))


def _remove(store: Store, blobs: Iterable[BlobInfo]) -> Removal:
    removed, batch = Removal(0, 0), list[BlobInfo]()
    for blob in blobs:
        batch.append(blob)
        if len(batch) == _BATCH:
            removed += _remove_batch(store, batch)
            batch = []
    return removed + _remove_batch(store, batch)


def _remove_batch(store: Store, batch: list[BlobInfo]) -> Removal:
    store.delete(blob.key for blob in batch)
    return Removal(len(batch), sum(blob.size_bytes for blob in batch))
