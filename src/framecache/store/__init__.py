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
from framecache.store.buckets import remove_markers
from framecache.store.chunk_io import (
    BlobFile,
    BlobIdentity,
    identify_blob,
    normalized_url,
    open_blob_file,
)
from framecache.store.effective_settings import EffectiveSetting, explain_settings, is_amazon_s3
from framecache.store.object_store import PART_SIZE_BYTES
from framecache.store.opening import open_store
from framecache.store.options import NO_OPTIONS, StorageOptions, check_options
from framecache.store.uploads import (
    AbandonedUpload,
    RemovedUploads,
    abandoned_uploads,
    remove_abandoned_uploads,
)
from framecache.store.urls import path_of_url, url_of_path

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
