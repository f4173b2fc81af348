"""The table of a timeline's frames: how it is committed, found, merged and queried."""

from framecache.index.create import create_once
from framecache.index.descriptions import (
    Advance,
    Change,
    advance,
    begin,
    current_description,
    ensure_current,
    follow,
    is_current,
    is_latest,
)
from framecache.index.fetch import fetch, is_stored, stored_jpeg
from framecache.index.find import Snapshot, find, load, load_parts
from framecache.index.lost import LostDescription, find_lost
from framecache.index.publish import commit_part, commit_repair, committed_parts, compact
from framecache.index.rows import FrameRow
from framecache.index.table import Index, PartBuilder, pack_keys, rows_that_count

__all__ = [
    "Advance",
    "Change",
    "FrameRow",
    "Index",
    "LostDescription",
    "PartBuilder",
    "Snapshot",
    "advance",
    "begin",
    "commit_part",
    "commit_repair",
    "committed_parts",
    "compact",
    "create_once",
    "current_description",
    "ensure_current",
    "fetch",
    "find",
    "find_lost",
    "follow",
    "is_current",
    "is_latest",
    "is_stored",
    "load",
    "load_parts",
    "pack_keys",
    "rows_that_count",
    "stored_jpeg",
]
