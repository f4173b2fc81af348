"""Frames as arrays, batches and bytes, from the rows of an index."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from framecache import jpeg, keys
from framecache.errors import CorruptFrame, InvalidValue
from framecache.index import FrameRow
from framecache.model import Color, Frame, Image
from framecache.reader.fetch import FrameSource
from framecache.reader.pipeline import ordered
from framecache.store import is_remote

_REMOTE_THREADS: Final = 16
_WINDOW_BYTES: Final = 128 * 2**20
_ROWS_AT_ONCE: Final = 1024
_PIXELS_WHEN_UNKNOWN: Final = 1920 * 1080

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How stored JPEGs become arrays."""

    color: Color = "rgb"
    scale: float = 1.0
    """1, 0.5, 0.25 or 0.125: done by the JPEG decoder, which then has less to do."""

    def __post_init__(self) -> None:
        """Refuse what no decoder does."""
        if self.color not in get_args(Color):
            raise InvalidValue(f'color is "rgb" or "gray", not {self.color!r}')
        if self.scale not in jpeg.SCALES:
            raise InvalidValue(f"scale is 1, 0.5, 0.25 or 0.125, not {self.scale!r}")


def read_frame(source: FrameSource, row: FrameRow, decoding: Decoding) -> Frame:
    """One frame whose status is ``"ok"``."""
    return _frame(row, _decoded(source, row, decoding))


def read_frames(source: FrameSource, positions: Positions, decoding: Decoding) -> Iterator[Frame]:
    """The frames of these index rows, in order, prefetched; memory is bounded."""
    rows = _rows(source, positions)
    work = partial(_read_row, source, decoding)
    threads = _threads(source)
    return ordered(work, rows, threads=threads, ahead=_ahead(source, positions, decoding, threads))


def read_jpegs(source: FrameSource, positions: Positions) -> Iterator[bytes]:
    """The stored bytes of these index rows, in order, prefetched, never decoded."""
    threads = _threads(source)
    return ordered(source.jpeg, _rows(source, positions), threads=threads, ahead=2 * threads)


def read_batch(source: FrameSource, positions: Positions, decoding: Decoding) -> Image:
    """The images of these index rows in one array, ``(N, H, W, 3)`` or ``(N, H, W)``.

    Raises:
        InvalidValue: the frames differ in size.
    """
    rows = source.snapshot.index.rows(positions)
    if not rows:
        raise InvalidValue("a batch has at least one frame: no sequence was given")
    first = _decoded(source, rows[0], decoding)
    batch = np.empty((len(rows), *first.shape), np.uint8)
    batch[0] = first

    def fill(position: int) -> None:
        try:
            _decoded(source, rows[position], decoding, out=batch[position])
        except InvalidValue as error:
            raise InvalidValue(
                f"frames {rows[0].sequence} and {rows[position].sequence} differ in size: "
                f"read frames of one size in a batch, or one by one"
            ) from error

    threads = _threads(source)
    for _ in ordered(fill, range(1, len(rows)), threads=threads, ahead=4 * threads):
        pass
    return batch


def _read_row(source: FrameSource, decoding: Decoding, row: FrameRow) -> Frame:
    return read_frame(source, row, decoding)


def _frame(row: FrameRow, image: Image) -> Frame:
    return Frame(row.sequence, row.chunk_id, row.timestamp, image, row.perceptual_hash)


def _decoded(
    source: FrameSource, row: FrameRow, decoding: Decoding, *, out: Image | None = None
) -> Image:
    data = source.jpeg(row)
    try:
        return jpeg.decode(data, color=decoding.color, scale=decoding.scale, out=out)
    except jpeg.BadJpeg as error:
        raise CorruptFrame(
            f"frame {row.sequence} ({row.key} in {source.store.url}) is not a JPEG that can be "
            f"decoded: run 'framecache verify {keys.timeline_id_of(row.key)} --deep --repair', or "
            f"ask the program that stored it"
        ) from error


def _rows(source: FrameSource, positions: Positions) -> Iterator[FrameRow]:
    for begin in range(0, len(positions), _ROWS_AT_ONCE):
        yield from source.snapshot.index.rows(positions[begin : begin + _ROWS_AT_ONCE])


def _threads(source: FrameSource) -> int:
    """One a core where reading costs CPU only; more where threads mostly wait for a network."""
    cores = len(os.sched_getaffinity(0))
    return max(_REMOTE_THREADS, cores) if is_remote(source.store) else cores


def _ahead(source: FrameSource, positions: Positions, decoding: Decoding, threads: int) -> int:
    """How many decoded frames may wait for the consumer: few when they are large."""
    index = source.snapshot.index
    known = int((index.width.astype(np.int64) * index.height)[positions].max(initial=0))
    pixels = known or _PIXELS_WHEN_UNKNOWN
    frame_bytes = pixels * (3 if decoding.color == "rgb" else 1) * decoding.scale**2
    return int(max(2, min(4 * threads, _WINDOW_BYTES // max(1, frame_bytes))))
