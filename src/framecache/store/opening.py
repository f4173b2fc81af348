"""Opening a store by its URL."""

from framecache.store.base import Store
from framecache.store.buckets import BucketStore
from framecache.store.local import LocalStore
from framecache.store.memory import MemoryStore
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.urls import parse


def open_store(url: str, options: StorageOptions = NO_OPTIONS) -> Store:
    """Open the store at a URL. No request is made, and no local folder created, until needed.

    The URL is ``s3://bucket/prefix``, ``gs://``, ``az://``, ``memory://name`` (shared by the whole
    process), ``file:///folder`` or a plain path, in which ``~`` is expanded. The standard
    environment variables apply: ``AWS_*`` and the active profile, ``GOOGLE_*``, ``AZURE_*``.
    Unencrypted HTTP is used only for an endpoint given with ``http://``.

    Args:
        url: URL of the store.
        options: Settings for access; the environment supplies those that are missing.

    Raises:
        InvalidValue: the URL, an option, or an environment variable cannot be used.
        StorePermissionDenied: the settings ask for credentials that are not available.
    """
    location = parse(url)
    match location.scheme:
        case "file":
            return LocalStore(location, options)
        case "memory":
            return MemoryStore(location, options)
        case _:
            return BucketStore(location, options)
