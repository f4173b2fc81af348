"""Conversion of images in memory for other libraries."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from framecache._core.optional_imports import import_optional
from framecache._core.png_encoding import encode_png
from framecache.errors import InvalidValue

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_CHANNELS: Final = 3
_DIMENSIONS: Final = (2, 3)


def to_rgb_order(image: Any, *, is_bgr: bool) -> Any:  # noqa: ANN401 -- whatever a program holds
    """Return an image with its channels in the order red, green, blue: a view, not a copy.

    Anything but an array of three channels is returned unchanged.
    """
    if not is_bgr or not isinstance(image, np.ndarray) or image.shape[2:] != (_CHANNELS,):
        return image
    return image[:, :, ::-1]


def as_pillow(image: npt.NDArray[np.uint8], *, is_bgr: bool) -> "PilImage":
    """Return an image as a Pillow image.

    Raises:
        MissingPackage: Pillow is not installed.
        InvalidValue: the image is not a uint8 array of RGB, BGR or gray.
    """
    pillow = import_optional("PIL.Image", package="pillow", needed_by="Frame.pil")
    if not _is_displayable(image):
        raise InvalidValue("a Pillow image is made from a uint8 array of RGB, BGR or gray")
    made: PilImage = pillow.fromarray(to_rgb_order(image, is_bgr=is_bgr))
    return made


def as_png(image: npt.NDArray[np.uint8], *, is_bgr: bool) -> bytes | None:
    """Encode an image as PNG; None if it is not a uint8 array of RGB, BGR or gray."""
    if not _is_displayable(image):
        return None
    return encode_png(to_rgb_order(image, is_bgr=is_bgr))


def _is_displayable(image: object) -> bool:
    """Return True if the image is a uint8 array of RGB, BGR or gray, and not empty."""
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim in _DIMENSIONS
        and image.shape[2:] in ((), (_CHANNELS,))
        and image.size > 0
    )
