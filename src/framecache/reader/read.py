"""Frames as arrays, batches and bytes, from the rows of an index.

Requests wait on threads of their own, ahead of those that decode, of which there is one a core.
A blob of its own in a store that is near, and copies on local disk as long as no frame lacks one,
are read by the thread that decodes them.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from framecache import jpeg, keys
from framecache.errors import CorruptFrame, InvalidValue
from framecache.index import FrameRow
from framecache.model import Color, Frame, Image
from framecache.numeric import exact, shown
from framecache.reader.arrays import ArrayPool
from framecache.reader.fetch import Fetched, FrameSource
from framecache.reader.pipeline import ordered
from framecache.reader.ranges import PlannedRange, plan_ranges
from framecache.store import is_remote

_REQUESTS_AT_ONCE: Final = 64
_FETCHES_AHEAD: Final = 256
"""Under way, or waiting for one that is: frames come in order, and some answers take ten times as
long as others."""
_FETCHED_BYTES: Final = 80 * 2**20
"""Of JPEGs, and of what lies between them, that are under way or wait for a decoder."""
_DECODED_BYTES: Final = 128 * 2**20
"""Of pictures that wait for the consumer."""
_ROWS_AT_ONCE: Final = 1024
_COPIES_AHEAD: Final = 64
"""Copies on local disk that are looked for, and begun to be read, ahead of decoding."""
_PIXELS_WHEN_UNKNOWN: Final = 1920 * 1080
_BATCHES: Final = ArrayPool(keep=1, largest_bytes=256 * 2**20)
"""The memory of one batch, of whatever timeline: that of a larger one is not kept."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How stored JPEGs become arrays."""

    color: Color = "rgb"
    scale: float = 1.0
    """1, 0.5, 0.25 or 0.125: done by the JPEG decoder, which then has less to do."""

    def __post_init__(self) -> None:
        """Take a scale of any type; refuse what no decoder does."""
        if self.color not in get_args(Color):
            raise InvalidValue(f'color is "rgb" or "gray", not {self.color!r}')
        scale = exact(self.scale)
        if scale is None or scale not in jpeg.SCALES:
            raise InvalidValue(f"scale is 1, 0.5, 0.25 or 0.125, not {shown(self.scale)}")
        object.__setattr__(self, "scale", float(scale))

    def shape(self, row: FrameRow) -> tuple[int, ...]:
        """The shape of a frame's image; with zeros when another program stored it."""
        height, width = (-int(-side * self.scale // 1) for side in (row.height, row.width))
        return (height, width) if self.color == "gray" else (height, width, 3)


def read_frame(source: FrameSource, row: FrameRow, decoding: Decoding) -> Frame:
    """One frame whose status is ``"ok"``, as it is now if it was replaced since."""
    return _frame(source, decoding, None, row)


def read_frames(source: FrameSource, positions: Positions, decoding: Decoding) -> Iterator[Frame]:
    """The frames of these index rows, in order, prefetched; memory is bounded."""
    ahead = _decoded_ahead(source, positions, decoding)
    with (
        closing(ArrayPool(keep=ahead)) as pool,
        closing(_upcoming(source, _rows(source, positions), positions)) as upcoming,
    ):
        work = partial(_frame, source, decoding, pool)
        yield from ordered(work, upcoming, threads=_cores(), ahead=ahead)


def read_jpegs(source: FrameSource, positions: Positions) -> Iterator[bytes]:
    """The stored bytes of these index rows, in order, prefetched, never decoded."""
    with closing(read_fetched(source, positions)) as fetched:
        for one in fetched:
            yield one.jpeg()


def read_fetched(source: FrameSource, positions: Positions) -> Generator[Fetched]:
    """What came of fetching these index rows, in order, prefetched."""
    return _fetched(source, _rows(source, positions))


def read_batch(
    source: FrameSource, positions: Positions, decoding: Decoding, out: Image | None
) -> Image:
    """The images of these index rows in one array, ``(N, H, W, 3)`` or ``(N, H, W)``.

    Raises:
        InvalidValue: the frames differ in size, or ``out`` does not fit.
    """
    rows = source.snapshot.index.rows(positions)
    if not rows:
        raise InvalidValue("a batch has at least one frame: no sequence was given")
    shape = (len(rows), *_shape(source, rows[0], decoding))
    batch = _BATCHES.array(shape) if out is None else jpeg.check_out(out, shape)

    def fill(task: tuple[FrameRow | Fetched, int]) -> None:
        item, place = task
        try:
            _image(source, decoding, item, out=batch[place])
        except InvalidValue as error:
            raise InvalidValue(
                f"frames {rows[0].sequence} and {rows[place].sequence} differ in size: "
                f"read frames of one size in a batch, or one by one"
            ) from error

    # In the order in which they lie in the store, so that neighbours are fetched together.
    places = sorted(range(len(rows)), key=lambda place: (rows[place].key, rows[place].offset))
    stored = (rows[place] for place in places)
    with closing(_upcoming(source, stored, positions)) as upcoming:
        tasks = zip(upcoming, places, strict=True)
        for _ in ordered(fill, tasks, threads=_cores(), ahead=4 * _cores()):
            pass
    return batch


def _upcoming(
    source: FrameSource, rows: Iterable[FrameRow], positions: Positions
) -> Generator[FrameRow | Fetched]:
    """What the threads that decode are given: frames that are fetched already, or yet to be."""
    in_packs = source.snapshot.index.offset[positions].any()
    if not in_packs and not is_remote(source.store):
        yield from rows
        return
    left = iter(rows)
    while block := [*islice(left, _COPIES_AHEAD)]:
        if not source.prefetch_copies(block):
            # From here on they may be here or there: requests are not to wait for what is here.
            yield from _fetched(source, chain(block, left))
            return
        yield from block


def _fetched(source: FrameSource, rows: Iterable[FrameRow]) -> Generator[Fetched]:
    """The JPEGs of rows, in order, fetched ahead."""
    is_far = is_remote(source.store)
    most = _FETCHES_AHEAD if is_far else 2 * _cores()
    arrived: dict[int, Fetched] = {}
    following = count()
    place = next(following)

    def fetch(planned: PlannedRange) -> Iterable[tuple[int, Fetched]]:
        return zip(planned.places, source.fetch(planned.rows), strict=True)

    for together in ordered(
        fetch,
        plan_ranges(rows),
        threads=_REQUESTS_AT_ONCE if is_far else _cores(),
        ahead=_FETCHED_BYTES,
        weigh=lambda planned: max(planned.size_bytes, -(-_FETCHED_BYTES // most)),
    ):
        arrived.update(together)
        while place in arrived:
            yield arrived.pop(place)
            place = next(following)


def _frame(
    source: FrameSource, decoding: Decoding, pool: ArrayPool | None, item: FrameRow | Fetched
) -> Frame:
    fetched = item if isinstance(item, Fetched) else source.fetch_one(item)
    row = fetched.row
    shape = decoding.shape(row)
    out = pool.array(shape) if pool is not None and all(shape) else None
    image = _image(source, decoding, fetched, out=out)
    return Frame(row.sequence, row.chunk_id, row.timestamp, image, row.perceptual_hash)


def _image(
    source: FrameSource,
    decoding: Decoding,
    item: FrameRow | Fetched,
    *,
    out: Image | None = None,
) -> Image:
    fetched = item if isinstance(item, Fetched) else source.fetch_one(item)
    row, data = fetched.row, fetched.jpeg()
    try:
        return jpeg.decode(data, color=decoding.color, scale=decoding.scale, out=out)
    except jpeg.BadJpeg as error:
        raise CorruptFrame(
            f"frame {row.sequence} ({row.key} in {source.store.url}) is not a JPEG that can be "
            f"decoded: run 'framecache verify {keys.timeline_id_of(row.key)} --deep --repair', or "
            f"ask the program that stored it"
        ) from error


def _shape(source: FrameSource, row: FrameRow, decoding: Decoding) -> tuple[int, ...]:
    """The shape of a frame's image."""
    shape = decoding.shape(row)
    return shape if all(shape) else read_frame(source, row, decoding).image.shape


def _rows(source: FrameSource, positions: Positions) -> Iterator[FrameRow]:
    for begin in range(0, len(positions), _ROWS_AT_ONCE):
        yield from source.snapshot.index.rows(positions[begin : begin + _ROWS_AT_ONCE])


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _decoded_ahead(source: FrameSource, positions: Positions, decoding: Decoding) -> int:
    """How many decoded frames may wait for the consumer: few when they are large."""
    index = source.snapshot.index
    sides = index.width[positions].astype(np.int64), index.height[positions]
    known = int((sides[0] * sides[1]).max(initial=0))
    pixels = known or _PIXELS_WHEN_UNKNOWN
    frame_bytes = pixels * (3 if decoding.color == "rgb" else 1) * decoding.scale**2
    return int(max(2, min(4 * _cores(), _DECODED_BYTES // max(1, frame_bytes))))
