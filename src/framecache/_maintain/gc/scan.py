"""Scan of a timeline: a LIST and a GET, those of its index, and a LIST of all its blobs."""

from datetime import datetime

from framecache._core import keys
from framecache._index import current_manifest, load_snapshot_at, pack_keys
from framecache._ingest.relocation import is_relocated
from framecache._layouts import layout_of
from framecache._maintain.gc.rules import NOTHING_COMMITTED, CommittedState, TimelineState, classify
from framecache.errors import FrameCacheError, StorePermissionDenied, StoreUnavailable
from framecache.store import Store


def scan_timeline(store: Store, timeline_id: str, *, before: datetime) -> TimelineState:
    """Return the state of a timeline, and which blobs stored before a time can be deleted.

    Nothing can be deleted from a timeline whose manifest or index cannot be read.
    """
    problem: FrameCacheError | None = None
    try:
        committed = _load_committed(store, timeline_id)
    except (StorePermissionDenied, StoreUnavailable):
        raise
    except FrameCacheError as error:
        committed, problem = NOTHING_COMMITTED, error.with_traceback(None)
    listing = store.list(keys.timeline_prefix(timeline_id))
    return classify(timeline_id, listing, committed, before=before, error=problem)


def _load_committed(store: Store, timeline_id: str) -> CommittedState:
    description = current_manifest(store, timeline_id)
    if description is None:
        return NOTHING_COMMITTED
    snapshot = load_snapshot_at(store, description)
    index = snapshot.index
    # The public key of a replaced frame is reserved for its new picture: whatever is there now is
    # replaced when the frame is settled, and is not garbage.
    has_public_name = layout_of(description).has_public_keys
    return CommittedState(
        description,
        index.sequence[index.is_ok & ((index.offset == 0) | has_public_name)],
        frozenset(pack_keys(index)),
        frozenset(snapshot.missing_parts),
        frozenset(index.picture_since.tolist()) - {""},
        is_settled=is_relocated(description, index),
    )
