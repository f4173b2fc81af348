"""The files of an index, each read by itself, so that one that is damaged does not hide the rest.

The rows of a part are usually stored twice: in the part's own file and in the compaction. Where
one of them is damaged the other tells what was committed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from framecache import keys
from framecache.errors import CorruptFrame
from framecache.index import Index, fetch
from framecache.manifest import ChunkEntry, Compaction, Description
from framecache.reader.pipeline import ordered
from framecache.store import BlobMissing, BlobOutside, Store
from framecache.verify.report import Finding
from framecache.verify.stored_frames import OUTSIDE

_CONCURRENT_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """What is known of the index of one description."""

    description: Description
    rows: Mapping[str, Index]
    """By part: the rows of each that is committed, where known."""
    broken_parts: Mapping[str, Finding]
    """Committed parts whose own file is damaged or gone."""
    broken_compaction: Finding | None
    not_cached: tuple[ChunkEntry, ...]
    """Described chunks without a committed part."""

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with any of them."""
        compaction = [] if self.broken_compaction is None else [self.broken_compaction]
        return [*self.broken_parts.values(), *compaction]

    @property
    def lost_parts(self) -> frozenset[str]:
        """Committed parts whose rows no sound file tells."""
        return frozenset(self.broken_parts) - frozenset(self.rows)


def read_index_files(store: Store, description: Description) -> IndexFiles:
    """Read every part and the compaction of a description."""
    return _Reading(store, description).files()


def part_fault(entry: ChunkEntry | None, rows: Index) -> str:
    """What is wrong with the rows of a part; empty when nothing is. None: a program wrote them."""
    if entry is None:
        return ""
    described = np.arange(entry.first_sequence, entry.stop_sequence)
    if np.array_equal(rows.sequence, described) and (rows.chunk_id == entry.chunk_id).all():
        return ""
    return (
        f"its rows are not those of frames {entry.first_sequence} to {entry.stop_sequence - 1} "
        f"of chunk {entry.chunk_id}"
    )


class _Reading:
    def __init__(self, store: Store, description: Description) -> None:
        self._store = store
        self._description = description
        self._entries = {entry.part: entry for entry in description.chunks}
        self._covered = description.compaction.parts if description.compaction else ()

    def files(self) -> IndexFiles:
        sound: dict[str, Index] = {}
        broken: dict[str, Finding] = {}
        not_cached: list[ChunkEntry] = []
        parts = self._description.parts
        read = ordered(
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
                not_cached.append(self._entries[part])
        recovered, broken_compaction = self._compare_compaction(sound, broken)
        known = sound | recovered
        return IndexFiles(
            description=self._description,
            rows={part: known[part] for part in parts if part in known},
            broken_parts=broken,
            broken_compaction=broken_compaction,
            not_cached=tuple(not_cached),
        )

    def _read_part(self, part: str) -> Index | Finding | None:
        """Its rows, what is wrong with it, or None when it is not committed."""
        key, entry = self._description.index_key(part), self._entries.get(part)
        chunk_id = entry.chunk_id if entry else None
        try:
            rows = fetch(self._store, key, Index.decode)
        except CorruptFrame:
            return Finding("corrupt", key, None, chunk_id, "this index part is damaged")
        except BlobOutside:
            return Finding("corrupt", key, None, chunk_id, OUTSIDE)
        except BlobMissing:
            # Parts of written frames, and later generations, are described once they are committed.
            is_described_before = entry is not None and not self._description.generations.get(part)
            if is_described_before and part not in self._covered:
                return None
            return Finding("missing", key, None, chunk_id, "this index part is gone")
        if fault := part_fault(entry, rows):
            return Finding("corrupt", key, None, chunk_id, f"in this index part, {fault}")
        return rows

    def _compare_compaction(
        self, sound: Mapping[str, Index], broken: Iterable[str]
    ) -> tuple[dict[str, Index], Finding | None]:
        """The rows that only the compaction tells, and what is wrong with it."""
        compaction = self._description.compaction
        if compaction is None:
            return {}, None
        key = keys.compacted_index(
            self._description.timeline_id,
            epoch=self._description.epoch,
            number=compaction.number,
        )
        try:
            compacted = fetch(self._store, key, Index.decode)
        except CorruptFrame:
            detail = "this file of all index parts is damaged"
            return {}, Finding("corrupt", key, None, None, detail)
        except BlobOutside:
            return {}, Finding("corrupt", key, None, None, OUTSIDE)
        except BlobMissing:
            detail = "this file of all index parts is gone"
            return {}, Finding("missing", key, None, None, detail)
        wanted = [part for part in compaction.parts if part in set(broken)]
        recovered = self._recovered(compacted, sound, wanted)
        if _holds_exactly(compacted, compaction, {**sound, **recovered}):
            return recovered, None
        detail = "this file of all index parts does not hold the rows of its parts"
        return {}, Finding("corrupt", key, None, None, detail)

    def _recovered(
        self, compacted: Index, sound: Mapping[str, Index], wanted: list[str]
    ) -> dict[str, Index]:
        recovered: dict[str, Index] = {}
        for part in wanted:
            entry = self._entries.get(part)
            if entry is None:
                continue
            bounds = (entry.first_sequence, entry.stop_sequence)
            begin, end = np.searchsorted(compacted.sequence, bounds).tolist()
            rows = Index(compacted.to_arrow().slice(begin, end - begin))
            if not part_fault(entry, rows):
                recovered[part] = rows
        written = [part for part in wanted if part not in self._entries]
        if written:
            # Which of them held which row is not told. Any rows do that, merged with those of
            # the sound parts, give those of the compaction.
            others = Index.merged([sound[part] for part in self._covered if part in sound])
            recovered |= dict.fromkeys(written, Index.empty())
            recovered[written[-1]] = _without(compacted, others)
        return recovered


def _holds_exactly(compacted: Index, compaction: Compaction, rows: Mapping[str, Index]) -> bool:
    if not all(part in rows for part in compaction.parts):
        return False
    merged = Index.merged([rows[part] for part in compaction.parts])
    return bool(merged.to_arrow().equals(compacted.to_arrow()))


def _without(index: Index, others: Index) -> Index:
    """The rows that ``others`` does not have, or has differently."""
    table = index.to_arrow()
    position = np.searchsorted(others.sequence, index.sequence)
    position = np.minimum(position, max(0, len(others) - 1))
    is_there = np.zeros(len(index), np.bool_)
    if len(others):
        is_there = others.sequence[position] == index.sequence
        theirs = others.to_arrow().take(position)
        for name in theirs.column_names:
            is_there &= theirs[name].to_numpy() == table[name].to_numpy()
    return Index(table.take(np.flatnonzero(~is_there)))
