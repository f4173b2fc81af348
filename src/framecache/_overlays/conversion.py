"""Conversion of overlays, as programs pass them, to the PNGs that are stored."""

import base64
import io
import re
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from framecache._core.png_encoding import SIGNATURE, encode_png
from framecache._overlays.png import BadPng, read_header_size, validate_png
from framecache.errors import InvalidValue

MAX_BYTES: Final = 64 * 2**20
"""Maximum size of one overlay's PNG: about that of an 8K picture that hardly compresses."""

MAX_PIXELS: Final = 2**26
"""Maximum number of pixels of one overlay, the same as for a frame of a video."""

_GRAY_DIMENSIONS: Final = 2
_COLOR_DIMENSIONS: Final = 3
_EXACT_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"})
"""Pillow modes that a PNG written by Pillow holds unchanged."""
_CONVERTED_MODES: Final = {
    **dict.fromkeys(("RGBX", "CMYK", "YCbCr", "LAB", "HSV"), "RGB"),
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
}
"""Other modes with 8 bits per channel, which PNG does not support, and their replacements."""
_DATA_URI: Final = re.compile(r"\s*data:image/png(;[^,;]*)*;base64,", re.IGNORECASE)
_WHITESPACE: Final = str.maketrans("", "", " \t\r\n\v\f")
_URL_SAFE_TO_STANDARD: Final = str.maketrans("-_", "+/")
_NOT_BASE64: Final = re.compile("[^A-Za-z0-9+/]")


