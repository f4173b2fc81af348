"""Results of decoding, and conversion of decoded frames to planes."""

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from framecache._media.video.error_boundary import translate_errors
from framecache.model import Chroma, Image, Matrix, Picture

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
_MIN_HD_LINES: Final = 720
_NEUTRAL: Final = 128
_UINT16: Final = np.dtype(np.uint16)
_GRAY_COMPONENTS: Final = 2  # the second one is alpha

_PLANAR: Final = re.compile(r"(?:yuvj?(420|422|440|444)p|gray)(9|10|12|14|16)?(?:le)?")
_SUBSAMPLING_STEPS: Final = {"420": (0, 0), "422": (1, 0), "440": (0, 1), "444": (1, 1)}
"""1 if chroma has to be halved, in height and in width, to become 4:2:0; else 0."""

_CRASHING_FORMATS: Final = frozenset({"yaf32be", "yaf32le"})
"""Pixel formats whose conversion makes FFmpeg 8.1 abort the process."""
_PROBE_SIDE: Final = 16

_LIMITED_GRAY: Final = frozenset({"apv", "av1", "h264", "hevc", "vvc"})
"""Codecs with monochrome pictures whose standards define an untagged range as limited."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Frame that the decoder output."""

    pts: int
    """Presentation time, in the time base of the scan."""
    frame: VideoFrame
    """FFmpeg's picture, which owns the memory of the planes."""

    def __str__(self) -> str:
        return f"the picture at PTS {self.pts}"

    @translate_errors
    def to_planes(self, *, chroma: Chroma = "420") -> Picture:
        """Return the planes as stored, at 8 bits. Safe to call in another thread.

        Planes that need no change are not copied. Greater bit depths are rounded. With ``"420"``,
        finer chroma is averaged to 4:2:0; with ``"444"``, chroma keeps its resolution. Matrix and
        range stay unchanged. RGB is converted to JFIF planes.

        The matrix of an untagged picture is BT.709 if it is stored with at least 720 lines, else
        BT.601. An untagged range is taken as limited, or as full for gray. Non-square pixels stay
        as stored, and the fields of interlaced video stay woven. HDR keeps its transfer curve:
        there is no tone mapping.

        Raises:
            UnreadableChunk: FFmpeg failed to convert the picture.
        """
        planes = _read_planar(self.frame, chroma) or _convert(self.frame, chroma)
        return _mirror(planes, self.frame)

    @translate_errors
    def size(self) -> tuple[int, int]:
        """Return ``(height, width)`` of the upright picture, in pixels."""
        height, width = self.frame.height, self.frame.width
        return (width, height) if self.is_transposed() else (height, width)

    @translate_errors
    def is_transposed(self) -> bool:
        """Return True if the stored rows are columns of the upright picture."""
        return orientation(self.frame)[1] % 2 == 1


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Frame that is on the timeline but that the decoder cannot output."""

    pts: int
    """Presentation time, in the time base of the scan."""
    reason: str
    """Explanation for people to read."""


def is_convertible(pixel_format: str) -> bool:
    """Return True if pictures of a pixel format, by FFmpeg's name, can be converted to planes."""
    return pixel_format not in _CRASHING_FORMATS and _is_converted_by_ffmpeg(pixel_format)


@cache
def _is_converted_by_ffmpeg(pixel_format: str) -> bool:
    if _PLANAR.fullmatch(pixel_format):
        return True
    try:
        _convert(VideoFrame(_PROBE_SIDE, _PROBE_SIDE, pixel_format), "420")
    except (FFmpegError, ValueError):
        return False
    return True


