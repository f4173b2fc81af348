"""Frames that are not stored: decoded from their chunks when they are read (layout ``video``)."""

from framecache._read.on_demand.jpegs import (
    encode,
    from_copy,
    identity_of_copy,
    to_copy,
    undecodable_row,
)
from framecache._read.on_demand.pictures import (
    ChunkPicture,
    entry_of,
    read_picture,
    read_pictures,
)

__all__ = [
    "ChunkPicture",
    "encode",
    "entry_of",
    "from_copy",
    "identity_of_copy",
    "read_picture",
    "read_pictures",
    "to_copy",
    "undecodable_row",
]
