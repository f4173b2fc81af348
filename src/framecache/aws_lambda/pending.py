"""Blobs of chunks that wait to be appended, and of those that were not appended."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import google_crc32c

from framecache._core import json_documents, keys
from framecache._core.manifest import new_write_id
from framecache._index import create_verified, fetch_document
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.errors import (
    CorruptFrame,
    FrameCacheError,
    SettingsConflict,
    StorePermissionDenied,
    StoreUnavailable,
)
from framecache.store import BlobMissing, Store

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PendingBlob:
    """Listed blob of a pending chunk."""

    number: int
    key: str
    modified_at: datetime
    """Time at which it was created, by the store's clock."""


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Work that a timeline has left."""

    chunks: Mapping[int, PendingBlob]
    """Pending chunks by number, ascending."""
    replanned: frozenset[str]
    """Epochs that were planned again, and whose chunks may not all be cached."""


def add_pending(store: Store, chunk: ArrivedChunk) -> None:
    """Store a pending chunk, unless it is stored already.

    Raises:
        SettingsConflict: another object is pending under this number.
    """
    key = keys.pending_chunk(chunk.timeline_id, number=chunk.number)
    if create_verified(store, key, _encode({"url": chunk.url})):
        return
    with suppress(BlobMissing):  # deleted since: the manifest shows what became of this chunk
        url = fetch_document(store, key, _decode_url)
        if url != chunk.url:
            raise number_conflict(chunk, url)


def list_pending(store: Store, timeline_id: str) -> PendingWork:
    """Return the pending chunks of a timeline, and its epochs that were planned again."""
    found: list[PendingBlob] = []
    epochs: set[str] = set()
    for blob in store.list(keys.pending_chunks_prefix(timeline_id)):
        if (number := keys.parse_pending_chunk(blob.key)) is not None:
            found.append(PendingBlob(number, blob.key, blob.modified_at))
        elif (epoch := keys.parse_replanned_epoch(blob.key)) is not None:
            epochs.add(epoch)
    chunks = {one.number: one for one in sorted(found, key=lambda one: one.number)}
    return PendingWork(chunks, frozenset(epochs))


def mark_replanned(store: Store, timeline_id: str, epoch: str) -> None:
    """Record that all chunks of an epoch are to be extracted, before the epoch begins."""
    document = {"format": _FORMAT, "write_id": new_write_id(), "epoch": epoch}
    create_verified(store, keys.replanned_epoch(timeline_id, epoch), json.dumps(document).encode())


def list_timelines(store: Store) -> list[str]:
    """Return the ids of the timelines that have pending work."""
    names = store.list_folders(keys.pending_chunks_prefix())
    return [name for name in names if keys.is_id(name)]


def read_url(store: Store, pending: PendingBlob) -> str | None:
    """Return the URL of a pending chunk, or None if its blob is gone."""
    try:
        return fetch_document(store, pending.key, _decode_url)
    except BlobMissing:
        return None


def record_late(store: Store, chunk: ArrivedChunk, error: FrameCacheError) -> None:
    """Store a report on a chunk that is not appended, and then delete its pending blob."""
    key = keys.late_chunk(chunk.timeline_id, number=chunk.number)
    create_verified(store, key, _encode({"url": chunk.url, "problem": str(error)}))
    store.delete([keys.pending_chunk(chunk.timeline_id, number=chunk.number)])


def store_time(store: Store) -> datetime:
    """Return the current time by the store's clock: of a blob created for this, and deleted."""
    attempt = new_write_id()
    key = keys.store_clock(attempt=attempt)
    create_verified(store, key, attempt.encode())
    try:
        return store.head(key).modified_at
    finally:
        with suppress(StorePermissionDenied, StoreUnavailable):
            store.delete([key])


def number_conflict(chunk: ArrivedChunk, url: str) -> SettingsConflict:
    """Return the error for a chunk whose number another object of the timeline has."""
    return SettingsConflict(
        f"chunk {chunk.number} of timeline {chunk.timeline_id} is {url}, and an event names "
        f"{chunk.url} with the same number: store it under another number"
    )


def _encode(document: Mapping[str, Any]) -> bytes:
    # The random write_id distinguishes this write from an equal one of another program.
    whole = {"format": _FORMAT, "write_id": new_write_id(), **document}
    return json.dumps({**whole, "crc32c": _checksum(whole["url"])}).encode()


def _decode_url(body: bytes, *, key: str) -> str:
    try:
        document = json_documents.decode_object(body)
        url = str(document["url"])
        if document["format"] == _FORMAT and document["crc32c"] != _checksum(url):
            raise ValueError(url)  # noqa: TRY301 -- handled like JSON that is damaged
        if document["format"] == _FORMAT:
            return url
    except (ValueError, KeyError) as error:
        raise CorruptFrame(f"the pending chunk {key} is damaged: {_ADVICE}") from error
    raise CorruptFrame(f"the pending chunk {key} is of a later version of framecache: {_ADVICE}")


def _checksum(url: str) -> str:
    return f"{google_crc32c.value(url.encode()):08x}"


_ADVICE: Final = "delete it, then send the event of the chunk again"
