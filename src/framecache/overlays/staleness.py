"""Since when the frames of a timeline are what they are: docs/design/0006-stale-overlays.md."""

from datetime import datetime

from framecache import keys
from framecache.store import Store


def frames_since(store: Store, timeline_id: str) -> datetime | None:
    """When the first frames of the latest epoch were committed, by the store's own clock.

    None where none are: nothing is cached, or another program's frames. One LIST.
    """
    latest, since = -1, None
    for blob in store.list(keys.indexes_prefix(timeline_id)):
        epoch = keys.parse_epoch(timeline_id, blob.key)
        if epoch is None or keys.parse_index(blob.key) is None:
            continue
        ordinal = keys.epoch_ordinal(epoch)
        if ordinal > latest:
            latest, since = ordinal, blob.modified_at
        elif ordinal == latest and since is not None:
            since = min(since, blob.modified_at)
    return since


def is_stale(stored_at: datetime, since: datetime | None) -> bool:
    """Whether an overlay is older than every frame there is. Of one second, it is not."""
    return since is not None and stored_at < since
