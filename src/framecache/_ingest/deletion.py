"""Clearing and deleting timelines. Starting a new epoch is the clear; the rest only frees space.

Order matters: index parts are deleted before the frames and packs they name, so that committed
parts never name missing blobs. Every step can be interrupted and repeated.

Frames have the same keys in every epoch. Before each batch, the deletion therefore checks whether
the new epoch is already being filled, and stops if it is: new frames replace the old ones, and
`framecache gc` finds the remainder.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import current_manifest, find_corrupt_manifest, is_current, update_manifest
from framecache._index.lease import has_leases
from framecache._layouts import layout_of
from framecache.errors import CorruptFrame, NotCached
from framecache.store import BlobInfo, Store, remove_markers

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class DeletionSummary:
    """Number and total size of removed blobs."""

    blobs: int
    size_bytes: int

    def __add__(self, other: "DeletionSummary") -> "DeletionSummary":
        return DeletionSummary(self.blobs + other.blobs, self.size_bytes + other.size_bytes)


def clear(store: Store, timeline_id: str) -> DeletionSummary:
    """Start a new epoch in which nothing is cached, then remove the frames of the old one.

    Chunks, settings, overlays and any other blobs next to the frames stay. A timeline without
    blobs stays as it is.
    """
    removed = DeletionSummary(0, 0)
    if current_manifest(store, timeline_id) is None:
        removed = _remove(store, _list_frames(store, timeline_id, first=0))
        if current_manifest(store, timeline_id) is None:
            return removed
        # A write has committed some of these frames in the meantime: clear what it committed, too.
    return removed + finish_clear(store, _end_epoch(store, timeline_id))


def finish_clear(store: Store, manifest: Manifest) -> DeletionSummary:
    """Remove the frames of earlier epochs, as long as no program has begun to fill this one."""
    return _remove_older(store, manifest) + _remove(
        store,
        _list_frames(store, manifest.timeline_id, first=0),
        while_true=lambda: is_unfilled(store, manifest),
    )


def delete(store: Store, timeline_id: str) -> DeletionSummary:
    """Remove everything of a timeline: index, frames, overlays, and finally its manifests.

    Manifests are deleted oldest first, so that an interrupted delete never makes an older one
    current again. Folder markers, which are not blobs, are deleted too and not counted.
    """
    removed = _end_before_delete(store, timeline_id)
    descriptions = keys.manifests_prefix(timeline_id)
    blobs = store.list(keys.timeline_prefix(timeline_id))
    removed += _remove(store, (blob for blob in blobs if not blob.key.startswith(descriptions)))
    for blob in sorted(store.list(descriptions), key=lambda blob: blob.key):
        removed += _remove(store, [blob])
    # Another program may have stored more in this timeline since the listing.
    left = list(store.list(keys.timeline_prefix(timeline_id)))
    if left and current_manifest(store, timeline_id) is None:
        removed += _remove(store, left)
    remove_markers(store, keys.timeline_prefix(timeline_id))
    return removed


def cleanup_if_deleted(store: Store, timeline_id: str) -> None:
    """Remove frames that were stored after a delete.

    Without a manifest they would be mistaken for frames of another program.
    """
    if current_manifest(store, timeline_id) is None:
        _remove(store, _list_frames(store, timeline_id, first=0))


def delete_older_epochs(store: Store, manifest: Manifest) -> DeletionSummary:
    """Remove the blobs of older epochs, except frames that the new epoch will replace.

    In layout ``packs`` it replaces none, in layout ``objects`` those up to its last sequence. Call
    this before the new epoch is filled. Afterwards, another program may append to the timeline,
    so that new frames lie beyond that sequence too, or change its layout.
    """
    latest = current_manifest(store, manifest.timeline_id)
    if latest is None or latest.epoch != manifest.epoch:
        return DeletionSummary(0, 0)
    will_overwrite = layout_of(latest).has_public_keys
    is_left_alone = is_current if will_overwrite else is_unfilled
    return _remove_older(store, latest) + _remove(
        store,
        _list_frames(store, latest.timeline_id, first=latest.frame_count if will_overwrite else 0),
        while_true=lambda: is_left_alone(store, latest),
    )


def is_unfilled(store: Store, manifest: Manifest) -> bool:
    """Return True if no program has begun to fill this epoch or a later one."""
    parts = store.list(keys.epoch_prefix(manifest.timeline_id, manifest.epoch))
    return (
        is_current(store, manifest)
        and not has_leases(store, manifest)
        and next(iter(parts), None) is None
    )


def _list_frames(store: Store, timeline_id: str, *, first: int) -> Iterator[BlobInfo]:
    """Yield the blobs of frames from a sequence on."""
    for blob in store.list(keys.frames_prefix(timeline_id)):
        sequence = keys.parse_frame(timeline_id, blob.key)
        if sequence is not None and sequence >= first:
            yield blob


def _end_epoch(store: Store, timeline_id: str) -> Manifest:
    def change(current: Manifest | None) -> Manifest:
        if current is None:
            raise NotCached(
                f"timeline {timeline_id} in {store.display_name} was deleted in the meantime"
            )
        return current.next_epoch()

    return update_manifest(store, timeline_id, change)


def _end_before_delete(store: Store, timeline_id: str) -> DeletionSummary:
    """End the epoch, so that an interrupted delete leaves no manifest that names deleted blobs."""
    try:
        if current_manifest(store, timeline_id) is not None:
            return _remove_older(store, _end_epoch(store, timeline_id))
    except CorruptFrame:
        # No version can follow a manifest that is damaged in place; it is deleted like the rest.
        if find_corrupt_manifest(store, timeline_id) is None:
            raise
    return DeletionSummary(0, 0)


def _remove_older(store: Store, manifest: Manifest) -> DeletionSummary:
    """Remove the index parts, leases, packs, renditions and sprite sheets of earlier epochs.

    Later epochs are spared, and removal stops once the manifest is no longer current: while this
    program was suspended, another may have started a later epoch, or deleted the timeline and
    created it again.
    """
    timeline_id = manifest.timeline_id
    removed = DeletionSummary(0, 0)
    for prefix in (
        keys.indexes_prefix(timeline_id),
        keys.leases_prefix(timeline_id),
        keys.packs_prefix(timeline_id),
        keys.renditions_prefix(timeline_id),
        keys.sprites_prefix(timeline_id),
    ):
        older = (blob for blob in store.list(prefix) if _is_earlier_epoch(blob.key, manifest))
        removed += _remove(store, older, while_true=lambda: is_current(store, manifest))
    return removed


def _is_earlier_epoch(key: str, manifest: Manifest) -> bool:
    epoch = keys.parse_epoch(manifest.timeline_id, key)
    return epoch is not None and keys.is_earlier_epoch(epoch, than=manifest.epoch)


def _always() -> bool:
    return True


def _remove(
    store: Store, blobs: Iterable[BlobInfo], *, while_true: Callable[[], bool] = _always
) -> DeletionSummary:
    """Remove blobs in batches, as long as ``while_true()`` holds before each batch."""
    removed = DeletionSummary(0, 0)
    remaining = iter(blobs)
    while (batch := list(islice(remaining, _BATCH))) and while_true():
        removed += _remove_batch(store, batch)
    return removed


def _remove_batch(store: Store, batch: list[BlobInfo]) -> DeletionSummary:
    store.delete(blob.key for blob in batch)
    return DeletionSummary(len(batch), sum(blob.size_bytes for blob in batch))
