"""Blobs of a timeline, from one streamed listing, compared with the committed state.

A listing is never taken as proof that a blob can be read; it only shows which blobs are
unreferenced.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.manifest import ChunkEntry
from framecache._index import Index, pack_keys
from framecache._maintain.gc.rules import age_reference_files
from framecache._maintain.verify.index_files import IndexFiles
from framecache._maintain.verify.report import Finding
from framecache.store import BlobInfo, Store

_BATCH: Final = 4096


def find_unreferenced(store: Store, files: IndexFiles) -> Iterator[Finding]:
    """Yield the blobs of older epochs and those that nothing references; makes one LIST.

    Covers ``frames/``, ``packs/``, ``index/``, ``claims/`` and ``sprites/``; other keys belong to
    other programs. Replaced index files that garbage collection keeps are not reported. Takes 8
    bytes of memory per frame.
    """
    frames, others = _ReferencedFrames(files), _ReferencedBlobs(files)
    batch: list[tuple[int, str]] = []
    index_files: list[BlobInfo] = []
    for blob in store.list(keys.timeline_prefix(files.manifest.timeline_id)):
        sequence = keys.parse_frame(files.manifest.timeline_id, blob.key)
        if sequence is not None:
            batch.append((sequence, blob.key))
            if len(batch) == _BATCH:
                yield from frames.find_unreferenced(batch)
                batch = []
        elif others.is_index_file(blob.key):
            index_files.append(blob)
        elif (finding := others.finding(blob.key)) is not None:
            yield finding
    yield from frames.find_unreferenced(batch)
    yield from others.find_unreferenced_index_files(index_files)


class _ReferencedFrames:
    """Frames that the index references."""

    def __init__(self, files: IndexFiles) -> None:
        self._named = np.sort(
            _concatenate([rows.sequence[_are_blobs(rows)] for rows in files.rows.values()])
        )
        self._without = np.sort(
            _concatenate([rows.sequence[~rows.is_ok] for rows in files.rows.values()])
        )
        self._not_cached = files.not_cached
        chunks = {entry.part: entry for entry in files.manifest.chunks}
        self._lost = [chunks[part] for part in files.unrecoverable_parts if part in chunks]
        self._is_any_possible = not files.unrecoverable_parts <= set(chunks)
        """True if rows of written frames are lost: any frame may be one of them."""

    def find_unreferenced(self, batch: list[tuple[int, str]]) -> Iterator[Finding]:
        """Yield those of a batch of ``(sequence, key)`` that are unreferenced."""
        if self._is_any_possible:
            return
        sequences = np.array([sequence for sequence, _ in batch], np.int64)
        for position in np.flatnonzero(~_is_member(sequences, self._named)).tolist():
            sequence, key = batch[position]
            if _find_chunk(sequence, self._lost) is None:
                yield self._finding(sequence, key)

    def _finding(self, sequence: int, key: str) -> Finding:
        entry = _find_chunk(sequence, self._not_cached)
        if entry is not None:
            detail = (
                f"its chunk {entry.chunk_id} is not cached: an extraction is in "
                "progress, or stopped"
            )
            return Finding("orphan", key, sequence, entry.chunk_id, detail)
        if bool(_is_member(np.array([sequence]), self._without)[0]):
            return Finding("orphan", key, sequence, None, "the index has no picture for it")
        return Finding("orphan", key, sequence, None, "no index part names it")


class _ReferencedBlobs:
    """Index files, leases, packs and sprites that are in use."""

    def __init__(self, files: IndexFiles) -> None:
        self._manifest = files.manifest
        self._committed = {*files.rows, *files.broken_parts}
        timeline_id = files.manifest.timeline_id
        self._indexes = keys.indexes_prefix(timeline_id)
        self._claims = keys.leases_prefix(timeline_id)
        self._packs = keys.packs_prefix(timeline_id)
        self._sprites = keys.sprites_prefix(timeline_id)
        self._referenced_packs = {name for rows in files.rows.values() for name in pack_keys(rows)}
        self._has_lost_rows = bool(files.unrecoverable_parts)
        since = (rows.picture_since.tolist() for rows in files.rows.values())
        self._age_reference_parts = frozenset(chain.from_iterable(since)) - {""}

    def is_index_file(self, key: str) -> bool:
        """Return True if a key is that of an index file of the current epoch."""
        return key.startswith(f"{self._indexes}{self._manifest.epoch}/")

    def find_unreferenced_index_files(self, blobs: list[BlobInfo]) -> Iterator[Finding]:
        """Yield the index files of the epoch that are neither referenced nor needed for dating.

        Dating files are those whose storage times date the current frames.
        """
        dating = age_reference_files(blobs, self._manifest, self._age_reference_parts)
        for blob in blobs:
            if blob.key not in dating and (finding := self.finding(blob.key)) is not None:
                yield finding

    def finding(self, key: str) -> Finding | None:
        """Return the finding about a blob other than a frame; None if it is in use or unknown."""
        rooms = (
            (self._indexes, self._index_file),
            (self._claims, self._lease),
            (self._packs, self._pack),
            (self._sprites, self._sprite),
        )
        for room, why_unnamed in rooms:
            # A timeline whose manifest was recreated has its packs in an earlier epoch.
            if not key.startswith(room) or key in self._referenced_packs:
                continue
            epoch, slash, _ = key.removeprefix(room).partition("/")
            if slash and epoch != self._manifest.epoch:
                return Finding("stale", key, None, None, f"it belongs to the epoch {epoch}")
            if reason := why_unnamed(key):
                return Finding("orphan", key, None, None, reason)
        return None

    def _index_file(self, key: str) -> str:
        """Return why an index file is unreferenced; empty when it is referenced."""
        parsed = keys.parse_index(key)
        if parsed is None:
            return "this is not a valid name of an index file"
        part, number = parsed
        if part in (keys.COMPACTED, keys.COMPACTION):
            compaction = self._manifest.compaction
            named = compaction.number if compaction and compaction.name == part else None
        else:
            is_described = part in self._manifest.parts
            named = self._manifest.generations.get(part, 0) if is_described else None
        if named == number:
            return ""
        if named is not None and number < named:
            return f"it was replaced by number {named}"
        return "no manifest names it: its writer is about to, or stopped"

    def _pack(self, key: str) -> str:
        """Return why a pack is unreferenced; empty when lost rows may reference it."""
        if keys.parse_pack(self._manifest.timeline_id, key) is None:
            return "this is not a valid name of a pack"
        if self._has_lost_rows:
            return ""
        return "no index part names it: its writer is about to, or stopped"

    def _sprite(self, key: str) -> str:
        """Return why a key is not that of a sheet of thumbnails; empty when it may be one."""
        if keys.parse_sprite(self._manifest.timeline_id, key) is None:
            return "this is not a valid name of a sheet of thumbnails"
        return ""

    def _lease(self, key: str) -> str:
        """Return why a lease is not needed; empty when it may be."""
        parsed = keys.parse_lease(key)
        if parsed is None:
            return "this is not a valid name of a lease"
        if parsed[0] in self._committed:
            return "it leases what is already committed: its program stopped, or repairs it"
        return ""


def _are_blobs(rows: Index) -> npt.NDArray[np.bool_]:
    """Return a mask of the frames that are separate blobs."""
    return np.asarray(rows.is_ok & (rows.offset == 0), np.bool_)


def _concatenate(arrays: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _is_member(
    values: npt.NDArray[np.int64], among: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which values are contained in a sorted array."""
    if not len(among):
        return np.zeros(len(values), np.bool_)
    positions = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return np.asarray(among[positions] == values, np.bool_)


def _find_chunk(
    sequence: int, entries: "list[ChunkEntry] | tuple[ChunkEntry, ...]"
) -> "ChunkEntry | None":
    return next(
        (entry for entry in entries if entry.first_sequence <= sequence < entry.stop_sequence), None
    )
