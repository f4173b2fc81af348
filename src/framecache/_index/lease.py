"""Leases on index parts, which keep programs from repeating work.

A lease is advisory: correctness never depends on it. If leases are lost or taken twice, work is
done twice, but a part is still committed once. Clocks are never compared. A lease is a series of
blobs (`claims/` in the store) with ascending numbers; each new blob is a heartbeat. The lease is
stale if an observer sees no new blob for `LEASE_TTL_SECONDS` on its own monotonic clock.
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
from typing import Final, Literal, Self

from framecache._core import keys
from framecache._core.manifest import Manifest, new_write_id
from framecache._index import blob_exists, create_verified
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.store import BlobInfo, Store

LEASE_TTL_SECONDS = 20.0
"""Time after the last heartbeat at which another program's lease counts as stale."""

FRAMES_BETWEEN_CHECKS: Final = 256
"""Number of frames between checks that the timeline still exists and the lease is still held."""

_HEARTBEATS_PER_TTL: Final = 4
"""Heartbeats per `LEASE_TTL_SECONDS`; more than one, so that some may be lost."""


@dataclass(frozen=True, slots=True)
class _Observation:
    """Observed lease blobs of a part, and the time since which the newest one has not changed."""

    newest: BlobInfo
    numbers: tuple[int, ...]
    """Numbers of the lease blobs, ascending."""
    changed_at: float
    """Seconds of this process's monotonic clock."""


@dataclass(frozen=True, slots=True)
class _HeldLease:
    """Lease blobs that this run holds on a part: the first stays, the newest is a heartbeat."""

    first: int
    number: int
    heartbeat_at: float
    """Seconds of this process's monotonic clock, taken before the request."""


