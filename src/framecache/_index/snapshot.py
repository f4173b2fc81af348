"""Loading a snapshot of a timeline: its manifest, and the rows of every committed index part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest
from framecache._core.threads import RequestThreads
from framecache._index.blobs import Decode, fetch_blob
from framecache._index.manifests import current_manifest, is_current
from framecache._index.table import Index
from framecache.errors import CorruptFrame, StoreUnavailable
from framecache.store import BlobMissing, Store, is_remote

_ATTEMPTS: Final = 100
_CONCURRENT_REQUESTS: Final = 16
_MIN_FILES_FOR_THREADS: Final = 16
MAX_PROBED_PARTS: Final = 8
"""Number of parts up to which each is requested; of more, the committed ones are listed first."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """State of a timeline at one moment."""

    manifest: Manifest | None
    """Manifest; None if there are no frames, or only frames that another program stored."""
    index: Index
    """Index of the committed frames."""
    missing_parts: tuple[str, ...]
    """Parts of the manifest that are not committed yet."""

    @property
    def exists(self) -> bool:
        """True if any frame is committed."""
        return len(self.index) > 0

    @property
    def is_complete(self) -> bool:
        """True if any frame is cached and no part of the manifest is missing."""
        return self.exists and not self.missing_parts


def missing_segments(snapshot: Snapshot) -> Iterator[Segment]:
    """Yield the segments of the manifest that are not committed yet, in order of time."""
    missing = set(snapshot.missing_parts)
    for chunk in snapshot.manifest.chunks if snapshot.manifest and missing else ():
        if not chunk.is_cached(missing):
            yield from (segment for segment in chunk.segments if segment.part in missing)


def load_snapshot(
    store: Store, timeline_id: str, *, decode: Decode[Index] = Index.decode
) -> Snapshot:
    """Load a timeline's snapshot: LIST, manifest, index; three requests if it is complete.

    Args:
        store: store that holds the timeline.
        timeline_id: id of the timeline.
        decode: decodes an index file; `Index.decode_lazy` for a listing.
    """
    for _ in range(_ATTEMPTS):
        manifest = current_manifest(store, timeline_id)
        if manifest is None:
            listed = _load_unindexed(store, timeline_id)
            # Frames may have been listed that were extracted meanwhile. Their manifest was stored
            # before them, so it is found now.
            if not listed or current_manifest(store, timeline_id) is None:
                return Snapshot(None, listed, ())
            continue
        try:
            snapshot = load_snapshot_at(store, manifest, decode=decode)
        except CorruptFrame:
            if is_current(store, manifest):
                raise
            continue
        # Parts may be missing because they were deleted after the manifest was read.
        if not snapshot.missing_parts or is_current(store, manifest):
            return snapshot
        if _are_still_missing(
            snapshot.missing_parts, manifest, current_manifest(store, timeline_id)
        ):
            return snapshot
    raise StoreUnavailable(
        f"other programs changed timeline {timeline_id} in {store.display_name} {_ATTEMPTS} times "
        "while this program read it: try again when they are done"
    )


def _are_still_missing(parts: Sequence[str], manifest: Manifest, latest: Manifest | None) -> bool:
    """Return True if a later manifest names the same files for parts, as after a compaction."""
    if latest is None or latest.epoch != manifest.epoch:
        return False
    compacted = set(latest.compaction.parts) if latest.compaction else set()
    return all(
        part not in compacted and latest.index_key(part) == manifest.index_key(part)
        for part in parts
    )


def load_snapshot_at(
    store: Store, manifest: Manifest, *, decode: Decode[Index] = Index.decode
) -> Snapshot:
    """Load the committed rows of a manifest's timeline.

    Raises:
        CorruptFrame: an index file is damaged. If it is the compaction, its parts are read
            instead, and it is only an error if some of them are missing.
    """
    try:
        compacted = _compacted_index(store, manifest, decode)
    except CorruptFrame:
        snapshot = _combine_parts(store, manifest, None, decode)
        assert manifest.compaction is not None
        # Only the compaction could tell whether the missing parts are committed.
        if not set(manifest.compaction.parts).isdisjoint(snapshot.missing_parts):
            raise
        return snapshot
    return _combine_parts(store, manifest, compacted, decode)


def _combine_parts(
    store: Store, manifest: Manifest, compacted: Index | None, decode: Decode[Index]
) -> Snapshot:
    """Join the rows of the compaction, if there is one, with those of all other parts."""
    covered = set(manifest.compaction.parts if manifest.compaction and compacted else ())
    others = [part for part in manifest.parts if part not in covered]
    wanted = others
    if len(others) > MAX_PROBED_PARTS:
        prefix = keys.epoch_prefix(manifest.timeline_id, manifest.epoch)
        listed = {blob.key for blob in store.list(prefix)}
        wanted = [part for part in others if manifest.index_key(part) in listed]
    found = load_parts(store, manifest, wanted, decode=decode)
    loaded = {part: index for part, index in zip(wanted, found, strict=True) if index is not None}
    parts = ([compacted] if compacted else []) + [*loaded.values()]
    missing = tuple(part for part in others if part not in loaded)
    return Snapshot(manifest, Index.merged(parts), missing)


def _compacted_index(store: Store, manifest: Manifest, decode: Decode[Index]) -> Index | None:
    key = manifest.compaction_key
    if key is None:
        return None
    try:
        return fetch_blob(store, key, decode)
    except BlobMissing:
        return None  # its parts hold the same rows


def load_parts(
    store: Store,
    manifest: Manifest,
    parts: Sequence[str],
    *,
    decode: Decode[Index] = Index.decode,
) -> list[Index | None]:
    """Load index parts of an epoch, in the given order; None for parts that are not committed."""

    def load_part(part: str) -> Index | None:
        try:
            return fetch_blob(store, manifest.index_key(part), decode)
        except BlobMissing:
            return None

    if len(parts) < (2 if is_remote(store) else _MIN_FILES_FOR_THREADS):
        # Starting threads costs more than these requests.
        return [load_part(part) for part in parts]
    with RequestThreads(min(_CONCURRENT_REQUESTS, len(parts)), name="framecache-index") as pool:
        return list(pool.imap(load_part, parts))


def _load_unindexed(store: Store, timeline_id: str) -> Index:
    return Index.from_listing(
        (sequence, blob.key, blob.size_bytes)
        for blob in store.list(keys.frames_prefix(timeline_id))
        if (sequence := keys.parse_frame(timeline_id, blob.key)) is not None
    )
