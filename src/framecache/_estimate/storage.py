"""Storage figures of the frames of a timeline."""

from collections.abc import Iterable

import numpy as np

from framecache._index import Index
from framecache._layouts import LAYOUTS
from framecache._layouts.pack_format import pack_end
from framecache._layouts.storage_stats import (
    JpegRange,
    Sizes,
    StorageStats,
    count_puts,
    count_ranges,
)
from framecache.model import UNINDEXED_LAYOUT, Layout


def estimate_storage(layout: Layout, parts: Iterable[Sizes]) -> StorageStats:
    """Return the figures of some parts' frames when first stored in a layout."""
    return sum(map(LAYOUTS[layout].estimate, parts), StorageStats())


def measure_storage(index: Index) -> StorageStats:
    """Return the figures of the committed frames as the index locates them."""
    is_stored = index.is_ok & ~index.is_decoded_on_demand
    others = StorageStats(frame_count=int(index.is_decoded_on_demand.sum()))
    rows = np.flatnonzero(is_stored)
    offset, size = index.offset[rows], index.size[rows]
    if not offset.any():
        return LAYOUTS[UNINDEXED_LAYOUT].estimate(size) + others
    names = index.key[rows].tolist()
    ends = np.where(offset > 0, pack_end(offset, size), size).tolist()
    blobs: dict[str, int] = {}
    for name, end in zip(names, ends, strict=True):
        blobs[name] = max(end, blobs.get(name, 0))
    gets, read_bytes = count_ranges(map(JpegRange, names, offset.tolist(), size.tolist()))
    stored = StorageStats(
        frame_count=len(rows),
        blobs=len(blobs),
        stored_bytes=sum(blobs.values()),
        puts=sum(map(count_puts, blobs.values())),
        gets=gets,
        read_bytes=read_bytes,
    )
    return stored + others
