"""Committing: an index part is created once, after every frame it names was acknowledged."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from framecache import keys
from framecache.errors import StoreUnavailable
from framecache.index.create import create_once
from framecache.index.descriptions import ensure_current, follow
from framecache.index.fetch import fetch, is_stored
from framecache.index.table import Index
from framecache.manifest import Compaction, Description, new_write_id
from framecache.store import BlobMissing, Store

_CONCURRENT_REQUESTS: Final = 16
_ATTEMPTS: Final = 100


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
    key = description.index_key(part)
    body = index.encode(_metadata(description, part, about))
    stored = create_once(store, key, body)
    if stored == body:
        return index
    try:
        return fetch(store, key, Index.decode)
    except BlobMissing as error:
        ensure_current(store, description)
        raise StoreUnavailable(f"{key} in {store.url} was there and is gone: try again") from error


def commit_repair(
    store: Store,
    description: Description,
    part: str,
    index: Index,
    *,
    about: Mapping[str, Any],
) -> int:
    """Create the next generation of an index part; returns its number, to be described.

    It counts only once a description names it. A generation that is there already, and that
    nobody described, is an attempt that was interrupted: the one after it is tried.
    """
    generation = description.generations.get(part, 0)
    body = index.encode(_metadata(description, part, about))
    for following in range(generation + 1, generation + 1 + _ATTEMPTS):
        key = keys.index_part(
            description.timeline_id, epoch=description.epoch, part=part, generation=following
        )
        if create_once(store, key, body) == body:
            return following
    raise StoreUnavailable(
        f"part {part} of timeline {description.timeline_id} in {store.url} was repaired "
        f"{_ATTEMPTS} times by other programs, none of which finished: clear the timeline"
    )


def _metadata(description: Description, part: str, about: Mapping[str, Any]) -> bytes:
    metadata = {
        **about,
        "write_id": new_write_id(),
        "epoch": description.epoch,
        "part": part,
        "settings": str(description.settings),
    }
    return json.dumps(metadata).encode()


def committed_parts(store: Store, description: Description, parts: Iterable[str]) -> set[str]:
    """Which of some parts are committed: one request each, several at once.

    Parts that a compaction covers take one for all of them.
    """
    wanted = list(parts)
    covered = _compacted_parts(store, description) if wanted else frozenset()
    others = [part for part in wanted if part not in covered]
    if not others:
        return set(wanted)
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(others))) as pool:
        found = pool.map(lambda part: is_stored(store, description.index_key(part)), others)
        committed = {part for part, is_found in zip(others, found, strict=True) if is_found}
    return committed | (set(wanted) & covered)


def _compacted_parts(store: Store, description: Description) -> frozenset[str]:
    compaction = description.compaction
    if compaction is None:
        return frozenset()
    key = keys.compacted_index(
        description.timeline_id, epoch=description.epoch, number=compaction.number
    )
    return frozenset(compaction.parts) if is_stored(store, key) else frozenset()


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
    if follow(store, following, after=description):
        return following
    store.delete([keys.compacted_index(timeline_id, epoch=epoch, number=number)])
    return description
