"""Access to the stores that hold blobs. The only package that uses obstore."""

from framecache.store.atomic_create import overwrite_warning, unwrap_store, with_atomic_create
from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    BlobOutsideRoot,
    CreateUnsupported,
    Store,
    UnexpectedResponse,
    is_remote,
    map_requests,
)
from framecache.store.blob_file import BlobFile, BlobIdentity
from framecache.store.buckets import BucketStore, remove_markers
from framecache.store.chunk_io import identify_blob, normalized_url, open_blob_file
from framecache.store.effective_settings import EffectiveSetting, explain_settings, is_amazon_s3
from framecache.store.fetched_bytes import FetchedBytes
from framecache.store.known_blob import KnownBlob
from framecache.store.local import LocalStore
from framecache.store.memory import MemoryStore
from framecache.store.object_store import PART_SIZE_BYTES
from framecache.store.options import NO_OPTIONS, StorageOptions, check_options
from framecache.store.uploads import (
    AbandonedUpload,
    RemovedUploads,
    abandoned_uploads,
    remove_abandoned_uploads,
)
from framecache.store.urls import parse, path_of_url, url_of_path

__all__ = [
    "NO_OPTIONS",
    "PART_SIZE_BYTES",
    "AbandonedUpload",
    "BlobExists",
    "BlobFile",
    "BlobIdentity",
    "BlobInfo",
    "BlobMissing",
    "BlobOutsideRoot",
    "CreateUnsupported",
    "EffectiveSetting",
    "FetchedBytes",
    "KnownBlob",
    "RemovedUploads",
    "StorageOptions",
    "Store",
    "UnexpectedResponse",
    "abandoned_uploads",
    "check_options",
    "explain_settings",
    "identify_blob",
    "is_amazon_s3",
    "is_remote",
    "map_requests",
    "normalized_url",
    "open_blob_file",
    "open_store",
    "overwrite_warning",
    "path_of_url",
    "remove_abandoned_uploads",
    "remove_markers",
    "unwrap_store",
    "url_of_path",
    "with_atomic_create",
]


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
