"""Whether bytes are one whole, undamaged PNG, told without decoding its pixels."""

import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">IIBBBBB")
_LENGTH_AND_KIND: Final = struct.Struct(">I4s")
_CRC: Final = struct.Struct(">I")
_MOST: Final = 2**31 - 1
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS: Final = {
    _GRAY: {1, 2, 4, 8, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _GRAY_ALPHA: {8, 16},
    _RGBA: {8, 16},
}
"""Bits a channel that each kind of pixels may have."""


class BadPng(ValueError):
    """Bytes that are not one whole, sound PNG."""


def png_size(data: bytes) -> tuple[int, int]:
    """The ``(width, height)`` of a PNG, in pixels, after a walk over all of its chunks.

    Each chunk's CRC-32 is compared, so that a PNG that was cut short, or of which a bit flipped,
    is refused; of its pixels only the first byte is inflated. What follows its end, where decoders
    stop, is not looked at.

    Raises:
        BadPng: it is none, or is damaged.
    """
    if not data.startswith(_SIGNATURE):
        raise BadPng(f"it begins with {bytes(data[:8])!r}")
    view = memoryview(data)
    kinds: set[bytes] = set()
    at, kind = len(_SIGNATURE), b""
    width = height = color = 0
    pixels = _Beginning()
    while kind != b"IEND":
        kind, body, at = _chunk(view, at)
        if (kind == b"IHDR") == bool(kinds):
            raise BadPng("it does not begin with its one header")
        if kind == b"IHDR":
            width, height, color = _header(body)
        if kind == b"IDAT":
            pixels.add(body)
        kinds.add(kind)
    if not pixels.is_there or (color == _PALETTE and b"PLTE" not in kinds):
        raise BadPng("it has no pixels")
    return width, height


class _Beginning:
    """Of the pixels, which are one zlib stream over several chunks: inflated to its first byte."""

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj()
        self.is_there = False

    def add(self, body: memoryview) -> None:
        """Take the next chunk of the stream.

        Raises:
            BadPng: it is no such stream.
        """
        if self.is_there:
            return
        try:
            self.is_there = bool(self._inflating.decompress(body, 1))
        except zlib.error as error:
            raise BadPng("its pixels are not compressed as those of a PNG") from error


def _chunk(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """The kind and body of the chunk at a place, and where the next one begins."""
    begin = at + _LENGTH_AND_KIND.size
    if begin > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, before its last chunk")
    length, kind = _LENGTH_AND_KIND.unpack_from(view, at)
    end = begin + length
    if end + _CRC.size > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, in the midst of a chunk")
    if zlib.crc32(view[at + 4 : end]) != _CRC.unpack_from(view, end)[0]:
        raise BadPng(f"the chunk at byte {at} is damaged: its CRC differs")
    return kind, view[begin:end], end + _CRC.size


def _header(body: memoryview) -> tuple[int, int, int]:
    if len(body) != _HEADER.size:
        raise BadPng(f"its header has {len(body)} bytes")
    width, height, depth, color, compression, filtering, interlace = _HEADER.unpack(body)
    is_sound = (
        0 < width <= _MOST
        and 0 < height <= _MOST
        and depth in _DEPTHS.get(color, ())
        and compression == filtering == 0
        and interlace <= 1
    )
    if not is_sound:
        raise BadPng("its header announces what no PNG is")
    return width, height, color
