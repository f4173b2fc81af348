"""Videos that come in the body of a request, stored as they come."""

import secrets
from collections.abc import AsyncIterator, Iterator

import anyio
from anyio import from_thread, to_thread

from framecache import keys
from framecache.http.problems import Refusal
from framecache.index import create_once, is_stored
from framecache.store import Store


async def store_upload(
    store: Store,
    timeline_id: str,
    name: str,
    blocks: AsyncIterator[bytes],
    *,
    pause_seconds: float,
) -> int:
    """Store a video under a name that is free; returns its size in bytes.

    Nothing of it is stored unless it comes to its end, and memory holds a few blocks at most.

    Raises:
        Refusal: the name is taken, or nothing came for a while.
    """
    return await to_thread.run_sync(
        _store, store, timeline_id, name, _pulled(blocks, pause_seconds)
    )


def _store(store: Store, timeline_id: str, name: str, blocks: Iterator[bytes]) -> int:
    key, claim = keys.upload(timeline_id, name), keys.upload_claim(timeline_id, name)
    mark = secrets.token_hex(16).encode()
    if create_once(store, claim, mark) != mark:
        # Nothing tells a slow upload from one that died with its service. If both went on, the
        # second to end would replace the first.
        raise _taken(
            "under way, or ended when a service was killed, and whoever runs it can free the name "
            "as docs/service.md tells"
        )
    try:
        if is_stored(store, key):
            raise _taken("there")
        size_bytes = 0

        def counted() -> Iterator[bytes]:
            nonlocal size_bytes
            for block in blocks:
                size_bytes += len(block)
                yield block

        store.put_stream(key, counted())
        return size_bytes
    finally:
        store.delete([claim])


def _pulled(blocks: AsyncIterator[bytes], pause_seconds: float) -> Iterator[bytes]:
    async def following() -> bytes | None:
        try:
            with anyio.fail_after(pause_seconds):
                return await anext(blocks, None)
        except TimeoutError as error:
            raise Refusal(408, "too_slow", "Nothing of the upload came for a while.") from error

    while (block := from_thread.run(following)) is not None:
        if block:
            yield block


def _taken(state: str) -> Refusal:
    return Refusal(409, "name_taken", f"An upload of this name is {state}: choose another name.")
