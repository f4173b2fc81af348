"""How frames lie in a store: in how many blobs and bytes, stored and read by how many requests."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from framecache import packs
from framecache.index import Index
from framecache.model import Layout
from framecache.reader import ranges_of
from framecache.store import PART_SIZE_BYTES

Sizes = npt.NDArray[np.int64]
"""Bytes of the JPEGs of one part, in the order of their sequences."""


@dataclass(frozen=True, slots=True)
class Lying:
    """How some frames lie."""

    frame_count: int = 0
    blobs: int = 0
    stored_bytes: int = 0
    """In packs, the tar around the JPEGs included."""
    puts: int = 0
    """To store them."""
    gets: int = 0
    """To read all of them, in order."""
    read_bytes: int = 0
    """Which that carries."""

    def __add__(self, other: Self) -> "Lying":
        """Both, one after the other."""
        return Lying(
            self.frame_count + other.frame_count,
            self.blobs + other.blobs,
            self.stored_bytes + other.stored_bytes,
            self.puts + other.puts,
            self.gets + other.gets,
            self.read_bytes + other.read_bytes,
        )


def lying_as(layout: Layout, parts: Iterable[Sizes]) -> Lying:
    """The frames of some parts as a layout has them when they are stored for the first time."""
    in_layout = _in_a_pack if layout == "packs" else _as_objects
    return sum((in_layout(sizes) for sizes in parts), Lying())


def lying_now(index: Index) -> Lying:
    """The committed frames, where the index says they are."""
    rows = np.flatnonzero(index.is_ok)
    offset, size = index.offset[rows], index.size[rows]
    if not offset.any():
        return _as_objects(size)
    names = index.key[rows].tolist()
    ends = np.where(offset > 0, _pack_end(offset, size), size).tolist()
    blobs: dict[str, int] = {}
    for name, end in zip(names, ends, strict=True):
        blobs[name] = max(end, blobs.get(name, 0))
    gets, read_bytes = _ranges(map(_Stored, names, offset.tolist(), size.tolist()))
    return Lying(
        frame_count=len(rows),
        blobs=len(blobs),
        stored_bytes=sum(blobs.values()),
        puts=sum(map(_puts, blobs.values())),
        gets=gets,
        read_bytes=read_bytes,
    )


class _Stored(NamedTuple):
    key: str
    offset: int
    size: int


def _as_objects(sizes: Sizes) -> Lying:
    total = int(sizes.sum())
    return Lying(
        frame_count=len(sizes),
        blobs=len(sizes),
        stored_bytes=total,
        puts=sum(map(_puts, sizes.tolist())),
        gets=len(sizes),
        read_bytes=total,
    )


def _in_a_pack(sizes: Sizes) -> Lying:
    if not len(sizes):
        return Lying()
    lengths = packs.frame_bytes(sizes)
    offset = packs.HEADER_BYTES + np.cumsum(lengths) - lengths
    stored_bytes = int(lengths.sum()) + len(packs.END)
    gets, read_bytes = _ranges(map(partial(_Stored, ""), offset.tolist(), sizes.tolist()))
    return Lying(
        frame_count=len(sizes),
        blobs=1,
        stored_bytes=stored_bytes,
        puts=_puts(stored_bytes),
        gets=gets,
        read_bytes=read_bytes,
    )


def _pack_end(offset: Sizes, size: Sizes) -> Sizes:
    """How long packs are in which these frames come last."""
    return offset - packs.HEADER_BYTES + packs.frame_bytes(size) + len(packs.END)


def _ranges(rows: Iterable[_Stored]) -> tuple[int, int]:
    """In how many ranges frames are read, and how many bytes these have."""
    gets = read_bytes = 0
    for together in ranges_of(rows):
        gets += 1
        read_bytes += together[-1].offset + together[-1].size - together[0].offset
    return gets, read_bytes


def _puts(size_bytes: int) -> int:
    """Requests that store a blob: a large one goes in parts, with a begin and an end."""
    parts = -(-size_bytes // PART_SIZE_BYTES)
    return parts + 2 if parts > 1 else 1
