"""What a decoder gives, and the planes in it."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from framecache.model import Image, Matrix, Picture
from framecache.video.boundary import typed_errors
from framecache.video.orientation import orientation

_MATRICES: Final[dict[int, Matrix]] = {  # ITU-T H.273, table 4, MatrixCoefficients
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
_COLORSPACES: Final[dict[Matrix, Colorspace]] = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
}
_HD_LINES: Final = 720
_NEUTRAL: Final = 128
_DEEP: Final = np.dtype(np.uint16)
_GRAY_COMPONENTS: Final = 2  # the second one is opacity

_PLANAR: Final = re.compile(r"(?:yuvj?(420|422|440|444)p|gray)(9|10|12|14|16)?(?:le)?")
_HALVED: Final = {"420": (0, 0), "422": (1, 0), "440": (0, 1), "444": (1, 1)}
"""Whether chroma has yet to be halved, in height and in width, to become 4:2:0."""

_ABORTING: Final = frozenset({"yaf32be", "yaf32le"})
"""Pixel formats at which FFmpeg 8.1 ends the process when it is asked to convert them."""
_TRIAL_SIDE: Final = 16

_LIMITED_GRAY: Final = frozenset({"apv", "av1", "h264", "hevc", "vvc"})
"""Codecs with monochrome pictures whose standards say that an untagged range is the limited one."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A frame the decoder produced."""

    pts: int
    """Presentation time, in the time base of the scan."""
    frame: VideoFrame
    """FFmpeg's picture, which keeps the memory of the planes."""

    def __str__(self) -> str:
        return f"the picture at PTS {self.pts}"

    @typed_errors
    def picture(self) -> Picture:
        """The planes as stored, at 8 bits and 4:2:0. Safe to call in another thread.

        Planes that are 8-bit 4:2:0 already are not copied. Deeper ones are rounded, finer
        chroma is averaged; matrix and range stay as they are. RGB becomes JFIF's planes.

        The matrix of an untagged picture is BT.709 when it is stored with 720 lines or more,
        else BT.601. An untagged range is the limited one, or of gray the full one. Non-square
        pixels are left as they are stored, and interlaced lines woven. HDR keeps its transfer
        curve: no tone mapping.

        Raises:
            BadChunk: FFmpeg failed to convert it.
        """
        return _mirrored(_planar(self.frame) or _converted(self.frame), self.frame)

    @typed_errors
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the picture shown upright, in pixels."""
        height, width = self.frame.height, self.frame.width
        return (width, height) if self.is_turned() else (height, width)

    @typed_errors
    def is_turned(self) -> bool:
        """Whether rows of the picture are columns of what is seen upright."""
        return orientation(self.frame)[1] % 2 == 1


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A frame that is on the timeline, and that the decoder cannot produce."""

    pts: int
    """Presentation time, in the time base of the scan."""
    reason: str
    """Why, for a person to read."""


def is_convertible(pixel_format: str) -> bool:
    """Whether pictures of a pixel format, which FFmpeg names so, can be converted to planes."""
    return pixel_format not in _ABORTING and _is_converted_by_ffmpeg(pixel_format)


@cache
def _is_converted_by_ffmpeg(pixel_format: str) -> bool:
    if _PLANAR.fullmatch(pixel_format):
        return True
    try:
        _converted(VideoFrame(_TRIAL_SIDE, _TRIAL_SIDE, pixel_format))
    except (FFmpegError, ValueError):
        return False
    return True


