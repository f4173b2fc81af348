"""Storage figures of frames: blobs, bytes, and the requests that store and read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from framecache._index import Index
from framecache._layouts import packs
from framecache._read import coalesce_ranges
from framecache.model import Layout
from framecache.store import PART_SIZE_BYTES

Sizes = npt.NDArray[np.int64]
"""Sizes in bytes of the JPEGs of one index part, sorted by sequence; int64."""


@dataclass(frozen=True, slots=True)
class StorageStats:
    """Storage figures of some frames: the blobs they are stored in, and the requests for them."""

    frame_count: int = 0
    blobs: int = 0
    stored_bytes: int = 0
    """Size of the blobs; for packs, this includes the tar format's overhead."""
    puts: int = 0
    """Requests to store them."""
    gets: int = 0
    """Requests to read all of them in order."""
    read_bytes: int = 0
    """Bytes transferred by these reads."""

    def __add__(self, other: Self) -> "StorageStats":
        """Return the sums of all figures."""
        return StorageStats(
            self.frame_count + other.frame_count,
            self.blobs + other.blobs,
            self.stored_bytes + other.stored_bytes,
            self.puts + other.puts,
            self.gets + other.gets,
            self.read_bytes + other.read_bytes,
        )


def estimate_storage(layout: Layout, parts: Iterable[Sizes]) -> StorageStats:
    """Return the figures of some parts' frames when first stored in a layout."""
    in_layout = _pack_stats if layout == "packs" else _objects_stats
    return sum((in_layout(sizes) for sizes in parts), StorageStats())


def measure_storage(index: Index) -> StorageStats:
    """Return the figures of the committed frames as the index locates them."""
    rows = np.flatnonzero(index.is_ok)
    offset, size = index.offset[rows], index.size[rows]
    if not offset.any():
        return _objects_stats(size)
    names = index.key[rows].tolist()
    ends = np.where(offset > 0, _pack_end(offset, size), size).tolist()
    blobs: dict[str, int] = {}
    for name, end in zip(names, ends, strict=True):
        blobs[name] = max(end, blobs.get(name, 0))
    gets, read_bytes = _count_ranges(map(_JpegRange, names, offset.tolist(), size.tolist()))
    return StorageStats(
        frame_count=len(rows),
        blobs=len(blobs),
        stored_bytes=sum(blobs.values()),
        puts=sum(map(_count_puts, blobs.values())),
        gets=gets,
        read_bytes=read_bytes,
    )


class _JpegRange(NamedTuple):
    key: str
    offset: int
    size: int


def _objects_stats(sizes: Sizes) -> StorageStats:
    total = int(sizes.sum())
    return StorageStats(
        frame_count=len(sizes),
        blobs=len(sizes),
        stored_bytes=total,
        puts=sum(map(_count_puts, sizes.tolist())),
        gets=len(sizes),
        read_bytes=total,
    )


def _pack_stats(sizes: Sizes) -> StorageStats:
    if not len(sizes):
        return StorageStats()
    lengths = packs.members_bytes(sizes)
    offset = packs.HEADER_BYTES + np.cumsum(lengths) - lengths
    stored_bytes = int(lengths.sum()) + len(packs.END_OF_ARCHIVE)
    gets, read_bytes = _count_ranges(map(partial(_JpegRange, ""), offset.tolist(), sizes.tolist()))
    return StorageStats(
        frame_count=len(sizes),
        blobs=1,
        stored_bytes=stored_bytes,
        puts=_count_puts(stored_bytes),
        gets=gets,
        read_bytes=read_bytes,
    )


def _pack_end(offset: Sizes, size: Sizes) -> Sizes:
    """Return the sizes in bytes of packs in which these frames are the last."""
    return offset - packs.HEADER_BYTES + packs.members_bytes(size) + len(packs.END_OF_ARCHIVE)


def _count_ranges(rows: Iterable[_JpegRange]) -> tuple[int, int]:
    """Return the number of ranges in which frames are read, and their total size in bytes."""
    gets = read_bytes = 0
    for together in coalesce_ranges(rows):
        gets += 1
        read_bytes += together[-1].offset + together[-1].size - together[0].offset
    return gets, read_bytes


def _count_puts(size_bytes: int) -> int:
    """Return the number of requests that store a blob.

    A large blob takes one per part, one to create the multipart upload and one to complete it.
    """
    parts = -(-size_bytes // PART_SIZE_BYTES)
    return parts + 2 if parts > 1 else 1
