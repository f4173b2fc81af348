"""Claims: "I am making this index part", said in the store so that others do something else.

A claim is advisory. It decides who works, never what counts: with every claim lost or doubled,
work is done twice, and a part is still committed once. Nobody compares clocks. A claim lives as
long as new ones of the same part appear, each under the next number; it is stale when none has
come for `STALE_AFTER_SECONDS` on the clock of whoever looks.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, Self

from framecache import keys
from framecache.errors import StoreDenied, StoreUnavailable
from framecache.index import create_once, is_stored
from framecache.manifest import Description, new_write_id
from framecache.store import BlobInfo, Store

STALE_AFTER_SECONDS = 20.0
"""How long a claim is believed after its last sign of life, if that is a claim of another."""

FRAMES_BETWEEN_CHECKS: Final = 256
"""After so many frames a run makes sure that what it works on is still there, and its own."""

_SIGNS_OF_LIFE: Final = 4
"""That many are given in the time after which a claim is stale, so that some may be lost."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """The claims of a part, and since when the newest of them has been the newest."""

    newest: BlobInfo
    numbers: tuple[int, ...]
    """Ascending."""
    seen_at: float
    """Seconds, of this process's monotonic clock."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What this run holds of a part: its first claim stays, and the newest shows that it lives."""

    first: int
    number: int
    made_at: float
    """Seconds, of this process's monotonic clock, before the request."""


class Claims:
    """The claims that one run holds in one epoch, and what it has seen of others'.

    A context manager: on a thread of its own it keeps saying that the run is alive, and at the
    end it takes back what is still held. Safe to share between threads.
    """

    def __init__(self, store: Store, description: Description) -> None:
        self._store = store
        self._timeline_id = description.timeline_id
        self._epoch = description.epoch
        self._held: dict[str, _Held] = {}
        self._seen: dict[str, _Sighting] = {}
        self._lock = threading.Lock()
        self._signing = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(
            target=self._keep_alive, name="framecache-claims", daemon=True
        )

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._heart.join()
        for part in list(self._held):
            self.release(part)

    def look(self) -> None:
        """See who else is at work: one LIST."""
        found: dict[str, dict[int, BlobInfo]] = {}
        for blob in self._store.list(keys.claims_prefix(self._timeline_id, self._epoch)):
            if (parsed := keys.parse_claim(blob.key)) is not None:
                part, number = parsed
                found.setdefault(part, {})[number] = blob
        now = time.monotonic()
        with self._lock:
            self._seen = {part: self._sighting(part, blobs, now) for part, blobs in found.items()}

    def newest(self, part: str) -> str | None:
        """The newest claim of a part that the last look found, by its key and ETag; None: none."""
        with self._lock:
            sighting = self._seen.get(part)
        return None if sighting is None else f"{sighting.newest.key} {sighting.newest.etag}"

    def others_alive(self) -> dict[str, str]:
        """The newest claim, as :meth:`newest` has it, of each part that others are at work on.

        As far as the last look told; those that have been silent for too long are left out.
        """
        with self._lock:
            others = [part for part in self._seen if part not in self._held]
        found = {part: self.newest(part) for part in others if not self._seems_stale(part)}
        return {part: newest for part, newest in found.items() if newest is not None}

    def take(self, part: str) -> bool:
        """Claim a part unless another is at work on it."""
        if self._seems_stale(part):
            # It seemed so because nobody has looked since.
            self.look()
        with self._lock:
            sighting = self._seen.get(part)
        if sighting is not None and not self._seems_stale(part):
            return False
        return self._follow(part, sighting)

    def take_over(self, part: str, *, silent_since: datetime) -> bool:
        """Claim a part without watching it first, if no claim of it was made since a time.

        Args:
            part: what to claim; the last look told whose it was.
            silent_since: by the store's clock, and far longer ago than a claim lives.
        """
        with self._lock:
            is_claimed = part in self._seen
        if is_claimed:
            # Others may have been made, and followed, since the last look.
            self.look()
        with self._lock:
            sighting = self._seen.get(part)
        if sighting is not None and sighting.newest.modified_at > silent_since:
            return False
        return self._follow(part, sighting)

    def holds(self, part: str) -> bool:
        """Whether nobody took a claimed part over, who may have found this run silent.

        A run that was silent for too long, asleep perhaps, finds out.
        """
        with self._lock:
            held = self._held.get(part)
        if held is not None and time.monotonic() - held.made_at >= STALE_AFTER_SECONDS:
            self._give_sign(part)
        with self._lock:
            return part in self._held

    def has_taken_over(self, part: str) -> bool:
        """Whether another, who was silent for too long, held a part before and may wake up."""
        with self._lock:
            held = self._held.get(part)
        return held is not None and held.first > 0

    def step_back(self, part: str) -> None:
        """Take the claim of a part back, and leave those it followed; none is fine."""
        with self._lock:
            held = self._held.pop(part, None)
            self._seen.pop(part, None)
        if held is not None:
            self._remove(part, {held.first, held.number})

    def release(self, part: str) -> None:
        """Take the claim of a part back, and those it followed; none is fine."""
        with self._lock:
            held = self._held.pop(part, None)
            sighting = self._seen.pop(part, None)
        if held is None:
            return
        followed = (
            [number for number in sighting.numbers if number < held.first] if sighting else []
        )
        self._remove(part, {*followed, held.first, held.number})

    def _follow(self, part: str, sighting: _Sighting | None) -> bool:
        # Whoever claims a part leaves the first claim where it is, so that number 0 is there as
        # long as anybody holds the part.
        number = sighting.numbers[-1] + 1 if sighting is not None else 0
        made_at = time.monotonic()
        if not self._create(part, number):
            self.look()
            return False
        with self._lock:
            self._held[part] = _Held(number, number, made_at)
        return True

    def _seems_stale(self, part: str) -> bool:
        """Whether a claim was the newest for too long, as far as the last look told."""
        with self._lock:
            sighting = self._seen.get(part)
        return sighting is not None and time.monotonic() - sighting.seen_at >= STALE_AFTER_SECONDS

    def _sighting(self, part: str, blobs: Mapping[int, BlobInfo], now: float) -> _Sighting:
        numbers = tuple(sorted(blobs))
        newest, known = blobs[numbers[-1]], self._seen.get(part)
        is_known = known is not None and (known.newest.key, known.newest.etag) == (
            newest.key,
            newest.etag,
        )
        return _Sighting(newest, numbers, known.seen_at if known and is_known else now)

    def _keep_alive(self) -> None:
        while not self._ended.wait(STALE_AFTER_SECONDS / _SIGNS_OF_LIFE):
            with self._lock:
                held = list(self._held)
            for part in held:
                # A store that does not answer now may answer the next time.
                with suppress(StoreDenied, StoreUnavailable):
                    self._give_sign(part)

    def _give_sign(self, part: str) -> None:
        """Make the claim that follows, or find that another has made it."""
        with self._signing:
            with self._lock:
                before = self._held.get(part)
            if before is None:
                return
            after = replace(before, number=before.number + 1, made_at=time.monotonic())
            is_made = self._create(part, after.number)
            was_silent = time.monotonic() - before.made_at >= STALE_AFTER_SECONDS
            # Whoever took the part over, and is done with it, has removed all claims of it.
            is_mine = is_made and not (was_silent and self._is_gone(part, before))
            with self._lock:
                is_held = part in self._held
                if is_held and is_mine:
                    self._held[part] = after
                elif is_held:
                    del self._held[part]
            if is_mine and is_held:
                self._remove(part, {before.number} - {before.first})
            elif is_made:
                self._remove(part, {after.number})  # taken over, or released meanwhile

    def _is_gone(self, part: str, held: _Held) -> bool:
        return not is_stored(self._store, self._key(part, held.number))

    def _key(self, part: str, number: int) -> str:
        return keys.claim(self._timeline_id, epoch=self._epoch, part=part, number=number)

    def _create(self, part: str, number: int) -> bool:
        key = self._key(part, number)
        body = json.dumps(
            {"write_id": new_write_id(), "host": socket.gethostname(), "process": os.getpid()}
        ).encode()
        return create_once(self._store, key, body) == body

    def _remove(self, part: str, numbers: Iterable[int]) -> None:
        names = [self._key(part, number) for number in numbers]
        # Who may not delete leaves claims behind, which are stale soon.
        with suppress(StoreDenied, StoreUnavailable):
            self._store.delete(names)


