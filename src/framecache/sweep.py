"""Clearing and deleting. The new epoch is the clear; what follows only frees space.

Order matters: index parts go before the frames and packs they name, so that nothing that is still
committed names a blob that is gone. Every step can be interrupted and repeated.

Frames have the same names in every epoch. So whoever sweeps looks before each batch whether the
new epoch is being filled already, and leaves the rest alone when it is: what is filled replaces
what was left, and the remainder is found by `framecache gc`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from framecache import keys
from framecache.claims import is_claimed
from framecache.errors import CorruptFrame, NotCached
from framecache.index import advance, current_description, find_lost, is_current
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
    if current_description(store, timeline_id) is None:
        return _remove(store, _frames(store, timeline_id, first=0))
    return finish_clear(store, _end_epoch(store, timeline_id))


def finish_clear(store: Store, description: Description) -> Removal:
    """Remove the frames of earlier epochs, as long as nobody has begun to fill this one."""
    return _remove_older(store, description) + _remove(
        store,
        _frames(store, description.timeline_id, first=0),
        while_true=lambda: is_unfilled(store, description),
    )


def delete(store: Store, timeline_id: str) -> Removal:
    """Remove everything of a timeline: index, frames, overlays, and last its descriptions.

    Descriptions go from the oldest on, so that an interrupted delete never makes an older one
    current again.
    """
    removed = _end_before_delete(store, timeline_id)
    descriptions = keys.descriptions_prefix(timeline_id)
    blobs = store.list(keys.timeline_prefix(timeline_id))
    removed += _remove(store, (blob for blob in blobs if not blob.key.startswith(descriptions)))
    for blob in sorted(store.list(descriptions), key=lambda blob: blob.key):
        removed += _remove(store, [blob])
    # Whoever worked in what was deleted may have stored more since the rest was listed.
    left = list(store.list(keys.timeline_prefix(timeline_id)))
    if left and current_description(store, timeline_id) is None:
        removed += _remove(store, left)
    return removed


def withdraw_if_deleted(store: Store, timeline_id: str) -> None:
    """Remove frames that were stored after a delete, lest they seem another program's."""
    if current_description(store, timeline_id) is None:
        clear(store, timeline_id)


def sweep_older(store: Store, description: Description) -> Removal:
    """Remove all of older epochs but the frames, and of these those that none will replace.

    Those are all where the new epoch lies in packs, else those beyond its last one. To be called
    before the new epoch is filled: another program may then append to it, and its frames lie
    beyond, too; or bring it into the other layout.
    """
    latest = current_description(store, description.timeline_id)
    if latest is None or latest.epoch != description.epoch:
        return Removal(0, 0)
    in_packs = latest.settings.layout == "packs"
    is_left_alone = is_unfilled if in_packs else is_current
    return _remove_older(store, latest) + _remove(
        store,
        _frames(store, latest.timeline_id, first=0 if in_packs else latest.frame_count),
        while_true=lambda: is_left_alone(store, latest),
    )


def is_unfilled(store: Store, description: Description) -> bool:
    """Whether nobody has begun to fill an epoch, or a later one."""
    parts = store.list(keys.epoch_prefix(description.timeline_id, description.epoch))
    return (
        is_current(store, description)
        and not is_claimed(store, description)
        and next(iter(parts), None) is None
    )


def _frames(store: Store, timeline_id: str, *, first: int) -> Iterator[BlobInfo]:
    """The frames from a sequence on."""
    for blob in store.list(keys.frames_prefix(timeline_id)):
        sequence = keys.parse_frame(timeline_id, blob.key)
        if sequence is not None and sequence >= first:
            yield blob


def _end_epoch(store: Store, timeline_id: str) -> Description:
    def change(current: Description | None) -> Description:
        if current is None:
            raise NotCached(f"timeline {timeline_id} in {store.url} was deleted in the meantime")
        return current.next_epoch()

    return advance(store, timeline_id, change)


def _end_before_delete(store: Store, timeline_id: str) -> Removal:
    """End the epoch, so that nothing is described that a delete which dies has removed."""
    try:
        if current_description(store, timeline_id) is not None:
            return _remove_older(store, _end_epoch(store, timeline_id))
    except CorruptFrame:
        # One that is damaged where it lies cannot be followed by another, and goes with the rest.
        if find_lost(store, timeline_id) is None:
            raise
    return Removal(0, 0)


def _remove_older(store: Store, description: Description) -> Removal:
    """Remove the index parts, claims, packs and sheets of earlier epochs.

    Not of all others, and only while the description is current: while this program slept,
    another may have begun a later epoch, or have deleted the timeline and made it anew.
    """
    timeline_id = description.timeline_id
    removed = Removal(0, 0)
    for prefix in (
        keys.indexes_prefix(timeline_id),
        keys.claims_prefix(timeline_id),
        keys.packs_prefix(timeline_id),
        keys.sprites_prefix(timeline_id),
    ):
        older = (blob for blob in store.list(prefix) if _is_older(blob.key, description))
        removed += _remove(store, older, while_true=lambda: is_current(store, description))
    return removed


def _is_older(key: str, description: Description) -> bool:
    epoch = keys.parse_epoch(description.timeline_id, key)
    return epoch is not None and keys.is_earlier_epoch(epoch, than=description.epoch)


def _always() -> bool:
    return True


def _remove(
    store: Store, blobs: Iterable[BlobInfo], *, while_true: Callable[[], bool] = _always
) -> Removal:
    """Remove blobs in batches, as long as ``while_true`` says before each that one may go on."""
    removed = Removal(0, 0)
    remaining = iter(blobs)
    while (batch := list(islice(remaining, _BATCH))) and while_true():
        removed += _remove_batch(store, batch)
    return removed


def _remove_batch(store: Store, batch: list[BlobInfo]) -> Removal:
    store.delete(blob.key for blob in batch)
    return Removal(len(batch), sum(blob.size_bytes for blob in batch))
