"""Renditions of a frame: smaller copies, which jobs that read at a model's size decode instead."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

import google_crc32c

from framecache._core.frame_size import limit_size
from framecache._core.optional_imports import require_opencv
from framecache._index import FrameRow, Index, Rendition
from framecache._layouts.encoding import EncodedJpeg, EncodedRendition
from framecache._media import jpeg, video
from framecache._media.scaled_jpeg import scale_by_area
from framecache.model import JpegSettings, Picture, RenditionOrigin


def renditions_of_planes(
    shown: Picture, sides: Iterable[int], settings: JpegSettings
) -> tuple[EncodedRendition, ...]:
    """Scale the planes of a frame by area, and encode them.

    Args:
        shown: planes of the frame as they are encoded: upright, BT.601, full range.
        sides: sizes; those that are not smaller than the frame are left out.
        settings: quality and chroma.
    """
    height, width = shown.y.shape
    found: list[EncodedRendition] = []
    for max_side, wide, high in _smaller_sizes(width, height, sides):
        picture = video.scale(shown, wide, high, chroma=settings.chroma)
        data = jpeg.encode_picture(picture, quality=settings.quality)
        found.append(_build_rendition(max_side, data, "planes"))
    return tuple(found)


def renditions_of_jpeg(
    data: bytes, sides: Iterable[int], settings: JpegSettings
) -> tuple[EncodedRendition, ...]:
    """Scale the pixels of a frame's JPEG by area, and encode them.

    Args:
        data: the JPEG.
        sides: sizes; those that are not smaller than the frame are left out.
        settings: quality and chroma.

    Raises:
        InvalidJpeg: it is not one complete, valid JPEG.
        MissingPackage: OpenCV is not installed.
    """
    height, width = jpeg.size(data)
    sizes = [*_smaller_sizes(width, height, sides)]
    if not sizes:
        return ()
    require_opencv(needed_by="renditions")
    image = jpeg.decode(data)
    found: list[EncodedRendition] = []
    for max_side, wide, high in sizes:
        scaled = scale_by_area(image, width=wide, height=high)
        encoded = jpeg.encode_rgb(scaled, quality=settings.quality, chroma=settings.chroma)
        found.append(_build_rendition(max_side, encoded, "jpeg"))
    return tuple(found)


def with_renditions_of_jpeg(encoded: EncodedJpeg, settings: JpegSettings) -> EncodedJpeg:
    """Return an encoded frame with all renditions of the settings, made from its JPEG."""
    if not settings.renditions:
        return encoded
    made = renditions_of_jpeg(encoded.data, settings.renditions, settings)
    return replace(encoded, renditions=made)


def remade_renditions(
    row: FrameRow, data: bytes, sides: Iterable[int], settings: JpegSettings
) -> EncodedJpeg:
    """Return a stored frame with renditions of some sizes, made from its JPEG.

    Args:
        row: row of the frame, whose own quality counts if it has one.
        data: its JPEG.
        sides: sizes; those that are not smaller than the frame are left out.
        settings: settings of the timeline.
    """
    own = replace(settings, quality=row.quality or settings.quality)
    made = renditions_of_jpeg(data, sorted(sides, reverse=True), own)
    return EncodedJpeg(data, row.width, row.height, row.crc32c, row.perceptual_hash, made)


def with_renditions(row: FrameRow, new: Iterable[Rendition]) -> FrameRow:
    """Return a row with renditions of some sizes added or replaced."""
    by_side = {one.max_side: one for one in (*row.renditions, *new)}
    return replace(row, renditions=tuple(by_side[side] for side in sorted(by_side, reverse=True)))


def sides_from_jpeg_in(index: Index, sequence: int) -> Collection[int]:
    """Return the sizes of a frame's renditions that were made from its JPEG."""
    position = index.position(sequence)
    if position is None:
        return ()
    return [one.max_side for one in index.row(position).renditions if one.origin == "jpeg"]


def _smaller_sizes(width: int, height: int, sides: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Yield each size that is smaller than a frame, with the width and height of the rendition."""
    for max_side in sides:
        if max_side < max(width, height):
            yield max_side, *limit_size(width, height, max_side=max_side)


def _build_rendition(max_side: int, data: bytes, origin: RenditionOrigin) -> EncodedRendition:
    return EncodedRendition(max_side, data, google_crc32c.value(data), origin)
