"""Index files, each read separately, so that a damaged one does not hide the others.

The rows of a part are usually stored twice: in the part's own file and in the compaction. If one of
them is damaged, the other still has the committed rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Compaction, Manifest
from framecache._index import Index, equal_rows, fetch_blob, is_latest
from framecache._maintain.verify.report import Finding
from framecache._maintain.verify.stored_frames import LINK_OUTSIDE_ROOT
from framecache._read.prefetch import prefetch_map
from framecache.errors import CorruptFrame
from framecache.store import BlobMissing, BlobOutsideRoot, Store

_CONCURRENT_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """State of the index files that one manifest names."""

    manifest: Manifest
    rows: Mapping[str, Index]
    """Rows of each committed part, where they are known."""
    broken_parts: Mapping[str, Finding]
    """Committed parts whose own file is damaged or missing."""
    broken_compaction: Finding | None
    not_cached: tuple[Segment, ...]
    """Segments of the manifest that are not committed."""

    @property
    def findings(self) -> list[Finding]:
        """All faults of these files."""
        compaction = [] if self.broken_compaction is None else [self.broken_compaction]
        return [*self.broken_parts.values(), *compaction]

    def current_rows(self) -> Iterator[Index]:
        """Yield the known rows without those that a later part replaced."""
        written = set(self.manifest.written_parts)
        yield from (rows for part, rows in self.rows.items() if part not in written)
        yield Index.merged([rows for part, rows in self.rows.items() if part in written])

    @property
    def unrecoverable_parts(self) -> frozenset[str]:
        """Committed parts whose rows no intact file holds."""
        return frozenset(self.broken_parts) - frozenset(self.rows)


def read_index_files(store: Store, manifest: Manifest) -> IndexFiles:
    """Read every part and the compaction that a manifest names."""
    return _IndexReader(store, manifest).read()


def find_part_fault(segment: Segment | None, rows: Index) -> str:
    """Return what is wrong with the rows of a part; empty when nothing is.

    Args:
        segment: the segment of the part; None for a part that a program wrote.
        rows: the rows of the part.
    """
    if segment is None:
        return ""
    described = np.arange(segment.first_sequence, segment.stop_sequence)
    chunk_id = segment.chunk.chunk_id
    if np.array_equal(rows.sequence, described) and (rows.chunk_id == chunk_id).all():
        return ""
    return (
        f"its rows are not those of frames {segment.first_sequence} to "
        f"{segment.stop_sequence - 1} of chunk {chunk_id}"
    )


class _IndexReader:
    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._segments = {segment.part: segment for segment in manifest.segments}
        self._covered = manifest.compaction.parts if manifest.compaction else ()

    def read(self) -> IndexFiles:
        sound: dict[str, Index] = {}
        broken: dict[str, Finding] = {}
        not_cached: list[Segment] = []
        parts = self._manifest.parts
        read = prefetch_map(
            self._read_part,
            parts,
            threads=min(_CONCURRENT_REQUESTS, max(1, len(parts))),
            ahead=2 * _CONCURRENT_REQUESTS,
        )
        for part, found in zip(parts, read, strict=True):
            if isinstance(found, Index):
                sound[part] = found
            elif found is not None:
                broken[part] = found
            else:
                not_cached.append(self._segments[part])
        recovered, broken_compaction = self._compare_compaction(sound, broken)
        known = sound | recovered
        return IndexFiles(
            manifest=self._manifest,
            rows={part: known[part] for part in parts if part in known},
            broken_parts=broken,
            broken_compaction=broken_compaction,
            not_cached=tuple(not_cached),
        )

    def _read_part(self, part: str) -> Index | Finding | None:
        """Return a part's rows, or the fault found in it, or None if it is not committed."""
        key, segment = self._manifest.index_key(part), self._segments.get(part)
        chunk_id = segment.chunk.chunk_id if segment else None
        try:
            rows = fetch_blob(self._store, key, _decode_rows)
        except CorruptFrame:
            return Finding("corrupt", key, None, chunk_id, "this index part is damaged")
        except BlobOutsideRoot:
            return Finding("corrupt", key, None, chunk_id, LINK_OUTSIDE_ROOT)
        except BlobMissing:
            # Parts of written frames, and later generations, are committed before the manifest
            # names them.
            is_described_before = segment is not None and not self._manifest.generations.get(part)
            if is_described_before and part not in self._covered:
                return None
            return Finding("missing", key, None, chunk_id, "this index part is missing")
        if fault := find_part_fault(segment, rows):
            return Finding("corrupt", key, None, chunk_id, f"in this index part, {fault}")
        return rows

    def _compare_compaction(
        self, sound: Mapping[str, Index], broken: Iterable[str]
    ) -> tuple[dict[str, Index], Finding | None]:
        """Return the rows that only the compaction holds, and the fault found in it."""
        compaction, key = self._manifest.compaction, self._manifest.compaction_key
        if compaction is None or key is None:
            return {}, None
        try:
            compacted = fetch_blob(self._store, key, _decode_rows)
        except CorruptFrame:
            detail = "this compacted index is damaged"
            return {}, Finding("corrupt", key, None, None, detail)
        except BlobOutsideRoot:
            return {}, Finding("corrupt", key, None, None, LINK_OUTSIDE_ROOT)
        except BlobMissing:
            # If it was replaced meanwhile, its parts hold the same rows.
            is_lost = is_latest(self._store, self._manifest)
            detail = "this compacted index is missing"
            return {}, Finding("missing", key, None, None, detail) if is_lost else None
        wanted = [part for part in compaction.parts if part in set(broken)]
        recovered = self._recover_parts(compacted, sound, wanted)
        if _is_compaction_of(compacted, compaction, {**sound, **recovered}):
            return recovered, None
        detail = "this compacted index does not hold the rows of its parts"
        return {}, Finding("corrupt", key, None, None, detail)

    def _recover_parts(
        self, compacted: Index, sound: Mapping[str, Index], wanted: list[str]
    ) -> dict[str, Index]:
        recovered: dict[str, Index] = {}
        for part in wanted:
            segment = self._segments.get(part)
            if segment is None:
                continue
            bounds = (segment.first_sequence, segment.stop_sequence)
            begin, end = np.searchsorted(compacted.sequence, bounds).tolist()
            rows = compacted.take(np.arange(begin, end))
            if not find_part_fault(segment, rows):
                recovered[part] = rows
        written = [part for part in wanted if part not in self._segments]
        if written:
            # The compaction does not record which of these parts held which row. Any assignment
            # will do if, merged with the rows of the intact parts, it gives the rows of the
            # compaction.
            others = Index.merged([sound[part] for part in self._covered if part in sound])
            recovered |= dict.fromkeys(written, Index.empty())
            recovered[written[-1]] = _rows_not_in(compacted, others)
        return recovered


def _decode_rows(body: bytes, *, key: str) -> Index:
    """Decode a stored index part and all its rows.

    Raises:
        CorruptFrame: the part is damaged.
    """
    index = Index.decode(body, key=key)
    _ = index.sequence
    return index


def _is_compaction_of(compacted: Index, compaction: Compaction, rows: Mapping[str, Index]) -> bool:
    if not all(part in rows for part in compaction.parts):
        return False
    merged = Index.merged([rows[part] for part in compaction.parts])
    return len(merged) == len(compacted) and bool(equal_rows(merged, compacted).all())


def _rows_not_in(index: Index, others: Index) -> Index:
    """Return the rows that ``others`` lacks or holds with other values."""
    position = others.positions(index.sequence)
    (known,) = np.nonzero(position >= 0)
    is_same = equal_rows(index.take(known), others.take(position[known]))
    is_there = np.zeros(len(index), np.bool_)
    is_there[known[is_same]] = True
    return index.take(np.flatnonzero(~is_there))
