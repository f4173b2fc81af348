"""Storage figures of the frames of a timeline."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from framecache._index import Index
from framecache._layouts import LAYOUTS
from framecache._layouts.pack_format import pack_end
from framecache._layouts.storage_stats import (
    JpegRange,
    PartSizes,
    StorageStats,
    count_puts,
    count_ranges,
    without_reads,
)
from framecache.model import UNINDEXED_LAYOUT, Layout


def estimate_storage(
    layout: Layout, parts: Iterable[PartSizes], *, are_written: bool
) -> StorageStats:
    """Return the figures of some parts' frames when first stored in a layout.

    Args:
        layout: the layout.
        parts: sizes of the JPEGs of each part.
        are_written: True if a program wrote the frames; False if they were extracted.
    """
    total = StorageStats()
    for part in parts:
        total += LAYOUTS[layout].estimate(part.frames)
        for sizes in part.renditions:
            total += LAYOUTS[layout].estimate_renditions(sizes, are_written=are_written)
    return total


def measure_storage(index: Index) -> StorageStats:
    """Return the figures of the committed frames as the index locates them."""
    is_stored = index.is_ok & ~index.is_decoded_on_demand
    total = StorageStats(frame_count=int(index.is_decoded_on_demand.sum()))
    total += _measure_jpegs(index, np.flatnonzero(is_stored))
    for side in index.rendition_sides:
        renditions = index.of_renditions(side)
        stored = _measure_jpegs(renditions, np.arange(len(renditions)))
        total += without_reads(stored)
    return total


def _measure_jpegs(index: Index, rows: npt.NDArray[np.int64]) -> StorageStats:
    offset, size = index.offset[rows], index.size[rows]
    if not offset.any():
        return LAYOUTS[UNINDEXED_LAYOUT].estimate(size)
    names = index.key[rows].tolist()
    ends = np.where(offset > 0, pack_end(offset, size), size).tolist()
    blobs: dict[str, int] = {}
    for name, end in zip(names, ends, strict=True):
        blobs[name] = max(end, blobs.get(name, 0))
    gets, read_bytes = count_ranges(map(JpegRange, names, offset.tolist(), size.tolist()))
    return StorageStats(
        frame_count=len(rows),
        blobs=len(blobs),
        stored_bytes=sum(blobs.values()),
        puts=sum(map(count_puts, blobs.values())),
        gets=gets,
        read_bytes=read_bytes,
    )


def sizes_of_parts(index: Index, bounds: Iterable[tuple[int, int]]) -> list[PartSizes]:
    """Return the sizes of the JPEGs of each of some half-open ranges of sequences."""
    renditions = [index.of_renditions(side) for side in index.rendition_sides]
    parts: list[PartSizes] = []
    for first, stop in bounds:
        rows = _rows_between(index, first, stop)
        of_sizes = tuple(one.size[_rows_between(one, first, stop)] for one in renditions)
        parts.append(PartSizes(index.size[rows][index.is_ok[rows]], of_sizes))
    return parts


def _rows_between(index: Index, first_sequence: int, stop_sequence: int) -> slice:
    first, stop = index.sequence.searchsorted([first_sequence, stop_sequence]).tolist()
    return slice(first, stop)
