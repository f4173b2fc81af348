"""Since when the frames of a timeline are what they are: docs/design/0006-stale-overlays.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from framecache import keys
from framecache.errors import CorruptFrame
from framecache.index import Index
from framecache.store import Store


@dataclass(frozen=True, slots=True)
class FramesSince:
    """When the pictures of a timeline were committed, by the store's own clock."""

    first: datetime | None = None
    """When the first of the latest epoch were; None: none are, or they are another program's."""
    replaced: Mapping[int, datetime] = field(default_factory=dict)
    """By sequence: when a picture took the place of another."""

    def is_stale(self, sequence: int, stored_at: datetime) -> bool:
        """Whether an overlay is older than the picture of its frame. Of one second, it is not."""
        since = self.replaced.get(sequence, self.first)
        return since is not None and stored_at < since


def frames_since(store: Store, timeline_id: str, read_index: Callable[[], Index]) -> FramesSince:
    """When the frames of the latest epoch were committed.

    One LIST. The index is read only where a program wrote more than once: a first batch replaces
    nothing.
    """
    latest, since = -1, dict[str, datetime]()
    for blob in store.list(keys.indexes_prefix(timeline_id)):
        epoch = keys.parse_epoch(timeline_id, blob.key)
        parsed = keys.parse_index(blob.key)
        if epoch is None or parsed is None or keys.epoch_ordinal(epoch) < latest:
            continue
        if keys.epoch_ordinal(epoch) > latest:
            latest, since = keys.epoch_ordinal(epoch), {}
        part = parsed[0]
        since[part] = min(since.get(part, blob.modified_at), blob.modified_at)
    if not since:
        return FramesSince()
    first = min(since.values())
    later = [part for part in since if keys.is_written_part(part) and part != keys.written_part(0)]
    if not later:
        return FramesSince(first)
    try:
        index = read_index()
    except CorruptFrame:
        return FramesSince(first)  # until it is repaired
    rows = zip(index.sequence.tolist(), index.picture_since.tolist(), strict=True)
    return FramesSince(first, {number: since[part] for number, part in rows if part in since})
