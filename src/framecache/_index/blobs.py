"""Read and create blobs of the index, safe against damage and lost responses."""

from typing import Final, Protocol, TypeVar

from framecache._core import json_documents
from framecache.errors import CorruptFrame, StoreFull, StoreUnavailable
from framecache.store import BlobExists, BlobMissing, Store

_CREATE_ATTEMPTS: Final = 5

Decoded_co = TypeVar("Decoded_co", covariant=True)


class Decode(Protocol[Decoded_co]):
    """Function that decodes a blob, and raises CorruptFrame if it is damaged."""

    def __call__(self, body: bytes, *, key: str) -> Decoded_co:
        """Decode ``body``, which is stored under ``key``."""
        ...


def fetch_blob(store: Store, key: str, decode: Decode[Decoded_co]) -> Decoded_co:
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

    Raises the errors of `fetch_blob`. If the document is too long, only its beginning is fetched,
    once.
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


def blob_exists(store: Store, key: str) -> bool:
    """Return True if a blob exists; one request."""
    try:
        store.head(key)
    except BlobMissing:
        return False
    return True


def create_verified(store: Store, key: str, body: bytes) -> bool:
    """Create ``key`` unless it exists; return True if it then holds ``body``.

    If a create succeeds but its response is lost, the client library retries it and gets "exists"
    for its own write; a server may also respond "conflict" with nothing stored. Neither response
    is trusted: the blob is read back. ``body`` contains a random write id, so equal bytes mean
    that this call's own write succeeded.

    Raises:
        StoreUnavailable: it is unknown whether the blob was created. Nothing was deleted.
    """
    failure: Exception | None = None
    for _ in range(_CREATE_ATTEMPTS):
        try:
            store.create(key, body)
        except StoreFull:
            raise
        except (BlobExists, StoreUnavailable) as error:
            failure = error
        else:
            return True
        try:
            # Read twice: a bit flipped in transit must not make this write look like another's.
            return _is_stored_as(store, key, body) or _is_stored_as(store, key, body)
        except BlobMissing:
            continue
    raise StoreUnavailable(
        f"{store.display_name} neither creates {key} nor has it, after {_CREATE_ATTEMPTS} "
        f"attempts; try again, or run 'framecache doctor'. The last error: {failure}"
    ) from failure


def _is_stored_as(store: Store, key: str, body: bytes) -> bool:
    """Compare the stored blob with ``body``; a blob of another program may have any length."""
    return store.get_range(key, start=0, length=len(body) + 1) == body
