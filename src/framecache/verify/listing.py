"""All blobs of a timeline, as one listing streams them, against what counts.

A listing never tells that something is there to be read: only that something lies about.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.gc.rules import dating_files
from framecache.index import Index, pack_keys
from framecache.manifest import ChunkEntry
from framecache.store import BlobInfo, Store
from framecache.verify.index_files import IndexFiles
from framecache.verify.report import Finding

_BATCH: Final = 4096


def find_unnamed(store: Store, files: IndexFiles) -> Iterator[Finding]:
    """Blobs of older epochs, and those that nothing that counts names; one LIST.

    Looked at are ``frames/``, ``packs/``, ``index/``, ``claims/`` and ``sprites/``; what others
    put beside is theirs. Replaced index files that a garbage collection keeps are no finding. A
    frame takes 8 bytes of memory.
    """
    frames, others = _Frames(files), _Others(files)
    batch: list[tuple[int, str]] = []
    index_files: list[BlobInfo] = []
    for blob in store.list(keys.timeline_prefix(files.description.timeline_id)):
        sequence = keys.parse_frame(files.description.timeline_id, blob.key)
        if sequence is not None:
            batch.append((sequence, blob.key))
            if len(batch) == _BATCH:
                yield from frames.unnamed(batch)
                batch = []
        elif others.is_index_file(blob.key):
            index_files.append(blob)
        elif (finding := others.finding(blob.key)) is not None:
            yield finding
    yield from frames.unnamed(batch)
    yield from others.unnamed_index_files(index_files)


class _Frames:
    """Which frames the index names."""

    def __init__(self, files: IndexFiles) -> None:
        self._named = np.sort(
            _joined([rows.sequence[_are_blobs(rows)] for rows in files.rows.values()])
        )
        self._without = np.sort(
            _joined([rows.sequence[~rows.is_ok] for rows in files.rows.values()])
        )
        self._not_cached = files.not_cached
        chunks = {entry.part: entry for entry in files.description.chunks}
        self._lost = [chunks[part] for part in files.lost_parts if part in chunks]
        self._is_any_possible = not files.lost_parts <= set(chunks)
        """Whether the rows of written frames are lost: any frame may be one of them."""

    def unnamed(self, batch: list[tuple[int, str]]) -> Iterator[Finding]:
        """Those of a batch of ``(sequence, key)`` that are nobody's."""
        if self._is_any_possible:
            return
        sequences = np.array([sequence for sequence, _ in batch], np.int64)
        for position in np.flatnonzero(~_is_in(sequences, self._named)).tolist():
            sequence, key = batch[position]
            if _chunk_of(sequence, self._lost) is None:
                yield self._finding(sequence, key)

    def _finding(self, sequence: int, key: str) -> Finding:
        entry = _chunk_of(sequence, self._not_cached)
        if entry is not None:
            detail = f"its chunk {entry.chunk_id} is not cached: an extraction goes on, or stopped"
            return Finding("orphan", key, sequence, entry.chunk_id, detail)
        if bool(_is_in(np.array([sequence]), self._without)[0]):
            return Finding("orphan", key, sequence, None, "the index knows no picture of it")
        return Finding("orphan", key, sequence, None, "no index part names it")


class _Others:
    """Which index files, claims and packs count."""

    def __init__(self, files: IndexFiles) -> None:
        self._description = files.description
        self._committed = {*files.rows, *files.broken_parts}
        timeline_id = files.description.timeline_id
        self._indexes = keys.indexes_prefix(timeline_id)
        self._claims = keys.claims_prefix(timeline_id)
        self._packs = keys.packs_prefix(timeline_id)
        self._sprites = keys.sprites_prefix(timeline_id)
        self._named_packs = {name for rows in files.rows.values() for name in pack_keys(rows)}
        self._has_lost_rows = bool(files.lost_parts)
        since = (rows.picture_since.tolist() for rows in files.rows.values())
        self._dating_parts = frozenset(chain.from_iterable(since)) - {""}

    def is_index_file(self, key: str) -> bool:
        """Whether a key is one of an index file of the current epoch."""
        return key.startswith(f"{self._indexes}{self._description.epoch}/")

    def unnamed_index_files(self, blobs: list[BlobInfo]) -> Iterator[Finding]:
        """Those of all index files of the epoch that neither count nor date what counts."""
        dating = dating_files(blobs, self._description, self._dating_parts)
        for blob in blobs:
            if blob.key not in dating and (finding := self.finding(blob.key)) is not None:
                yield finding

    def finding(self, key: str) -> Finding | None:
        """What is to be said of an index file or claim; None of any that counts, or is neither."""
        rooms = (
            (self._indexes, self._index_file),
            (self._claims, self._claim),
            (self._packs, self._pack),
            (self._sprites, self._sprite),
        )
        for room, why_unnamed in rooms:
            # A timeline that was described anew has its packs in an epoch before.
            if not key.startswith(room) or key in self._named_packs:
                continue
            epoch, slash, _ = key.removeprefix(room).partition("/")
            if slash and epoch != self._description.epoch:
                return Finding("stale", key, None, None, f"it belongs to the epoch {epoch}")
            if reason := why_unnamed(key):
                return Finding("orphan", key, None, None, reason)
        return None

    def _index_file(self, key: str) -> str:
        """Why nothing names it; empty when something does."""
        parsed = keys.parse_index(key)
        if parsed is None:
            return "no index file has such a name"
        part, number = parsed
        if part == keys.COMPACTION:
            compaction = self._description.compaction
            named = compaction.number if compaction else None
        else:
            is_described = part in self._description.parts
            named = self._description.generations.get(part, 0) if is_described else None
        if named == number:
            return ""
        if named is not None and number < named:
            return f"number {named} has taken its place"
        return "no description names it: its writer is about to, or stopped"

    def _pack(self, key: str) -> str:
        """Why nothing names it; empty when something does, or may do so in rows that are lost."""
        if keys.parse_pack(self._description.timeline_id, key) is None:
            return "no pack has such a name"
        if self._has_lost_rows:
            return ""
        return "no index part names it: its writer is about to, or stopped"

    def _sprite(self, key: str) -> str:
        """Why it is no sheet of thumbnails; empty when it may be one."""
        if keys.parse_sprite(self._description.timeline_id, key) is None:
            return "no sheet of thumbnails has such a name"
        return ""

    def _claim(self, key: str) -> str:
        """Why nobody needs it; empty when somebody may."""
        parsed = keys.parse_claim(key)
        if parsed is None:
            return "no claim has such a name"
        if parsed[0] in self._committed:
            return "what it claims is committed: its program stopped, or repairs it"
        return ""


def _are_blobs(rows: Index) -> npt.NDArray[np.bool_]:
    """Which frames are blobs of their own."""
    return np.asarray(rows.is_ok & (rows.offset == 0), np.bool_)


def _joined(arrays: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _is_in(values: npt.NDArray[np.int64], among: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each value is among some that are sorted."""
    if not len(among):
        return np.zeros(len(values), np.bool_)
    positions = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return np.asarray(among[positions] == values, np.bool_)


def _chunk_of(
    sequence: int, entries: "list[ChunkEntry] | tuple[ChunkEntry, ...]"
) -> "ChunkEntry | None":
    return next(
        (entry for entry in entries if entry.first_sequence <= sequence < entry.stop_sequence), None
    )
