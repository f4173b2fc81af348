"""Arithmetic of perceptual hashes in numpy, for installations without OpenCV.

Each function has the same results as the OpenCV function that it replaces, to the last bit, so a
picture has one hash wherever it is computed. OpenCV is used where it is installed, because it is up
to ten times as fast, and keeps that speed on several threads.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache.model import Image

_BAND_PIXELS: Final = 32_768
"""Pixels that are computed at a time, so that they stay in the processor's cache."""
_LUMA_SHIFT: Final = 15
_LUMA_WEIGHTS: Final = (9798, 19235, 3735)
"""Weights of red, green and blue in luma (ITU-R BT.601-7, 2.5.1), times 2 ** `_LUMA_SHIFT`."""
_TINY_SIDES: Final = range(2, 5)
"""Sides of square matrices that OpenCV multiplies in single precision."""
_COLUMN_SUMS: Final = 4
"""Number of sums in which OpenCV adds the products of a single column."""


def to_luma(image: Image) -> Image:
    """Return the luma of an RGB image, ``(height, width, 3)`` uint8, as ``cv2.cvtColor`` does."""
    height, width = image.shape[:2]
    luma = np.empty((height, width), np.uint8)
    for rows in _bands(height, width):
        band = image[rows]
        total = np.full(band.shape[:2], 1 << (_LUMA_SHIFT - 1), np.uint32)
        for channel, weight in enumerate(_LUMA_WEIGHTS):
            total += np.multiply(band[..., channel], weight, dtype=np.uint32)
        luma[rows] = total >> _LUMA_SHIFT
    return luma


def halve(luma: Image) -> Image:
    """Return the rounded mean of each 2×2 block, as ``cv2.resize`` does with ``INTER_AREA``.

    An odd last row or column is left out.
    """
    height, width = (side // 2 for side in luma.shape)
    small = np.empty((height, width), np.uint8)
    even = luma[: 2 * height, : 2 * width]
    # A pair of pixels is one 16-bit number, so that whole registers are added.
    pairs = (even if even.strides[1] == 1 else np.ascontiguousarray(even)).view(np.uint16)
    for rows in _bands(height, width):
        band = pairs[2 * rows.start : 2 * rows.stop]
        across = band >> 8
        across += band & 0xFF
        total = across[0::2] + across[1::2]
        total += 2
        total >>= 2
        small[rows] = total
    return small


def multiply(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Multiply matrices in double precision, and round the result, as ``cv2.gemm`` does.

    Products are added in OpenCV's order, as no matrix product of numpy does: in a picture of
    straight lines many frequencies are zero, and rounding alone decides which are above the median.
    """
    count, columns = right.shape
    is_tiny = count == columns and count in _TINY_SIDES
    exact = np.dtype(np.float32 if is_tiny else np.float64)
    factors = left.T.astype(exact)[:, :, np.newaxis]
    products = np.multiply(factors, right.astype(exact)[:, np.newaxis, :], order="C")
    if columns == 1 and count >= _COLUMN_SUMS:
        products = _add_column(products)
    result: npt.NDArray[np.float32] = np.add.reduce(products, axis=0).astype(np.float32)
    return result


def _add_column(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the interleaved sums in which OpenCV adds the products of a single column."""
    whole = len(products) // _COLUMN_SUMS * _COLUMN_SUMS
    sums: npt.NDArray[np.float64] = np.add.reduce(
        products[:whole].reshape(-1, _COLUMN_SUMS, *products.shape[1:]), axis=0
    )
    for rest in products[whole:]:
        sums[0] += rest
    return sums


def _bands(height: int, width: int) -> Iterator[slice]:
    """Yield ranges of rows, a band at a time."""
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
