"""Tasks that read frames of one timeline, and how frames are divided among them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, Snapshot
from framecache._layouts.ranges import coalesce_ranges
from framecache._read import DecodeOptions, fetch_in_order, on_demand, read_batches
from framecache.ray.columns import row_bytes, to_block
from framecache.timeline import Timeline

if TYPE_CHECKING:
    import pyarrow as pa

MIN_TASK_BYTES: Final = 120 * 2**20
"""Bytes of a task's rows below which tasks would cost more than they gain."""
MAX_BLOCK_BYTES: Final = 128 * 2**20
"""Largest block if Ray Data has no target."""
_MAX_TASK_ROWS: Final = 8192
"""Rows of a task are sent to its worker, so there are not too many."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReadFormat:
    """Columns of the blocks, and how images are decoded."""

    columns: tuple[str, ...]
    decoding: DecodeOptions

    @property
    def has_pictures(self) -> bool:
        """True if reading fetches frames."""
        return "image" in self.columns or "jpeg" in self.columns

    def row_bytes(self, row: FrameRow) -> int:
        """Return the bytes that a frame takes in a block."""
        return row_bytes(self.columns, self.decoding, row)


@dataclass(frozen=True, slots=True, eq=False)
class FrameTask:
    """Frames of one timeline that one task reads, as of the snapshot that was planned with."""

    timeline: Timeline
    snapshot: Snapshot
    """Manifest, and the index of these frames alone: the task makes no request for an index."""
    positions: Positions
    """Rows in the index, in reading order."""
    shapes: frozenset[tuple[int, ...]]
    """Shapes of the images."""
    size_bytes: int
    """Bytes of its blocks."""

    def __len__(self) -> int:
        return len(self.positions)

    def first(self, count: int) -> "FrameTask":
        """Return the task for its first frames only."""
        share = self.size_bytes * min(count, len(self)) // max(1, len(self))
        return FrameTask(self.timeline, self.snapshot, self.positions[:count], self.shapes, share)

    def read(self, output: ReadFormat, *, block_bytes: int) -> "Iterator[pa.Table]":
        """Yield the frames in blocks.

        Args:
            output: columns to read.
            block_bytes: largest block, unless a single frame is larger.

        Raises:
            TimelineCleared: the timeline was cleared or rebuilt since.
            CorruptFrame: the stored bytes are not those that were committed.
        """
        rows = self.snapshot.index.rows(self.positions)
        name = self.timeline.timeline_id
        if not output.has_pictures:
            yield to_block(output.columns, name, rows)
            return
        source = self.timeline.snapshot_cache.open_source(self.snapshot)
        if "jpeg" not in output.columns:
            source = source.for_size(output.decoding.max_side)
        sizes = [*_batch_sizes(rows, output, block_bytes)]
        if "image" not in output.columns:
            with closing(fetch_in_order(source, self.positions)) as arriving:
                for size in sizes:
                    fetched = [
                        one for one in islice(arriving, size) if one.row.status != "undecodable"
                    ]
                    jpegs = [one.jpeg() for one in fetched]
                    yield to_block(output.columns, name, [one.row for one in fetched], jpegs=jpegs)
            return
        for fetched, images in read_batches(source, self.positions, output.decoding, sizes):
            jpegs = [one.jpeg() for one in fetched] if "jpeg" in output.columns else []
            found = [one.row for one in fetched]
            yield to_block(output.columns, name, found, jpegs=jpegs, images=images)


def divide(
    timeline: Timeline,
    snapshot: Snapshot,
    positions: Positions,
    output: ReadFormat,
    *,
    task_bytes: int,
) -> Iterator[FrameTask]:
    """Divide frames of a timeline among tasks, without adding a request.

    A task ends where a byte range that one request fetches does, preferably at the end of a chunk.
    Frames that are not stored are divided at random-access points, for which the description of
    each chunk may be requested.

    Args:
        timeline: the timeline.
        snapshot: its snapshot.
        positions: rows of the frames, in reading order.
        output: columns to read.
        task_bytes: bytes of blocks for each task.
    """
    taken = 0
    part: list[FrameRow] = []
    part_bytes = 0
    for together in _ranges(timeline, snapshot, positions, output):
        is_full = part_bytes >= task_bytes or len(part) >= _MAX_TASK_ROWS
        ends_chunk = bool(part) and part[-1].chunk_id != together[0].chunk_id
        if is_full or (ends_chunk and 2 * part_bytes >= task_bytes):
            yield _task(timeline, snapshot, positions[taken : taken + len(part)], part, output)
            taken += len(part)
            part, part_bytes = [], 0
        part += together
        part_bytes += sum(map(output.row_bytes, together))
    if part:
        yield _task(timeline, snapshot, positions[taken:], part, output)


def _ranges(
    timeline: Timeline, snapshot: Snapshot, positions: Positions, output: ReadFormat
) -> Iterable[Sequence[FrameRow]]:
    """Return the rows in lists, each of which one task reads."""
    index = snapshot.index
    rows = (index if "jpeg" in output.columns else index.for_size(output.decoding.max_side)).rows(
        positions
    )
    if not output.has_pictures:
        return ([row] for row in rows)
    if snapshot.index.is_decoded_on_demand[positions].any():
        store = timeline.snapshot_cache.open_source(snapshot).store
        return on_demand.split_at_random_access(store, snapshot, rows)
    return coalesce_ranges(rows)


def _task(
    timeline: Timeline,
    snapshot: Snapshot,
    positions: Positions,
    rows: Sequence[FrameRow],
    output: ReadFormat,
) -> FrameTask:
    own = np.unique(positions)
    return FrameTask(
        timeline,
        Snapshot(_own_manifest(snapshot.manifest, rows), _own_index(snapshot.index, own), ()),
        np.searchsorted(own, positions),
        frozenset(output.decoding.shape(row) for row in rows),
        sum(map(output.row_bytes, rows)),
    )


def _own_index(index: Index, positions: Positions) -> Index:
    """Return an index of some rows, which must ascend."""
    if not index.is_unindexed:
        return index.take(positions)
    rows = index.rows(positions)
    return Index.from_listing((row.sequence, row.key, row.size) for row in rows)


def _own_manifest(manifest: Manifest | None, rows: Sequence[FrameRow]) -> Manifest | None:
    """Return a manifest with only the chunks of some rows: it is sent with each task."""
    if manifest is None:
        return None
    own = {row.chunk_id for row in rows}
    chunks = tuple(chunk for chunk in manifest.chunks if chunk.chunk_id in own)
    parts = {part for chunk in chunks for part in chunk.parts}
    generations = {part: one for part, one in manifest.generations.items() if part in parts}
    return replace(manifest, chunks=chunks, written_parts=(), generations=generations)


def _batch_sizes(rows: Sequence[FrameRow], output: ReadFormat, block_bytes: int) -> Iterator[int]:
    """Yield the numbers of frames of the blocks; frames of a block have one size."""
    for shape, same in groupby(rows, key=output.decoding.shape):
        if "image" in output.columns and not all(shape):
            yield from (1 for _ in same)
            continue
        count, size_bytes = 0, 0
        for row in same:
            row_size = output.row_bytes(row)
            if count and size_bytes + row_size > block_bytes:
                yield count
                count, size_bytes = 0, 0
            count += 1
            size_bytes += row_size
        yield count
