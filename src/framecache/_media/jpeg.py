"""JPEG encoding and decoding with libjpeg-turbo. The only module that uses simplejpeg.

Every function can be called from several threads at once and releases the GIL while it works.
"""

from typing import Final

import numpy as np
import simplejpeg

from framecache.errors import InvalidValue
from framecache.model import COLORS, QUALITIES, Chroma, Color, Image, Picture, require_color

SCALES: Final = (1.0, 0.5, 0.25, 0.125)
"""Scales that ``decode`` supports: those at which a JPEG's 8×8 blocks stay whole."""

MAX_SIDE: Final = 65500
"""Maximum width and height in pixels that libjpeg supports; the format allows 65535."""

MAX_PIXELS: Final = 2**28
"""Maximum number of pixels in a picture.

A few hostile bytes can declare 4 billion, and memory is allocated before the data is read.
"""

_CHANNELS: Final = 3
_COMMON_COLOR_SPACES: Final = ("YCbCr", "RGB", "Gray")


class InvalidJpeg(ValueError):
    """Error for bytes that are not one complete, valid JPEG."""


def encode_picture(picture: Picture, *, quality: int) -> bytes:
    """Encode 4:2:0 or 4:4:4 planes that ``color.to_jfif`` has prepared, without conversion to RGB.

    Args:
        picture: full-range BT.601 planes, upright. Rows need not be contiguous in memory.
        quality: 1 (smallest) to 100 (best), on libjpeg's scale.

    Raises:
        InvalidValue: the quality is out of range, or a side is 0 or above 65500 pixels.
        ValueError: matrix, range or orientation of the planes are not those of JFIF (T.871).
    """
    _check_quality(quality)
    _check_size(picture.y)
    if picture.matrix != "bt601" or not picture.full_range or picture.quarter_turns:
        raise ValueError(
            f"a JPEG needs upright full-range bt601 planes, not {picture.matrix}, "
            f"full_range={picture.full_range}, quarter_turns={picture.quarter_turns}: call "
            "color.to_jfif"
        )
    luma = _with_even_sides(picture.y)
    data: bytes = simplejpeg.encode_jpeg_yuv_planes(luma, picture.u, picture.v, quality)
    return data


def encode_rgb(image: Image, *, quality: int, chroma: Chroma = "420") -> bytes:
    """Encode an RGB image.

    Args:
        image: ``(height, width, 3)`` uint8 RGB, with any strides.
        quality: 1 (smallest) to 100 (best), on libjpeg's scale.
        chroma: resolution of color.

    Raises:
        InvalidValue: the quality is out of range, the image has another type or shape, or a
            side is 0 or above 65500 pixels.
    """
    _check_quality(quality)
    _check_rgb(image)
    _check_size(image)
    rows = image if _has_contiguous_rows(image) else np.ascontiguousarray(image)
    data: bytes = simplejpeg.encode_jpeg(rows, quality, colorsubsampling=chroma)
    return data


def decode(
    data: bytes | bytearray | memoryview,
    *,
    color: Color = "rgb",
    scale: float = 1.0,
    out: Image | None = None,
) -> Image:
    """Decode a JPEG.

    Args:
        data: one complete JPEG.
        color: ``"rgb"``, ``"bgr"``, or ``"gray"`` for luma only, which is faster.
        scale: 1, 1/2, 1/4 or 1/8; decoding at a smaller scale is faster.
        out: array for the pixels: writable, C-contiguous, uint8, exactly of the result's shape.

    Returns:
        ``(⌈height · scale⌉, ⌈width · scale⌉, 3)`` uint8, or without the last axis for gray.

    Raises:
        InvalidJpeg: the data is not one complete, valid JPEG.
        InvalidValue: the scale or color is not supported, or ``out`` does not fit.
    """
    if scale not in SCALES:
        raise InvalidValue(f"scale must be 1, 0.5, 0.25 or 0.125, not {scale!r}")
    if color not in COLORS:
        require_color(color)
    height, width = size(data)
    height, width = -int(-height * scale // 1), -int(-width * scale // 1)
    if out is not None:
        check_out(out, (height, width) if color == "gray" else (height, width, _CHANNELS))
    try:
        image: Image = simplejpeg.decode_jpeg(
            data, color, min_height=height, min_width=width, buffer=out
        )
    except ValueError as error:
        raise InvalidJpeg(str(error)) from error
    return image[:, :, 0] if color == "gray" else image


def size(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Return the ``(height, width)`` that a JPEG's header declares, in pixels.

    Raises:
        InvalidJpeg: there is no such header, or it declares more pixels than ``MAX_PIXELS``.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise InvalidJpeg(str(error)) from error
    if height * width > MAX_PIXELS:
        raise InvalidJpeg(f"the header declares {width}x{height} pixels, more than {MAX_PIXELS}")
    return int(height), int(width)


def has_common_color(data: bytes | bytearray | memoryview) -> bool:
    """Return True if a JPEG is in color or gray; False if it has four inks (CMYK, YCCK).

    Decoders disagree about the colors of the latter.

    Raises:
        InvalidJpeg: there is no header.
    """
    try:
        _, _, color_space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise InvalidJpeg(str(error)) from error
    return color_space in _COMMON_COLOR_SPACES


def check_out(out: Image, shape: tuple[int, ...]) -> Image:
    """Return ``out`` if pixels of that shape can be written to it.

    Raises:
        InvalidValue: it is not a writable, C-contiguous uint8 array of that shape.
    """
    expected = f"out must be a writable C-contiguous uint8 array of shape {shape}"
    if not isinstance(out, np.ndarray):
        raise InvalidValue(f"{expected}, not {type(out).__name__}")
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.carray:
        raise InvalidValue(f"{expected}, not {out.dtype} of {out.shape}")
    return out


def encoder_version() -> str:
    """Return the name and version of the encoder; others may encode to different bytes."""
    return f"simplejpeg {simplejpeg.__version__}"


def _check_quality(quality: int) -> None:
    if type(quality) is not int or quality not in QUALITIES:
        raise InvalidValue(f"quality must be an integer from 1 to 100, not {quality!r}")


def _check_rgb(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise InvalidValue(
            "an image must be a numpy array of (height, width, 3) uint8 RGB, not "
            f"{type(image).__name__}"
        )
    if image.dtype != np.uint8 or image.ndim != _CHANNELS or image.shape[2] != _CHANNELS:
        raise InvalidValue(
            f"an image must be (height, width, 3) uint8 RGB, not {image.shape} {image.dtype}"
        )


def _check_size(image: Image) -> None:
    height, width = image.shape[:2]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise InvalidValue(
            f"an image must have 1 to {MAX_SIDE} pixels per side and at most {MAX_PIXELS} in "
            f"total; this one is {width}x{height}"
        )


def _with_even_sides(luma: Image) -> Image:
    """Return an equal plane, padded in memory to an even width and height with its last pixels.

    For 4:2:0, simplejpeg 1.9.0 reads luma up to the next even width and height. Without padding,
    it reads memory beyond the plane, and the JPEG would contain some of it.
    """
    height, width = luma.shape
    if height % 2 == width % 2 == 0:
        return luma
    return np.pad(luma, ((0, height % 2), (0, width % 2)), mode="edge")[:height, :width]


def _has_contiguous_rows(image: Image) -> bool:
    row, column, channel = image.strides
    return channel == 1 and column == _CHANNELS and row >= _CHANNELS * image.shape[1]
