"""Encoding of arrays as PNGs (ISO/IEC 15948), with zlib alone."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES: Final = {1: 0, 3: 2, 4: 6}
"""PNG's number of gray, RGB and RGBA, by their channels."""
_BITS_PER_BYTE: Final = 8
_FILTER_NONE: Final = 0
_FILTER_SUB: Final = 1
_BAND_BYTES: Final = 2**18
"""Bytes of pixels that are filtered at a time."""


def encode_png(pixels: npt.NDArray[Any]) -> bytes:
    """Return a PNG of exactly these pixels.

    Args:
        pixels: uint8 or uint16 of any byte order, ``(height, width)``, ``(height, width, 3)`` of
            RGB or ``(height, width, 4)`` of RGBA; or bool of ``(height, width)``, which takes one
            bit per pixel. Not empty; strides may be any.
    """
    height, width = pixels.shape[:2]
    if pixels.dtype == np.bool_:
        packed = np.packbits(pixels, axis=1)
        filtered = np.hstack([np.full((height, 1), _FILTER_NONE, np.uint8), packed])
        return _assemble(width, height, 1, 0, zlib.compress(filtered.data))
    channels = pixels.shape[2] if pixels.ndim == 3 else 1  # noqa: PLR2004 -- with channels
    depth = _BITS_PER_BYTE * pixels.dtype.itemsize
    # Runs are found at the speed of OpenCV's and libpng's defaults, and to the same size.
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    parts = [compressor.compress(band.data) for band in _filtered_bands(pixels)]
    data = b"".join([*parts, compressor.flush()])
    return _assemble(width, height, depth, _COLOR_TYPES[channels], data)


def _filtered_bands(pixels: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield rows as differences from the pixel to their left, each after its filter type."""
    height = len(pixels)
    pixel_bytes = pixels[0, 0].nbytes
    rows_per_band = max(1, _BAND_BYTES // pixels[0].nbytes)
    for top in range(0, height, rows_per_band):
        band = pixels[top : top + rows_per_band]
        big_endian = np.ascontiguousarray(band, band.dtype.newbyteorder(">"))
        rows = big_endian.reshape(len(band), -1).view(np.uint8)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = _FILTER_SUB
        filtered[:, 1 : 1 + pixel_bytes] = rows[:, :pixel_bytes]
        np.subtract(
            rows[:, pixel_bytes:], rows[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :]
        )
        yield filtered


def _assemble(width: int, height: int, depth: int, color_type: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return SIGNATURE + b"".join(_encode_chunk(kind, body) for kind, body in chunks)


def _encode_chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", crc)])
