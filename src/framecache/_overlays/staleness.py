"""Commit times of the frames of a timeline: docs/design/0006-stale-overlays.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from framecache._core import keys
from framecache._index import Index
from framecache.errors import CorruptFrame
from framecache.store import Store


@dataclass(frozen=True, slots=True)
class CommitTimes:
    """Commit times of the pictures of a timeline, by the store's clock."""

    first_commit: datetime | None = None
    """First commit of the latest epoch; None: no commit, or another program's frames."""
    replaced: Mapping[int, datetime] = field(default_factory=dict)
    """Time at which a picture replaced another, by sequence."""

    def is_stale(self, sequence: int, stored_at: datetime) -> bool:
        """Return True if an overlay is older than the picture of its frame.

        Within the same second it is not stale.
        """
        since = self.replaced.get(sequence, self.first_commit)
        return since is not None and stored_at < since


def load_commit_times(
    store: Store, timeline_id: str, read_index: Callable[[], Index]
) -> CommitTimes:
    """Return the times at which the frames of the latest epoch were committed.

    Makes one LIST. The index is read only if a program wrote frames more than once: a first batch
    replaces nothing.
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
        return CommitTimes()
    first = min(since.values())
    later = [part for part in since if keys.is_written_part(part) and part != keys.written_part(0)]
    if not later:
        return CommitTimes(first)
    try:
        index = read_index()
    except CorruptFrame:
        return CommitTimes(first)  # until it is repaired
    rows = zip(index.sequence.tolist(), index.picture_since.tolist(), strict=True)
    return CommitTimes(first, {number: since[part] for number, part in rows if part in since})
