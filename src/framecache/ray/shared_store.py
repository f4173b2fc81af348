"""Check that workers can reach a cache."""

from framecache.cache import FrameCache
from framecache.errors import InvalidValue
from framecache.store import Store


def require_shared(cache: FrameCache) -> Store:
    """Return the store of a cache.

    Raises:
        InvalidValue: it is in the memory of this process.
    """
    if cache.url.startswith("memory:"):
        raise InvalidValue(
            f"workers cannot reach {cache.url}, which is in the memory of this program: give a "
            "cache in a bucket, or in a folder that all nodes share"
        )
    return cache.store