class Watch:
    """The claims of an epoch, as one sees them who does not work in it."""

    def __init__(self, store: Store, description: Description) -> None:
        """Look at nothing yet."""
        self._store = store
        self._prefix = keys.claims_prefix(description.timeline_id, description.epoch)
        self._known: set[tuple[str, str]] | None = None
        self._changed_at = 0.0
        """Seconds, of this process's monotonic clock, when a claim was new last."""

    def look(self) -> Literal["unclaimed", "alive", "silent", "unknown"]:
        """Look for signs of life of the programs that claimed parts: one LIST.

        ``alive``: one was made since the last look. ``silent``: none was for as long as a claim is
        believed. ``unknown``: neither, so far.
        """
        found = {(blob.key, blob.etag) for blob in self._store.list(self._prefix)}
        now = time.monotonic()
        is_first = self._known is None
        known = self._known or set()
        has_new = not found <= known
        self._known = known | found
        if is_first or has_new:
            self._changed_at = now
        if not found:
            return "unclaimed"
        if has_new and not is_first:
            return "alive"
        return "silent" if now - self._changed_at >= STALE_AFTER_SECONDS else "unknown"


def is_claimed(store: Store, description: Description) -> bool:
    """Whether anybody works in an epoch, or died there; one LIST."""
    prefix = keys.claims_prefix(description.timeline_id, description.epoch)
    return next(iter(store.list(prefix)), None) is not None
