"""Reading a blob that tells by itself whether it is sound, or whether it is there."""

from typing import Protocol, TypeVar

from framecache.errors import CorruptFrame
from framecache.index.rows import FrameRow
from framecache.store import BlobMissing, Store

Decoded_co = TypeVar("Decoded_co", covariant=True)


class Decode(Protocol[Decoded_co]):
    """Makes something of a blob, and raises CorruptFrame when it is damaged."""

    def __call__(self, body: bytes, *, key: str) -> Decoded_co:
        """What ``body``, stored under ``key``, holds."""
        ...


def fetch(store: Store, key: str, decode: Decode[Decoded_co]) -> Decoded_co:
    """Get and decode a blob; damage may have come about on the way, so it is fetched twice.

    Raises:
        BlobMissing: there is none.
        CorruptFrame: it is damaged both times.
    """
    try:
        return decode(store.get(key), key=key)
    except CorruptFrame:
        return decode(store.get(key), key=key)


def stored_jpeg(store: Store, row: FrameRow) -> bytes:
    """What is stored where a row says, unchecked; one request.

    Raises:
        BlobMissing: there is no such blob.
    """
    if not row.offset:
        return store.get(row.key)
    return store.get_range(row.key, start=row.offset, length=row.size)


def is_stored(store: Store, key: str) -> bool:
    """Whether a blob is there; one request."""
    try:
        store.head(key)
    except BlobMissing:
        return False
    return True
