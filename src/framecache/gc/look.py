"""Looking at a timeline: a LIST and a GET, those of its index, and a LIST of all its blobs."""

from datetime import datetime

from framecache import keys
from framecache.errors import FrameCacheError, StoreDenied, StoreUnavailable
from framecache.gc.rules import NOTHING_COMMITTED, Committed, TimelineState, judge
from framecache.index import current_description, load, pack_keys
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
    return Committed(
        description,
        index.sequence[index.is_ok & (index.offset == 0)],
        frozenset(pack_keys(index)),
        frozenset(snapshot.missing_parts),
    )
