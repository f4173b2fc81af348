"""Check that the chunks of a timeline are still available for another extraction."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache.errors import FrameCacheError, UnreadableChunk
from framecache.store import Store, identify_blob

_CONCURRENT_REQUESTS: Final = 16


def find_unavailable_source(store: Store, manifest: Manifest) -> str:
    """Return why the first unavailable chunk cannot be extracted again; empty if all chunks can.

    Makes one request per chunk, several concurrently, and stops after a failure.
    """
    chunks = manifest.chunks
    for first in range(0, len(chunks), _CONCURRENT_REQUESTS):
        for fault in _check_sources(store, chunks[first : first + _CONCURRENT_REQUESTS]):
            if fault:
                return fault
    return ""


def _check_sources(store: Store, chunks: tuple[ChunkEntry, ...]) -> Iterator[str]:
    with ThreadPoolExecutor(len(chunks), thread_name_prefix="framecache-gc") as pool:
        yield from pool.map(partial(_check_source, store), chunks)


def _check_source(store: Store, chunk: ChunkEntry) -> str:
    try:
        found = identify_blob(chunk.url, options=store.options)
    except UnreadableChunk:
        return f"its video {chunk.url} is missing"
    except FrameCacheError as error:
        return f"its video cannot be read: {error}"
    if not chunk.is_version(found.etag, found.size_bytes):
        return f"its video {chunk.url} changed"
    return ""
