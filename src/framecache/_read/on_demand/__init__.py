"""Frames that are not stored: decoded from their chunks when they are read (layout ``video``)."""

from framecache._read.on_demand.jpegs import (
    encode,
    from_copy,
    identity_of_copy,
    to_copy,
    undecodable_row,
)
from framecache._read.on_demand.pictures import (
    NEEDED_BY,
    ChunkPicture,
    entry_of,
    read_picture,
    read_pictures,
    read_pictures_of_batch,
    split_at_random_access,
)

__all__ = [
    "NEEDED_BY",
    "ChunkPicture",
    "encode",
    "entry_of",
    "from_copy",
    "identity_of_copy",
    "read_picture",
    "read_pictures",
    "read_pictures_of_batch",
    "split_at_random_access",
    "to_copy",
    "undecodable_row",
]
