"""Decoded pictures that are kept in memory, the most recently used ones up to a limit."""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.threads import PerProcess

if TYPE_CHECKING:
    from framecache._media import video

    Item = video.Decoded | video.Undecodable

MAX_PICTURE_BYTES: Final = 256 * 2**20
"""Bytes of decoded pictures that a process keeps, of all timelines together."""

_UNDECODABLE_BYTES: Final = 1024

Identity = tuple[str, str, int]
"""URL, ETag and size of a chunk."""


def identity_of(entry: ChunkEntry) -> Identity:
    """Return what identifies the bytes of a chunk."""
    return entry.url, entry.etag, entry.size_bytes


class PictureCache:
    """Decoded pictures by chunk and PTS. Safe to share between threads."""

    def __init__(self, limit_bytes: int) -> None:
        """Start empty; ``limit_bytes`` is the most that all pictures together may take."""
        self.limit_bytes = limit_bytes
        self._items: OrderedDict[tuple[Identity, int], tuple[Item, int]] = OrderedDict()
        self._lock = Lock()
        self.size_bytes = 0
        """Bytes of the pictures that are kept."""

    def get(self, chunk: Identity, pts: int) -> "Item | None":
        """Return a picture, or why there is none; None if that is not kept."""
        with self._lock:
            held = self._items.get((chunk, pts))
            if held is None:
                return None
            self._items.move_to_end((chunk, pts))
            return held[0]

    def has(self, chunk: Identity, pts: int) -> bool:
        """Return True if a picture is kept; this does not count as its use."""
        return (chunk, pts) in self._items

    def put(self, chunk: Identity, item: "Item") -> None:
        """Keep a picture, and drop those that were not used for longest."""
        size_bytes = _size_of(item)
        with self._lock:
            before = self._items.pop((chunk, item.pts), None)
            self._items[chunk, item.pts] = (item, size_bytes)
            self.size_bytes += size_bytes - (before[1] if before else 0)
            while self.size_bytes > self.limit_bytes and len(self._items) > 1:
                self.size_bytes -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Drop all pictures."""
        with self._lock:
            self._items.clear()
            self.size_bytes = 0


def _size_of(item: "Item") -> int:
    frame = getattr(item, "frame", None)
    if frame is None:
        return _UNDECODABLE_BYTES
    return sum(plane.buffer_size for plane in frame.planes)


pictures: Final = PerProcess(lambda: PictureCache(MAX_PICTURE_BYTES))
"""Pictures of this process; a forked child starts without any."""
