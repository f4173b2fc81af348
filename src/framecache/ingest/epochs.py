"""Epochs: how one begins, how long it is left alone before that, and who ended it.

A new epoch holds nothing that can be lost. Before the first commit of a chunk its description's
next version is created, with ``begun``; a program that wants other settings or chunks creates its
new epoch under the same name, so one of the two is told of the other. Until then a program that
extracts is known by its claims alone: whoever wants to end the epoch watches them first.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

from framecache.claims import Watch
from framecache.errors import SettingsConflict
from framecache.index import begin, current_description, ensure_current, is_latest
from framecache.manifest import Description, Settings
from framecache.store import Store

_LOOK_AGAIN_SECONDS: Final = 0.5


class RunningEpoch:
    """The epoch that one run works in, as it was described last. Safe to share between threads."""

    def __init__(self, store: Store, description: Description) -> None:
        self._store = store
        self._description = description
        self._lock = threading.Lock()
        self._beginning = threading.Lock()

    @property
    def description(self) -> Description:
        """The latest version that this run has met."""
        return self._description

    def ensure_current(self) -> None:
        """Check that the epoch has not ended.

        Raises:
            Cleared: it has.
        """
        self._adopt(ensure_current(self._store, self._description))

    def ensure_begun(self) -> None:
        """Check that the epoch has not ended, and have it begun: what is committed then counts.

        Raises:
            Cleared: it has ended.
        """
        with self._beginning:
            if not self._description.begun:
                self._adopt(begin(self._store, self._description))
                return
        self.ensure_current()

    def _adopt(self, description: Description) -> None:
        with self._lock:
            if description.version > self._description.version:
                self._description = description


def is_at_work(store: Store, description: Description, watch: Watch) -> bool:
    """Decide whether another program works in an epoch; waits until its claims tell.

    False, too, when a later version of the description appears first: that version is to be read.
    """
    while (seen := watch.look()) == "unknown":
        if not is_latest(store, description):
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return seen == "alive"


def wait_until_gone(watch: Watch) -> None:
    """Wait until nobody works any more in an epoch that has ended.

    A program may have claimed a chunk just before. It finds out before its next batch of frames,
    and until then it may store some under the names that frames have in every epoch.
    """
    while watch.look() not in ("unclaimed", "silent"):
        time.sleep(_LOOK_AGAIN_SECONDS)


def being_extracted(
    current: Description, settings: Settings, urls: Sequence[str]
) -> SettingsConflict:
    """What to say when another program is extracting a timeline otherwise than it is asked for."""
    described, asked = str(current.settings), str(settings)
    if current.settings == settings:
        pairs = zip([entry.url for entry in current.chunks], urls, strict=False)
        own, other = next(((own, other) for own, other in pairs if own != other), ("", ""))
        described += f" from {own}" if own else ""
        asked = other or "the same chunks with other start times"
    return SettingsConflict(
        f"timeline {current.timeline_id} is being extracted with {described} by another program; "
        f"asked for {asked}: use its settings and chunks, or clear or rebuild the timeline"
    )


def being_written(current: Description) -> SettingsConflict:
    """What to say when another program is about to store frames that it holds."""
    return SettingsConflict(
        f"timeline {current.timeline_id} is being written to by another program, and its frames "
        f"cannot be mixed with chunks: use another timeline_id"
    )


def ended_by_another(store: Store, description: Description) -> SettingsConflict | None:
    """Tell which extraction ended an epoch before it was begun; None when none did."""
    if description.begun:
        return None
    latest = current_description(store, description.timeline_id)
    if latest is None or not latest.chunks or latest.epoch == description.epoch:
        return None
    own, others = (
        [(entry.url, entry.etag, entry.size_bytes) for entry in one.chunks]
        for one in (description, latest)
    )
    known = min(len(own), len(others))
    if latest.settings == description.settings and own[:known] == others[:known]:
        return None
    return being_extracted(latest, description.settings, [url for url, _, _ in own])
