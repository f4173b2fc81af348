"""Detection of a damaged current manifest, and of the last intact version before it."""

from dataclasses import dataclass

from framecache._core import json_documents, keys, manifest
from framecache._core.manifest import Manifest
from framecache._index.blobs import fetch_document, read_document_bytes
from framecache._index.manifests import list_versions
from framecache.errors import CorruptFrame, StoreUnavailable
from framecache.store import BlobMissing, Store


@dataclass(frozen=True, slots=True)
class CorruptManifest:
    """Damaged (lost) highest version of a manifest, and the last intact one."""

    timeline_id: str
    version: int
    last_intact: Manifest | None
    """Highest intact version; None if none is left."""

    @property
    def key(self) -> str:
        """Key of the damaged version."""
        return keys.manifest(self.timeline_id, self.version)


def find_corrupt_manifest(store: Store, timeline_id: str) -> CorruptManifest | None:
    """Check if a timeline's highest manifest is damaged in the store; None if it is sound or gone.

    Raises:
        StoreUnavailable: each read returns other bytes, so its state is unknown.
        SettingsConflict: a newer framecache wrote the version before it.
    """
    found = sorted(list_versions(store, timeline_id), reverse=True)
    if not found or not _is_damaged(store, keys.manifest(timeline_id, found[0])):
        return None
    for version in found[1:]:
        try:
            before = fetch_document(store, keys.manifest(timeline_id, version), manifest.decode)
        except (BlobMissing, CorruptFrame):
            continue
        return CorruptManifest(timeline_id, found[0], before)
    return CorruptManifest(timeline_id, found[0], None)


def _is_damaged(store: Store, key: str) -> bool:
    try:
        body = read_document_bytes(store, key)
        manifest.decode(body, key=key)
    except BlobMissing:
        return False
    except CorruptFrame:
        # Damage in transit differs from read to read, or changes the length.
        try:
            size_bytes = min(store.head(key).size_bytes, json_documents.MAX_BYTES + 1)
            is_stored_so = read_document_bytes(store, key) == body and size_bytes == len(body)
        except BlobMissing:
            return False
        if is_stored_so:
            return True
        raise StoreUnavailable(
            f"{key} in {store.display_name} reads differently each time: check the network, then "
            "try again"
        ) from None
    return False
