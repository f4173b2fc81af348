"""Drawing of overlays on frames, with the same result as in the viewer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from framecache._media import jpeg
from framecache._overlays import MAX_PIXELS, Overlays
from framecache._overlays.png import BadPng, read_header_size
from framecache.errors import CorruptFrame
from framecache.model import Image
from framecache.timeline import Timeline

_LEVELS = 255
_WIDE_LEVELS = 65535


def draw_overlays(
    timeline: Timeline, sequences: Sequence[int], stages: Sequence[Overlays]
) -> Iterator[Image]:
    """Yield the frames of `sequences` in RGB, with all overlays of the given stages drawn on them.

    Raises:
        CorruptFrame: a stored frame or overlay is not a valid picture.
    """
    layers = [overlays.load_many(sequences) for overlays in stages]
    for sequence, data, *pngs in zip(sequences, timeline.jpegs(sequences), *layers, strict=True):
        try:
            image = jpeg.decode(data)
        except jpeg.InvalidJpeg as error:
            raise CorruptFrame(
                f"frame {sequence} of timeline {timeline.timeline_id} is not a valid JPEG: {error}"
            ) from error
        for _, named in pngs:
            image = blend_overlays(image, named, sequence=sequence)
        yield image


def blend_overlays(image: Image, pngs: Mapping[str, bytes], *, sequence: int) -> Image:
    """Return a frame with overlays drawn on it, scaled to its size; the last one is topmost.

    A gray overlay without alpha would hide the frame, so it is blended in screen mode: its white
    brightens the frame, its black changes nothing.

    Raises:
        CorruptFrame: an overlay is not a valid PNG.
    """
    for name, png in pngs.items():
        layer = _decode_png(png)
        if layer is None:
            raise CorruptFrame(
                f"overlay {name} of frame {sequence} is not a valid PNG: save it again"
            )
        image = _blend(image, _normalize(layer))
    return image


def _decode_png(png: bytes) -> npt.NDArray[Any] | None:
    """Return the pixels of a PNG, or None if it is invalid; another program may have stored it."""
    try:
        width, height = read_header_size(png)
    except BadPng:
        return None
    if width * height > MAX_PIXELS:
        return None
    import cv2  # noqa: PLC0415 -- installed by an extra

    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def _normalize(layer: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scale the values of a decoded PNG to 0 to 1."""
    most = _WIDE_LEVELS if layer.dtype == np.uint16 else _LEVELS
    return layer.astype(np.float32) / np.float32(most)


def _blend(image: Image, layer: npt.NDArray[np.float32]) -> Image:
    height, width = image.shape[:2]
    if layer.shape[:2] != (height, width):
        import cv2  # noqa: PLC0415 -- installed by an extra

        resized = cv2.resize(layer, (width, height), interpolation=cv2.INTER_NEAREST)
        layer = np.asarray(resized, np.float32)
    below = image.astype(np.float32) / _LEVELS
    if layer.ndim == 2:  # noqa: PLR2004 -- gray
        mixed = 1 - (1 - below) * (1 - layer[:, :, None])
    else:
        # OpenCV's channel order is BGR.
        color = layer[:, :, 2::-1]
        alpha = layer[:, :, 3:] if layer.shape[2] > 3 else np.float32(1)  # noqa: PLR2004
        mixed = below + (color - below) * alpha
    return np.asarray((mixed * _LEVELS).round(), np.uint8)
