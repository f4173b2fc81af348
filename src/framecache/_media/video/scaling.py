"""Scaling of the planes of a picture by the mean of the area that each new sample covers."""

import threading
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from framecache._media.video.decoded import plane_rows, subsample_chroma
from framecache._media.video.error_boundary import translating
from framecache.model import Chroma, Image, Picture

_AREA: Final = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area mean along a side that shrinks, bilinear along one that grows; the same on every CPU."""
_MIN_SWSCALE_SIDE: Final = 32
"""Minimum sides, before and after: swscale computes other values near the ends of short rows."""
_MAX_SWSCALE_RATIO: Final = 32
"""Maximum ratio of sides before and after; swscale truncates its filters beyond about 200."""
_KEPT_CONTEXTS: Final = 32


class _Contexts(threading.local):
    """Contexts of swscale of one thread, by sizes: a new one costs as much as scaling with it."""

    def __init__(self) -> None:
        self._by_sizes: dict[tuple[tuple[int, ...], tuple[int, int]], VideoReformatter] = {}

    def get(self, before: tuple[int, ...], after: tuple[int, int]) -> VideoReformatter:
        if len(self._by_sizes) >= _KEPT_CONTEXTS:
            self._by_sizes.clear()
        return self._by_sizes.setdefault((before, after), VideoReformatter())


_contexts = _Contexts()


def scale(picture: Picture, width: int, height: int, *, chroma: Chroma) -> Picture:
    """Scale the planes of a picture, each once, from the samples it has. Releases the GIL.

    Planes that already have their size are not copied. The mean error of a plane against an exact
    area resize is that of rounding to 8 bits, about a quarter of a level.

    Args:
        picture: planes of any matrix, range and orientation, which stay as they are. Chroma may be
            finer than 4:2:0.
        width: width of the result, along the rows of the planes. A side that grows is interpolated.
        height: height of the result.
        chroma: ``"420"``: ``⌈side / 2⌉`` samples along each side. ``"444"``: as many as of luma.
    """
    size = height, width
    if picture.y.shape == size and picture.u.shape == _chroma_size(size, chroma):
        return picture
    with translating("a picture to be scaled"):
        u, v = (
            _scale_chroma(plane, picture.y.shape, size, chroma) for plane in (picture.u, picture.v)
        )
        return replace(picture, y=_resize(picture.y, size), u=u, v=v)


def _chroma_size(size: tuple[int, int], chroma: Chroma) -> tuple[int, int]:
    height, width = size
    return size if chroma == "444" else (-(-height // 2), -(-width // 2))


def _scale_chroma(
    plane: Image, luma_size: tuple[int, ...], size: tuple[int, int], chroma: Chroma
) -> Image:
    """Scale a chroma plane so that it covers exactly the area that luma covers.

    With an odd side, the last of the halved samples reaches half its size beyond the picture.
    """
    is_halved = [had < has for had, has in zip(plane.shape, luma_size, strict=True)]
    if any(half and side % 2 for half, side in zip(is_halved, luma_size, strict=True)):
        doubled = [side * (1 + half) for side, half in zip(plane.shape, is_halved, strict=True)]
        plane = _resize(plane, (doubled[0], doubled[1]))[: luma_size[0], : luma_size[1]]
    if chroma == "444":
        return _resize(plane, size)
    height, width = (side if side % 2 else side // 2 for side in size)
    return subsample_chroma(_resize(plane, (height, width)), size[0] % 2, size[1] % 2)


def _resize(plane: Image, size: tuple[int, int]) -> Image:
    if plane.shape == size:
        return plane
    sides = [*zip(plane.shape, size, strict=True)]
    is_halved = all(before == 2 * after for before, after in sides)
    is_ordinary = all(
        min(before, after) >= _MIN_SWSCALE_SIDE and before <= after * _MAX_SWSCALE_RATIO
        for before, after in sides
    )
    # OpenCV is five times as fast at halving, and a fifth as fast at most other ratios.
    return _by_swscale(plane, size) if is_ordinary and not is_halved else _by_opencv(plane, size)


def _by_swscale(plane: Image, size: tuple[int, int]) -> Image:
    rows = plane if plane.strides[1] == 1 and plane.strides[0] > 0 else plane.copy()
    frame = VideoFrame.from_numpy_buffer(rows, format="gray")
    scaled = _contexts.get(plane.shape, size).reformat(
        frame, width=size[1], height=size[0], format="gray", interpolation=_AREA, threads=1
    )
    return plane_rows(scaled.planes[0])


def _by_opencv(plane: Image, size: tuple[int, int]) -> Image:
    grows = plane.shape[0] < size[0] or plane.shape[1] < size[1]
    shrinks = plane.shape[0] > size[0] or plane.shape[1] > size[1]
    if grows and shrinks:  # one side after the other
        return _by_opencv(_by_opencv(plane, (size[0], plane.shape[1])), size)
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=how), dtype=np.uint8)
