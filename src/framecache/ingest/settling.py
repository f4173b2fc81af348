"""Bringing replaced frames under their public names, as layout ``objects`` has them.

A replaced frame lies in a pack when it is committed. It is then stored under its public name, over
the picture before it; the next generation of its part names it there; the pack goes. Until that
generation is described, readers find the frame in the pack: no byte that the current description
names is written over. One program at a time does this, and each looks at what is committed only
once it has that claim, so no older picture comes after a newer one.

Whoever finds that another fell silent at it stores the frames in its place, and leaves them in the
pack: the other may wake up, and store an older picture last. It is for gc, by when nobody sleeps
any more, to describe that they are there.

Docs: docs/design/0008-replacing.md.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import google_crc32c
import numpy as np

from framecache import claims, keys
from framecache._version import __version__
from framecache.claims import Claims
from framecache.errors import Cleared, CorruptFrame, StoreDenied, StoreUnavailable
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    Snapshot,
    advance,
    commit_repair,
    compact,
    current_description,
    ensure_current,
    load,
    load_parts,
    pack_keys,
    rows_that_count,
)
from framecache.manifest import Description
from framecache.reader import FrameSource, ordered
from framecache.store import BlobExists, BlobMissing, Store, is_remote

_REQUESTS_AT_ONCE: Final = 16
_LOOK_AGAIN_SECONDS: Final = 0.1
_ATTEMPTS: Final = 10


def is_settled(description: Description, index: Index) -> bool:
    """Whether no frame that a program wrote lies in a pack where each is to be a blob."""
    is_written = description.settings.layout == "objects" and not description.chunks
    return not is_written or not bool((index.offset > 0).any())


def settle(store: Store, timeline_id: str, *, workers: int, waits: bool = True) -> None:
    """Bring every replaced frame of a timeline under its public name.

    Nothing is done where another program does it at this moment: that one looks again once it is
    done. A frame whose place holds what another program may be about to commit is left where it
    is, for that program to bring.

    Args:
        store: where the timeline lies.
        timeline_id: which it is.
        workers: threads that read and store.
        waits: whether to watch other programs that seem to move or write frames, and go on if they
            fall silent. Else frames stay in their packs, where readers find them.

    Raises:
        StoreDenied, StoreUnavailable: the store's. What was committed stays so; do it again.
    """
    for _ in range(_ATTEMPTS):
        description = current_description(store, timeline_id)
        if description is None or description.settings.layout != "objects" or description.chunks:
            return
        with Claims(store, description) as held:
            if not _claim(held, waits=waits):
                return
            settling = _Settling(store, timeline_id, held, workers=workers, waits=waits)
            try:
                with suppress(Cleared, _Lost):
                    for _ in range(_ATTEMPTS):
                        if settling.settle_all():
                            break
            finally:
                settling.withdraw_if_deleted()
            if held.has_taken_over(keys.MOVING):
                held.step_back(keys.MOVING)
                return
        # Who committed after that, and found the claim held, has left its frames to this program.
        if not settling.is_outdated():
            return


def _claim(held: Claims, *, waits: bool) -> bool:
    """Claim that this program moves frames, unless another does; or wait for its signs of life."""
    deadline = time.monotonic() + 2 * claims.STALE_AFTER_SECONDS
    held.look()
    watched = held.newest(keys.MOVING)
    while not held.take(keys.MOVING):
        now = held.newest(keys.MOVING)
        has_sign = now is not None and watched not in (None, now)
        if not waits or has_sign or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
        watched = now or watched
        held.look()
    return True


class _Lost(Exception):
    """Another program took this work over."""


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is committed at one moment."""

    description: Description
    indexes: Sequence[Index]
    """The compacted one, and those that it does not cover."""
    whole: Index
    """All frames that count."""
    parts: Mapping[str, Index]
    """Written parts, among them all that have frames which count in packs."""

    def is_committed(self, sequence: int, data: bytes) -> bool:
        """Whether some bytes are a picture of a frame that was committed, replaced since or not."""
        for index in self.indexes:
            position = index.position(sequence)
            if position is not None:
                row = index.row(position)
                if (row.size, row.crc32c) == (len(data), google_crc32c.value(data)):
                    return True
        return False


