"""Where blobs live. The only room that knows obstore."""

from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    CreateUnsupported,
    Store,
    is_remote,
)
from framecache.store.blobfile import (
    BlobFile,
    BlobIdentity,
    identify_blob,
    normalised_url,
    open_blob_file,
)
from framecache.store.opening import open_store

__all__ = [
    "BlobExists",
    "BlobFile",
    "BlobIdentity",
    "BlobInfo",
    "BlobMissing",
    "CreateUnsupported",
    "Store",
    "identify_blob",
    "is_remote",
    "normalised_url",
    "open_blob_file",
    "open_store",
]
