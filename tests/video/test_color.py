"""A frame's JPEG shows the colors of the video, upright. The reference is ffmpeg's zscale
(an independent library) and its autorotation, or from the standards' formulas in floating point.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from framecache._media import color, jpeg, video
from framecache.model import Image, Matrix, Picture
from media import ffmpeg, ffprobe, made, make_clip, real_clip
from sample_clips import clip

FRAMES = 4
TAGS: dict[Matrix, tuple[str, str]] = {
    "bt601": ("smpte170m", "170m"),
    "bt709": ("bt709", "709"),
    "bt2020": ("bt2020nc", "2020_ncl"),
}
"""Names of each matrix: for encoders, for zscale."""

READ = {
    "bikes.mp4": "matrixin=170m:rangein=limited",
    "bigbuckbunny.mp4": "matrixin=709:rangein=limited",
}
"""Color matrix and range of a real clip."""

SOFT = "crop=320:180,gblur=sigma=1.5"
"""Takes off the grain, which costs a JPEG more than a level at quality 95."""


def frames_of(path: Path, count: int | None = None) -> list[Picture]:
    with path.open("rb") as file:
        scan = video.scan(file, name=path.name)
        items = list(video.decode(file, scan, scan.pts[:count], name=path.name, threads=1))
    assert all(isinstance(item, video.Decoded) for item in items)
    return [item.to_planes() for item in items if isinstance(item, video.Decoded)]


def stored(picture: Picture, *, quality: int = 95) -> Image:
    return jpeg.decode(jpeg.encode_picture(color.to_jfif(picture), quality=quality))


def error(left: Image, right: Image) -> float:
    return float(np.abs(left.astype(np.int16) - right.astype(np.int16)).mean())


def lost_in_jpeg(reference: Image) -> float:
    """Return the error of a JPEG of the reference itself: no encoder can do much better."""
    return error(jpeg.decode(jpeg.encode_rgb(reference, quality=95)), reference)


def zscaled(path: Path, matrix: Matrix, *, full: bool) -> npt.NDArray[np.uint8]:
    """Return RGB of the first frames, by zscale with explicit input tags."""
    stream = ffprobe(path, "-show_streams")["streams"][0]
    input_tags = f"matrixin={TAGS[matrix][1]}:rangein={'full' if full else 'limited'}"
    graph = f"zscale={input_tags}:matrix=gbr:range=full:dither=none,format=gbrp,format=rgb24"
    raw = ffmpeg("-i", str(path), "-vf", graph, "-frames:v", str(FRAMES), "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 3)


def tagged_clip(source: str, matrix: Matrix, *, full: bool, pixels: str) -> Path:
    """``source`` re-encoded so that its matrix and range are those, and are tagged so."""
    name = f"colour-{source}-{matrix}-{'full' if full else 'limited'}-{pixels}.mkv"
    return made(name, lambda path: encode_tagged(path, source, matrix, full=full, pixels=pixels))


def encode_tagged(path: Path, source: str, matrix: Matrix, *, full: bool, pixels: str) -> None:
    tag, zscale_matrix = TAGS[matrix]
    deep = not pixels.endswith("p")
    numbers = f"matrix={zscale_matrix}:range={'full' if full else 'limited'}"
    graph = f"{SOFT},zscale={READ[source]}:matrix=gbr:range=full,format=gbrp"
    graph += f",zscale=matrixin=gbr:rangein=full:{numbers},format={pixels}"
    color_range = "pc" if full else "tv"
    ffmpeg(
        *("-i", str(real_clip(source))),
        *("-frames:v", str(FRAMES), "-vf", graph),
        *("-c:v", "libx265" if deep else "libx264", "-preset", "ultrafast", "-crf", "10"),
        *("-x265-params", f"log-level=none:colormatrix={tag}:range={numbers.rpartition('=')[2]}"),
        *("-colorspace", tag, "-color_range", color_range),
        str(path),
    )


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("source", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_tagged_clip_colors_match_zscale(
    source: str, matrix: Matrix, *, full: bool, pixels: str
) -> None:
    path = tagged_clip(source, matrix, full=full, pixels=pixels)
    references = zscaled(path, matrix, full=full)
    for picture, reference in zip(frames_of(path), references, strict=True):
        assert (picture.matrix, picture.full_range) == (matrix, full)
        grain = max(1.0, lost_in_jpeg(reference) + 0.1) if source == "bigbuckbunny.mp4" else 1.0
        assert error(stored(picture), reference) <= grain


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_real_clip_colors_match_zscale_within_jpeg_loss(name: str) -> None:
    matrix: Matrix = "bt709" if name == "bigbuckbunny.mp4" else "bt601"
    # Their grain causes an error of up to 1.2 levels at quality 95 with any input of the encoder.
    path = real_clip(name)
    references = zscaled(path, matrix, full=False)
    for picture, reference in zip(frames_of(path, FRAMES), references, strict=True):
        assert error(stored(picture), reference) <= lost_in_jpeg(reference) + 0.15


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixels", ["yuv422p", "yuv444p", "yuv422p10le", "yuv444p12le"])
def test_finer_chroma_and_higher_bit_depths_keep_their_colors(pixels: str, *, full: bool) -> None:
    path = tagged_clip("bikes.mp4", "bt709", full=full, pixels=pixels)
    references = zscaled(path, "bt709", full=full)
    for picture, reference in zip(frames_of(path), references, strict=True):
        assert error(stored(picture), reference) <= 1.0


@pytest.mark.parametrize("pixels", ["bgr0", "gray", "gray10le"])
def test_rgb_and_gray_sources_keep_their_colors(pixels: str) -> None:
    path = made(
        f"lossless-{pixels}.mkv",
        lambda one: ffmpeg(
            *("-i", str(real_clip("bikes.mp4")), "-frames:v", str(FRAMES), "-vf", SOFT),
            *("-c:v", "ffv1", "-pix_fmt", pixels, str(one)),
        ),
    )
    raw = ffmpeg("-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    references = np.frombuffer(raw, np.uint8).reshape(-1, 180, 320, 3)
    for picture, reference in zip(frames_of(path), references, strict=True):
        assert error(stored(picture), reference) <= 1.0


@pytest.mark.parametrize(
    ("size", "matrix"), [((1280, 720), "bt709"), ((1280, 718), "bt601"), ((64, 720), "bt709")]
)
def test_untagged_picture_is_bt709_from_720_lines_up(size: tuple[int, int], matrix: Matrix) -> None:
    name = f"untagged-{size[0]}x{size[1]}.mp4"
    path = made(name, lambda one: make_clip(one, size=size, frames=1))
    [picture] = frames_of(path)
    assert (picture.matrix, picture.full_range) == (matrix, False)


def test_motion_jpeg_is_full_range_bt601_at_any_size() -> None:
    path = made(
        "large.avi",
        lambda one: make_clip(
            one, codec="mjpeg", size=(1280, 720), frames=1, extra=("-pix_fmt", "yuvj420p")
        ),
    )
    [picture] = frames_of(path)
    assert (picture.matrix, picture.full_range) == ("bt601", True)


def upright(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Luma of all frames as ffmpeg shows them, at the video's own range."""
    raw = ffmpeg("-i", str(path), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
    half = -(-width // 2) * -(-height // 2)
    planes = np.frombuffer(raw, np.uint8).reshape(-1, width * height + 2 * half)
    return planes[:, : width * height].reshape(-1, height, width)


@pytest.mark.parametrize(
    "name",
    [
        "turned-90.mp4",
        "turned-180.mp4",
        "turned-270.mp4",
        "mirrored.mp4",
        "odd-turned-90.mp4",
        "odd-turned-180.mp4",
        "odd-turned-270.mp4",
    ],
)
def test_pictures_are_rotated_as_by_ffmpeg(name: str) -> None:
    path = clip(name)
    pictures = frames_of(path)
    as_full = [Picture(p.y, p.u, p.v, "bt601", True, p.quarter_turns) for p in pictures]
    shown = [color.to_jfif(picture) for picture in as_full]
    height, width = shown[0].y.shape
    expected = upright(path, width, height)
    assert len(shown) == len(expected)
    assert all((one.y == other).all() for one, other in zip(shown, expected, strict=True))
    assert {one.u.shape for one in shown} == {(-(-height // 2), -(-width // 2))}


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(6, 8), (7, 8), (6, 9), (7, 9), (1, 1), (1, 5), (64, 33)])
def test_chroma_keeps_its_position_when_a_picture_is_rotated(
    shape: tuple[int, int], turns: int
) -> None:
    # Chroma that rises along a diagonal shows the position of each sample.
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    full = (60 + 2 * rows + columns).astype(np.float64)
    halved = average_pairs(full)
    plane = np.rint(halved).astype(np.uint8)
    luma = np.zeros(shape, np.uint8)
    turned = color.to_jfif(Picture(luma, plane, plane, "bt601", True, turns))
    expected = average_pairs(np.rot90(full, -turns))
    assert turned.u.shape == expected.shape
    # A lone last sample stands for one row of pixels, others for two: half a step off.
    assert np.abs(turned.u.astype(np.float64) - expected).max() <= 2.0


def average_pairs(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    quarters = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    return np.asarray(quarters.mean(axis=(1, 3)))


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020", "fcc", "smpte240m"])
def test_flat_colors_match_the_formulas_of_the_standards(matrix: Matrix, *, full: bool) -> None:
    for rgb in ((0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 60), (20, 180, 90)):
        coded = to_ycc(rgb, *KR_KB[matrix], full=full)
        y, u, v = (np.full((4, 4), round(value), np.uint8) for value in coded)
        shown = color.to_jfif(Picture(y, u[:2, :2], v[:2, :2], matrix, full, 0))
        expected = to_ycc(rgb, 0.299, 0.114, full=True)
        found = [float(plane.mean()) for plane in (shown.y, shown.u, shown.v)]
        assert np.abs(np.array(found) - expected).max() <= 1.6
        assert len(np.unique(shown.y)) == 1


KR_KB: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}


def to_ycc(
    rgb: tuple[int, int, int], kr: float, kb: float, *, full: bool
) -> tuple[float, float, float]:
    red, green, blue = (value / 255 for value in rgb)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    if full:
        return 255 * luma, 128 + 255 * cb, 128 + 255 * cr
    return 16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (5, 3), (33, 64)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_picture_of_any_size_is_converted(matrix: Matrix, shape: tuple[int, int]) -> None:
    dice = np.random.default_rng(1)
    half = tuple(-(-side // 2) for side in shape)
    y, u, v = (dice.integers(16, 235, one, np.uint8) for one in (shape, half, half))
    shown = color.to_jfif(Picture(y, u, v, matrix, False, 0))
    assert (shown.y.shape, shown.u.shape, shown.v.shape) == (shape, half, half)
    alone = color.to_jfif(Picture(y[-1:, -1:], u[-1:, -1:], v[-1:, -1:], matrix, False, 0))
    assert shown.y[-1, -1] == alone.y[0, 0]


def test_rows_with_padding_between_them_are_converted() -> None:
    dice = np.random.default_rng(2)
    y, u, v = (dice.integers(16, 235, (40, 100), np.uint8) for _ in range(3))
    apart = color.to_jfif(Picture(y[:, :51], u[:20, :26], v[:20, :26], "bt709", False, 0))
    packed = [np.ascontiguousarray(one) for one in (y[:, :51], u[:20, :26], v[:20, :26])]
    together = color.to_jfif(Picture(packed[0], packed[1], packed[2], "bt709", False, 0))
    assert (apart.y == together.y).all()
    assert (apart.u == together.u).all()


def test_jfif_planes_are_returned_unchanged() -> None:
    y, u = np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8)
    shown = color.to_jfif(Picture(y, u, u, "bt601", True, 0))
    assert shown.y is y
    assert shown.u is u


def test_source_planes_are_not_modified() -> None:
    y, u = np.full((8, 8), 90, np.uint8), np.full((4, 4), 70, np.uint8)
    for matrix, turns in (("bt709", 0), ("bt601", 2)):
        color.to_jfif(Picture(y, u, u, matrix, False, turns))  # type: ignore[arg-type]
    assert np.unique(y).tolist() == [90]
    assert np.unique(u).tolist() == [70]


def test_planes_stay_valid_after_the_frame_is_released() -> None:
    pictures = frames_of(clip("h264.mp4"))
    again = frames_of(clip("h264.mp4"))
    assert all((one.y == other.y).all() for one, other in zip(pictures, again, strict=True))
    assert cv2.countNonZero(pictures[0].y) > 0