class _Settling:
    """One look at a timeline, and what follows from it."""

    def __init__(
        self, store: Store, timeline_id: str, held: Claims, *, workers: int, waits: bool
    ) -> None:
        self._waits = waits
        self._store = store
        self._timeline_id = timeline_id
        self._held = held
        self._threads = max(workers, _REQUESTS_AT_ONCE if is_remote(store) else 1)
        self._seen: Description | None = None
        """What was committed at the last look."""
        self._stored: set[str] = set()
        """Public names under which this program stored frames that are not described there yet."""

    def is_outdated(self) -> bool:
        """Whether another program has committed frames since the last look."""
        current, seen = current_description(self._store, self._timeline_id), self._seen
        if current is None or seen is None:
            return False
        return (current.epoch, current.written_parts) != (seen.epoch, seen.written_parts)

    def withdraw_if_deleted(self) -> None:
        """Remove what was stored if the timeline is gone, lest it seem another program's."""
        if self._stored and current_description(self._store, self._timeline_id) is None:
            self._store.delete(sorted(self._stored))

    def settle_all(self) -> bool:
        """Bring frames under their names; returns whether nothing is left to look for."""
        known = self._look()
        if known is None or is_settled(known.description, known.whole):
            return True
        brought = self._bring(known)
        if not brought or self._held.has_taken_over(keys.MOVING):
            return True
        generations = self._commit(known, brought)
        if not self._describe(known.description, generations):
            return False  # repaired or moved since: look again
        self._stored.clear()  # described
        self._remove_packs(known, brought)
        # Others may have replaced more, and left it to this program.
        return len(brought) < int((known.whole.offset > 0).sum())

    def _look(self) -> _Known | None:
        """What is committed; None when that cannot be told."""
        description = current_description(self._store, self._timeline_id)
        self._seen = description
        if description is None or description.chunks:
            return None
        covered = description.compaction.parts if description.compaction else ()
        others = [part for part in description.written_parts if part not in covered]
        parts = self._parts(description, others)
        indexes = [*parts.values()]
        if covered:
            only = replace(description, written_parts=tuple(covered))
            indexes.insert(0, load(self._store, only).index)
        whole = Index.merged(indexes)
        packed = (rows_that_count(index, whole).offset > 0 for index in parts.values())
        if sum(int(are.sum()) for are in packed) < int((whole.offset > 0).sum()):
            parts = self._parts(description, covered) | parts
        if len(parts) < len(others):
            return None
        return _Known(description, indexes, whole, parts)

    def _parts(self, description: Description, names: Sequence[str]) -> dict[str, Index]:
        loaded = load_parts(self._store, description, names)
        pairs = zip(names, loaded, strict=True)
        return {name: index for name, index in pairs if index is not None}

    def _bring(self, known: _Known) -> set[int]:
        """Store frames of packs under their public names; returns which lie there now."""
        source = FrameSource(self._store, Snapshot(known.description, known.whole, ()))
        rows = known.whole.rows(np.flatnonzero(known.whole.offset > 0))
        bring = partial(self._bring_one, source, known)
        results = ordered(bring, rows, threads=self._threads, ahead=2 * self._threads)
        outcomes = dict(zip((row.sequence for row in rows), results, strict=True))
        brought = {sequence for sequence, is_there in outcomes.items() if is_there}
        left = [row for row in rows if outcomes[row.sequence] is None]
        if left and self._are_others_done():
            for row in left:
                fetched = source.fetch_one(row)
                self._require_mine()
                if fetched.row == row:
                    self._put(known, keys.frame(self._timeline_id, row.sequence), fetched.jpeg())
                    brought.add(row.sequence)
        return brought

    def _bring_one(self, source: FrameSource, known: _Known, row: FrameRow) -> bool | None:
        """Store a frame under its name; None where that holds what nobody has committed."""
        try:
            fetched = source.fetch_one(row)
        except CorruptFrame:
            return False  # until it is written again
        if fetched.row != row:
            return False  # replaced or moved since: it is not this row's to bring
        data = fetched.jpeg()
        key = keys.frame(self._timeline_id, row.sequence)
        self._require_mine()
        self._stored.add(key)
        try:
            self._store.create(key, data)
        except BlobExists:
            self._stored.discard(key)
            try:
                found = self._store.get(key)
            except BlobMissing:
                return None
            if found == data:
                return True
            if not known.is_committed(row.sequence, found):
                return None
            self._require_mine()
            self._put(known, key, data)
        return True

    def _put(self, known: _Known, key: str, data: bytes) -> None:
        # In a later epoch, what lies there may be another program's committed frame.
        ensure_current(self._store, known.description)
        self._stored.add(key)
        self._store.put(key, data)

    def _are_others_done(self) -> bool:
        """Wait for programs that write, unless one of them gives signs of life.

        What nobody has committed may be theirs; the last of them brings what is left.
        """
        deadline = time.monotonic() + 2 * claims.STALE_AFTER_SECONDS
        self._held.look()
        first = self._held.others_alive()
        if first and not self._waits:
            return False
        while now := self._held.others_alive():
            gives_signs = any(first.get(part, newest) != newest for part, newest in now.items())
            if gives_signs or time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
            self._held.look()
        return True

    def _require_mine(self) -> None:
        """Whoever slept must not store over what others have brought meanwhile."""
        if not self._held.holds(keys.MOVING):
            raise _Lost

    def _commit(self, known: _Known, brought: set[int]) -> Mapping[str, int]:
        """Commit the next generations of parts, which name frames where they lie now."""
        generations: dict[str, int] = {}
        for part, index in known.parts.items():
            counting = rows_that_count(index, known.whole)
            packed = counting.sequence[counting.offset > 0].tolist()
            if brought.isdisjoint(packed):
                continue
            generations[part] = commit_repair(
                self._store,
                known.description,
                part,
                _renamed(counting, self._timeline_id, brought),
                about={**index.about, "framecache": __version__, "settled": True},
            )
        return generations

    def _describe(self, description: Description, generations: Mapping[str, int]) -> bool:
        """Have the new generations count, all at once; returns whether they do."""

        def change(current: Description | None) -> Description:
            if current is None or current.epoch != description.epoch:
                raise Cleared(f"timeline {self._timeline_id} was cleared while it was settled")
            if any(
                current.generations.get(name, 0) != description.generations.get(name, 0)
                for name in generations
            ):
                return current
            covered = current.compaction.parts if current.compaction else ()
            is_covered = not generations.keys().isdisjoint(covered)
            return current.next_version(
                generations={**current.generations, **generations},
                compaction=None if is_covered else current.compaction,
            )

        described = advance(self._store, self._timeline_id, change)
        if any(described.generations.get(name) != number for name, number in generations.items()):
            return False
        if description.compaction is not None and described.compaction is None:
            snapshot = load(self._store, described)
            if (
                not snapshot.missing_parts
                and compact(self._store, described, snapshot.index) is not described
            ):
                return True
        # Were the only version that tells where the frames are now damaged, the one before it
        # would name what is about to be removed.
        advance(self._store, self._timeline_id, partial(_once_more, described.epoch))
        return True

    def _remove_packs(self, known: _Known, brought: set[int]) -> None:
        """Remove the packs of which no frame that counts is left."""
        packs = {key for index in known.parts.values() for key in pack_keys(index)}
        left = known.whole.rows(np.flatnonzero(known.whole.offset > 0))
        named = {row.key for row in left if row.sequence not in brought}
        # Who may not delete leaves them for gc.
        with suppress(StoreDenied, StoreUnavailable):
            self._store.delete(sorted(packs - named))


def _once_more(epoch: str, current: Description | None) -> Description:
    if current is None or current.epoch != epoch:
        raise Cleared("the timeline was cleared while its frames were settled")
    return current.next_version()


def _renamed(rows: Index, timeline_id: str, sequences: set[int]) -> Index:
    """Rows in which some frames lie under their public names."""
    part = PartBuilder()
    for row in rows.rows(range(len(rows))):
        is_brought = row.sequence in sequences and row.offset > 0
        key = keys.frame(timeline_id, row.sequence)
        part.add(replace(row, key=key, offset=0) if is_brought else row)
    return part.build()
