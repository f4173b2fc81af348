"""Read frames as JPEGs: the stored bytes, or smaller ones that are encoded from them."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial

from framecache._index import FrameRow
from framecache._media import jpeg
from framecache._read.frame_source import FetchResult, FrameSource
from framecache._read.prefetch import prefetch_map
from framecache._read.read import (
    DecodeOptions,
    Positions,
    cpu_count,
    decode_image,
    fetch_in_order,
    locate,
)
from framecache.model import JpegSettings, Missing


def read_jpegs(
    source: FrameSource,
    positions: Positions,
    decoding: DecodeOptions | None = None,
    *,
    missing: Missing = "skip",
) -> Iterator[bytes]:
    """Yield the JPEGs of these index rows, in order, prefetched.

    Args:
        source: source of the frames.
        positions: rows, in reading order.
        decoding: size of the JPEGs; None: the stored bytes. A rendition of exactly this size is not
            encoded again, and neither is a frame that is not larger.
        missing: as for `read_frames`.
    """
    if decoding is None or decoding.is_original_size:
        return _stored_jpegs(source.for_size(None), positions, missing)
    return _scaled_jpegs(source.for_size(decoding.max_side), positions, decoding, missing)


def read_jpeg(source: FrameSource, row: FrameRow, decoding: DecodeOptions) -> bytes:
    """Return the JPEG of a frame whose status is ``"ok"``: see `read_jpegs`."""
    sized, located = locate(source, row, decoding)
    fetched = sized.fetch_frame(located)
    return fetched.jpeg() if decoding.is_original_size else _scale(sized, decoding, fetched)


def _stored_jpegs(source: FrameSource, positions: Positions, missing: Missing) -> Generator[bytes]:
    with closing(fetch_in_order(source, positions)) as fetched:
        for one in _present(fetched, missing):
            yield one.jpeg()


def _scaled_jpegs(
    source: FrameSource, positions: Positions, decoding: DecodeOptions, missing: Missing
) -> Generator[bytes]:
    scale, threads = partial(_scale, source, decoding), cpu_count()
    with (
        closing(fetch_in_order(source, positions)) as fetched,
        closing(
            prefetch_map(scale, _present(fetched, missing), threads=threads, ahead=2 * threads)
        ) as scaled,
    ):
        yield from scaled


def _present(fetched: Iterator[FetchResult], missing: Missing) -> Iterator[FetchResult]:
    return (one for one in fetched if missing == "raise" or one.row.status != "undecodable")


def _scale(source: FrameSource, decoding: DecodeOptions, fetched: FetchResult) -> bytes:
    """Return a JPEG of the wanted size, encoded as the frame is unless it has that size."""
    row, data = fetched.row, fetched.jpeg()
    try:
        height, width = jpeg.size(data)
        if decoding.size(row.width or width, row.height or height) == (width, height):
            return data
    except jpeg.InvalidJpeg:
        pass  # decoding raises the error that explains it
    image = decode_image(source, decoding, fetched)
    manifest = source.snapshot.manifest
    settings = JpegSettings() if manifest is None else manifest.settings.jpeg
    return jpeg.encode_rgb(image, quality=row.quality or settings.quality, chroma=settings.chroma)
