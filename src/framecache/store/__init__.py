"""Where blobs live. The only room that knows obstore."""

from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    BlobOutside,
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
from framecache.store.forks import refuse_after_fork
from framecache.store.objects import PART_SIZE_BYTES
from framecache.store.opening import open_store
from framecache.store.probing import does_not_refuse, probed, unprobed
from framecache.store.uploads import (
    AbandonedUpload,
    RemovedUploads,
    abandoned_uploads,
    remove_abandoned_uploads,
)
from framecache.store.urls import path_of_url, url_of_path

__all__ = [
    "PART_SIZE_BYTES",
    "AbandonedUpload",
    "BlobExists",
    "BlobFile",
    "BlobIdentity",
    "BlobInfo",
    "BlobMissing",
    "BlobOutside",
    "CreateUnsupported",
    "RemovedUploads",
    "Store",
    "abandoned_uploads",
    "does_not_refuse",
    "identify_blob",
    "is_remote",
    "normalised_url",
    "open_blob_file",
    "open_store",
    "path_of_url",
    "probed",
    "refuse_after_fork",
    "remove_abandoned_uploads",
    "unprobed",
    "url_of_path",
]
