"""Adoption of frames that another program stored, so that others can be written next to them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import google_crc32c

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    blob_exists,
    commit_part,
    commit_repair,
    current_manifest,
    ensure_current,
    fetch_blob,
    require_epoch,
    update_manifest,
)
from framecache._media import jpeg
from framecache._read import prefetch_map
from framecache._version import __version__
from framecache.errors import StoreUnavailable
from framecache.store import BlobMissing, Store, is_remote

_CONCURRENT_REQUESTS: Final = 16
_ATTEMPTS: Final = 5
_PART: Final = keys.written_part(0)
_PROVENANCE: Final = {"framecache": __version__, "adopted": True}


def import_unindexed(store: Store, first_manifest: Manifest, *, workers: int) -> Manifest:
    """Return the first manifest of a timeline, including the frames stored under public names.

    Each frame is read twice to learn its length, CRC and size. Frames get chunk 0, time 0.0 and no
    hash, the values they load with. Their index part is committed before the manifest names it, in
    an epoch that no other program knows of, so the frames stay readable throughout.
    """
    timeline_id = first_manifest.timeline_id
    listed = [
        (sequence, blob.key)
        for blob in store.list(keys.frames_prefix(timeline_id))
        if (sequence := keys.parse_frame(timeline_id, blob.key)) is not None
    ]
    # A manifest precedes its frames: if there is one now, the frames found belong to it.
    if not listed or current_manifest(store, timeline_id) is not None:
        return first_manifest
    index = _build_index(store, listed, workers=workers)
    commit_part(store, first_manifest, _PART, index, provenance=_PROVENANCE)
    return replace(first_manifest, written_parts=(_PART,))


def drop_removed_frames(store: Store, manifest: Manifest) -> Manifest:
    """Drop the rows of imported frames that are gone; return the manifest without them.

    Call this once a manifest names imported frames. A clear may have removed them just before: it
    found no manifest, so it could not end the epoch. A clear that comes later can.

    Raises:
        TimelineCleared: the epoch has ended.
    """
    try:
        index = fetch_blob(store, manifest.index_key(_PART), Index.decode)
    except BlobMissing:
        return ensure_current(store, manifest)
    stored = {blob.key for blob in store.list(keys.frames_prefix(manifest.timeline_id))}
    rows = index.rows(range(len(index)))
    left = [row for row in rows if row.key in stored or blob_exists(store, row.key)]
    if len(left) == len(rows):
        return manifest
    remaining = PartBuilder()
    for row in left:
        remaining.add(row)
    generation = commit_repair(store, manifest, _PART, remaining.build(), provenance=_PROVENANCE)

    def change(current: Manifest | None) -> Manifest:
        latest = require_epoch(store, current, manifest)
        if _PART in latest.generations:
            return latest
        return latest.next_version(generations={**latest.generations, _PART: generation})

    return update_manifest(store, manifest.timeline_id, change)


def _build_index(store: Store, listed: list[tuple[int, str]], *, workers: int) -> Index:
    threads = max(workers, _CONCURRENT_REQUESTS if is_remote(store) else 1)
    rows = PartBuilder()
    for row in _read_rows(store, listed, threads=threads):
        if row is not None:
            rows.add(row)
    return rows.build()


def _read_rows(
    store: Store, listed: list[tuple[int, str]], *, threads: int
) -> Iterator[FrameRow | None]:
    return prefetch_map(
        lambda one: _read_row(store, *one), listed, threads=threads, ahead=2 * threads
    )


def _read_stable(store: Store, key: str) -> bytes:
    """Return the bytes of a blob whose CRC is unknown: read it until two reads agree.

    Otherwise bytes damaged in transit would be committed, and every later read would fail.
    """
    before = store.get(key)
    for _ in range(_ATTEMPTS):
        data = store.get(key)
        if data == before:
            return data
        before = data
    raise StoreUnavailable(
        f"{key} in {store.display_name} reads differently each time: check the network, or wait "
        "until the program that stores it is done"
    )


def _read_row(store: Store, sequence: int, key: str) -> FrameRow | None:
    """Return the row of a stored frame, or None if the frame is gone."""
    try:
        data = _read_stable(store, key)
    except BlobMissing:
        return None
    try:
        height, width = jpeg.size(data)
    except jpeg.InvalidJpeg:
        height = width = 0  # reading the frame raises the error, as before
    return FrameRow(
        sequence=sequence,
        chunk_id=0,
        timestamp=0.0,
        duration=0.0,
        width=width,
        height=height,
        key=key,
        offset=0,
        size=len(data),
        crc32c=google_crc32c.value(data),
        perceptual_hash="",
        status="ok",
    )
