"""Reading frames: fetched and checked, prefetched in order, decoded into arrays."""

from framecache.reader.fetch import FetchResult, FrameSource
from framecache.reader.positions import (
    Range,
    as_sequences,
    count_timestamp_decimals,
    find_displayed_position,
    parse_range,
    positions_in_range,
)
from framecache.reader.prefetch import prefetch_map
from framecache.reader.ranges import coalesce_ranges
from framecache.reader.read import (
    DecodeOptions,
    fetch_in_order,
    read_batch,
    read_frame,
    read_frames,
    read_jpegs,
)
from framecache.reader.timeline_cache import open_timeline_cache

__all__ = [
    "DecodeOptions",
    "FetchResult",
    "FrameSource",
    "Range",
    "as_sequences",
    "coalesce_ranges",
    "count_timestamp_decimals",
    "fetch_in_order",
    "find_displayed_position",
    "open_timeline_cache",
    "parse_range",
    "positions_in_range",
    "prefetch_map",
    "read_batch",
    "read_frame",
    "read_frames",
    "read_jpegs",
]
