"""Reading frames: fetched and checked, prefetched in order, decoded into arrays."""

from framecache._read.disk_cache.timeline import open_timeline_cache
from framecache._read.frame_source import FetchResult, FrameSource
from framecache._read.jpegs import read_jpeg, read_jpegs
from framecache._read.positions import (
    Range,
    as_sequences,
    count_timestamp_decimals,
    find_displayed_position,
    parse_range,
    positions_in_range,
)
from framecache._read.prefetch import prefetch_map
from framecache._read.read import (
    DecodeOptions,
    fetch_in_order,
    read_batch,
    read_batches,
    read_frame,
    read_frames,
)

__all__ = [
    "DecodeOptions",
    "FetchResult",
    "FrameSource",
    "Range",
    "as_sequences",
    "count_timestamp_decimals",
    "fetch_in_order",
    "find_displayed_position",
    "open_timeline_cache",
    "parse_range",
    "positions_in_range",
    "prefetch_map",
    "read_batch",
    "read_batches",
    "read_frame",
    "read_frames",
    "read_jpeg",
    "read_jpegs",
]
