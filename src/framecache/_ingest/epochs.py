"""Epochs: how an epoch begins, its protection before that, and conflicts over it.

A new epoch holds nothing that can be lost. Before the first commit of a chunk, the next version of
its manifest is created with ``begun`` set. A program that wants other settings or chunks creates
its new epoch under the same name, so one of the two programs notices the other. Before that, only
its leases show that a program is extracting; a program that wants to end the epoch
watches them first.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

from framecache._core.manifest import Manifest, Settings
from framecache._index import current_manifest, ensure_current, is_latest, mark_epoch_begun
from framecache._index.lease import LeaseWatcher
from framecache.errors import SettingsConflict
from framecache.store import Store

_POLL_SECONDS: Final = 0.5


class RunningEpoch:
    """Epoch that one run works in, with its latest known manifest. Safe to share among threads."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._lock = threading.Lock()
        self._begin_lock = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """Latest version of the manifest that this run has seen."""
        return self._manifest

    def ensure_current(self) -> None:
        """Check that the epoch has not ended.

        Raises:
            TimelineCleared: the epoch has ended.
        """
        self._update_manifest(ensure_current(self._store, self._manifest))

    def ensure_begun(self) -> None:
        """Check that the epoch has not ended, and mark it begun, so that commits take effect.

        Raises:
            TimelineCleared: the epoch has ended.
        """
        with self._begin_lock:
            if not self._manifest.begun:
                self._update_manifest(mark_epoch_begun(self._store, self._manifest))
                return
        self.ensure_current()

    def _update_manifest(self, manifest: Manifest) -> None:
        with self._lock:
            if manifest.version > self._manifest.version:
                self._manifest = manifest


def is_active(store: Store, manifest: Manifest, watch: LeaseWatcher) -> bool:
    """Return whether another program is active in an epoch; wait until its leases show it.

    Return False, too, if a later version of the manifest appears first: read that version instead.
    """
    while (seen := watch.poll()) == "unknown":
        if not is_latest(store, manifest):
            return False
        time.sleep(_POLL_SECONDS)
    return seen == "alive"


def wait_until_inactive(watch: LeaseWatcher) -> None:
    """Wait until no program is active in an epoch that has ended.

    A program may have leased a chunk just before. It notices the end before its next batch of
    frames; until then it may store some under the names that frames have in every epoch.
    """
    while watch.poll() not in ("unclaimed", "silent"):
        time.sleep(_POLL_SECONDS)


def extraction_conflict(
    current: Manifest, settings: Settings, urls: Sequence[str]
) -> SettingsConflict:
    """Return the error if another program extracts the timeline with other settings or chunks."""
    described, asked = current.settings.describe(settings), settings.describe(current.settings)
    if current.settings == settings:
        pairs = zip([entry.url for entry in current.chunks], urls, strict=False)
        own, other = next(((own, other) for own, other in pairs if own != other), ("", ""))
        described += f" from {own}" if own else ""
        asked = other or "the same chunks with other start times or parts"
    return SettingsConflict(
        f"timeline {current.timeline_id} is being extracted with {described} by another program; "
        f"asked for {asked}: use its settings and chunks, or clear or rebuild the timeline"
    )


def write_conflict(current: Manifest) -> SettingsConflict:
    """Return the error for a timeline into which another program is about to write frames."""
    return SettingsConflict(
        f"timeline {current.timeline_id} is being written to by another program, and its frames "
        f"cannot be mixed with chunks: use another timeline_id"
    )


def find_epoch_conflict(store: Store, manifest: Manifest) -> SettingsConflict | None:
    """Return the conflict with an extraction that ended the epoch before it began, or None."""
    if manifest.begun:
        return None
    latest = current_manifest(store, manifest.timeline_id)
    if latest is None or not latest.chunks or latest.epoch == manifest.epoch:
        return None
    own, others = (
        [
            (entry.url, entry.etag, entry.size_bytes, entry.trim_start, entry.trim_stop)
            for entry in one.chunks
        ]
        for one in (manifest, latest)
    )
    known = min(len(own), len(others))
    if latest.settings == manifest.settings and own[:known] == others[:known]:
        return None
    return extraction_conflict(latest, manifest.settings, [entry.url for entry in manifest.chunks])
