"""Overlays as programs give them, and the PNG that is stored of each."""

import base64
import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue
from framecache.overlays.png import BadPng, announced_size, png_size

MAX_BYTES: Final = 64 * 2**20
"""Bytes of one overlay's PNG: about what an 8K picture takes that hardly compresses."""

MAX_PIXELS: Final = 2**26
"""Pixels of one overlay: as many as a frame may have that comes from a video."""

_GRAY_DIMENSIONS: Final = 2
_COLOR_DIMENSIONS: Final = 3
_EXACT_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"})
"""Of Pillow's images, those that its PNGs hold as they are."""
_CONVERTED_MODES: Final = {
    **dict.fromkeys(("RGBX", "CMYK", "YCbCr", "LAB", "HSV"), "RGB"),
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
}
"""Others of 8 bits a channel, which no PNG holds, and what they are converted to."""
_DATA_URI: Final = re.compile(r"\s*data:image/png(;[^,;]*)*;base64,", re.IGNORECASE)
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_BLANKS: Final = str.maketrans("", "", " \t\r\n\v\f")
_TO_STANDARD: Final = str.maketrans("-_", "+/")
_NOT_BASE64: Final = re.compile("[^A-Za-z0-9+/]")


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

    def save(self, fp: IO[bytes], format: str) -> None:  # noqa: A002 -- Pillow's own name
        """Encode the picture."""


Overlay = bytes | str | npt.NDArray[Any] | PilImage
"""PNG bytes, base64 of them as text or bytes, a gray, RGB or RGBA array, or a Pillow image."""


@dataclass(frozen=True, slots=True)
class Png:
    """An overlay that may be stored."""

    data: bytes
    width: int
    """Pixels."""
    height: int


def as_png(overlay: Overlay, *, name: str) -> Png:
    """An overlay as the PNG that is stored, of the very pixels that were given.

    Bytes, and base64 of them, are stored as they are; base64 may be text or bytes, wrapped,
    URL-safe, without padding, and begin as a data URI. Arrays are uint8 or uint16 of gray, RGB or
    RGBA, or bool for black and white. Pillow images keep their bits, palette and transparency;
    modes of 8 bits that no PNG holds are converted. What would be rounded or clipped is refused.

    Raises:
        InvalidValue: not a whole, sound PNG, not base64 of one, an array or image that no PNG
            holds, or more than `MAX_BYTES` or `MAX_PIXELS`.
    """
    if isinstance(overlay, str):
        overlay = _from_base64(overlay, name)
    if isinstance(overlay, bytes | bytearray | memoryview):
        data = bytes(overlay)
        return _checked(_encoded_as_bytes(data, name) or data, name)
    if isinstance(overlay, np.ndarray):
        return _from_array(overlay, name)
    if isinstance(overlay, PilImage):
        return _from_pillow(overlay, name)
    raise InvalidValue(
        f"overlay {name!r} is a {type(overlay).__name__}: give PNG bytes, base64, a uint8 array "
        f"or a Pillow image"
    )


def _checked(data: bytes, name: str) -> Png:
    _check_bytes(len(data), name)
    try:
        _check_pixels(*announced_size(data), name)
        width, height = png_size(data)
    except BadPng as error:
        raise InvalidValue(
            f"overlay {name!r} is not a whole PNG: {error}; draw it again"
        ) from error
    return Png(data, width, height)


def _from_base64(text: str, name: str) -> bytes:
    # With a line break after each character there are twice as many.
    _check_bytes(len(text) * 3 // 8, name)
    if found := _DATA_URI.match(text):
        text = text[found.end() :]
    digits = text.translate(_BLANKS).rstrip("=").translate(_TO_STANDARD)
    _check_bytes(len(digits) * 3 // 4, name)
    if _NOT_BASE64.search(digits) or len(digits) % 4 == 1:
        raise InvalidValue(f"overlay {name!r} is a string that is not base64 of a PNG")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _encoded_as_bytes(data: bytes, name: str) -> bytes:
    """What bytes stand for that are base64; nothing if they are not."""
    if data.startswith(_SIGNATURE) or not data.isascii():
        return b""
    try:
        return _from_base64(data.decode("ascii"), name)
    except InvalidValue:
        return b""  # that it is no PNG tells more


def _from_pillow(image: PilImage, name: str) -> Png:
    try:
        return _of_pillow(image, name)
    except InvalidValue:
        raise
    except Exception as error:
        # Pillow's plugins raise errors of any type, and so does an object that only looks like it.
        raise InvalidValue(
            f"overlay {name!r} cannot be encoded as PNG: {type(error).__name__}: {error!s:.100}"
        ) from error


def _of_pillow(image: PilImage, name: str) -> Png:
    _check_pixels(*image.size, name)
    mode = image.mode
    if mode in ("I", "F"):
        return _from_deep(np.asarray(image), mode, name)
    if mode not in _EXACT_MODES:
        if mode not in _CONVERTED_MODES:
            raise InvalidValue(
                f"overlay {name!r} is a Pillow image of mode {mode}, which no PNG holds: convert "
                f'it to "RGBA", "L" or "I;16" as you see fit'
            )
        image = image.convert(_CONVERTED_MODES[mode])
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return _checked(encoded.getvalue(), name)


def _from_deep(values: npt.NDArray[Any], mode: str, name: str) -> Png:
    """A picture of 32-bit values, if 16 bits hold them all."""
    deep = values.astype(np.uint16)
    if mode == "F" or not np.array_equal(deep, values):
        raise InvalidValue(
            f"overlay {name!r} is a Pillow image of mode {mode}, and a PNG holds whole numbers "
            f"from 0 to 65,535: scale it to 8 or 16 bits"
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
    data = _bilevel(pixels) if is_bilevel else _encoded(pixels, channels, name)
    _check_bytes(len(data), name)
    return Png(data, width, height)


def _encoded(pixels: npt.NDArray[Any], channels: int, name: str) -> bytes:
    import cv2  # noqa: PLC0415 -- a tenth of a second that programs without overlays need not pay

    to_bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    given = native if channels == 1 else cv2.cvtColor(native, to_bgr[channels])
    try:
        encoded, data = cv2.imencode(".png", given)
    except cv2.error:
        encoded = False
    if not encoded:
        raise InvalidValue(f"overlay {name!r} of shape {pixels.shape} cannot be encoded as PNG")
    return data.tobytes()


def _bilevel(pixels: npt.NDArray[np.bool_]) -> bytes:
    """A PNG of one bit a pixel, whose pixels load as the bools that were given."""
    height, width = pixels.shape
    rows = np.packbits(pixels, axis=1)
    filtered = np.hstack([np.zeros((height, 1), np.uint8), rows])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


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
