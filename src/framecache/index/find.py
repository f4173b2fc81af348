"""Opening a timeline: its description, and the rows of every part that is committed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from framecache import keys
from framecache.errors import CorruptFrame, StoreUnavailable
from framecache.index.descriptions import current_description, is_current
from framecache.index.fetch import fetch
from framecache.index.table import Index
from framecache.manifest import Description
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 100
_CONCURRENT_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a timeline was at one moment."""

    description: Description | None
    """None when no framecache described it: nothing is there, or another program's frames."""
    index: Index
    """The committed frames."""
    missing_parts: tuple[str, ...]
    """Described parts that are not committed yet."""

    @property
    def exists(self) -> bool:
        """Whether any frame is committed."""
        return len(self.index) > 0

    @property
    def is_complete(self) -> bool:
        """Whether something is cached and nothing that was described is missing."""
        return self.exists and not self.missing_parts


def find(store: Store, timeline_id: str) -> Snapshot:
    """Look a timeline up: LIST, description, index; three requests when it is compacted."""
    for _ in range(_ATTEMPTS):
        description = current_description(store, timeline_id)
        if description is None:
            listed = _listed_index(store, timeline_id)
            # Frames may have come since: then a description came before them.
            if not listed or current_description(store, timeline_id) is None:
                return Snapshot(None, listed, ())
            continue
        try:
            snapshot = load(store, description)
        except CorruptFrame:
            if is_current(store, description):
                raise
            continue
        # Parts may be missing because they were swept since the description was read.
        if not snapshot.missing_parts or is_current(store, description):
            return snapshot
    raise StoreUnavailable(
        f"other programs changed timeline {timeline_id} in {store.url} {_ATTEMPTS} times while "
        f"this one looked it up: try again when they are done"
    )


def load(store: Store, description: Description) -> Snapshot:
    """The committed rows of a described timeline.

    Raises:
        CorruptFrame: an index file is damaged. The compaction alone is made up for by its parts.
    """
    try:
        compacted = _compacted_index(store, description)
    except CorruptFrame:
        snapshot = _joined(store, description, None)
        assert description.compaction is not None
        # Without the compaction nothing else tells whether they are committed.
        if not set(description.compaction.parts).isdisjoint(snapshot.missing_parts):
            raise
        return snapshot
    return _joined(store, description, compacted)


def _joined(store: Store, description: Description, compacted: Index | None) -> Snapshot:
    """The rows of the compaction, where there is one, and of all other parts."""
    covered = set(description.compaction.parts if description.compaction and compacted else ())
    others = [part for part in description.parts if part not in covered]
    found = load_parts(store, description, others)
    parts = ([compacted] if compacted else []) + [index for index in found if index is not None]
    missing = tuple(part for part, index in zip(others, found, strict=True) if index is None)
    return Snapshot(description, Index.merged(parts), missing)


def _compacted_index(store: Store, description: Description) -> Index | None:
    if description.compaction is None:
        return None
    key = keys.compacted_index(
        description.timeline_id,
        epoch=description.epoch,
        number=description.compaction.number,
    )
    try:
        return fetch(store, key, Index.decode)
    except BlobMissing:
        return None  # the parts it was made from still tell everything


def load_parts(store: Store, description: Description, parts: Sequence[str]) -> list[Index | None]:
    """The rows of some parts of an epoch, in the order given; None for one not committed."""

    def load_part(part: str) -> Index | None:
        try:
            return fetch(store, description.index_key(part), Index.decode)
        except BlobMissing:
            return None

    if len(parts) < 2:  # noqa: PLR2004 -- a pool for one request costs more than the request
        return [load_part(part) for part in parts]
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(parts))) as pool:
        return list(pool.map(load_part, parts))


def _listed_index(store: Store, timeline_id: str) -> Index:
    return Index.listed(
        (sequence, blob.key, blob.size_bytes)
        for blob in store.list(keys.frames_prefix(timeline_id))
        if (sequence := keys.parse_frame(timeline_id, blob.key)) is not None
    )
