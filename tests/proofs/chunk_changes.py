"""Chunks in a memory store that change, or are answered wrongly, between two requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from unittest import mock

from framecache.store import BlobMissing, open_store
from framecache.store.base import BlobInfo, Block
from framecache.store.memory import MemoryStore

FOLDER: Final = "chunks/"

Change = Callable[[bytes, bytes], bytes]
"""Returns the bytes of a changed chunk, of its own and those of another video."""
Answer = Callable[[Block, bytes], Block]
"""Returns a wrong answer to a request of an unchanged chunk, of the right one and all its bytes."""


def _lost(_chunk: bytes, _other: bytes) -> bytes:
    raise BlobMissing(FOLDER)


def _replaced(_chunk: bytes, other: bytes) -> bytes:
    return other


def _replaced_in_the_same_size(chunk: bytes, other: bytes) -> bytes:
    return other[: len(chunk)].ljust(len(chunk), b"\0")


def _shrunk(chunk: bytes, _other: bytes) -> bytes:
    return chunk[: 2 * len(chunk) // 3]


def _grown(chunk: bytes, _other: bytes) -> bytes:
    return chunk + bytes(1000)


def _short(block: Block, _chunk: bytes) -> Block:
    return replace(block, data=block.data[:-1])


def _empty(block: Block, _chunk: bytes) -> Block:
    return replace(block, data=b"")


def _of_the_whole_chunk(block: Block, chunk: bytes) -> Block:
    """Ignore the requested range."""
    return replace(block, data=chunk)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Change of a chunk, or wrong answers about it."""

    name: str
    change: Change | None = None
    answer: Answer | None = None


TROUBLES: Final = (
    Trouble("lost", _lost),
    Trouble("replaced", _replaced),
    Trouble("replaced in the same size", _replaced_in_the_same_size),
    Trouble("shrunk", _shrunk),
    Trouble("grown", _grown),
    Trouble("short answers", answer=_short),
    Trouble("empty answers", answer=_empty),
    Trouble("answers without ranges", answer=_of_the_whole_chunk),
)
CHUNK_CHANGES: Final = tuple(trouble for trouble in TROUBLES if trouble.change is not None)


@dataclass(slots=True)
class Requests:
    """Requests of chunks."""

    count: int = 0


def put_chunk(url: str, data: bytes, name: str = "c0.mp4") -> str:
    """Store a chunk and return its URL."""
    open_store(url).put(f"{FOLDER}{name}", data)
    return f"{url}/{FOLDER}{name}"


@contextmanager
def changed_chunk(
    trouble: Trouble | None, other: bytes = b"", *, after: int = 0
) -> Iterator[Requests]:
    """Have chunks change, or be answered wrongly, after the first ``after`` requests of them."""
    requests = Requests()
    identify, get_block = MemoryStore.identify, MemoryStore.get_block

    def is_due(key: str) -> bool:
        if not key.startswith(FOLDER):
            return False
        requests.count += 1
        return requests.count > after

    def changed_info(store: MemoryStore, key: str) -> BlobInfo:
        info = identify(store, key)
        if not is_due(key) or trouble is None or trouble.change is None:
            return info
        data = trouble.change(store.get(key), other)
        return replace(info, size_bytes=len(data), etag=f"{info.etag}-changed")

    def changed_block(store: MemoryStore, key: str, *, start: int, length: int) -> Block:
        block = get_block(store, key, start=start, length=length)
        if not is_due(key) or trouble is None:
            return block
        if trouble.answer is not None:
            return trouble.answer(block, store.get(key))
        assert trouble.change is not None
        data = trouble.change(store.get(key), other)
        return Block(data[start : start + length], f"{block.etag}-changed", len(data))

    with (
        mock.patch.object(MemoryStore, "identify", changed_info),
        mock.patch.object(MemoryStore, "get_block", changed_block),
    ):
        yield requests