@runtime_checkable
class PilImage(Protocol):
    """Part of the interface of Pillow's ``Image`` that overlays need."""

    @property
    def mode(self) -> str:
        """Pillow's name of the pixel format."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def convert(self, mode: str) -> Any:  # noqa: ANN401 -- Pillow's own type; Pillow is not needed
        """Return the same picture in another mode."""

    def save(self, fp: IO[bytes], format: str) -> None:  # noqa: A002 -- Pillow's own name
        """Encode the picture and write it to `fp`."""


Overlay = bytes | str | npt.NDArray[Any] | PilImage
"""PNG bytes, base64 of them as text or bytes, a gray, RGB or RGBA array, or a Pillow image."""


@dataclass(frozen=True, slots=True)
class Png:
    """Overlay that is ready to be stored."""

    data: bytes
    width: int
    """Width in pixels."""
    height: int


def as_png(overlay: Overlay, *, name: str) -> Png:
    """Convert an overlay to the PNG that is stored, without changing any pixel.

    PNG bytes are stored unchanged, and so are the bytes that base64 stands for. Base64 may be text
    or bytes, wrapped, URL-safe, without padding, and may begin as a data URI. Arrays are uint8 or
    uint16 of gray, RGB or RGBA, or bool for black and white. Pillow images keep their bits, palette
    and transparency; 8-bit modes that PNG does not support are converted. Values that would be
    rounded or clipped are rejected.

    Raises:
        InvalidValue: not a complete, valid PNG, not base64 of one, an array or image that PNG does
            not support, or more than `MAX_BYTES` or `MAX_PIXELS`.
    """
    if isinstance(overlay, str):
        overlay = _from_base64(overlay, name)
    if isinstance(overlay, bytes | bytearray | memoryview):
        data = bytes(overlay)
        return _validate(_decode_base64_bytes(data, name) or data, name)
    if isinstance(overlay, np.ndarray):
        return _from_array(overlay, name)
    if isinstance(overlay, PilImage):
        return _from_pillow(overlay, name)
    raise InvalidValue(
        f"overlay {name!r} is a {type(overlay).__name__}: give PNG bytes, base64, a uint8 array "
        f"or a Pillow image"
    )


def _validate(data: bytes, name: str) -> Png:
    _check_bytes(len(data), name)
    try:
        _check_pixels(*read_header_size(data), name)
        width, height = validate_png(data)
    except BadPng as error:
        raise InvalidValue(
            f"overlay {name!r} is not a complete PNG: {error}; create it again"
        ) from error
    return Png(data, width, height)


def _from_base64(text: str, name: str) -> bytes:
    # A line break after each character doubles the length.
    _check_bytes(len(text) * 3 // 8, name)
    if found := _DATA_URI.match(text):
        text = text[found.end() :]
    digits = text.translate(_WHITESPACE).rstrip("=").translate(_URL_SAFE_TO_STANDARD)
    _check_bytes(len(digits) * 3 // 4, name)
    if _NOT_BASE64.search(digits) or len(digits) % 4 == 1:
        raise InvalidValue(f"overlay {name!r} is a string that is not base64 of a PNG")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _decode_base64_bytes(data: bytes, name: str) -> bytes:
    """Decode bytes that contain base64; return empty bytes if they do not."""
    if data.startswith(SIGNATURE) or not data.isascii():
        return b""
    try:
        return _from_base64(data.decode("ascii"), name)
    except InvalidValue:
        return b""  # the error that it is not a PNG is more helpful


def _from_pillow(image: PilImage, name: str) -> Png:
    try:
        return _encode_pillow(image, name)
    except InvalidValue:
        raise
    except Exception as error:
        # Pillow's plugins raise errors of any type, and so may an object that only resembles an
        # image.
        raise InvalidValue(
            f"overlay {name!r} cannot be encoded as PNG: {type(error).__name__}: {error!s:.100}"
        ) from error


def _encode_pillow(image: PilImage, name: str) -> Png:
    _check_pixels(*image.size, name)
    mode = image.mode
    if mode in ("I", "F"):
        return _from_32_bit(np.asarray(image), mode, name)
    if mode not in _EXACT_MODES:
        if mode not in _CONVERTED_MODES:
            raise InvalidValue(
                f"a PNG cannot hold overlay {name!r}, a Pillow image of mode {mode}: convert "
                'it to "RGBA", "L" or "I;16" first'
            )
        image = image.convert(_CONVERTED_MODES[mode])
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return _validate(encoded.getvalue(), name)


def _from_32_bit(values: npt.NDArray[Any], mode: str, name: str) -> Png:
    """Convert an image of 32-bit values, if all of them fit into 16 bits."""
    deep = values.astype(np.uint16)
    if mode == "F" or not np.array_equal(deep, values):
        raise InvalidValue(
            f"overlay {name!r} is a Pillow image of mode {mode}, and a PNG holds integers "
            "from 0 to 65,535: scale it to 8 or 16 bits"
        )
    return _from_array(deep, name)


def _from_array(image: npt.NDArray[Any], name: str) -> Png:
    channels = image.shape[2] if image.ndim == _COLOR_DIMENSIONS else 1
    is_gray = image.ndim == _GRAY_DIMENSIONS or (image.ndim == _COLOR_DIMENSIONS and channels == 1)
    is_integer = image.dtype.kind == "u" and image.dtype.itemsize in (1, 2)
    fits = is_integer and (is_gray or channels in (3, 4))
    is_bilevel = image.dtype == np.bool_ and is_gray
    is_masked = isinstance(image, np.ma.MaskedArray) and bool(np.ma.getmaskarray(image).any())
    if not image.size or not (fits or is_bilevel) or is_masked or image.ndim > _COLOR_DIMENSIONS:
        raise InvalidValue(
            f"overlay {name!r} is {'a masked' if is_masked else 'an'} array of {image.dtype} and "
            f"shape {image.shape}: give uint8 or uint16 of shape (height, width), (height, width, "
            f"3) or (height, width, 4), or bool of (height, width)"
        )
    height, width = image.shape[:2]
    _check_pixels(width, height, name)
    pixels = np.asarray(image).reshape(height, width) if is_gray else np.asarray(image)
    data = encode_png(pixels)
    _check_bytes(len(data), name)
    return Png(data, width, height)


def _check_bytes(size_bytes: int, name: str) -> None:
    if size_bytes > MAX_BYTES:
        raise InvalidValue(
            f"overlay {name!r} has {size_bytes:,} bytes: at most {MAX_BYTES:,} are allowed; "
            "draw less, or with fewer colors"
        )


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidValue(
            f"overlay {name!r} is {width}x{height}: at most {MAX_PIXELS:,} pixels are "
            "allowed; draw it at the size of its frame"
        )