def _planar(frame: VideoFrame) -> Picture | None:
    """The planes of a planar YUV or gray frame with rows from top to bottom, else None."""
    layout = _PLANAR.fullmatch(frame.format.name)
    # PyAV takes the last row in memory for the first, where rows lie from bottom to top.
    if layout is None or any(plane.line_size < 0 for plane in frame.planes):
        return None
    subsampling, depth = layout.groups()
    full_range = _is_full_range(frame)
    bits = int(depth or 8)
    luma = _eight_bits(frame.planes[0], bits, full_range=full_range)
    chroma = [
        _eight_bits(plane, bits, full_range=full_range, neutral=_NEUTRAL)
        for plane in frame.planes[1:]
    ]
    if subsampling is None:
        shape = tuple(-(-side // 2) for side in luma.shape)
        chroma = [np.full(shape, _NEUTRAL, np.uint8)] * 2
    else:
        chroma = [_halved(plane, *_HALVED[subsampling]) for plane in chroma]
    matrix = _matrix(frame)
    return Picture(luma, chroma[0], chroma[1], matrix, full_range, orientation(frame)[1])


def _converted(frame: VideoFrame) -> Picture:
    """The planes of any other frame, by swscale."""
    if frame.format.is_bayer:
        # Only on the way to RGB does swscale find the colours between those of the mosaic.
        frame = frame.reformat(format="rgb24", threads=1)
    elif _is_coarse_rgb(frame):
        frame = _with_eight_bits(frame)
    is_rgb = frame.format.is_rgb
    matrix: Matrix = "bt601" if is_rgb else _matrix(frame)
    full_range = is_rgb or _is_full_range(frame)
    # To swscale, gray is of full range, whatever it is told.
    keeps_range = full_range or _is_gray(frame)
    color_range = ColorRange.JPEG if keeps_range else ColorRange.MPEG
    # Unless it is told both sides, swscale converts to what it takes for the default.
    converted = frame.reformat(
        format="yuv420p",
        src_colorspace=None if is_rgb else _COLORSPACES[matrix],
        dst_colorspace=_COLORSPACES[matrix],
        src_color_range=color_range,
        dst_color_range=color_range,
        interpolation=Interpolation.AREA
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INP,
        threads=1,
    )
    y, u, v = (_rows(plane) for plane in converted.planes)
    return Picture(y, u, v, matrix, full_range, orientation(frame)[1])


def _is_coarse_rgb(frame: VideoFrame) -> bool:
    """Whether a frame is RGB of less than 8 bits a component, such as ``rgb555``."""
    bits = (component.bits for component in frame.format.components)
    return frame.format.is_rgb and min(bits) < 8  # noqa: PLR2004 - the bits of a byte


def _with_eight_bits(frame: VideoFrame) -> VideoFrame:
    """Convert coarse RGB so that its peak becomes 255; on the way to YUV, swscale darkens it."""
    name = frame.format.name
    if name.endswith("be"):
        # On its way from these to rgb24, swscale 9.5 (FFmpeg 8.1) does not swap their bytes.
        frame = frame.reformat(format=f"{name.removesuffix('be')}le", threads=1)
    return frame.reformat(format="rgb24", threads=1)


def _eight_bits(plane: VideoPlane, bits: int, *, full_range: bool, neutral: int = 0) -> Image:
    """Round a plane to 8 bits; ``neutral`` is what stands for nothing in it, at 8 bits.

    Limited range is scaled by a power of two, full range by the ratio of the peaks around the
    neutral value (ITU-R BT.2100-2, table 9).
    """
    if bits == 8:  # noqa: PLR2004 - the bits of a byte
        return _rows(plane)
    factor = 255 / (2**bits - 1) if full_range else 2.0 ** (8 - bits)
    shift = neutral * (1 - factor * 2 ** (bits - 8))
    deep = cv2.convertScaleAbs(_deep_rows(plane), alpha=factor, beta=shift)
    return np.asarray(deep, dtype=np.uint8)


def _rows(plane: VideoPlane) -> Image:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _deep_rows(plane: VideoPlane) -> npt.NDArray[np.uint16]:
    rows = np.frombuffer(memoryview(plane), _DEEP).reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width]


def _halved(chroma: Image, vertically: int, horizontally: int) -> Image:
    """Average neighbours; a lone last one stays as it is."""
    if not (vertically or horizontally):
        return chroma
    height, width = chroma.shape
    odd_row, odd_column = height % 2 * vertically, width % 2 * horizontally
    even = cv2.copyMakeBorder(chroma, 0, odd_row, 0, odd_column, cv2.BORDER_REPLICATE)
    size = (even.shape[1] >> horizontally, even.shape[0] >> vertically)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _matrix(frame: VideoFrame) -> Matrix:
    untagged: Matrix = "bt709" if frame.height >= _HD_LINES else "bt601"
    return _MATRICES.get(frame.colorspace, untagged)


def tag_range(frame: VideoFrame, codec: str) -> None:
    """Mark a gray frame without a range as limited, where the standard of its codec says so."""
    is_untagged = frame.color_range == ColorRange.UNSPECIFIED
    if is_untagged and codec in _LIMITED_GRAY and _is_gray(frame):
        frame.color_range = ColorRange.MPEG


def _is_full_range(frame: VideoFrame) -> bool:
    """Whether a frame is tagged as full range, or is untagged gray, which FFmpeg takes for it."""
    if frame.color_range == ColorRange.UNSPECIFIED and _is_gray(frame):
        return True
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _is_gray(frame: VideoFrame) -> bool:
    layout = frame.format
    return not (layout.is_rgb or layout.has_palette) and len(layout.components) <= _GRAY_COMPONENTS


def _mirrored(picture: Picture, frame: VideoFrame) -> Picture:
    if not orientation(frame)[0]:
        return picture
    y, u, v = (
        np.asarray(cv2.flip(plane, 1), dtype=np.uint8)
        for plane in (picture.y, picture.u, picture.v)
    )
    return Picture(y, u, v, picture.matrix, picture.full_range, picture.quarter_turns)
