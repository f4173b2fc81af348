"""Whether the chunks of a timeline are still there to extract it from again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from framecache.errors import BadChunk, FrameCacheError
from framecache.manifest import ChunkEntry, Description
from framecache.store import identify_blob

_CONCURRENT_REQUESTS: Final = 16


def why_not_rebuildable(description: Description) -> str:
    """What is wrong with the first chunk that could not be extracted again; empty when all could.

    One request a chunk, several at once, and no more once one of them failed.
    """
    chunks = description.chunks
    for first in range(0, len(chunks), _CONCURRENT_REQUESTS):
        for fault in _faults(chunks[first : first + _CONCURRENT_REQUESTS]):
            if fault:
                return fault
    return ""


def _faults(chunks: tuple[ChunkEntry, ...]) -> Iterator[str]:
    with ThreadPoolExecutor(len(chunks), thread_name_prefix="framecache-gc") as pool:
        yield from pool.map(_fault, chunks)


def _fault(chunk: ChunkEntry) -> str:
    try:
        found = identify_blob(chunk.url)
    except BadChunk:
        return f"its video {chunk.url} is gone"
    except FrameCacheError as error:
        return f"its video cannot be looked at: {error}"
    if (found.etag, found.size_bytes) != (chunk.etag, chunk.size_bytes):
        return f"its video {chunk.url} changed"
    return ""