def _read_planar(frame: VideoFrame, wanted: Chroma) -> Picture | None:
    """Return the planes of a planar YUV or gray frame stored top to bottom, else None."""
    layout = _PLANAR.fullmatch(frame.format.name)
    # If rows are stored bottom to top, PyAV takes the last row in memory for the first.
    if layout is None or any(plane.line_size < 0 for plane in frame.planes):
        return None
    subsampling, depth = layout.groups()
    full_range = _is_full_range(frame)
    bits = int(depth or 8)
    luma = _round_to_8_bits(frame.planes[0], bits, full_range=full_range)
    chroma = [
        _round_to_8_bits(plane, bits, full_range=full_range, neutral=_NEUTRAL)
        for plane in frame.planes[1:]
    ]
    if subsampling is None:
        shape = tuple(-(-side // 2) for side in luma.shape)
        chroma = [np.full(shape, _NEUTRAL, np.uint8)] * 2
    elif wanted == "420":
        chroma = [subsample_chroma(plane, *_SUBSAMPLING_STEPS[subsampling]) for plane in chroma]
    matrix = _matrix(frame)
    return Picture(luma, chroma[0], chroma[1], matrix, full_range, orientation(frame)[1])


def _convert(frame: VideoFrame, chroma: Chroma) -> Picture:
    """Convert any other frame to planes with swscale."""
    if frame.format.is_bayer:
        # swscale interpolates the colors of the mosaic only when it converts to RGB.
        frame = frame.reformat(format="rgb24", threads=1)
    elif _is_low_depth_rgb(frame):
        frame = _expand_to_8_bits(frame)
    is_rgb = frame.format.is_rgb
    matrix: Matrix = "bt601" if is_rgb else _matrix(frame)
    full_range = is_rgb or _is_full_range(frame)
    # swscale treats gray as full range, regardless of the range it is given.
    keeps_range = full_range or _is_gray(frame)
    color_range = ColorRange.JPEG if keeps_range else ColorRange.MPEG
    # Set source and destination, since swscale would convert to its own defaults otherwise.
    converted = frame.reformat(
        format="yuv420p" if chroma == "420" or _has_halved_chroma(frame) else "yuv444p",
        src_colorspace=None if is_rgb else _COLORSPACES[matrix],
        dst_colorspace=_COLORSPACES[matrix],
        src_color_range=color_range,
        dst_color_range=color_range,
        interpolation=Interpolation.AREA
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INP,
        threads=1,
    )
    y, u, v = (plane_rows(plane) for plane in converted.planes)
    return Picture(y, u, v, matrix, full_range, orientation(frame)[1])


def _has_halved_chroma(frame: VideoFrame) -> bool:
    """Return True if a frame has no finer chroma than 4:2:0."""
    sides = frame.format.chroma_width(2), frame.format.chroma_height(2)
    return sides == (1, 1) or _is_gray(frame)


def _is_low_depth_rgb(frame: VideoFrame) -> bool:
    """Return True if a frame is RGB with less than 8 bits per component, such as ``rgb555``."""
    bits = (component.bits for component in frame.format.components)
    return frame.format.is_rgb and min(bits) < 8  # noqa: PLR2004 - the bits of a byte


def _expand_to_8_bits(frame: VideoFrame) -> VideoFrame:
    """Convert coarse RGB so that its peak becomes 255; swscale's conversion to YUV darkens it."""
    name = frame.format.name
    if name.endswith("be"):
        # swscale 9.5 (FFmpeg 8.1) does not swap the bytes when it converts these to rgb24.
        frame = frame.reformat(format=f"{name.removesuffix('be')}le", threads=1)
    return frame.reformat(format="rgb24", threads=1)


def _round_to_8_bits(plane: VideoPlane, bits: int, *, full_range: bool, neutral: int = 0) -> Image:
    """Round a plane to 8 bits; ``neutral`` is its zero level at 8 bits.

    Limited range is scaled by a power of two, full range by the ratio of the peaks around the
    neutral value (ITU-R BT.2100-2, table 9).
    """
    if bits == 8:  # noqa: PLR2004 - the bits of a byte
        return plane_rows(plane)
    factor = 255 / (2**bits - 1) if full_range else 2.0 ** (8 - bits)
    shift = neutral * (1 - factor * 2 ** (bits - 8))
    deep = cv2.convertScaleAbs(_rows_16_bit(plane), alpha=factor, beta=shift)
    return np.asarray(deep, dtype=np.uint8)


def plane_rows(plane: VideoPlane) -> Image:
    """Return the samples of a plane, without a copy; their rows need not be contiguous."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _rows_16_bit(plane: VideoPlane) -> npt.NDArray[np.uint16]:
    rows = np.frombuffer(memoryview(plane), _UINT16).reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width]


def subsample_chroma(chroma: Image, vertically: int, horizontally: int) -> Image:
    """Average two neighboring samples along each side with a 1; a last odd one stays unchanged."""
    if not (vertically or horizontally):
        return chroma
    height, width = chroma.shape
    odd_row, odd_column = height % 2 * vertically, width % 2 * horizontally
    even = cv2.copyMakeBorder(chroma, 0, odd_row, 0, odd_column, cv2.BORDER_REPLICATE)
    size = (even.shape[1] >> horizontally, even.shape[0] >> vertically)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _matrix(frame: VideoFrame) -> Matrix:
    untagged: Matrix = "bt709" if frame.height >= _MIN_HD_LINES else "bt601"
    return _MATRICES.get(frame.colorspace, untagged)


def tag_range(frame: VideoFrame, codec: str) -> None:
    """Tag a gray frame without a range as limited if the standard of its codec says so."""
    is_untagged = frame.color_range == ColorRange.UNSPECIFIED
    if is_untagged and codec in _LIMITED_GRAY and _is_gray(frame):
        frame.color_range = ColorRange.MPEG


def _is_full_range(frame: VideoFrame) -> bool:
    """Return True if a frame is tagged as full range, or is gray and untagged.

    FFmpeg treats untagged gray as full range.
    """
    if frame.color_range == ColorRange.UNSPECIFIED and _is_gray(frame):
        return True
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _is_gray(frame: VideoFrame) -> bool:
    layout = frame.format
    return not (layout.is_rgb or layout.has_palette) and len(layout.components) <= _GRAY_COMPONENTS


def _mirror(picture: Picture, frame: VideoFrame) -> Picture:
    if not orientation(frame)[0]:
        return picture
    y, u, v = (
        np.asarray(cv2.flip(plane, 1), dtype=np.uint8)
        for plane in (picture.y, picture.u, picture.v)
    )
    return Picture(y, u, v, picture.matrix, picture.full_range, picture.quarter_turns)


def _type_without_name(cls: type[Type], value: object) -> Type:
    unnamed = object.__new__(cls)
    unnamed._name_ = f"UNNAMED_{value}"
    unnamed._value_ = value  # type: ignore[assignment]  # PyAV's stubs know the named ones
    return unnamed


# Listing the side data of a frame raises ValueError if PyAV has no name for the type of an item.
# PyAV 18.1 lacks four types of FFmpeg 8.1, among them those of MV-HEVC, LCEVC and EXIF.
setattr(Type, "_missing_", classmethod(_type_without_name))  # noqa: B010 - mypy takes it so


def orientation(frame: VideoFrame) -> tuple[bool, int]:
    """Return whether to mirror a frame left to right, and the clockwise quarter turns after that.

    The display matrix (ISO/IEC 14496-12, 6.2.2) maps the pixel (x, y) of the frame to
    (a·x + c·y, b·x + d·y) on the screen, with y pointing down.
    """
    # frame.side_data refers back to the frame. The cycle would keep whole pictures in memory
    # until the garbage collector runs.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # not in the stubs
    if matrix is None:
        return False, 0
    a, b, _, c, d, *_ = np.frombuffer(memoryview(matrix), np.int32).tolist()
    mirrored = a * d - b * c < 0
    angle = math.atan2(-b, -a) if mirrored else math.atan2(b, a)
    return mirrored, round(angle / (math.pi / 2)) % 4
