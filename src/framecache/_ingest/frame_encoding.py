"""Encoding of one frame: the JPEG and the values of its index row."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import google_crc32c

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.frame_size import limit_size
from framecache._core.pixels import to_rgb_order
from framecache._ingest.renditions import (
    renditions_of_jpeg,
    renditions_of_planes,
    with_renditions_of_jpeg,
)
from framecache._layouts.encoding import EncodedJpeg
from framecache._media import jpeg, phash, video
from framecache._media.jpeg_orientation import UPRIGHT, read_orientation
from framecache.errors import InvalidValue
from framecache.model import Frame, JpegSettings, Picture, require_color


@dataclass(frozen=True, slots=True, eq=False)
class JpegFrame:
    """Frame of which a program has the JPEG, which is stored without a change."""

    sequence: int
    chunk_id: int
    timestamp: float
    """Seconds on the timeline."""
    jpeg: bytes
    perceptual_hash: str = ""
    """Empty: it is computed."""
    duration: float = 0.0
    """Seconds for which the frame is shown; 0.0: until the next frame."""
    quality: int = 0
    """JPEG quality with which it was encoded; 0: unknown."""
    origin: str = "its JPEG"
    """Name of the JPEG in messages."""


def encode_picture(
    picture: Picture,
    settings: JpegSettings,
    *,
    entry: ChunkEntry | None = None,
    sides_from_jpeg: Collection[int] = (),
) -> EncodedJpeg:
    """Encode a decoded picture from its planes, without conversion to RGB.

    It is scaled before its color is converted, and each plane once, apart from a width that grows
    to square pixels. The hash is that of the luma as stored.

    Args:
        picture: planes as the decoder has them.
        settings: settings of the timeline.
        entry: its chunk, which defines the pixel aspect ratio; None: pixels are square.
        sides_from_jpeg: sizes of the renditions that are made from the JPEG, not the planes.
    """
    from framecache._media import color  # noqa: PLC0415 -- needs OpenCV, unlike `encode_frame`

    is_turned = picture.quarter_turns % 2 == 1
    height, width = picture.y.shape[::-1] if is_turned else picture.y.shape
    if entry is None:
        stored_width, stored_height = limit_size(width, height, max_side=settings.max_side)
    else:
        stored_width, stored_height = entry.frame_size(settings, size=(width, height))
    if settings.aspect == "stored" or stored_height < height:
        width, height = min(width, stored_width), stored_height
    if is_turned:
        width, height = height, width
    shown = color.to_jfif(video.scale(picture, width, height, chroma=settings.chroma))
    shown = color.scale_to_width(shown, stored_width)
    data = jpeg.encode_picture(shown, quality=settings.quality)
    encoded = _build_encoded(data, shown.y.shape, phash.perceptual_hash(shown.y))
    if not settings.renditions:
        return encoded
    sides = [side for side in settings.renditions if side not in sides_from_jpeg]
    renditions = (
        *renditions_of_planes(shown, sides, settings),
        *renditions_of_jpeg(data, sorted(sides_from_jpeg, reverse=True), settings),
    )
    return replace(
        encoded, renditions=tuple(sorted(renditions, key=lambda one: one.max_side, reverse=True))
    )


def encode_frame(frame: Frame, settings: JpegSettings) -> EncodedJpeg:
    """Encode a frame that a program holds; keep its perceptual hash if it has one.

    Raises:
        InvalidValue: the image is not ``(height, width, 3)`` uint8, or its color is unknown.
    """
    image = to_rgb_order(frame.image, is_bgr=require_color(frame.color) == "bgr")
    data = jpeg.encode_rgb(image, quality=settings.quality)
    name = frame.perceptual_hash or phash.hash_from_rgb(image)
    return with_renditions_of_jpeg(_build_encoded(data, image.shape, name), settings)


def check_jpeg(frame: JpegFrame, settings: JpegSettings) -> EncodedJpeg:
    """Return the JPEG of a frame as it is stored, after decoding it once, and its renditions.

    Raises:
        InvalidValue: it is not one complete JPEG, decoders disagree about its colors, or its
            metadata rotate it.
    """
    try:
        luma = jpeg.decode(frame.jpeg, color="gray")
        has_common_color = jpeg.has_common_color(frame.jpeg)
    except jpeg.InvalidJpeg as error:
        raise InvalidValue(
            f"{frame.origin} is not a complete JPEG: {error}; create it again, or leave it out"
        ) from error
    if not has_common_color:
        raise InvalidValue(
            f"{frame.origin} is a JPEG in CMYK, whose colors decoders disagree about: convert it "
            "to RGB first"
        )
    orientation = read_orientation(frame.jpeg)
    if orientation != UPRIGHT:
        raise InvalidValue(
            f"{frame.origin} is stored rotated or mirrored (Exif orientation {orientation}), which "
            "frames are not: rotate its pixels first"
        )
    name = frame.perceptual_hash or phash.perceptual_hash(luma)
    return with_renditions_of_jpeg(_build_encoded(frame.jpeg, luma.shape, name), settings)


def _build_encoded(data: bytes, shape: tuple[int, ...], perceptual_hash: str) -> EncodedJpeg:
    return EncodedJpeg(
        data=data,
        width=shape[1],
        height=shape[0],
        crc32c=google_crc32c.value(data),
        perceptual_hash=perceptual_hash,
    )
