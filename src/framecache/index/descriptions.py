"""The description of a timeline in a store: find the current version, add the next."""

from collections.abc import Callable
from typing import Final, Protocol

from framecache import keys, manifest
from framecache.errors import Cleared, StoreUnavailable
from framecache.index.create import create_once
from framecache.index.fetch import fetch, is_stored
from framecache.manifest import Description
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 100

Change = Callable[[Description | None], Description]
"""What follows the current description; the same object when nothing is to change."""


class Advance(Protocol):
    """Brings a timeline from its current description to the next, as `advance` does."""

    def __call__(self, store: Store, timeline_id: str, change: Change) -> Description:
        """The description that then counts."""
        ...


def current_description(store: Store, timeline_id: str) -> Description | None:
    """The highest version of a timeline's description, or None when it has none.

    One LIST and one GET.
    """
    found = versions(store, timeline_id)
    if not found:
        return None
    key = keys.description(timeline_id, max(found))
    try:
        return fetch(store, key, manifest.decode)
    except BlobMissing:
        return None  # deleted since it was listed


def versions(store: Store, timeline_id: str) -> list[int]:
    """All versions that are listed, in any order."""
    return [
        version
        for blob in store.list(keys.descriptions_prefix(timeline_id))
        if (version := keys.parse_description(timeline_id, blob.key)) is not None
    ]


def advance(store: Store, timeline_id: str, change: Change) -> Description:
    """Store the version that ``change`` makes of the current one, and return it.

    ``change`` is called again with the newer version whenever another program was first. When
    it returns its argument unchanged, nothing is stored.
    """
    for _ in range(_ATTEMPTS):
        current = current_description(store, timeline_id)
        following = change(current)
        if following is current:
            return following
        if follow(store, following, after=current):
            return following
    raise StoreUnavailable(
        f"other programs changed timeline {timeline_id} in {store.url} {_ATTEMPTS} times while "
        f"this one tried to: try again when they are done"
    )


def follow(store: Store, following: Description, *, after: Description | None = None) -> bool:
    """Store the version after the one it was made from; returns whether it counts.

    It does not when another is there, nor when the one before is gone, or is no longer ``after``:
    then the timeline was deleted meanwhile, and would be back.

    Args:
        store: where the timeline lies.
        following: the version to store.
        after: the version it was made from; None: that one cannot be read.
    """
    key, body = keys.description(following.timeline_id, following.version), following.encode()
    if create_once(store, key, body) != body:
        return False
    if following.version == 1 or _is_before_stored(store, following, after):
        return True
    store.delete([key])
    return False


def begin(store: Store, description: Description) -> Description:
    """Store that chunks of an epoch are about to be committed; returns the version that counts.

    From then on only a clear or a rebuild ends the epoch. One PUT, and one GET that tells whether
    the timeline is still the described one; more only where another version came meanwhile.

    Raises:
        Cleared: the epoch has ended.
    """

    def change(current: Description | None) -> Description:
        latest = _require_epoch(store, current, description)
        return latest if latest.begun else latest.next_version(begun=True)

    following = description.next_version(begun=True)
    if follow(store, following, after=description):
        return following
    return advance(store, description.timeline_id, change)


def is_latest(store: Store, description: Description) -> bool:
    """Whether no version follows a description; one request."""
    try:
        store.head(keys.description(description.timeline_id, description.version + 1))
    except BlobMissing:
        return True
    return False


def is_current(store: Store, description: Description) -> bool:
    """Whether a description is still the latest; two requests.

    The version itself is read, too: a timeline that was deleted and made anew may have come as
    far as this version, as another.
    """
    return is_latest(store, description) and _is_stored(store, description)


def ensure_current(store: Store, description: Description) -> Description:
    """Check, with two requests in the ordinary case, that an epoch has not ended.

    Returns the latest version of its description.

    Raises:
        Cleared: the timeline was cleared, rebuilt or deleted since ``description`` was read.
    """
    if is_current(store, description):
        return description
    latest = current_description(store, description.timeline_id)
    return _require_epoch(store, latest, description)


def _require_epoch(
    store: Store, latest: Description | None, description: Description
) -> Description:
    if latest is None or latest.epoch != description.epoch:
        raise Cleared(
            f"timeline {description.timeline_id} in {store.url} was cleared, rebuilt or deleted "
            f"by another program in the meantime: start again"
        )
    return latest


def _is_before_stored(store: Store, following: Description, before: Description | None) -> bool:
    if before is not None:
        return _is_stored(store, before)
    return is_stored(store, keys.description(following.timeline_id, following.version - 1))


def _is_stored(store: Store, description: Description) -> bool:
    key = keys.description(description.timeline_id, description.version)
    try:
        return fetch(store, key, manifest.decode).write_id == description.write_id
    except BlobMissing:
        return False
