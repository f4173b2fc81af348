"""Atomic create-if-absent that is safe if the store's response is lost."""

from typing import Final

from framecache.errors import StoreFull, StoreUnavailable
from framecache.store import BlobExists, BlobMissing, Store

_ATTEMPTS: Final = 5


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
    for _ in range(_ATTEMPTS):
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
        f"{store.display_name} neither creates {key} nor has it, after {_ATTEMPTS} attempts; try "
        f"again, or run 'framecache doctor'. The last error: {failure}"
    ) from failure


def _is_stored_as(store: Store, key: str, body: bytes) -> bool:
    """Compare the stored blob with ``body``; a blob of another program may have any length."""
    return store.get_range(key, start=0, length=len(body) + 1) == body
