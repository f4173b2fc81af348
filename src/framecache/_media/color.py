"""Conversion of decoded YCbCr planes to those of a JPEG, plane by plane, without RGB in between.

JFIF (ITU-T T.871) means full-range BT.601: luma and chroma span 0 to 255, with the luma weights
of ITU-R BT.601. A BT.709, BT.2020 or limited-range picture is converted, not relabeled.
Transfer curves are not changed: for an HDR picture (PQ, HLG), matrix and range are converted,
without tone mapping.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from framecache.model import Image, Matrix, Picture

_LUMA_WEIGHTS: Final[dict[Matrix, tuple[float, float]]] = {
    "bt601": (0.299, 0.114),  # ITU-R BT.601-7, 2.5.1
    "bt709": (0.2126, 0.0722),  # ITU-R BT.709-6, 3.2
    "bt2020": (0.2627, 0.0593),  # ITU-R BT.2020-2, table 4, non-constant luminance
    "fcc": (0.30, 0.11),  # US FCC Title 47, 73.682 (a) (20)
    "smpte240m": (0.212, 0.087),  # SMPTE 240M
}
"""K_R and K_B of each standard, the weights of red and blue in luma; K_G = 1 - K_R - K_B."""

_NEUTRAL: Final = 128.0
_PEAK: Final = 255.0
_BLACK: Final = 16.0
_LUMA_RANGE: Final = 219.0
_CHROMA_RANGE: Final = 224.0

_ROTATIONS: Final = {
    1: cv2.ROTATE_90_CLOCKWISE,
    2: cv2.ROTATE_180,
    3: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_REVERSED_AXES: Final = {1: (1,), 2: (0, 1), 3: (0,)}
"""Axes of the rotated picture along which the source's order of pixels is reversed."""


def to_jfif(picture: Picture) -> Picture:
    """Convert a picture to full-range BT.601 (JFIF) and rotate it upright.

    Planes that need no change are returned as they are, not copied. Releases the GIL.

    Returns:
        A picture with ``matrix="bt601"``, ``full_range=True`` and ``quarter_turns=0``. Odd
        sides stay odd, with ``⌈side / 2⌉`` samples of halved chroma along them.
    """
    y, u, v = picture.y, picture.u, picture.v
    if picture.matrix != "bt601":
        y, u, v = _convert_matrix(y, u, v, _conversion(picture.matrix, picture.full_range))
    elif not picture.full_range:
        y = _rescale_range(y, _PEAK / _LUMA_RANGE, _BLACK, 0.0)
        u = _rescale_range(u, _PEAK / _CHROMA_RANGE, _NEUTRAL, _NEUTRAL)
        v = _rescale_range(v, _PEAK / _CHROMA_RANGE, _NEUTRAL, _NEUTRAL)
    if picture.quarter_turns:
        y, u, v = _rotate(y, u, v, picture.quarter_turns)
    return Picture(y, u, v, "bt601", full_range=True, quarter_turns=0)


