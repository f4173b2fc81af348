"""Reading of blobs with their integrity check, and checks for existence."""

from typing import Protocol, TypeVar

from framecache._core import json_documents
from framecache._index.rows import FrameRow
from framecache.errors import CorruptFrame
from framecache.store import BlobMissing, Store

Decoded_co = TypeVar("Decoded_co", covariant=True)


class Decode(Protocol[Decoded_co]):
    """Function that decodes a blob, and raises CorruptFrame if it is damaged."""

    def __call__(self, body: bytes, *, key: str) -> Decoded_co:
        """Decode ``body``, which is stored under ``key``."""
        ...


def fetch(store: Store, key: str, decode: Decode[Decoded_co]) -> Decoded_co:
    """Get and decode a blob; if it is damaged, fetch it again, as it may be damage in transit.

    Raises:
        BlobMissing: the blob does not exist.
        CorruptFrame: the blob is damaged both times.
    """
    try:
        return decode(store.get(key), key=key)
    except CorruptFrame:
        return decode(store.get(key), key=key)


def fetch_document(store: Store, key: str, decode: Decode[Decoded_co]) -> Decoded_co:
    """Get and decode an untrusted JSON document of any length.

    Raises the errors of `fetch`. If the document is too long, only its beginning is fetched, once.
    """
    body = read_document_bytes(store, key)
    try:
        return decode(body, key=key)
    except CorruptFrame:
        if len(body) > json_documents.MAX_BYTES:
            raise
        return decode(read_document_bytes(store, key), key=key)


def read_document_bytes(store: Store, key: str) -> bytes:
    """Return a document, or its beginning if it exceeds the size limit; one request.

    The result is longer than the limit if the document is.

    Raises:
        BlobMissing: the document does not exist.
    """
    return store.get_range(key, start=0, length=json_documents.MAX_BYTES + 1)


def read_stored_jpeg(store: Store, row: FrameRow) -> bytes:
    """Return the bytes that a row refers to, unchecked; one request.

    Raises:
        BlobMissing: the blob does not exist.
    """
    if not row.offset:
        return store.get(row.key)
    return store.get_range(row.key, start=row.offset, length=row.size)


def blob_exists(store: Store, key: str) -> bool:
    """Return True if a blob exists; one request."""
    try:
        store.head(key)
    except BlobMissing:
        return False
    return True
