"""Looking at a timeline: a LIST and a GET, those of its index, and a LIST of all its blobs."""

from datetime import datetime

from framecache import keys
from framecache.errors import FrameCacheError, StoreDenied, StoreUnavailable
from framecache.gc.rules import NOTHING_COMMITTED, Committed, TimelineState, judge
from framecache.index import current_description, load, pack_keys
from framecache.ingest.settling import is_settled
from framecache.store import Store


def look(store: Store, timeline_id: str, *, before: datetime) -> TimelineState:
    """What a timeline is, and what of it can go because it was stored before a time.

    Of a timeline whose description or index cannot be read, nothing can.
    """
    problem: FrameCacheError | None = None
    try:
        committed = _committed(store, timeline_id)
    except (StoreDenied, StoreUnavailable):
        raise
    except FrameCacheError as error:
        committed, problem = NOTHING_COMMITTED, error.with_traceback(None)
    listing = store.list(keys.timeline_prefix(timeline_id))
    return judge(timeline_id, listing, committed, before=before, problem=problem)


def _committed(store: Store, timeline_id: str) -> Committed:
    description = current_description(store, timeline_id)
    if description is None:
        return NOTHING_COMMITTED
    snapshot = load(store, description)
    index = snapshot.index
    # What lies under the public name of a replaced frame makes room for it, and for nothing else.
    has_public_name = description.settings.layout == "objects"
    return Committed(
        description,
        index.sequence[index.is_ok & ((index.offset == 0) | has_public_name)],
        frozenset(pack_keys(index)),
        frozenset(snapshot.missing_parts),
        frozenset(index.picture_since.tolist()) - {""},
        is_settled=is_settled(description, index),
    )
