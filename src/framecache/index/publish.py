"""Committing: an index part is created once, after every frame it names was acknowledged."""

import json
from collections.abc import Mapping
from typing import Any

from framecache import keys
from framecache.index.create import create_once
from framecache.index.table import Index
from framecache.manifest import Compaction, Description, new_write_id
from framecache.store import BlobMissing, Store


def commit_part(
    store: Store,
    description: Description,
    part: str,
    index: Index,
    *,
    about: Mapping[str, Any],
) -> Index:
    """Create an index part, and return the one that is committed: this one, or another's.

    Every frame of ``index`` must have been acknowledged by the store before. ``about`` goes
    into the part's metadata: what it was made from, and by which versions.
    """
    key = keys.index_part(description.timeline_id, epoch=description.epoch, part=part)
    metadata = {
        "write_id": new_write_id(),
        "epoch": description.epoch,
        "part": part,
        "settings": str(description.settings),
        **about,
    }
    body = index.encode(json.dumps(metadata).encode())
    stored = create_once(store, key, body)
    return index if stored == body else Index.decode(stored, key=key)


def is_committed(store: Store, description: Description, part: str) -> bool:
    """Whether an index part is there; one HEAD."""
    try:
        store.head(keys.index_part(description.timeline_id, epoch=description.epoch, part=part))
    except BlobMissing:
        return False
    return True


def compact(store: Store, description: Description, index: Index) -> Description:
    """Store all rows of a complete timeline in one file, and describe that it is there.

    ``index`` holds the rows of every part of ``description``. When the timeline moved on in the
    meantime nothing is described: this is only an optimisation.
    """
    number = description.version + 1
    timeline_id, epoch = description.timeline_id, description.epoch
    body = index.encode(json.dumps({"write_id": new_write_id()}).encode())
    if (
        create_once(store, keys.compacted_index(timeline_id, epoch=epoch, number=number), body)
        != body
    ):
        return description
    following = description.next_version(compaction=Compaction(number, description.parts))
    body = following.encode()
    if create_once(store, keys.description(timeline_id, following.version), body) != body:
        return description
    return following
