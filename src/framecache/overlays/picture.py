"""What may be given as an overlay, and the PNG that is stored of it."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue
from framecache.overlays.png import BadPng, png_size

MAX_BYTES: Final = 64 * 2**20
"""Bytes of one overlay's PNG: about what an 8K picture takes that hardly compresses."""

MAX_PIXELS: Final = 2**26
"""Pixels of one overlay: as many as a frame may have that comes from a video."""

_GRAY_DIMENSIONS: Final = 2
_COLOR_DIMENSIONS: Final = 3


@runtime_checkable
class PilImage(Protocol):
    """The part of Pillow's ``Image`` that overlays need."""

    @property
    def mode(self) -> str:
        """Pillow's name of the kind of pixels."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        ...

    def convert(self, mode: str) -> Any:  # noqa: ANN401 -- Pillow's own type; Pillow is not needed
        """The same picture in another mode."""


Overlay = bytes | str | npt.NDArray[Any] | PilImage
"""PNG bytes, base64 of PNG bytes, a gray, RGB or RGBA array, or a Pillow image."""


@dataclass(frozen=True, slots=True)
class Png:
    """An overlay that may be stored."""

    data: bytes
    width: int
    """Pixels."""
    height: int


def as_png(overlay: Overlay, *, name: str) -> Png:
    """An overlay as the PNG that is stored: of bytes and base64, those very bytes.

    Raises:
        InvalidValue: not a whole, sound PNG, not base64 of one, an array no PNG can hold, or more
            than `MAX_BYTES` or `MAX_PIXELS`.
    """
    if isinstance(overlay, str):
        overlay = _from_base64(overlay, name)
    if isinstance(overlay, bytes | bytearray | memoryview):
        return _checked(bytes(overlay), name)
    if isinstance(overlay, np.ndarray):
        return _from_array(overlay, name)
    if isinstance(overlay, PilImage):
        _check_pixels(*overlay.size, name)
        mode = overlay.mode if overlay.mode in ("L", "RGB", "RGBA") else "RGBA"
        return _from_array(np.asarray(overlay.convert(mode)), name)
    raise InvalidValue(
        f"overlay {name!r} is a {type(overlay).__name__}: give PNG bytes, base64, a uint8 array "
        f"or a Pillow image"
    )


def _checked(data: bytes, name: str) -> Png:
    _check_bytes(len(data), name)
    try:
        width, height = png_size(data)
    except BadPng as error:
        raise InvalidValue(
            f"overlay {name!r} is not a whole PNG: {error}; draw it again"
        ) from error
    _check_pixels(width, height, name)
    return Png(data, width, height)


def _from_base64(text: str, name: str) -> bytes:
    _check_bytes(len(text) // 4 * 3 - text[-2:].count("="), name)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue(f"overlay {name!r} is a string that is not base64 of a PNG") from error


def _from_array(image: npt.NDArray[Any], name: str) -> Png:
    import cv2  # noqa: PLC0415 -- a tenth of a second that programs without overlays need not pay

    to_bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = image.shape[2] if image.ndim == _COLOR_DIMENSIONS else None
    fits = image.dtype == np.uint8 and image.size > 0
    if not fits or (image.ndim != _GRAY_DIMENSIONS and channels not in to_bgr):
        raise InvalidValue(
            f"overlay {name!r} is an array of {image.dtype} and shape {image.shape}: give uint8 "
            f"of shape (height, width), (height, width, 3) or (height, width, 4)"
        )
    height, width = image.shape[:2]
    _check_pixels(width, height, name)
    pixels = image if channels is None else cv2.cvtColor(image, to_bgr[channels])
    encoded, data = cv2.imencode(".png", pixels)
    if not encoded:
        raise InvalidValue(f"overlay {name!r} of shape {image.shape} cannot be encoded as PNG")
    _check_bytes(len(data), name)
    return Png(data.tobytes(), width, height)


def _check_bytes(size_bytes: int, name: str) -> None:
    if size_bytes > MAX_BYTES:
        raise InvalidValue(
            f"overlay {name!r} has {size_bytes:,} bytes: an overlay has at most {MAX_BYTES:,}; "
            f"draw less, or fewer colours"
        )


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidValue(
            f"overlay {name!r} is {width}x{height}: an overlay has at most {MAX_PIXELS:,} pixels; "
            f"draw it at the size of its frame"
        )
