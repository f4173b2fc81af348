"""Uploads: videos in request bodies, streamed to the store."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Final

import anyio
from anyio import from_thread, to_thread

from framecache._core import keys
from framecache._index import blob_exists
from framecache._index.lease import LEASE_TTL_SECONDS, LeaseManager
from framecache.server.problem_details import ProblemError
from framecache.store import Store

_LEASE_PART: Final = "video"
"""Name of the leased part of an upload."""
_STALE_TTL_MULTIPLE: Final = 3
"""Multiple of a lease's lifetime without a heartbeat after which the name is taken over."""


async def store_upload(
    store: Store,
    timeline_id: str,
    name: str,
    blocks: AsyncIterator[bytes],
    *,
    pause_seconds: float,
) -> int:
    """Store a video under a free name; return its size in bytes.

    Nothing is stored unless the upload completes. At most a few blocks are in memory.

    Raises:
        ProblemError: the name is taken, or no data arrived for `pause_seconds`.
    """
    return await to_thread.run_sync(
        _store, store, timeline_id, name, _iterate_blocking(blocks, pause_seconds)
    )


def _store(store: Store, timeline_id: str, name: str, blocks: Iterator[bytes]) -> int:
    key, prefix = keys.upload(timeline_id, name), keys.upload_leases_prefix(timeline_id, name)
    with LeaseManager(store, prefix) as claims:
        if not (claims.acquire(_LEASE_PART) or _acquire_stale(store, prefix, claims)):
            raise _name_conflict_error("in progress, or was aborted less than a minute ago")
        if blob_exists(store, key):
            raise _name_conflict_error("there")
        size_bytes = 0

        def counted() -> Iterator[bytes]:
            nonlocal size_bytes
            for block in blocks:
                size_bytes += len(block)
                yield block
            if not claims.is_held(
                _LEASE_PART
            ):  # storing now would replace the upload that took over
                raise _name_conflict_error("in progress")

        store.put_stream(key, counted())
        return size_bytes


def _acquire_stale(store: Store, prefix: str, claims: LeaseManager) -> bool:
    """Take over the name of an upload whose service died; return whether it was taken over."""
    silent_since = _store_time(store, prefix) - timedelta(
        seconds=_STALE_TTL_MULTIPLE * LEASE_TTL_SECONDS
    )
    return claims.acquire_stale(_LEASE_PART, silent_since=silent_since)


def _store_time(store: Store, prefix: str) -> datetime:
    """Return the time of the store's clock, which dated the leases."""
    key = f"{prefix}{secrets.token_hex(16)}.time"
    store.put(key, b"")
    try:
        return store.head(key).modified_at
    finally:
        store.delete([key])


def _iterate_blocking(blocks: AsyncIterator[bytes], pause_seconds: float) -> Iterator[bytes]:
    async def following() -> bytes | None:
        try:
            with anyio.fail_after(pause_seconds):
                return await anext(blocks, None)
        except TimeoutError as error:
            raise ProblemError(
                408, "request_timeout", "The upload sent no data for too long."
            ) from error

    while (block := from_thread.run(following)) is not None:
        if block:
            yield block


def _name_conflict_error(state: str) -> ProblemError:
    return ProblemError(
        409, "upload_exists", f"An upload with this name is {state}: choose another name."
    )
