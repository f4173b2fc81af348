"""Frames as programs hold them: any object with the attributes of `Frame`, and any image."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from framecache.errors import InvalidValue
from framecache.model import Frame, Image

_ATTRIBUTES: Final = ("sequence", "chunk_id", "timestamp", "image", "perceptual_hash")
_GRAY_DIMENSIONS: Final = 2
_OPAQUE_MODES: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
"""Of Pillow, 8 bits a channel or fewer and no alpha: RGB holds what they hold."""


def as_frames(given: Iterable[object]) -> Iterator[Frame]:
    """Frames of any class, one by one.

    Raises:
        InvalidValue: an object lacks an attribute, or its image is none that a JPEG can hold.
    """
    if _is_frame(given):
        raise InvalidValue("a single frame was given: give a list, such as [frame]")
    try:
        frames = iter(given)
    except TypeError as error:
        raise InvalidValue(f"frames are several objects, not a {type(given).__name__}") from error
    for one in frames:
        yield as_frame(one)


def as_frame(given: object) -> Frame:
    """One frame of any class: no hash is the same as an empty one. Raises as `as_frames` does."""
    missing = [name for name in _ATTRIBUTES if not hasattr(given, name)]
    if missing:
        raise InvalidValue(
            f"a frame has the attributes {', '.join(_ATTRIBUTES)}; this {type(given).__name__} has "
            f"no {missing[0]}"
        )
    values: dict[str, Any] = {name: getattr(given, name) for name in _ATTRIBUTES}
    try:
        image = as_rgb(values["image"])
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
    """Pixels as RGB, as a JPEG is made of them.

    Taken are uint8 arrays of (height, width, 3), (height, width) and (height, width, 1); bool
    arrays, as black and white; and Pillow images without alpha of at most 8 bits a channel. What
    an 8-bit JPEG without alpha cannot hold is refused, and never clipped.

    Raises:
        InvalidValue: it is refused.
    """
    mode = getattr(image, "mode", None)
    convert = getattr(image, "convert", None)
    if isinstance(mode, str) and callable(convert):
        has_alpha = "transparency" in (getattr(image, "info", None) or {})
        if mode not in _OPAQUE_MODES or has_alpha:
            raise InvalidValue(
                f"a Pillow image of mode {mode}{' with transparency' if has_alpha else ''} is not "
                f'what a JPEG holds: convert it to "RGB" or "L" as you see fit'
            )
        return _converted(convert)
    if not isinstance(image, np.ndarray):
        raise InvalidValue(
            f"an image is a uint8 array of (height, width, 3) RGB, a gray one or a Pillow image, "
            f"not {type(image).__name__}"
        )
    pixels = np.asarray(image)  # of a subclass, the array alone
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    is_gray = pixels.ndim == _GRAY_DIMENSIONS or (pixels.ndim > 0 and pixels.shape[2:] == (1,))
    if pixels.dtype != np.uint8 or not (is_gray or pixels.shape[2:] == (3,)):
        raise InvalidValue(
            f"an image is uint8 or bool of (height, width), (height, width, 1) or RGB (height, "
            f"width, 3), not {image.shape} {image.dtype}: scale or convert it first"
        )
    if is_gray:
        height, width = pixels.shape[:2]
        return np.repeat(pixels.reshape(height, width, 1), 3, axis=2)
    return pixels


def _converted(convert: Callable[[str], Any]) -> Image:
    try:
        pixels = np.asarray(convert("RGB"))
    except Exception as error:
        # Pillow's plugins raise errors of any type, and so does an object that only looks like it.
        raise InvalidValue(
            f"an image cannot be converted to RGB: {type(error).__name__}: {error!s:.100}"
        ) from error
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        raise InvalidValue(
            f"an image that is converted to RGB is uint8 of (height, width, 3), not "
            f"{pixels.shape} {pixels.dtype}"
        )
    return pixels


def _is_frame(value: object) -> bool:
    return all(hasattr(value, name) for name in _ATTRIBUTES)
