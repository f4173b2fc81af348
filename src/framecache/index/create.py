"""Create-if-absent that survives a lost answer."""

from typing import Final

from framecache.errors import StoreFull, StoreUnavailable
from framecache.store import BlobExists, BlobMissing, Store

_ATTEMPTS: Final = 5


def create_once(store: Store, key: str, body: bytes) -> bytes:
    """Create ``key`` unless it exists, and return what is stored there: ``body``, or another's.

    A create that landed but whose answer was lost is retried below us and comes back as
    "exists" on one's own write; a server may also answer "conflict" with nothing stored. So
    neither answer is believed: what is stored is read back. ``body`` holds a random write id,
    hence equal bytes are one's own.

    Raises:
        StoreUnavailable: whether the blob was created is unknown. Nothing was deleted.
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
            return body
        try:
            stored = store.get(key)
            # A bit that flipped on the way must not make one's own another's.
            return stored if stored == body else store.get(key)
        except BlobMissing:
            continue
    raise StoreUnavailable(
        f"{store.url} neither creates {key} nor has it, after {_ATTEMPTS} attempts; "
        f"try again, or run 'framecache doctor'. The last answer: {failure}"
    ) from failure