class LeaseManager:
    """Leases that one run holds below one prefix, and its observations of others' leases.

    As a context manager, it sends heartbeats from a thread of its own, and releases all held
    leases at the end. Safe to share between threads.
    """

    def __init__(self, store: Store, scope: Manifest | str) -> None:
        """Start without leases.

        Args:
            store: store that holds the leases.
            scope: manifest of the epoch whose parts are leased, or prefix of the leases' keys.
        """
        self._store = store
        self._prefix = (
            scope if isinstance(scope, str) else keys.leases_prefix(scope.timeline_id, scope.epoch)
        )
        self._held: dict[str, _HeldLease] = {}
        self._seen: dict[str, _Observation] = {}
        self._lock = threading.Lock()
        self._signing = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(
            target=self._heartbeat_loop, name="framecache-leases", daemon=True
        )

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._heart.join()
        for part in list(self._held):
            self.release(part)

    def refresh(self) -> None:
        """Observe the leases of all programs: one LIST."""
        found: dict[str, dict[int, BlobInfo]] = {}
        for blob in self._store.list(self._prefix):
            if (parsed := keys.parse_lease(blob.key)) is not None:
                part, number = parsed
                found.setdefault(part, {})[number] = blob
        now = time.monotonic()
        with self._lock:
            self._seen = {part: self._observe(part, blobs, now) for part, blobs in found.items()}

    def newest_heartbeat(self, part: str) -> str | None:
        """Return key and ETag of a part's newest blob in the last observation; None if none."""
        with self._lock:
            sighting = self._seen.get(part)
        return None if sighting is None else f"{sighting.newest.key} {sighting.newest.etag}"

    def other_live_leases(self) -> dict[str, str]:
        """Return the newest blob, as :meth:`newest` does, of each part that others hold.

        The result is based on the last observation; stale leases are left out.
        """
        with self._lock:
            others = [part for part in self._seen if part not in self._held]
        found = {part: self.newest_heartbeat(part) for part in others if not self._is_stale(part)}
        return {part: newest for part, newest in found.items() if newest is not None}

    def acquire(self, part: str) -> bool:
        """Acquire the lease on a part unless another program holds it; return True if acquired."""
        if self._is_stale(part):
            # It may only seem stale because the last observation is old.
            self.refresh()
        with self._lock:
            sighting = self._seen.get(part)
        if sighting is not None and not self._is_stale(part):
            return False
        return self._create_next(part, sighting)

    def acquire_stale(self, part: str, *, silent_since: datetime) -> bool:
        """Acquire the lease on a part without watching it first, if no blob is newer than a time.

        Args:
            part: part to lease.
            silent_since: time by the store's clock, much longer ago than a lease lives.
        """
        with self._lock:
            is_claimed = part in self._seen
        if is_claimed:
            # Newer blobs may have appeared since the last observation.
            self.refresh()
        with self._lock:
            sighting = self._seen.get(part)
        if sighting is not None and sighting.newest.modified_at > silent_since:
            return False
        return self._create_next(part, sighting)

    def is_held(self, part: str) -> bool:
        """Return True if this run still holds the lease on a part.

        If the last heartbeat is too old (the process may have been suspended), another one is sent
        first, which shows whether another program has taken over.
        """
        with self._lock:
            held = self._held.get(part)
        if held is not None and time.monotonic() - held.heartbeat_at >= LEASE_TTL_SECONDS:
            self._send_heartbeat(part)
        with self._lock:
            return part in self._held

    def has_taken_over(self, part: str) -> bool:
        """Return True if this run took over a part from another program, which may still resume."""
        with self._lock:
            held = self._held.get(part)
        return held is not None and held.first > 0

    def release_keeping_predecessors(self, part: str) -> None:
        """Release the lease on a part, if held, but keep the blobs of earlier holders."""
        with self._lock:
            held = self._held.pop(part, None)
            self._seen.pop(part, None)
        if held is not None:
            self._remove(part, {held.first, held.number})

    def release(self, part: str) -> None:
        """Release the lease on a part, if held, and remove the blobs of earlier holders too."""
        with self._lock:
            held = self._held.pop(part, None)
            sighting = self._seen.pop(part, None)
        if held is None:
            return
        followed = (
            [number for number in sighting.numbers if number < held.first] if sighting else []
        )
        self._remove(part, {*followed, held.first, held.number})

    def _create_next(self, part: str, sighting: _Observation | None) -> bool:
        # A holder keeps its first blob, so number 0 exists as long as any program holds the part.
        number = sighting.numbers[-1] + 1 if sighting is not None else 0
        made_at = time.monotonic()
        if not self._create(part, number):
            self.refresh()
            return False
        with self._lock:
            self._held[part] = _HeldLease(number, number, made_at)
        return True

    def _is_stale(self, part: str) -> bool:
        """Return True if a part's newest observed blob has not changed for too long."""
        with self._lock:
            sighting = self._seen.get(part)
        return sighting is not None and time.monotonic() - sighting.changed_at >= LEASE_TTL_SECONDS

    def _observe(self, part: str, blobs: Mapping[int, BlobInfo], now: float) -> _Observation:
        numbers = tuple(sorted(blobs))
        newest, known = blobs[numbers[-1]], self._seen.get(part)
        is_known = known is not None and (known.newest.key, known.newest.etag) == (
            newest.key,
            newest.etag,
        )
        return _Observation(newest, numbers, known.changed_at if known and is_known else now)

    def _heartbeat_loop(self) -> None:
        while not self._ended.wait(LEASE_TTL_SECONDS / _HEARTBEATS_PER_TTL):
            with self._lock:
                held = list(self._held)
            for part in held:
                # The store may be available again at the next heartbeat.
                with suppress(StorePermissionDenied, StoreUnavailable):
                    self._send_heartbeat(part)

    def _send_heartbeat(self, part: str) -> None:
        """Send a heartbeat: create the next blob, or find that another program has created it."""
        with self._signing:
            with self._lock:
                before = self._held.get(part)
            if before is None:
                return
            after = replace(before, number=before.number + 1, heartbeat_at=time.monotonic())
            is_made = self._create(part, after.number)
            was_silent = time.monotonic() - before.heartbeat_at >= LEASE_TTL_SECONDS
            # A program that took over the part and finished it has removed all blobs of the lease.
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

    def _is_gone(self, part: str, held: _HeldLease) -> bool:
        return not blob_exists(self._store, self._key(part, held.number))

    def _key(self, part: str, number: int) -> str:
        return keys.lease_heartbeat(self._prefix, part=part, number=number)

    def _create(self, part: str, number: int) -> bool:
        key = self._key(part, number)
        body = json.dumps(
            {"write_id": new_write_id(), "host": socket.gethostname(), "process": os.getpid()}
        ).encode()
        return create_verified(self._store, key, body)

    def _remove(self, part: str, numbers: Iterable[int]) -> None:
        names = [self._key(part, number) for number in numbers]
        # Without permission to delete, leases stay behind, and soon are stale.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self._store.delete(names)


class LeaseWatcher:
    """Observer of an epoch's leases, for a program that holds none of them."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        """Start without observations; no request is made."""
        self._store = store
        self._prefix = keys.leases_prefix(manifest.timeline_id, manifest.epoch)
        self._known: set[tuple[str, str]] | None = None
        self._changed_at = 0.0
        """Seconds of this process's monotonic clock at which a new lease blob was last seen."""

    def poll(self) -> Literal["unclaimed", "alive", "silent", "unknown"]:
        """Check for heartbeats of the programs that hold leases: one LIST.

        ``unclaimed``: there are no leases. ``alive``: there was a heartbeat since the last call.
        ``silent``: there was none for `LEASE_TTL_SECONDS`. ``unknown``: neither, so far.
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
        return "silent" if now - self._changed_at >= LEASE_TTL_SECONDS else "unknown"


def has_leases(store: Store, manifest: Manifest) -> bool:
    """Return True if an epoch has leases, of live or dead programs; one LIST."""
    prefix = keys.leases_prefix(manifest.timeline_id, manifest.epoch)
    return next(iter(store.list(prefix)), None) is not None
