"""JPEGs decoded to a given size: the decoder scales as far as it can, and OpenCV does the rest."""

from typing import Final

import numpy as np

from framecache._media import jpeg
from framecache.model import Color, Image

_MAX_PADDING: Final = 0.005
"""Largest part of a decoded side that may lie beyond the picture."""

_MAX_SHIFT_PIXELS: Final = 0.125
"""Largest distance of a pixel of the result from its place, as a result of that."""


def decode_to_size(
    data: bytes, *, width: int, height: int, color: Color = "rgb", out: Image | None = None
) -> Image:
    """Decode a JPEG to a size.

    It is decoded at the smallest suitable of `jpeg.SCALES`, and scaled down by OpenCV's area
    interpolation, which weights each pixel by the area that it covers. It is enlarged by linear
    interpolation.

    Args:
        data: one complete JPEG.
        width: width of the result in pixels.
        height: height of the result in pixels.
        color: ``"rgb"``, ``"bgr"`` or ``"gray"``.
        out: array for the pixels, as for `jpeg.decode`.

    Returns:
        ``(height, width, 3)`` uint8, or without the last axis for gray.

    Raises:
        InvalidJpeg: the data is not one complete, valid JPEG.
        InvalidValue: ``out`` does not fit.
    """
    shape = (height, width) if color == "gray" else (height, width, 3)
    if out is not None:
        jpeg.check_out(out, shape)
    whole_height, whole_width = jpeg.size(data)
    scale = min(
        scale
        for scale in jpeg.SCALES
        if scale == 1
        or (_suffices(whole_width, width, scale) and _suffices(whole_height, height, scale))
    )
    if (_scaled(whole_width, scale), _scaled(whole_height, scale)) == (width, height):
        return jpeg.decode(data, color=color, scale=scale, out=out)
    decoded = jpeg.decode(data, color=color, scale=scale)
    return scale_by_area(decoded, width=width, height=height, out=out)


def scale_by_area(image: Image, *, width: int, height: int, out: Image | None = None) -> Image:
    """Scale pixels by OpenCV's area interpolation, or by linear interpolation if they grow.

    Args:
        image: ``(height, width, 3)`` or ``(height, width)`` uint8.
        width: width of the result in pixels.
        height: height of the result in pixels.
        out: array for the pixels, of the shape of the result.
    """
    import cv2  # noqa: PLC0415 -- installed by an extra

    is_smaller = image.shape[0] >= height and image.shape[1] >= width
    scaled = np.empty((height, width, *image.shape[2:]), np.uint8) if out is None else out
    interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    cv2.resize(image, (width, height), dst=scaled, interpolation=interpolation)
    return scaled


def _suffices(whole: int, side: int, scale: float) -> bool:
    """Return True if a side may be decoded at this scale, and scaled to the size from there.

    The decoder rounds a side up to whole pixels, the last of which are partly beyond the picture.
    """
    decoded = _scaled(whole, scale)
    padding = 1 - whole * scale / decoded
    return decoded >= side and padding <= _MAX_PADDING and padding * side <= _MAX_SHIFT_PIXELS


def _scaled(whole: int, scale: float) -> int:
    """Return the length of a side that is decoded at this scale."""
    return -int(-whole * scale // 1)
