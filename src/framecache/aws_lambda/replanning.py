"""New plans of timelines with a chunk that contradicts its sample tables.

The pending blobs of the chunks were deleted when the chunks were cached. So a mark of the new epoch
is stored before the epoch begins, and stays until all chunks are cached in it: whatever happens to
an invocation, another one extracts them.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Final

from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import ManifestChange, committed_parts, update_manifest
from framecache.aws_lambda import pending
from framecache.store import Store

_log: Final = logging.getLogger("framecache.aws_lambda")


def replan(
    store: Store, contradicted: Manifest, entry: ChunkEntry, *, before_read: Callable[[], None]
) -> None:
    """Begin an epoch with the same chunks as that which ``entry`` contradicts, from their packets.

    Raises:
        UnreadableChunk: a chunk cannot be read; nothing has changed.
        TimelineCleared: another program changed the timeline otherwise.
    """

    def update(store: Store, timeline_id: str, change: ManifestChange) -> Manifest:
        def change_and_mark(current: Manifest | None) -> Manifest:
            following = change(current)
            if following is not current:
                pending.mark_replanned(store, timeline_id, following.epoch)
            return following

        return update_manifest(store, timeline_id, change_and_mark)

    _log.warning(
        "timeline %s: %s contradicts its sample tables; all chunks are planned again",
        *(contradicted.timeline_id, entry.url),
    )
    ingest.replan(store, contradicted, apply_change=update, before_read=before_read)


def delete_marks(
    store: Store, timeline_id: str, manifest: Manifest | None, marked: Collection[str]
) -> None:
    """Delete the marks of epochs that have ended, or whose chunks are all cached."""
    done = [epoch for epoch in marked if manifest is None or _is_done(store, manifest, epoch)]
    store.delete(keys.replanned_epoch(timeline_id, epoch) for epoch in done)


def list_uncommitted(
    store: Store, manifest: Manifest, entries: Iterable[ChunkEntry]
) -> list[ChunkEntry]:
    """Return the chunks that are not cached completely."""
    asked = [*entries]
    committed = committed_parts(store, manifest, [part for one in asked for part in one.parts])
    return [entry for entry in asked if not committed.issuperset(entry.parts)]


def _is_done(store: Store, manifest: Manifest, epoch: str) -> bool:
    if epoch == manifest.epoch:
        return not list_uncommitted(store, manifest, manifest.chunks)
    # The mark of a later epoch precedes the epoch itself.
    return not keys.is_earlier_epoch(manifest.epoch, than=epoch)
