"""Pictures of every pixel format, to compare with FFmpeg's own conversion and the original."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from av.error import FFmpegError
from av.video import format as formats
from av.video.frame import VideoFrame
from PIL import Image as PillowImage
from PIL import ImageOps

from framecache._media import color, jpeg, video
from framecache._media.video import decoded
from framecache.errors import UnreadableChunk
from framecache.model import Image
from media import ffmpeg, made

HEIGHT, WIDTH = 64, 96
ABORTING = {"yaf32be", "yaf32le"}
"""Formats whose conversion makes FFmpeg 8.1 end the process."""
DITHERED = {"bgr4_byte", "rgb4_byte", "bgr8", "rgb8", "monob", "monow"}
"""So few bits that only the mean of many pixels is near the original."""


def gradient() -> Image:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = 40 + rows * 170 // HEIGHT, 40 + columns * 170 // WIDTH
    return np.stack([red, green, 210 - red // 2 - green // 4], axis=-1).astype(np.uint8)


def shades() -> Image:
    return np.repeat(gradient()[:, :, 1:2], 3, axis=2)


def stored(frame: VideoFrame) -> Image:
    picture = color.to_jfif(video.Decoded(0, frame).to_planes())
    return jpeg.decode(jpeg.encode_picture(picture, quality=100))


def mean_difference(left: Image, right: Image) -> float:
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


def coarse(image: Image) -> npt.NDArray[np.float64]:
    blocks = image.reshape(HEIGHT // 16, 16, WIDTH // 16, 16, 3)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float64)


def is_gray(name: str) -> bool:
    layout = formats.VideoFormat(name)
    return len(layout.components) <= 2 and not (layout.is_rgb or layout.has_palette)


def converted(name: str) -> tuple[Image, VideoFrame] | None:
    """Return an image, and the same in a pixel format; None if FFmpeg cannot convert both ways."""
    original = shades() if is_gray(name) else gradient()
    try:
        frame = VideoFrame.from_ndarray(original, format="rgb24").reformat(format=name)
        frame.reformat(format="rgb24")
    except (FFmpegError, ValueError):
        return None
    return original, frame


ALL = sorted(set(formats.names) - ABORTING)  # type: ignore[attr-defined]  # not in the stubs
CONVERTED = {name: both for name in ALL if (both := converted(name)) is not None}


@pytest.mark.parametrize("name", CONVERTED)
def test_picture_in_any_convertible_format_resembles_the_original(name: str) -> None:
    original, frame = CONVERTED[name]
    if name in DITHERED:
        assert np.abs(coarse(stored(frame)) - coarse(original)).mean() < 12
    else:
        assert mean_difference(stored(frame), original) < 4


@pytest.mark.parametrize("name", ["bggr", "rggb", "gbrg", "grbg"])
def test_bayer_mosaic_is_converted_to_its_colors(name: str) -> None:
    original = gradient()
    frame = VideoFrame(WIDTH, HEIGHT, f"bayer_{name}8")
    rows = np.zeros((HEIGHT, frame.planes[0].line_size), np.uint8)
    for place, channel in enumerate("rgb".index(letter) for letter in name):
        at = (slice(place // 2, None, 2), slice(place % 2, WIDTH, 2))
        rows[at] = original[:, :, channel][at]
    frame.planes[0].update(rows.tobytes())
    assert mean_difference(stored(frame), original) < 2


@pytest.mark.parametrize("name", sorted(ABORTING | {"rgba128le", "gray32be"}))
def test_format_that_ffmpeg_cannot_convert_is_not_convertible(name: str) -> None:
    assert not decoded.is_convertible(name)


def test_video_in_an_unconvertible_format_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoded, "_CRASHING_FORMATS", frozenset({"yuv411p"}))
    path = made("411.mkv", lambda one: _pattern(one, "-pix_fmt", "yuv411p", "-c:v", "ffv1"))
    with pytest.raises(UnreadableChunk, match=r"pixel format yuv411p.*ffmpeg -i FILE -pix_fmt"):
        video.scan(io.BytesIO(path.read_bytes()), name="chunk.mkv")


def test_bottom_up_rows_are_read_in_order() -> None:
    """FFmpeg decodes the pictures of AMV players so."""
    path = made(
        "bottom-up.avi",
        lambda one: _pattern(one, "-pix_fmt", "yuvj420p", "-c:v", "amv", source="smptebars"),
    )
    frame = first_frame(path)
    assert frame.planes[0].line_size < 0
    truth = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    assert mean_difference(stored(frame), truth) < 4


RAMP = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
PICK = [0, 5, 16, 64, 128, 235, 245, 255]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ramp.avi", ("-c:v", "rawvideo")),
        ("ramp.mkv", ("-c:v", "ffv1")),
        ("ramp-huffyuv.avi", ("-c:v", "ffvhuff")),
        ("ramp-png.mov", ("-c:v", "png")),
        ("ramp-16.avi", ("-pix_fmt", "gray16le", "-c:v", "ffv1")),
        ("ramp-jpeg2000.mov", ("-c:v", "jpeg2000")),
        ("ramp-h264.mp4", ("-pix_fmt", "gray", "-c:v", "libx264", "-crf", "1")),
    ],
)
def test_gray_video_has_the_values_of_ffmpeg(name: str, options: tuple[str]) -> None:
    path = made(name, lambda one: _ramp(one, options))
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-frames:v", "1", "-")
    truth = np.frombuffer(raw, np.uint8).reshape(64, 256, 3)
    found = stored(first_frame(path))
    assert np.abs(found[32, PICK].astype(int) - truth[32, PICK].astype(int)).max() <= 5


@pytest.mark.parametrize("codec", ["libx265", "libaom-av1"])
def test_monochrome_video_is_limited_range_where_the_standard_says_so(codec: str) -> None:
    options = ("-pix_fmt", "gray", "-c:v", codec, "-crf", "1")
    quick = ("-x265-params", "log-level=none") if codec == "libx265" else ("-cpu-used", "8")
    path = made(f"ramp-{codec}.mp4", lambda one: _ramp(one, (*options, *quick)))
    frame = first_frame(path)
    assert frame.format.name == "gray"
    # Black is 16 and white is 235 (ITU-R BT.709-6, 3.5).
    expected = np.clip((np.array(PICK) - 16) * 255 / 219, 0, 255)
    assert np.abs(stored(frame)[32, PICK, 0] - expected).max() <= 5


@pytest.mark.parametrize("value", range(1, 9))
def test_pictures_are_oriented_by_their_exif_data(value: int, tmp_path: Path) -> None:
    """EXIF is side data of frames without a name in PyAV; Pillow reads it as well."""
    exif = PillowImage.Exif()
    exif[0x0112] = value  # Orientation (EXIF 2.32, 4.6.4)
    still = tmp_path / "still.jpg"
    PillowImage.fromarray(gradient()).save(still, exif=exif, quality=95)
    path = tmp_path / "motion.avi"
    ffmpeg("-framerate", "25", "-i", str(still), "-c", "copy", str(path))
    data = path.read_bytes()
    found = video.scan(io.BytesIO(data), name="motion.avi")
    (item,) = video.decode(io.BytesIO(data), found, found.pts, name="motion.avi", threads=1)
    assert isinstance(item, video.Decoded)
    with PillowImage.open(still) as image:
        truth = np.asarray(ImageOps.exif_transpose(image))
    assert (found.height, found.width) == truth.shape[:2]
    assert mean_difference(stored(item.frame), truth) < 2


def first_frame(path: Path) -> VideoFrame:
    data = path.read_bytes()
    found = video.scan(io.BytesIO(data), name=path.name)
    item = next(video.decode(io.BytesIO(data), found, found.pts[:1], name=path.name, threads=1))
    assert isinstance(item, video.Decoded)
    return item.frame


def _pattern(path: Path, *options: str, source: str = "testsrc2") -> None:
    graph = f"{source}=size=160x128:rate=25"
    ffmpeg("-f", "lavfi", "-i", graph, "-frames:v", "3", *options, str(path))


def _ramp(path: Path, options: tuple[str, ...]) -> None:
    still = path.with_suffix(".gray")
    still.write_bytes(RAMP.tobytes() * 3)
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", "256x64", "-r", "25")
    ffmpeg(*raw, "-i", str(still), *options, str(path))
    still.unlink()
