"""Pictures of frames that are not stored, decoded from their chunks."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from framecache._core.chunk_entry import ChunkEntry
from framecache._index import FrameRow, Index, Snapshot
from framecache._media import video
from framecache._read.on_demand.open_chunks import OpenChunk, chunk_pool, group_of
from framecache._read.on_demand.picture_cache import identity_of, pictures
from framecache._read.on_demand.picture_groups import PictureGroup, fit_in_memory

if TYPE_CHECKING:
    from framecache._media.video.frame_decoder import FrameDecoder
    from framecache.store import Store

    Item = video.Decoded | video.Undecodable

NEEDED_BY: Final = "reading a timeline of layout video"
"""Purpose of the extra ``extract``, for an error."""
_WINDOW_FRAMES: Final = 32
"""Frames that are decoded in order of time, and held, when they are wanted in another order."""
_BATCH_FRAMES: Final = 256
"""Frames of a batch that are looked up together."""
_MIN_ASCENDING: Final = 8
"""Mean length of ascending runs from which each is decoded on its own."""

Copy = TypeVar("Copy")
FindCopy: TypeAlias = Callable[[FrameRow], Copy | None]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPicture:
    """Picture of a frame, not yet encoded."""

    row: FrameRow
    entry: ChunkEntry
    """Chunk of the frame."""
    item: "Item"


def read_picture(store: "Store", snapshot: Snapshot, row: FrameRow) -> ChunkPicture:
    """Return the picture of one frame.

    Decoding begins at the nearest random-access point before the frame. Pictures on the way to it
    are kept, and frames that are read in turn share one decoder.

    Raises:
        ChunkChanged: the chunk is no longer the one in the manifest.
        UnreadableChunk: it is gone, or cannot be read.
        StorePermissionDenied, StoreUnavailable: its store denies access, or cannot be reached.
    """
    entry = entry_of(snapshot, row)
    item = pictures.value.get(identity_of(entry), row.pts)
    if item is None:
        group = _open_group(store, snapshot, row)
        item = group.decode([row.pts])[row.pts]
    return ChunkPicture(row, entry, item)


def read_pictures(
    store: "Store", snapshot: Snapshot, positions: Positions, find_copy: FindCopy[Copy]
) -> Iterator[ChunkPicture | Copy]:
    """Yield the pictures of these index rows, in order; frames that ascend share one decoder.

    ``find_copy`` returns what is kept of a frame, which is yielded instead; else None.
    """
    index = snapshot.index
    if len(positions) <= 1:
        for row in index.rows(positions):
            copy = find_copy(row)
            yield read_picture(store, snapshot, row) if copy is None else copy
        return
    chunk_ids, times = index.chunk_id[positions], index.pts[positions]
    is_next = (chunk_ids[1:] == chunk_ids[:-1]) & (times[1:] > times[:-1])
    starts = [0, *(np.flatnonzero(~is_next) + 1).tolist()]
    if len(positions) < _MIN_ASCENDING * len(starts):
        yield from _in_windows(store, snapshot, positions, find_copy)
        return
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True):
        yield from _ascending(store, snapshot, positions[start:stop], find_copy)


def read_pictures_of_batch(
    store: "Store", snapshot: Snapshot, positions: Positions, find_copy: FindCopy[Copy]
) -> Iterator[ChunkPicture | Copy]:
    """Yield the pictures of a batch, and keep in memory what further batches are likely to need.

    Shuffled batches return to the same groups of pictures, each time for other frames of them.

    Args:
        store: the store of the timeline.
        snapshot: its snapshot.
        positions: rows, ascending.
        find_copy: see `read_pictures`.
    """
    if len(positions) <= 1:
        yield from read_pictures(store, snapshot, positions, find_copy)
        return
    for begin in range(0, len(positions), _BATCH_FRAMES):
        window = positions[begin : begin + _BATCH_FRAMES]
        yield from _in_groups(store, snapshot, window, find_copy, are_revisited=True)


def _in_windows(
    store: "Store", snapshot: Snapshot, positions: Positions, find_copy: FindCopy[Copy]
) -> Iterator[ChunkPicture | Copy]:
    for begin in range(0, len(positions), _WINDOW_FRAMES):
        window = positions[begin : begin + _WINDOW_FRAMES]
        distinct = np.unique(window)
        found = [*_in_groups(store, snapshot, distinct, find_copy)]
        for place in np.searchsorted(distinct, window).tolist():
            yield found[place]


def _in_groups(
    store: "Store",
    snapshot: Snapshot,
    positions: Positions,
    find_copy: FindCopy[Copy],
    *,
    are_revisited: bool = False,
) -> Iterator[ChunkPicture | Copy]:
    """Yield the pictures of ascending rows, group by group, and keep them."""
    rows = snapshot.index.rows(positions)
    copies = [find_copy(row) for row in rows]
    missing = (row for row, copy in zip(rows, copies, strict=True) if copy is None)
    parts = _divide_by_group(store, snapshot, missing)
    keeps_rest = are_revisited and fit_in_memory({id(group): group for group, _ in parts}.values())
    decoded = _decode_parts(parts, keeps_rest=keeps_rest)
    for copy in copies:
        yield next(decoded) if copy is None else copy


_Part: TypeAlias = tuple[PictureGroup, list[FrameRow]]
"""Frames of a group that are decoded together, and held until they are used."""


def _divide_by_group(
    store: "Store", snapshot: Snapshot, rows: Iterable[FrameRow]
) -> Sequence[_Part]:
    parts: list[_Part] = []
    for row in rows:
        if not parts or row not in parts[-1][0]:
            parts.append((_open_group(store, snapshot, row), []))
        elif len(parts[-1][1]) == _WINDOW_FRAMES:
            parts.append((parts[-1][0], []))
        parts[-1][1].append(row)
    return parts


def _decode_parts(parts: Sequence[_Part], *, keeps_rest: bool) -> Iterator[ChunkPicture]:
    for number, (group, rows) in enumerate(parts):
        is_last = all(following is group for following, _ in parts[number + 1 : number + 2])
        wanted = [row.pts for row in rows]
        items = group.decode(wanted, is_last=is_last, keeps_rest=keeps_rest)
        for row in rows:
            yield ChunkPicture(row, group.entry, items[row.pts])


def _open_group(store: "Store", snapshot: Snapshot, row: FrameRow) -> PictureGroup:
    """Return the frames that are decoded from the same random-access point as a frame."""
    entry = entry_of(snapshot, row)
    chunk = chunk_pool.value.open(store, snapshot, entry)
    return PictureGroup(entry, chunk, group_of(snapshot.index, entry, chunk, row.pts))


def _ascending(
    store: "Store", snapshot: Snapshot, positions: Positions, find_copy: FindCopy[Copy]
) -> Iterator[ChunkPicture | Copy]:
    """Yield pictures of one chunk in order of time."""
    index = snapshot.index
    wanted = index.pts[positions].tolist()
    with ExitStack() as stack:
        decoder: FrameDecoder | None = None
        for place, position in enumerate(positions.tolist()):
            row = index.row(position)
            copy = find_copy(row)
            if copy is not None:
                yield copy
                continue
            entry = entry_of(snapshot, row)
            if decoder is None:
                chunk = chunk_pool.value.open(store, snapshot, entry)
                decoder = stack.enter_context(chunk_pool.value.decoder(chunk, row.pts))
            if not decoder.is_ahead(row.pts):
                decoder.begin(_with_neighbors(index, entry, chunk, wanted[place:]))
            for item in decoder.read_until(row.pts):
                if item.pts == row.pts:
                    yield ChunkPicture(row, entry, item)


def _with_neighbors(
    index: Index, entry: ChunkEntry, chunk: OpenChunk, wanted: list[int]
) -> list[int]:
    """Return the frames to decode for those that are wanted.

    If the last two come after one random-access point, the next read is likely to continue there,
    and finds a decoder that has yet to return the other frames after that point.
    """
    group = group_of(index, entry, chunk, wanted[-1])
    if len(wanted) == 1 or wanted[-2] < group[0]:
        return wanted
    return wanted + group[bisect_right(group, wanted[-1]) :]


def split_at_random_access(
    store: "Store", snapshot: Snapshot, rows: Iterable[FrameRow]
) -> Iterator[list[FrameRow]]:
    """Cut rows, in their order, into lists that are decoded from one random-access point each.

    Raises:
        MissingPackage: a package of the extra ``extract`` is not installed.
        UnreadableChunk, StorePermissionDenied, StoreUnavailable: a chunk has to be scanned, and
            cannot be read.
    """
    video.require_packages(NEEDED_BY)
    opened: dict[int, OpenChunk] = {}

    def find_start(row: FrameRow) -> tuple[int, int]:
        if row.chunk_id not in opened:
            entry = entry_of(snapshot, row)
            opened[row.chunk_id] = chunk_pool.value.open(store, snapshot, entry)
        return row.chunk_id, opened[row.chunk_id].entry_of(row.pts)

    return ([*together] for _, together in groupby(rows, key=find_start))


def entry_of(snapshot: Snapshot, row: FrameRow) -> ChunkEntry:
    """Return the chunk of a frame; the manifest may have only some of the chunks."""
    assert snapshot.manifest is not None
    chunks = snapshot.manifest.chunks
    return chunks[bisect_left(chunks, row.chunk_id, key=lambda one: one.chunk_id)]