def scale_to_width(picture: Picture, width: int) -> Picture:
    """Scale an upright picture to a width; a picture of that width is returned as it is."""
    height, before = picture.y.shape
    if width == before:
        return picture
    how = cv2.INTER_AREA if width < before else cv2.INTER_CUBIC
    is_halved = picture.u.shape[1] < before
    size = (-(-width // 2) if is_halved else width, picture.u.shape[0])
    y = _plane(cv2.resize(picture.y, (width, height), interpolation=how))
    u, v = (_plane(cv2.resize(one, size, interpolation=how)) for one in (picture.u, picture.v))
    return replace(picture, y=y, u=u, v=v)


@dataclass(frozen=True, slots=True)
class _Conversion:
    """Factors that convert stored values from one matrix and range to JFIF.

    Gray is the same in every standard, so luma does not affect chroma, and chroma changes luma
    by ``luma_u · u + luma_v · v``.
    """

    luma: float
    black: float
    luma_u: float
    luma_v: float
    uu: float
    uv: float
    vu: float
    vv: float


@cache
def _conversion(matrix: Matrix, full_range: bool) -> _Conversion:  # noqa: FBT001 - a cache key
    between = _rgb_to_ycbcr("bt601") @ np.linalg.inv(_rgb_to_ycbcr(matrix))
    luma = 1.0 if full_range else _PEAK / _LUMA_RANGE
    chroma = 1.0 if full_range else _PEAK / _CHROMA_RANGE
    (_, luma_u, luma_v), (_, uu, uv), (_, vu, vv) = between.tolist()
    return _Conversion(
        luma=luma,
        black=0.0 if full_range else _BLACK,
        luma_u=chroma * luma_u,
        luma_v=chroma * luma_v,
        uu=chroma * uu,
        uv=chroma * uv,
        vu=chroma * vu,
        vv=chroma * vv,
    )


def _rgb_to_ycbcr(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Return the 3×3 matrix from R'G'B' in 0…1 to Y' in 0…1 and Cb, Cr in -½…½ (BT.601-7, 2.5)."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    return np.stack([luma, cb, cr])


def _convert_matrix(y: Image, u: Image, v: Image, to: _Conversion) -> tuple[Image, Image, Image]:
    # The luma correction is computed at chroma resolution, scaled up to use all of its 8 bits,
    # which keeps the rounding error small. It is then repeated over the pixels that share a chroma
    # sample, by columns and rows. Interpolating it between samples would cost three times as much,
    # and change the mean error by less than a tenth of a level.
    magnified = (_NEUTRAL - 1) / (_NEUTRAL * (abs(to.luma_u) + abs(to.luma_v)))
    change = _weighted_sum(u, magnified * to.luma_u, v, magnified * to.luma_v)
    wide = change
    if change.shape[1] < y.shape[1]:
        wide = _plane(cv2.merge([change, change])).reshape(change.shape[0], -1)[:, : y.shape[1]]
    offset = -to.luma * to.black - _NEUTRAL / magnified
    new_y = np.empty_like(y)
    step = 2 if change.shape[0] < y.shape[0] else 1
    for first in range(step):
        rows, target = y[first::step], new_y[first::step]
        cv2.addWeighted(rows, to.luma, wide[: len(rows)], 1 / magnified, offset, dst=target)
    return new_y, _weighted_sum(u, to.uu, v, to.uv), _weighted_sum(u, to.vu, v, to.vv)


def _weighted_sum(u: Image, u_factor: float, v: Image, v_factor: float) -> Image:
    """Return the weighted sum of ``u`` and ``v``, both relative to the neutral value 128."""
    offset = _NEUTRAL * (1 - u_factor - v_factor)
    return _plane(cv2.addWeighted(u, u_factor, v, v_factor, offset))


def _rescale_range(plane: Image, factor: float, origin: float, new_origin: float) -> Image:
    return _plane(cv2.addWeighted(plane, factor, plane, 0.0, new_origin - factor * origin))


def _rotate(y: Image, u: Image, v: Image, quarter_turns: int) -> tuple[Image, Image, Image]:
    y, u, v = (_plane(cv2.rotate(plane, _ROTATIONS[quarter_turns])) for plane in (y, u, v))
    for axis in _REVERSED_AXES[quarter_turns]:
        # With an odd side, the unpaired last pixel is now the first, so each pair of pixels
        # straddles two of the source's chroma samples.
        if y.shape[axis] % 2 and 1 < u.shape[axis] < y.shape[axis]:
            u, v = _average_neighbors(u, axis), _average_neighbors(v, axis)
    return y, u, v


def _average_neighbors(plane: Image, axis: int) -> Image:
    if axis == 0:
        after = np.concatenate([plane[1:], plane[-1:]])
    else:
        after = np.concatenate([plane[:, 1:], plane[:, -1:]], axis=1)
    return _plane(cv2.addWeighted(plane, 0.5, after, 0.5, 0.0))


def _plane(array: npt.ArrayLike) -> Image:
    return np.asarray(array, dtype=np.uint8)
