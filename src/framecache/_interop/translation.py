"""Translation of another tool's frame numbers to sequences, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from framecache._core import keys, sampling
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.numeric import require_int
from framecache._core.sampling import AtRate, Rate
from framecache._index import Snapshot
from framecache._interop.tool_numbers import ChunkRows, Tool, numbering
from framecache._read.info import describe_extent
from framecache._read.snapshot_cache import SnapshotCache
from framecache.errors import AmbiguousFrame, NotCached

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class FrameTranslation:
    """Frame in the terms of another tool, and of its timeline."""

    tool: Tool
    number: int
    """Number that the tool gives the frame, counted from 0 in the file of its chunk."""
    chunk_id: int
    sequence: int
    timestamp: float
    """Seconds on the timeline."""
    pts: int
    """Presentation timestamp in the time base of its video."""


def translate(
    snapshots: SnapshotCache,
    number: int,
    *,
    of: Tool,
    fps: Rate | None,
    chunk_id: int | None,
) -> FrameTranslation:
    """Return the frame that a tool's number means: see :meth:`framecache.Timeline.translate`."""
    wanted = require_int(number, what="n")
    rate = _parse_rate(fps)
    chosen = None if chunk_id is None else require_int(chunk_id, what="chunk_id")

    def find(snapshot: Snapshot) -> FrameTranslation:
        rows = _rows_of_chunk(snapshot, _choose_chunk(snapshot, chosen))
        row = numbering(rows, of, rate).row_of(wanted)
        return _translation(snapshot, of, wanted, rows, row)

    return _in_known_or_latest(snapshots, find)


def translate_back(
    snapshots: SnapshotCache, sequence: int, *, of: Tool, fps: Rate | None
) -> FrameTranslation:
    """Return a tool's number of a frame: see :meth:`framecache.Timeline.translate_back`."""
    wanted = keys.check_sequence(sequence)
    rate = _parse_rate(fps)

    def find(snapshot: Snapshot) -> FrameTranslation:
        position = snapshot.index.position(wanted)
        if position is None:
            raise NotCached(f"the timeline has no frame {wanted}: {describe_extent(snapshot)}")
        entry = _choose_chunk(snapshot, int(snapshot.index.chunk_id[position]))
        rows = _rows_of_chunk(snapshot, entry)
        row = position - rows.first_position
        number = numbering(rows, of, rate).number_of(row)
        return _translation(snapshot, of, number, rows, row)

    return _in_known_or_latest(snapshots, find)


def _in_known_or_latest(snapshots: SnapshotCache, find: Callable[[Snapshot], _Result]) -> _Result:
    """Search the cached snapshot, then the latest one if something is not in it."""
    was_known = snapshots.last_lookup is not None
    try:
        return find(snapshots.source().snapshot)
    except NotCached:
        if not was_known:
            raise
    return find(snapshots.latest_source().snapshot)


def _parse_rate(fps: Rate | None) -> Fraction | None:
    parsed = sampling.from_arguments(fps=fps)
    return parsed.rate if isinstance(parsed, AtRate) else None


def _choose_chunk(snapshot: Snapshot, chunk_id: int | None) -> ChunkEntry:
    if not snapshot.exists:
        raise NotCached(f"the timeline has no frames: {describe_extent(snapshot)}")
    chunks = snapshot.manifest.chunks if snapshot.manifest else ()
    if not chunks:
        raise AmbiguousFrame(
            "the timeline has no chunks, because a program wrote its frames: which video another "
            "tool counted in is not recorded"
        )
    if chunk_id is None:
        if len(chunks) > 1:
            raise AmbiguousFrame(
                f"the timeline has {len(chunks)} chunks, and a tool counts the frames of each from "
                f"0: give chunk_id, 0 to {len(chunks) - 1}"
            )
        return chunks[0]
    if chunk_id >= len(chunks):
        raise NotCached(f"the timeline has chunks 0 to {len(chunks) - 1}, and no chunk {chunk_id}")
    return chunks[chunk_id]


def _rows_of_chunk(snapshot: Snapshot, entry: ChunkEntry) -> ChunkRows:
    if not entry.is_cached(snapshot.missing_parts):
        raise NotCached(f"chunk {entry.chunk_id} ({entry.url}) is not cached yet: extract it first")
    assert snapshot.manifest is not None
    return ChunkRows.of(snapshot.index, entry, snapshot.manifest.settings.sampling)


def _translation(
    snapshot: Snapshot, tool: Tool, number: int, rows: ChunkRows, row: int
) -> FrameTranslation:
    index, position = snapshot.index, rows.first_position + row
    return FrameTranslation(
        tool=tool,
        number=number,
        chunk_id=rows.entry.chunk_id,
        sequence=int(index.sequence[position]),
        timestamp=float(index.timestamp[position]),
        pts=int(index.pts[position]),
    )
