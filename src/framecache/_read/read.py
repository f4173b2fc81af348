"""Read frames as arrays, batches and bytes, from the rows of an index.

Requests run on their own threads, ahead of the decoding threads, of which there is one per core.
The decoding thread itself reads frames that are separate blobs in a local store, and copies in the
disk cache as long as every frame has one.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice, repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.frame_size import limit_size
from framecache._core.numeric import as_fraction, format_value
from framecache._core.optional_imports import require_opencv
from framecache._index import FrameRow
from framecache._layouts.ranges import PlannedRange, plan_ranges
from framecache._media import jpeg
from framecache._media.scaled_jpeg import decode_to_size
from framecache._read.array_pool import ArrayPool
from framecache._read.frame_source import FetchResult, FrameSource
from framecache._read.on_demand import ChunkPicture
from framecache._read.prefetch import prefetch_map
from framecache.errors import CorruptFrame, InvalidValue, UndecodableFrame
from framecache.model import COLORS, Color, Frame, Image, Missing, require_color, require_max_side
from framecache.store import is_remote

_CONCURRENT_REQUESTS: Final = 64
_MAX_PENDING_FETCHES: Final = 256
"""Frames that are requested, or wait for an earlier one: frames are delivered in order, and some
responses take ten times as long as others.
"""
_MAX_FETCHED_BYTES: Final = 80 * 2**20
"""Bytes of JPEG, and of gaps between them, that are requested or wait for a decoder."""
_MAX_DECODED_BYTES: Final = 128 * 2**20
"""Bytes of decoded pictures that wait for the consumer."""
_ROWS_PER_BLOCK: Final = 1024
_CACHED_LOOKAHEAD: Final = 64
"""Copies in the disk cache that are looked up and read ahead of decoding."""
_PIXELS_WHEN_UNKNOWN: Final = 1920 * 1080
_BATCH_POOL: Final = ArrayPool(max_buffers=1, largest_bytes=256 * 2**20)
"""Memory of one batch, shared by all timelines; that of a larger batch is not kept."""

_MAX_PICTURES_AHEAD: Final = 8
"""Pictures of videos that are decoded ahead of their encoding."""

Positions = npt.NDArray[np.int64]
DecodeInput = FrameRow | FetchResult | ChunkPicture
"""A frame to be fetched, its JPEG, or its picture in a video, which is encoded first."""


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """Parameters of decoding frames: color and size."""

    color: Color = "rgb"
    scale: float = 1.0
    """1, 0.5, 0.25 or 0.125; the JPEG decoder scales, which makes decoding cheaper."""
    max_side: int | None = None
    """Largest width and height in pixels; None: no limit. With it, ``scale`` is 1."""

    def __post_init__(self) -> None:
        """Convert the numbers, and reject what the decoder does not support.

        Raises:
            InvalidValue: a value is out of its range, or both sizes were given.
            MissingPackage: ``max_side`` is given, and OpenCV is not installed.
        """
        if self.max_side is not None:
            self._check_max_side()
        if type(self.scale) is float and self.scale in jpeg.SCALES and self.color in COLORS:
            return
        require_color(self.color)
        scale = as_fraction(self.scale)
        if scale is None or scale not in jpeg.SCALES:
            raise InvalidValue(
                f"scale must be 1, 0.5, 0.25 or 0.125, not {format_value(self.scale)}"
            )
        object.__setattr__(self, "scale", float(scale))

    @property
    def is_original_size(self) -> bool:
        """True if every frame keeps the size at which it is stored."""
        return self.scale == 1 and self.max_side is None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height to which a frame of this size is decoded; 0 if unknown."""
        if self.max_side is not None:
            return limit_size(width, height, max_side=self.max_side)
        return -int(-width * self.scale // 1), -int(-height * self.scale // 1)

    def shape(self, row: FrameRow) -> tuple[int, ...]:
        """Return the shape of a frame's image; with zeros if another program stored the frame."""
        width, height = self.size(row.width, row.height)
        return (height, width) if self.color == "gray" else (height, width, 3)

    def decode(self, data: bytes, row: FrameRow, out: Image | None = None) -> Image:
        """Decode the JPEG of a frame, or with ``max_side`` of one of its renditions.

        Raises:
            InvalidJpeg: it is not one complete, valid JPEG.
            InvalidValue: ``out`` does not fit.
        """
        if self.max_side is None:
            return jpeg.decode(data, color=self.color, scale=self.scale, out=out)
        width, height = row.width, row.height
        if not width:  # another program stored the frame
            height, width = jpeg.size(data)
        width, height = limit_size(width, height, max_side=self.max_side)
        return decode_to_size(data, width=width, height=height, color=self.color, out=out)

    def _check_max_side(self) -> None:
        side = require_max_side(self.max_side)
        if as_fraction(self.scale) != 1:
            raise InvalidValue(
                "scale and max_side both give the size of the images: leave one of them out"
            )
        require_opencv(needed_by="max_side")
        object.__setattr__(self, "max_side", side)


def read_frame(source: FrameSource, row: FrameRow, decoding: DecodeOptions) -> Frame:
    """Return one frame whose status is ``"ok"``, in its current version if it was replaced."""
    sized, located = locate(source, row, decoding)
    return _decode_frame(sized, decoding, None, located)


def locate(
    source: FrameSource, row: FrameRow, decoding: DecodeOptions
) -> tuple[FrameSource, FrameRow]:
    """Return the source for the size to which a frame is decoded, and the frame's row there."""
    sized = source.for_size(decoding.max_side)
    if sized is source:
        return source, row
    position = sized.snapshot.index.position(row.sequence)
    assert position is not None
    return sized, sized.snapshot.index.row(position)


def read_frames(
    source: FrameSource,
    positions: Positions,
    decoding: DecodeOptions,
    *,
    missing: Missing = "skip",
) -> Iterator[Frame]:
    """Yield the frames of these index rows, in order, prefetched, in bounded memory.

    ``missing`` is for frames that turn out to have no picture when their chunk is decoded.
    """
    source = source.for_size(decoding.max_side)
    ahead = _max_decoded_frames(source, positions, decoding)
    with (
        closing(ArrayPool(max_buffers=ahead)) as pool,
        closing(_iter_decode_inputs(source, _iter_rows(source, positions), positions)) as upcoming,
    ):
        work: Callable[[DecodeInput], Frame | None] = partial(_decode_frame, source, decoding, pool)
        if missing == "skip":
            work = partial(_skip_undecodable, work)
        for frame in prefetch_map(work, upcoming, threads=cpu_count(), ahead=ahead):
            if frame is not None:
                yield frame


def _skip_undecodable(
    read: Callable[[DecodeInput], Frame | None], item: DecodeInput
) -> Frame | None:
    """Return a frame; None if it proves to have no picture."""
    try:
        return read(item)
    except UndecodableFrame:
        return None


def fetch_in_order(source: FrameSource, positions: Positions) -> Generator[FetchResult]:
    """Yield the outcome of fetching each of these index rows, in order, prefetched."""
    if not source.snapshot.index.is_decoded_on_demand[positions].any():
        return _prefetch(source, _iter_rows(source, positions))
    return _encode_ahead(source, positions)


def read_batch(
    source: FrameSource,
    positions: Positions,
    decoding: DecodeOptions,
    out: Image | None,
    *,
    missing: Missing = "raise",
) -> Image:
    """Return the images of these index rows in one array, ``(N, H, W, 3)`` or ``(N, H, W)``.

    ``missing`` is as for `read_frames`.

    Raises:
        InvalidValue: the frames differ in size, or ``out`` does not fit.
    """
    source = source.for_size(decoding.max_side)
    rows = source.snapshot.index.rows(positions)
    if not rows:
        raise InvalidValue("a batch needs at least one frame: no sequence was given")
    shape = _image_shape(source, rows[0], decoding)
    fill = partial(_fill_batch, source, positions, rows, decoding, missing=missing)
    if out is not None:
        return fill(jpeg.check_out(out, (len(rows), *shape)))
    try:
        return fill(_BATCH_POOL.array((len(rows), *shape)))
    except InvalidValue:
        actual = _decoded_shape(source, rows, decoding)
        if actual in (None, shape):
            raise
        return fill(_BATCH_POOL.array((len(rows), *actual)))


def _decoded_shape(
    source: FrameSource, rows: Sequence[FrameRow], decoding: DecodeOptions
) -> tuple[int, ...] | None:
    """Return the shape of the first image of frames that are not stored; None if they are.

    The index has the size that their video has at its beginning.
    """
    for row in rows:
        if row.is_decoded_on_demand:
            with suppress(UndecodableFrame):
                return read_frame(source, row, decoding).image.shape
    return None


def _fill_batch(
    source: FrameSource,
    positions: Positions,
    rows: Sequence[FrameRow],
    decoding: DecodeOptions,
    batch: Image,
    *,
    missing: Missing,
) -> Image:
    """Read frames into an array; return it without those that have no picture."""
    has_picture = np.ones(len(rows), np.bool_)

    def fill(task: tuple[DecodeInput, int]) -> None:
        item, place = task
        try:
            decode_image(source, decoding, _fetch(source, item), out=batch[place])
        except UndecodableFrame:
            if missing == "raise":
                raise
            has_picture[place] = False
        except InvalidValue as error:
            raise InvalidValue(
                f"frames {rows[0].sequence} and {rows[place].sequence} differ in size: "
                f"read frames of one size in a batch, or one by one"
            ) from error

    # In storage order, so that neighboring frames are fetched together.
    places = sorted(
        range(len(rows)),
        key=lambda place: (rows[place].key, rows[place].offset, rows[place].sequence),
    )
    stored = (rows[place] for place in places)
    inputs = _iter_decode_inputs(source, stored, positions[places], is_batch=True)
    with closing(inputs) as upcoming:
        tasks = zip(upcoming, places, strict=True)
        for _ in prefetch_map(fill, tasks, threads=cpu_count(), ahead=4 * cpu_count()):
            pass
    return batch if has_picture.all() else batch[has_picture]


def read_batches(
    source: FrameSource, positions: Positions, decoding: DecodeOptions, sizes: Iterable[int]
) -> Iterator[tuple[list[FetchResult], Image]]:
    """Yield these index rows in batches: fetched frames and their images in one array.

    Frames that prove to have no picture when their chunk is decoded are left out. Frames that prove
    to have another size than their row, because they were replaced or their video changes its size,
    are batches of their own.

    Frames of a batch must have the same size in the index, which must be known unless the batch has
    one frame.

    Args:
        source: source of the frames; for the size of ``decoding``, if their JPEGs are not wanted.
        positions: rows, in reading order.
        decoding: color and scale.
        sizes: number of frames of each batch; together, all of them.
    """
    rows = _iter_rows(source, positions)
    threads = cpu_count()
    with closing(_iter_decode_inputs(source, rows, positions)) as upcoming:
        begin = 0
        for size in sizes:
            shape = decoding.shape(source.snapshot.index.row(int(positions[begin])))
            begin += size
            out = _BATCH_POOL.array((size, *shape)) if all(shape) else None
            work = partial(_decode_into, source, decoding, out)
            tasks = zip(islice(upcoming, size), range(size), strict=True)
            with closing(prefetch_map(work, tasks, threads=threads, ahead=4 * threads)) as results:
                yield from _join_batches(results, out)


def _join_batches(
    results: Iterable[tuple[FetchResult, Image | None, bool]], out: Image | None
) -> Iterator[tuple[list[FetchResult], Image]]:
    """Yield decoded frames in batches: those in ``out``, and each of another size alone."""
    joined: list[FetchResult] = []
    places: list[int] = []
    for place, (fetched, image, is_in_out) in enumerate(results):
        if image is None:
            continue
        if is_in_out:
            joined.append(fetched)
            places.append(place)
            continue
        if out is not None and joined:
            yield joined, _take(out, places)
            joined, places = [], []
        yield [fetched], image[None]
    if out is not None and joined:
        yield joined, _take(out, places)


def _take(images: Image, places: Sequence[int]) -> Image:
    """Return some images, ascending; copy nothing if they are neighbors."""
    first, last = places[0], places[-1]
    return images[first : last + 1] if len(places) == last + 1 - first else images[places]


def _decode_into(
    source: FrameSource,
    decoding: DecodeOptions,
    out: Image | None,
    task: tuple[DecodeInput, int],
) -> tuple[FetchResult, Image | None, bool]:
    """Return a frame, its image, and True if the image is in ``out``, at its place.

    The image is None if decoding the frame's chunk shows that it has no picture.
    """
    item, place = task
    fetched = _fetch(source, item)
    if fetched.row.status == "undecodable":
        return fetched, None, False
    if out is not None:
        with suppress(InvalidValue):
            return fetched, decode_image(source, decoding, fetched, out=out[place]), True
    return fetched, decode_image(source, decoding, fetched), False


def _iter_decode_inputs(
    source: FrameSource,
    rows: Iterable[FrameRow],
    positions: Positions,
    *,
    is_batch: bool = False,
) -> Generator[DecodeInput]:
    """Yield the input of the decoding threads: frames that are fetched or decoded, or yet to be."""
    if source.snapshot.index.is_decoded_on_demand[positions].any():
        yield from _decode_ahead(source, positions, is_batch=is_batch)
        return
    in_packs = source.snapshot.index.offset[positions].any()
    if not in_packs and not is_remote(source.store):
        yield from rows
        return
    left = iter(rows)
    while block := [*islice(left, _CACHED_LOOKAHEAD)]:
        if not source.prefetch_cached(block):
            # From here on frames may lack a copy: fetch ahead, so that copies on disk do not wait
            # for requests.
            yield from _prefetch(source, chain(block, left))
            return
        yield from block


def _decode_ahead(
    source: FrameSource, positions: Positions, *, is_batch: bool = False
) -> Generator[ChunkPicture | FetchResult]:
    """Yield the pictures of frames that are not stored, in order; one thread decodes ahead."""
    decoded = source.iter_decoded(positions, is_batch=is_batch)
    with closing(
        prefetch_map(
            lambda _: next(decoded, None), repeat(None), threads=1, ahead=_MAX_PICTURES_AHEAD
        )
    ) as pictures:
        for one in pictures:
            if one is None:
                return
            yield one


def _encode_ahead(source: FrameSource, positions: Positions) -> Generator[FetchResult]:
    """Yield the JPEGs of frames that are not stored, in order."""
    threads = cpu_count()
    with closing(_decode_ahead(source, positions)) as pictures:
        yield from prefetch_map(
            partial(_fetch, source), pictures, threads=threads, ahead=2 * threads
        )


def _fetch(source: FrameSource, item: DecodeInput) -> FetchResult:
    """Return the JPEG of a frame."""
    if isinstance(item, FetchResult):
        return item
    if isinstance(item, ChunkPicture):
        return source.encode(item)
    return source.fetch_frame(item)


def _prefetch(source: FrameSource, rows: Iterable[FrameRow]) -> Generator[FetchResult]:
    """Yield the JPEGs of rows, in order, fetched ahead."""
    is_far = is_remote(source.store)
    most = _MAX_PENDING_FETCHES if is_far else 2 * cpu_count()
    arrived: dict[int, FetchResult] = {}
    following = count()
    place = next(following)

    def fetch(planned: PlannedRange) -> Iterable[tuple[int, FetchResult]]:
        return zip(planned.positions, source.fetch_frames(planned.rows), strict=True)

    for together in prefetch_map(
        fetch,
        plan_ranges(rows),
        threads=_CONCURRENT_REQUESTS if is_far else cpu_count(),
        ahead=_MAX_FETCHED_BYTES,
        weigh=lambda planned: max(planned.size_bytes, -(-_MAX_FETCHED_BYTES // most)),
    ):
        arrived.update(together)
        while place in arrived:
            yield arrived.pop(place)
            place = next(following)


def _decode_frame(
    source: FrameSource,
    decoding: DecodeOptions,
    pool: ArrayPool | None,
    item: DecodeInput,
) -> Frame:
    fetched = _fetch(source, item)
    row, out = fetched.row, None
    if pool is not None and all(shape := decoding.shape(row)):
        out = pool.array(shape)
    image = decode_image(source, decoding, fetched, out=out)
    return Frame(
        row.sequence, row.chunk_id, row.timestamp, image, row.perceptual_hash, decoding.color
    )


def decode_image(
    source: FrameSource,
    decoding: DecodeOptions,
    fetched: FetchResult,
    *,
    out: Image | None = None,
) -> Image:
    """Return the image of a fetched frame.

    Raises:
        CorruptFrame: it is not a JPEG that can be decoded.
        InvalidValue: ``out`` does not fit.
    """
    row, data = fetched.row, fetched.jpeg()
    try:
        return decoding.decode(data, row, out)
    except jpeg.InvalidJpeg as error:
        raise CorruptFrame(
            f"frame {row.sequence} ({row.key} in {source.store.display_name}) is not a JPEG that "
            f"can be decoded: run 'framecache verify {keys.timeline_id_of(row.key)} --deep "
            "--repair', or ask the program that stored it"
        ) from error


def _image_shape(source: FrameSource, row: FrameRow, decoding: DecodeOptions) -> tuple[int, ...]:
    """Return the shape of a frame's image; decodes the frame if its size is not known."""
    shape = decoding.shape(row)
    return shape if all(shape) else read_frame(source, row, decoding).image.shape


def _iter_rows(source: FrameSource, positions: Positions) -> Iterator[FrameRow]:
    for begin in range(0, len(positions), _ROWS_PER_BLOCK):
        yield from source.snapshot.index.rows(positions[begin : begin + _ROWS_PER_BLOCK])


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _max_decoded_frames(source: FrameSource, positions: Positions, decoding: DecodeOptions) -> int:
    """Return how many decoded frames may wait for the consumer: fewer if they are large."""
    index = source.snapshot.index
    sides = index.width[positions].astype(np.int64), index.height[positions]
    known = int((sides[0] * sides[1]).max(initial=0))
    pixels = (known or _PIXELS_WHEN_UNKNOWN) * decoding.scale**2
    if decoding.max_side is not None:
        pixels = min(pixels, decoding.max_side**2)
    frame_bytes = pixels * (1 if decoding.color == "gray" else 3)
    return int(max(2, min(4 * cpu_count(), _MAX_DECODED_BYTES // max(1, frame_bytes))))
