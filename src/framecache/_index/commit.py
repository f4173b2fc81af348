"""Committing of index parts: each is created once, after all its frames were acknowledged."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from framecache._core import keys
from framecache._core.manifest import Compaction, Manifest, new_write_id
from framecache._index.blobs import blob_exists, create_verified, fetch_blob
from framecache._index.manifests import ensure_current, try_commit_manifest
from framecache._index.snapshot import Snapshot
from framecache._index.table import Index
from framecache.errors import StoreUnavailable
from framecache.store import BlobMissing, Store

_CONCURRENT_REQUESTS: Final = 16
_ATTEMPTS: Final = 100
_COMPACTION_ATTEMPTS: Final = 16


def commit_part(
    store: Store,
    manifest: Manifest,
    part: str,
    index: Index,
    *,
    provenance: Mapping[str, Any],
) -> Index:
    """Create an index part, and return the committed one: this one, or another program's.

    The store must have acknowledged every frame of ``index`` before. ``provenance`` is stored in
    the part's metadata as its provenance: the source, and the versions of the software.
    """
    key = manifest.index_key(part)
    body = index.encode(_metadata(manifest, part, provenance))
    if create_verified(store, key, body):
        return index
    try:
        return fetch_blob(store, key, Index.decode)
    except BlobMissing as error:
        ensure_current(store, manifest)
        raise StoreUnavailable(
            f"{key} in {store.display_name} existed but no longer does: try again"
        ) from error


def commit_repair(
    store: Store,
    manifest: Manifest,
    part: str,
    index: Index,
    *,
    provenance: Mapping[str, Any],
) -> int:
    """Create the next generation of an index part; return its number, for the manifest.

    It takes effect only when a manifest names it. If a generation exists that no manifest names,
    it is left from an interrupted attempt, and the next number is tried.
    """
    generation = manifest.generations.get(part, 0)
    body = index.encode(_metadata(manifest, part, provenance))
    for following in range(generation + 1, generation + 1 + _ATTEMPTS):
        key = keys.index_part(
            manifest.timeline_id, epoch=manifest.epoch, part=part, generation=following
        )
        if create_verified(store, key, body):
            return following
    raise StoreUnavailable(
        f"part {part} of timeline {manifest.timeline_id} in {store.display_name} was repaired "
        f"{_ATTEMPTS} times by other programs, none of which finished: clear the timeline"
    )


def _metadata(manifest: Manifest, part: str, provenance: Mapping[str, Any]) -> bytes:
    metadata = {
        **provenance,
        "write_id": new_write_id(),
        "epoch": manifest.epoch,
        "part": part,
        "settings": str(manifest.settings),
    }
    return json.dumps(metadata).encode()


def committed_parts(store: Store, manifest: Manifest, parts: Iterable[str]) -> set[str]:
    """Return the parts that are committed: one request each, several concurrently.

    Parts that a compaction covers take one request together.
    """
    wanted = list(parts)
    covered = _compacted_parts(store, manifest) if wanted else frozenset()
    others = [part for part in wanted if part not in covered]
    if not others:
        return set(wanted)
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(others))) as pool:
        found = pool.map(lambda part: blob_exists(store, manifest.index_key(part)), others)
        committed = {part for part, is_found in zip(others, found, strict=True) if is_found}
    return committed | (set(wanted) & covered)


def _compacted_parts(store: Store, manifest: Manifest) -> frozenset[str]:
    compaction, key = manifest.compaction, manifest.compaction_key
    if compaction is None or key is None or not blob_exists(store, key):
        return frozenset()
    return frozenset(compaction.parts)


def compact(store: Store, manifest: Manifest, snapshot: Snapshot) -> Manifest:
    """Store the rows of all committed parts in one file, and name it in the manifest.

    ``snapshot`` is one of ``manifest``. If the manifest has changed meanwhile, the compaction is
    dropped: it is only an optimization.

    Returns:
        The manifest that names the compaction, or ``manifest`` if it was dropped.
    """
    missing = set(snapshot.missing_parts)
    parts = tuple(part for part in manifest.parts if part not in missing)
    body = snapshot.index.encode(json.dumps({"write_id": new_write_id()}).encode())
    first = max(manifest.version, manifest.compaction.number if manifest.compaction else 0) + 1
    # If a file exists, its program stopped before a manifest named it, or is about to name it.
    for number in range(first, first + _COMPACTION_ATTEMPTS):
        following = manifest.next_version(compaction=Compaction(number, parts))
        key = following.compaction_key
        assert key is not None
        if not create_verified(store, key, body):
            continue
        if try_commit_manifest(store, following, previous=manifest):
            return following
        store.delete([key])
        return manifest
    return manifest
