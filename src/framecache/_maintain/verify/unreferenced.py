"""Blobs of a timeline, from one streamed listing, compared with the committed state.

A listing is never taken as proof that a blob can be read; it only shows which blobs are
unreferenced.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._maintain.inventory import (
    EpochFolder,
    IntArray,
    References,
    age_reference_files,
    is_member,
    parse_epoch_blob,
    referenced_index_files,
)
from framecache._maintain.verify.index_files import IndexFiles
from framecache._maintain.verify.report import Finding
from framecache.store import BlobInfo, Store

_BATCH: Final = 4096
_UNREFERENCED: Final = "no index part names it: its writer is about to, or stopped"
_INVALID_NAMES: Final = {
    EpochFolder.INDEX: "this is not a valid name of an index file",
    EpochFolder.LEASES: "this is not a valid name of a lease",
    EpochFolder.PACKS: "this is not a valid name of a pack",
    EpochFolder.RENDITIONS: "this is not a valid name of a rendition",
    EpochFolder.SPRITES: "this is not a valid name of a sheet of thumbnails",
}


def find_unreferenced(store: Store, files: IndexFiles) -> Iterator[Finding]:
    """Yield the blobs of older epochs and those that nothing references; makes one LIST.

    Covers ``frames/``, ``packs/``, ``renditions/``, ``index/``, ``claims/`` and ``sprites/``; other
    keys belong to other programs. Replaced index files that garbage collection keeps are not
    reported. Takes 8 bytes of memory per frame and rendition.
    """
    manifest = files.manifest
    references = References.of_rows(manifest, files.current_rows())
    frames = _ReferencedFrames(files, references.sequences)
    others = _ReferencedBlobs(files, references)
    batch: list[tuple[int, str]] = []
    index_files: list[BlobInfo] = []
    current_epoch = keys.epoch_prefix(manifest.timeline_id, manifest.epoch)
    for blob in store.list(keys.timeline_prefix(manifest.timeline_id)):
        sequence = keys.parse_frame(manifest.timeline_id, blob.key)
        if sequence is not None:
            batch.append((sequence, blob.key))
            if len(batch) == _BATCH:
                yield from frames.find_unreferenced(batch)
                batch = []
        elif blob.key.startswith(current_epoch):
            index_files.append(blob)
        elif (finding := others.finding(blob.key)) is not None:
            yield finding
    yield from frames.find_unreferenced(batch)
    yield from others.find_unreferenced_index_files(index_files)


class _ReferencedFrames:
    """Frames that the index references."""

    def __init__(self, files: IndexFiles, referenced: IntArray) -> None:
        self._referenced = referenced
        self._without = np.sort(
            np.concatenate(
                [
                    np.empty(0, np.int64),
                    *(rows.sequence[~rows.is_ok] for rows in files.rows.values()),
                ]
            )
        )
        self._not_cached = files.not_cached
        segments = {segment.part: segment for segment in files.manifest.segments}
        self._lost = [segments[part] for part in files.unrecoverable_parts if part in segments]
        self._is_any_possible = not files.unrecoverable_parts <= set(segments)
        """True if rows of written frames are lost: any frame may be one of them."""

    def find_unreferenced(self, batch: list[tuple[int, str]]) -> Iterator[Finding]:
        """Yield those of a batch of ``(sequence, key)`` that are unreferenced."""
        if self._is_any_possible:
            return
        sequences = np.array([sequence for sequence, _ in batch], np.int64)
        for position in np.flatnonzero(~is_member(self._referenced, sequences)).tolist():
            sequence, key = batch[position]
            if _find_segment(sequence, self._lost) is None:
                yield self._finding(sequence, key)

    def _finding(self, sequence: int, key: str) -> Finding:
        segment = _find_segment(sequence, self._not_cached)
        if segment is not None:
            chunk_id, is_whole = segment.chunk.chunk_id, len(segment.chunk.segment_starts) == 1
            what = f"its chunk {chunk_id}" if is_whole else f"its segment of chunk {chunk_id}"
            detail = f"{what} is not cached: an extraction is in progress, or stopped"
            return Finding("orphan", key, sequence, chunk_id, detail)
        if bool(is_member(self._without, np.array([sequence]))[0]):
            return Finding("orphan", key, sequence, None, "the index has no picture for it")
        return Finding("orphan", key, sequence, None, "no index part names it")


class _ReferencedBlobs:
    """Index files, leases, packs, renditions and sprites that are in use."""

    def __init__(self, files: IndexFiles, references: References) -> None:
        self._manifest = files.manifest
        self._committed = {*files.rows, *files.broken_parts}
        self._references = references
        self._index_files = referenced_index_files(files.manifest)
        self._has_lost_rows = bool(files.unrecoverable_parts)

    def find_unreferenced_index_files(self, blobs: list[BlobInfo]) -> Iterator[Finding]:
        """Yield the index files of the epoch that are neither referenced nor needed for dating.

        Dating files are those whose storage times date the current frames.
        """
        dating = age_reference_files(blobs, self._manifest, self._references.age_reference_parts)
        for blob in blobs:
            if blob.key not in dating and (finding := self.finding(blob.key)) is not None:
                yield finding

    def finding(self, key: str) -> Finding | None:
        """Return the finding about a blob other than a frame; None if it is in use or unknown."""
        place = parse_epoch_blob(self._manifest.timeline_id, key)
        # A timeline whose manifest was recreated has its packs in an earlier epoch.
        if place is None or self._references.has_epoch_blob(self._manifest.timeline_id, key):
            return None
        if place.epoch and place.epoch != self._manifest.epoch:
            return Finding("stale", key, None, None, f"it belongs to the epoch {place.epoch}")
        reason = self._fault(place.folder, key) if place.is_valid else _INVALID_NAMES[place.folder]
        return Finding("orphan", key, None, None, reason) if reason else None

    def _fault(self, folder: EpochFolder, key: str) -> str:
        """Return why a blob of the current epoch is unreferenced; empty if it is in use."""
        match folder:
            case EpochFolder.INDEX:
                return self._index_file_fault(key)
            case EpochFolder.LEASES:
                return self._lease_fault(key)
            case EpochFolder.PACKS | EpochFolder.RENDITIONS:
                # Lost rows may reference it.
                return "" if self._has_lost_rows else _UNREFERENCED
            case EpochFolder.SPRITES:
                return ""

    def _index_file_fault(self, key: str) -> str:
        parsed = keys.parse_index(key)
        assert parsed is not None
        part, number = parsed
        named = self._index_files.get(part)
        if named == number:
            return ""
        if named is not None and number < named:
            return f"it was replaced by number {named}"
        return "no manifest names it: its writer is about to, or stopped"

    def _lease_fault(self, key: str) -> str:
        parsed = keys.parse_lease(key)
        assert parsed is not None
        if parsed[0] in self._committed:
            return "it leases what is already committed: its program stopped, or repairs it"
        return ""


def _find_segment(sequence: int, segments: Iterable[Segment]) -> Segment | None:
    return next(
        (one for one in segments if one.first_sequence <= sequence < one.stop_sequence), None
    )
