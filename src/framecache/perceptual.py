"""Perceptual hashes: pictures that look alike have hashes that differ in few bits."""

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from framecache.model import Image

_SIDE: Final = 32
"""Side of the small picture whose cosine transform is taken (ImageHash: 8 · 4)."""
_FREQUENCIES: Final = 8
_LOBES: Final = 3
"""Of the Lanczos window that Pillow, and so ImageHash, makes the small picture with."""
_ENOUGH: Final = 2 * _SIDE
"""Pixels a side that are left for the Lanczos window after the quick reduction."""
_SERIAL_PIXELS: Final = 60_000
"""OpenCV shares a resize of more than 65,536 pixels among its threads."""


def perceptual_hash(luma: Image) -> str:
    """The 64-bit pHash of a picture, as ImageHash's ``phash`` gives it, within a few bits.

    The signs of the 8×8 lowest frequencies of the picture's cosine transform, each compared
    with their median, row by row. The Hamming distance of two hashes tells how far two pictures
    look apart.

    Args:
        luma: ``(height, width)`` uint8, full-range BT.601 as in a JPEG; rows may lie apart.

    Returns:
        16 lower-case hex digits.
    """
    small = _reduce(luma)
    height, width = small.shape
    vertical, horizontal = _low_frequencies(height), _low_frequencies(width)
    rows = _product(vertical, small.astype(np.float32))
    transformed = _product(rows, horizontal.T)
    bits = transformed > np.median(transformed)
    return np.packbits(bits).tobytes().hex()


def hash_from_rgb(image: Image) -> str:
    """The ``perceptual_hash`` of an RGB image, ``(height, width, 3)`` uint8."""
    return perceptual_hash(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8))


def _reduce(luma: Image) -> Image:
    """Average 2×2 blocks of pixels, as often as leaves enough of them for the hash.

    Halving is what OpenCV does fastest: three times cost a fifth of one reduction to an eighth.
    """
    while min(luma.shape) >= 2 * _ENOUGH:
        luma = _halved(luma)
    return luma


def _halved(luma: Image) -> Image:
    """In bands that OpenCV does on this thread: waking its own costs as much as the hash."""
    height, width = (side // 2 for side in luma.shape)
    small = np.empty((height, width), np.uint8)
    band = max(1, _SERIAL_PIXELS // width)
    for top in range(0, height, band):
        part = small[top : top + band]
        rows = luma[2 * top : 2 * (top + len(part)), : 2 * width]
        cv2.resize(rows, (width, len(part)), dst=part, interpolation=cv2.INTER_AREA)
    return small


def _product(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Not by BLAS, whose threads spin for longer than such small matrices take."""
    nothing = np.empty((0, 0), np.float32)
    return np.asarray(cv2.gemm(left, right, 1.0, nothing, 0.0), dtype=np.float32)


@lru_cache(maxsize=64)
def _low_frequencies(side: int) -> npt.NDArray[np.float32]:
    """``(8, side)``: resampling to 32 pixels and the 8 lowest rows of their DCT-II, in one."""
    matrix = (_cosines() @ _lanczos(side)).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def _cosines() -> npt.NDArray[np.float64]:
    frequency = np.arange(_FREQUENCIES)[:, np.newaxis]
    return np.cos(math.pi * frequency * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE))


def _lanczos(side: int) -> npt.NDArray[np.float64]:
    """``(32, side)``: weights that resample ``side`` pixels to 32, wider when they shrink."""
    step = side / _SIDE
    widening = max(step, 1.0)
    centres = (np.arange(_SIDE)[:, np.newaxis] + 0.5) * step
    distance = (np.arange(side) + 0.5 - centres) / widening
    weights = np.sinc(distance) * np.sinc(distance / _LOBES)
    weights[np.abs(distance) >= _LOBES] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
