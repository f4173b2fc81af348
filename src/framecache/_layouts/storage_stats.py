"""Storage figures of frames: blobs, bytes, and the requests that store and read them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from framecache._layouts.ranges import coalesce_ranges
from framecache.store import PART_SIZE_BYTES

Sizes = npt.NDArray[np.int64]
"""Sizes in bytes of the JPEGs of one index part, sorted by sequence; int64."""


class PartSizes(NamedTuple):
    """Sizes of all JPEGs of one index part."""

    frames: Sizes
    renditions: tuple[Sizes, ...]
    """For each size of renditions, those of the frames that have one."""


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


class JpegRange(NamedTuple):
    """Bytes of one JPEG in a blob."""

    key: str
    offset: int
    size: int


def without_reads(stats: StorageStats) -> StorageStats:
    """Return the figures of JPEGs that are stored besides the frames, which no read counts."""
    return replace(stats, frame_count=0, gets=0, read_bytes=0)


def count_ranges(rows: Iterable[JpegRange]) -> tuple[int, int]:
    """Return the number of ranges in which frames are read, and their total size in bytes."""
    gets = read_bytes = 0
    for together in coalesce_ranges(rows):
        gets += 1
        read_bytes += together[-1].offset + together[-1].size - together[0].offset
    return gets, read_bytes


def count_puts(size_bytes: int) -> int:
    """Return the number of requests that store a blob.

    A large blob takes one per part, one to create the multipart upload and one to complete it.
    """
    parts = -(-size_bytes // PART_SIZE_BYTES)
    return parts + 2 if parts > 1 else 1
