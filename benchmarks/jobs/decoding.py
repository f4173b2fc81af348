"""Decoding a JPEG, whole or at the size that a model takes."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import simplejpeg

from benchmarks.contract import Image

Scaling = Literal["after decoding", "while decoding"]


def decoder(max_side: int | None, scaling: Scaling) -> Callable[[bytes], Image]:
    """Return what decodes a JPEG; it may be pickled.

    Args:
        max_side: largest width and height; frames are not enlarged. None: whole.
        scaling: resize the whole picture by area, or let the decoder scale as far as it can first.
    """
    if max_side is None:
        return _decode
    return partial(_decode_small, max_side=max_side, scaling=scaling)


def _decode(data: bytes) -> Image:
    image: Image = simplejpeg.decode_jpeg(data)
    return image


def _decode_small(data: bytes, *, max_side: int, scaling: Scaling) -> Image:
    # Not all environments have it.
    import cv2  # noqa: PLC0415

    # Its own threads would compete with those of the contestants, which decode several at once.
    cv2.setNumThreads(1)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    share = max_side / max(width, height)
    if share >= 1:
        return _decode(data)
    size = max(1, round(width * share)), max(1, round(height * share))
    least = size if scaling == "while decoding" else (width, height)
    decoded: Image = simplejpeg.decode_jpeg(data, min_width=least[0], min_height=least[1])
    if decoded.shape[1::-1] == size:
        return decoded
    resized: Image = cv2.resize(decoded, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return resized
