"""Conversion of frames given by callers: objects with the attributes of `Frame`, any image."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from framecache._core.pixels import to_rgb_order
from framecache.errors import InvalidValue
from framecache.model import Frame, Image, require_color

_ATTRIBUTES: Final = ("sequence", "chunk_id", "timestamp", "image", "perceptual_hash")
_GRAY_DIMENSIONS: Final = 2
_OPAQUE_MODES: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
"""Pillow modes with at most 8 bits per channel and no alpha: converting to RGB loses nothing."""


def as_frames(objects: Iterable[object]) -> Iterator[Frame]:
    """Yield objects of any class as `Frame`, one by one.

    Raises:
        InvalidValue: an object lacks an attribute, or its image does not fit a JPEG.
    """
    if _is_frame(objects):
        raise InvalidValue("a single frame was given: give a list, such as [frame]")
    try:
        frames = iter(objects)
    except TypeError as error:
        raise InvalidValue(
            f"frames must be several objects, not a {type(objects).__name__}"
        ) from error
    for one in frames:
        yield as_frame(one)


def as_frame(frame: object) -> Frame:
    """Return an object of any class as a `Frame`; a hash of None becomes an empty one.

    Raises:
        InvalidValue: the object lacks an attribute, or its image does not fit a JPEG.
    """
    missing = [name for name in _ATTRIBUTES if not hasattr(frame, name)]
    if missing:
        raise InvalidValue(
            f"a frame must have the attributes {', '.join(_ATTRIBUTES)}; this "
            f"{type(frame).__name__} has no {missing[0]}"
        )
    values: dict[str, Any] = {name: getattr(frame, name) for name in _ATTRIBUTES}
    # In another class, ``color`` may have another meaning.
    is_bgr = isinstance(frame, Frame) and require_color(frame.color) == "bgr"
    try:
        image = as_rgb(to_rgb_order(values["image"], is_bgr=is_bgr))
    except InvalidValue as error:
        raise InvalidValue(f"frame {values['sequence']!r:.40}: {error}") from error
    name = values["perceptual_hash"]
    return Frame(
        sequence=values["sequence"],
        chunk_id=values["chunk_id"],
        timestamp=values["timestamp"],
        image=image,
        perceptual_hash="" if name is None else name,
    )


def as_rgb(image: object) -> Image:
    """Return an image as an RGB array, ready for a JPEG encoder.

    Accepted are uint8 arrays of shape (height, width, 3), (height, width) or (height, width, 1);
    bool arrays of these gray shapes, as black and white; and Pillow images without alpha of at most
    8 bits per channel. Images that do not fit an 8-bit JPEG without alpha are rejected, never
    clipped.

    Raises:
        InvalidValue: the image is rejected.
    """
    mode = getattr(image, "mode", None)
    convert = getattr(image, "convert", None)
    if isinstance(mode, str) and callable(convert):
        has_alpha = "transparency" in (getattr(image, "info", None) or {})
        if mode not in _OPAQUE_MODES or has_alpha:
            raise InvalidValue(
                "a JPEG cannot hold a Pillow image of mode "
                f'{mode}{" with transparency" if has_alpha else ""}: convert it to "RGB" or '
                '"L" first'
            )
        return _convert_to_rgb(convert)
    if not isinstance(image, np.ndarray):
        raise InvalidValue(
            "an image must be a uint8 array of (height, width, 3) RGB, a gray one or a "
            f"Pillow image, not {type(image).__name__}"
        )
    pixels = np.asarray(image)  # strips subclasses such as masked arrays
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    is_gray = pixels.ndim == _GRAY_DIMENSIONS or (pixels.ndim > 0 and pixels.shape[2:] == (1,))
    if pixels.dtype != np.uint8 or not (is_gray or pixels.shape[2:] == (3,)):
        raise InvalidValue(
            "an image must be uint8 or bool of (height, width), (height, width, 1) or RGB "
            f"(height, width, 3), not {image.shape} {image.dtype}: scale or convert it first"
        )
    if is_gray:
        height, width = pixels.shape[:2]
        return np.repeat(pixels.reshape(height, width, 1), 3, axis=2)
    return pixels


def _convert_to_rgb(convert: Callable[[str], Any]) -> Image:
    try:
        pixels = np.asarray(convert("RGB"))
    except Exception as error:
        # Pillow's plugins, and objects that merely resemble an image, raise errors of any type.
        raise InvalidValue(
            f"an image cannot be converted to RGB: {type(error).__name__}: {error!s:.100}"
        ) from error
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        raise InvalidValue(
            "an image converted to RGB must be uint8 of (height, width, 3), not "
            f"{pixels.shape} {pixels.dtype}"
        )
    return pixels


def _is_frame(value: object) -> bool:
    return all(hasattr(value, name) for name in _ATTRIBUTES)
