"""Pictures that show their own number, so that a wrong one gives itself away."""

from collections.abc import Iterable
from functools import cache
from io import BytesIO
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height."""

BITS: Final = 8
_HUES_A_NUMBER: Final = 0.15
"""Step of the hue from one number to the next, as a part of a turn."""
THUMBNAIL: Final = (32, 32)


def numbered(numbers: Iterable[int], size: Size) -> bytes:
    """Return the pictures of ``numbers`` as raw RGB, for ffmpeg's standard input."""
    return b"".join(picture(number, size).tobytes() for number in numbers)


@cache
def picture(number: int, size: Size) -> Image:
    """Draw a number: a stripe for each bit, lowest leftmost, over a half of changing color.

    White and black stripes survive every codec. The color shows mistakes of matrix and range.
    """
    width, height = size
    bits = number >> (np.arange(width) * BITS // width) & 1
    drawn = np.empty((height, width, 3), np.uint8)
    drawn[:] = (bits * 219 + 16)[None, :, None]
    phases = 2 * np.pi * (number * _HUES_A_NUMBER + np.arange(3) / 3)
    drawn[height // 2 :] = (128 + 100 * np.cos(phases)).astype(np.uint8)
    return drawn


def number_shown(image: Image) -> int:
    """Read the number that an upright picture shows."""
    height, width = image.shape[:2]
    rows = image[height // 8 : height * 3 // 8].mean(axis=(0, 2))
    columns = np.arange(width) * BITS / width
    inner = (columns % 1 > 0.2) & (columns % 1 < 0.8)
    means = [rows[inner & (columns.astype(int) == bit)].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, mean in enumerate(means) if mean > 127)


def thumbnail(image: Image) -> npt.NDArray[np.int16]:
    """Shrink a picture so far that the noise of a codec averages out."""
    return cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.int16)


def as_jpeg(image: Image, quality: int) -> Image:
    """Return what Pillow makes of a picture when it stores it at 4:2:0."""
    stored = BytesIO()
    Pillow.fromarray(image).save(stored, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Pillow.open(stored))
