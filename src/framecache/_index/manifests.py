"""Manifests in a store: finding a timeline's current version, and adding the next."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from framecache._core import keys, manifest
from framecache._core.manifest import Manifest
from framecache._core.numeric import format_value
from framecache._index.blobs import blob_exists, create_verified, fetch_document
from framecache.errors import InvalidValue, StoreUnavailable, TimelineCleared
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 100

ManifestChange = Callable[[Manifest | None], Manifest]
"""Function that returns the manifest to follow the current one; the same object for no change."""


class ManifestUpdater(Protocol):
    """Function that replaces the current manifest with the next, as `update_manifest` does."""

    def __call__(self, store: Store, timeline_id: str, change: ManifestChange) -> Manifest:
        """Return the manifest that is current afterwards."""
        ...


def current_manifest(store: Store, timeline_id: str) -> Manifest | None:
    """Return the highest version of a timeline's manifest, or None if it has none.

    Takes one LIST and one GET.
    """
    found = list_versions(store, timeline_id)
    if not found:
        return None
    key = keys.manifest(timeline_id, max(found))
    try:
        return fetch_document(store, key, manifest.decode)
    except BlobMissing:
        return None  # deleted after the LIST


def list_versions(store: Store, timeline_id: str) -> list[int]:
    """Return the versions of all listed manifests, in any order."""
    return [
        version
        for blob in store.list(keys.manifests_prefix(timeline_id))
        if (version := keys.parse_manifest(timeline_id, blob.key)) is not None
    ]


def update_manifest(store: Store, timeline_id: str, change: ManifestChange) -> Manifest:
    """Store the manifest that ``change`` makes of the current one, and return it.

    If another program stores a version first, ``change`` is called again with that one. If it
    returns its argument, nothing is stored.
    """
    for _ in range(_ATTEMPTS):
        current = current_manifest(store, timeline_id)
        following = change(current)
        if following is current:
            return following
        if try_commit_manifest(store, following, previous=current):
            return following
    raise StoreUnavailable(
        f"other programs changed timeline {timeline_id} in {store.display_name} {_ATTEMPTS} times "
        "while this program tried to: try again when they are done"
    )


def try_commit_manifest(
    store: Store, next_manifest: Manifest, *, previous: Manifest | None = None
) -> bool:
    """Try to store the next version of a manifest; return True if it is committed.

    It is not committed if that version already exists, or if the version before is gone or is no
    longer ``previous``: then the timeline was deleted meanwhile, and must not reappear.

    Args:
        store: store that holds the timeline.
        next_manifest: version to store.
        previous: version that it was made from; None: that version is unreadable.
    """
    key, body = (
        keys.manifest(next_manifest.timeline_id, next_manifest.version),
        next_manifest.encode(),
    )
    if not create_verified(store, key, body):
        return False
    if next_manifest.version == 1 or _is_previous_stored(store, next_manifest, previous):
        return True
    store.delete([key])
    return False


def mark_epoch_begun(store: Store, manifest: Manifest) -> Manifest:
    """Record in the manifest that chunks are about to be committed; return the current version.

    From then on, only a clear or a rebuild ends the epoch. Takes one PUT, and one GET to check
    that the manifest is still the same; more only if another version was stored meanwhile.

    Raises:
        TimelineCleared: the epoch has ended.
    """

    def change(current: Manifest | None) -> Manifest:
        latest = require_epoch(store, current, manifest)
        return latest if latest.begun else latest.next_version(begun=True)

    following = manifest.next_version(begun=True)
    if try_commit_manifest(store, following, previous=manifest):
        return following
    return update_manifest(store, manifest.timeline_id, change)


def is_latest(store: Store, manifest: Manifest) -> bool:
    """Return True if there is no next version of a manifest; one request."""
    try:
        store.head(keys.manifest(manifest.timeline_id, manifest.version + 1))
    except BlobMissing:
        return True
    return False


def is_current(store: Store, manifest: Manifest) -> bool:
    """Return True if a manifest is still the latest; two requests.

    The version itself is read too: a timeline that was deleted and created again may have another
    manifest of the same version.
    """
    return is_latest(store, manifest) and _is_manifest_stored(store, manifest)


def ensure_current(store: Store, manifest: Manifest) -> Manifest:
    """Check that an epoch has not ended, and return the latest version of its manifest.

    Takes two requests in the ordinary case.

    Raises:
        TimelineCleared: the timeline was cleared, rebuilt or deleted since ``manifest`` was read.
    """
    if is_current(store, manifest):
        return manifest
    latest = current_manifest(store, manifest.timeline_id)
    return require_epoch(store, latest, manifest)


def require_epoch(store: Store, latest: Manifest | None, manifest: Manifest) -> Manifest:
    """Return the latest version of a manifest if it is of the same epoch.

    Raises:
        TimelineCleared: the epoch has ended.
    """
    if latest is None or latest.epoch != manifest.epoch:
        raise TimelineCleared(
            f"timeline {manifest.timeline_id} in {store.display_name} was cleared, rebuilt or "
            "deleted by another program in the meantime: start again"
        )
    return latest


def _is_previous_stored(store: Store, following: Manifest, before: Manifest | None) -> bool:
    if before is not None:
        return _is_manifest_stored(store, before)
    return blob_exists(store, keys.manifest(following.timeline_id, following.version - 1))


def _is_manifest_stored(store: Store, description: Manifest) -> bool:
    key = keys.manifest(description.timeline_id, description.version)
    try:
        return fetch_document(store, key, manifest.decode).write_id == description.write_id
    except BlobMissing:
        return False


def resolve_timeline_ids(store: Store, timelines: Iterable[object] | None) -> list[str]:
    """Return the given ids, sorted and deduplicated; for None, all ids, found with one LIST.

    Raises:
        InvalidValue: ``timelines`` is not an iterable of ids, but a single id, for instance.
        InvalidId: an id is invalid.
    """
    if timelines is None:
        return [name for name in store.list_folders(keys.ROOT) if keys.is_id(name)]
    if isinstance(timelines, str | bytes) or not isinstance(timelines, Iterable):
        raise InvalidValue(
            f"timelines must be several ids, not {format_value(timelines)}: give a list, even for "
            "one"
        )
    return sorted({keys.check_id(name, what="timeline_id") for name in timelines})
