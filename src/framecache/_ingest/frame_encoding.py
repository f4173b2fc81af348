"""Encoding of one frame: the JPEG and the values of its index row."""

import google_crc32c

from framecache._core.manifest import ChunkEntry
from framecache._core.pixels import to_rgb_order
from framecache._layouts.encoding import EncodedJpeg
from framecache._media import jpeg, phash
from framecache.model import Frame, JpegSettings, Picture, require_color


def encode_picture(
    picture: Picture, settings: JpegSettings, *, entry: ChunkEntry | None = None
) -> EncodedJpeg:
    """Encode a decoded picture from its planes, without conversion to RGB.

    ``entry`` is its chunk, which defines the pixel aspect ratio; None: pixels are square.
    """
    from framecache._media import color  # noqa: PLC0415 -- needs OpenCV, unlike `encode_frame`

    shown = color.to_jfif(picture)
    if entry is not None:
        width = entry.frame_width(settings.aspect, width=shown.y.shape[1])
        shown = color.scale_to_width(shown, width)
    data = jpeg.encode_picture(shown, quality=settings.quality)
    return _build_encoded(data, shown.y.shape, phash.perceptual_hash(shown.y))


def encode_frame(frame: Frame, settings: JpegSettings) -> EncodedJpeg:
    """Encode a frame that a program holds; keep its perceptual hash if it has one.

    Raises:
        InvalidValue: the image is not ``(height, width, 3)`` uint8, or its color is unknown.
    """
    image = to_rgb_order(frame.image, is_bgr=require_color(frame.color) == "bgr")
    data = jpeg.encode_rgb(image, quality=settings.quality)
    name = frame.perceptual_hash or phash.hash_from_rgb(image)
    return _build_encoded(data, image.shape, name)


def _build_encoded(data: bytes, shape: tuple[int, ...], perceptual_hash: str) -> EncodedJpeg:
    return EncodedJpeg(
        data=data,
        width=shape[1],
        height=shape[0],
        crc32c=google_crc32c.value(data),
        perceptual_hash=perceptual_hash,
    )
