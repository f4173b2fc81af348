"""The table of a timeline's frames: how it is committed, found, merged and queried."""

from framecache.index.descriptions import (
    advance,
    current_description,
    ensure_current,
    is_latest,
)
from framecache.index.find import Snapshot, find, load, load_parts
from framecache.index.publish import commit_part, compact, is_committed
from framecache.index.table import FrameRow, Index, PartBuilder

__all__ = [
    "FrameRow",
    "Index",
    "PartBuilder",
    "Snapshot",
    "advance",
    "commit_part",
    "compact",
    "current_description",
    "ensure_current",
    "find",
    "is_committed",
    "is_latest",
    "load",
    "load_parts",
]
