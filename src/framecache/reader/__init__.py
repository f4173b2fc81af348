"""Reading frames: fetched and checked, prefetched in order, decoded into arrays."""

from framecache.reader.fetch import Fetched, FrameSource
from framecache.reader.local import local_frames
from framecache.reader.pipeline import ordered
from framecache.reader.plan import (
    Range,
    as_sequences,
    frame_range,
    position_on_screen,
    positions_in_range,
    telling_decimals,
)
from framecache.reader.ranges import ranges_of
from framecache.reader.read import (
    Decoding,
    read_batch,
    read_fetched,
    read_frame,
    read_frames,
    read_jpegs,
)

__all__ = [
    "Decoding",
    "Fetched",
    "FrameSource",
    "Range",
    "as_sequences",
    "frame_range",
    "local_frames",
    "ordered",
    "position_on_screen",
    "positions_in_range",
    "ranges_of",
    "read_batch",
    "read_fetched",
    "read_frame",
    "read_frames",
    "read_jpegs",
    "telling_decimals",
]
