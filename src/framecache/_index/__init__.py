"""Index of a timeline's frames, and the manifests that name its parts.

The modules commit, load, merge and query the index.
"""

from framecache._index.blobs import blob_exists, create_verified, fetch_blob, fetch_document
from framecache._index.commit import commit_part, commit_repair, committed_parts, compact
from framecache._index.corrupt_manifest import CorruptManifest, find_corrupt_manifest
from framecache._index.manifests import (
    ManifestChange,
    ManifestUpdater,
    current_manifest,
    ensure_current,
    is_current,
    is_latest,
    mark_epoch_begun,
    require_epoch,
    resolve_timeline_ids,
    try_commit_manifest,
    update_manifest,
)
from framecache._index.rows import FrameRow, Rendition
from framecache._index.snapshot import (
    MAX_PROBED_PARTS,
    Snapshot,
    load_parts,
    load_snapshot,
    load_snapshot_at,
    missing_segments,
)
from framecache._index.table import (
    Index,
    PartBuilder,
    aggregates_of,
    blob_keys,
    equal_rows,
    hash_bytes,
    live_rows,
    pack_keys,
    rendition_objects,
)

__all__ = [
    "MAX_PROBED_PARTS",
    "CorruptManifest",
    "FrameRow",
    "Index",
    "ManifestChange",
    "ManifestUpdater",
    "PartBuilder",
    "Rendition",
    "Snapshot",
    "aggregates_of",
    "blob_exists",
    "blob_keys",
    "commit_part",
    "commit_repair",
    "committed_parts",
    "compact",
    "create_verified",
    "current_manifest",
    "ensure_current",
    "equal_rows",
    "fetch_blob",
    "fetch_document",
    "find_corrupt_manifest",
    "hash_bytes",
    "is_current",
    "is_latest",
    "live_rows",
    "load_parts",
    "load_snapshot",
    "load_snapshot_at",
    "mark_epoch_begun",
    "missing_segments",
    "pack_keys",
    "rendition_objects",
    "require_epoch",
    "resolve_timeline_ids",
    "try_commit_manifest",
    "update_manifest",
]
