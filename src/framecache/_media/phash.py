"""Perceptual hashes: similar pictures have hashes that differ in few bits."""

import math
from functools import cache, lru_cache
from importlib import import_module
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._media import phash_arithmetic
from framecache.model import Image

_SIDE: Final = 32
"""Side of the reduced picture that is cosine-transformed (ImageHash: 8 · 4)."""
_FREQUENCIES: Final = 8
_LOBES: Final = 3
"""Lobes of the Lanczos window with which Pillow, and so ImageHash, reduces the picture."""
_MIN_SIDE: Final = 2 * _SIDE
"""Minimum pixels per side that the fast reduction leaves for the Lanczos window."""
_SINGLE_THREAD_PIXELS: Final = 60_000
"""Maximum pixels of a band; OpenCV splits a resize of more than 65,536 among its threads."""


def perceptual_hash(luma: Image) -> str:
    """Return the 64-bit pHash of a picture, equal to ImageHash's ``phash`` within a few bits.

    Each bit says whether one of the 8×8 lowest frequencies of the picture's cosine transform is
    above their median, row by row. The Hamming distance of two hashes measures how different two
    pictures look.

    Args:
        luma: ``(height, width)`` uint8, full-range BT.601 as in a JPEG; rows may be strided.

    Returns:
        16 lower-case hex digits.
    """
    small = _downsample(luma)
    height, width = small.shape
    vertical, horizontal = _low_frequencies(height), _low_frequencies(width)
    rows = _multiply(vertical, small.astype(np.float32))
    transformed = _multiply(rows, horizontal.T)
    bits = transformed > np.median(transformed)
    return np.packbits(bits).tobytes().hex()


def hash_from_rgb(image: Image) -> str:
    """Return the ``perceptual_hash`` of an RGB image, ``(height, width, 3)`` uint8."""
    return perceptual_hash(_to_luma(image))


@cache
def _has_opencv() -> bool:
    """Import OpenCV; return False if it is not installed: then `phash_arithmetic` replaces it."""
    try:
        import_module("cv2")
    except ModuleNotFoundError:
        return False
    return True


def _to_luma(image: Image) -> Image:
    if not _has_opencv():
        return phash_arithmetic.to_luma(image)
    import cv2  # noqa: PLC0415 -- see `_has_opencv`

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _downsample(luma: Image) -> Image:
    """Halve the picture by averaging 2×2 blocks, as often as leaves enough pixels for the hash.

    Halving is the fastest reduction: three halvings cost a fifth of one reduction to 1/8.
    """
    halve = _halve if _has_opencv() else phash_arithmetic.halve
    while min(luma.shape) >= 2 * _MIN_SIDE:
        luma = halve(luma)
    return luma


def _halve(luma: Image) -> Image:
    """Halve a picture with OpenCV, in bands small enough for OpenCV to use only this thread.

    Waking OpenCV's own threads would cost as much as the hash.
    """
    import cv2  # noqa: PLC0415 -- see `_has_opencv`

    height, width = (side // 2 for side in luma.shape)
    small = np.empty((height, width), np.uint8)
    band = max(1, _SINGLE_THREAD_PIXELS // width)
    for top in range(0, height, band):
        part = small[top : top + band]
        rows = luma[2 * top : 2 * (top + len(part)), : 2 * width]
        cv2.resize(rows, (width, len(part)), dst=part, interpolation=cv2.INTER_AREA)
    return small


def _multiply(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Multiply matrices without BLAS: its threads would spin longer than these small ones take."""
    if not _has_opencv():
        return phash_arithmetic.multiply(left, right)
    import cv2  # noqa: PLC0415 -- see `_has_opencv`

    nothing = np.empty((0, 0), np.float32)
    return np.asarray(cv2.gemm(left, right, 1.0, nothing, 0.0), dtype=np.float32)


@lru_cache(maxsize=64)
def _low_frequencies(side: int) -> npt.NDArray[np.float32]:
    """Return an ``(8, side)`` matrix: resampling to 32 pixels, times the 8 lowest DCT-II rows."""
    matrix = (_cosines() @ _lanczos(side)).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def _cosines() -> npt.NDArray[np.float64]:
    frequency = np.arange(_FREQUENCIES)[:, np.newaxis]
    return np.cos(math.pi * frequency * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE))


def _lanczos(side: int) -> npt.NDArray[np.float64]:
    """Return ``(32, side)`` weights that resample ``side`` pixels to 32.

    The window is widened if the picture shrinks.
    """
    step = side / _SIDE
    widening = max(step, 1.0)
    centres = (np.arange(_SIDE)[:, np.newaxis] + 0.5) * step
    distance = (np.arange(side) + 0.5 - centres) / widening
    weights = np.sinc(distance) * np.sinc(distance / _LOBES)
    weights[np.abs(distance) >= _LOBES] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
