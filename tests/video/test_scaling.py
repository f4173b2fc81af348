"""Planes are scaled by area, exactly, and chroma stays in its place; the reference is OpenCV's area
resize in floating point, and ffmpeg for sizes.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PillowImage

from framecache._core.frame_size import limit_size
from framecache._media import color, jpeg, video
from framecache.model import Chroma, Image, Picture
from media import ffmpeg

Floats = npt.NDArray[np.float32]
SIZES = [
    ((720, 1280), (360, 640)),
    ((720, 1280), (126, 224)),
    ((720, 1280), (169, 300)),
    ((720, 1280), (719, 1279)),
    ((719, 1279), (563, 1001)),
    ((101, 67), (50, 33)),
    ((40, 1000), (1, 25)),
    ((33, 49), (17, 9)),
    ((64, 96), (33, 50)),
    ((3, 5), (1, 2)),
    ((1, 9), (1, 4)),
    ((1000, 1000), (4, 3)),
]
"""Heights and widths, before and after."""


def noise(height: int, width: int, *, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def by_area(plane: npt.ArrayLike, size: tuple[int, int]) -> Floats:
    resized = cv2.resize(np.asarray(plane, np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.float32)


def halved(plane: Floats) -> Floats:
    """Return the means of 2×2 samples; the last ones of odd sides count twice."""
    even = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    return np.asarray(even.reshape(len(even) // 2, 2, -1, 2).mean(axis=(1, 3)), np.float32)


def waves(height: int, width: int) -> Floats:
    """Return a smooth plane that changes by up to 12 levels from one of 200 columns to the next."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    plane: Floats = 128 + 60 * np.sin(columns * 40 / width) + 50 * np.cos(rows * 30 / height)
    return plane


def of_planes(y: npt.ArrayLike, u: npt.ArrayLike, v: npt.ArrayLike) -> Picture:
    y, u, v = (np.asarray(np.rint(plane), np.uint8) for plane in (y, u, v))
    return Picture(y, u, v, "bt601", full_range=True, quarter_turns=0)


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(("before", "after"), SIZES, ids=str)
def test_each_plane_is_the_area_mean(
    before: tuple[int, int], after: tuple[int, int], chroma: Chroma
) -> None:
    picture = of_planes(*(noise(*before, seed=seed) for seed in range(3)))
    scaled = video.scale(picture, after[1], after[0], chroma=chroma)
    expected = [by_area(plane, after) for plane in (picture.y, picture.u, picture.v)]
    if chroma == "420":
        expected[1:] = map(halved, expected[1:])
    for plane, truth in zip((scaled.y, scaled.u, scaled.v), expected, strict=True):
        assert plane.shape == truth.shape
        difference = np.abs(plane - truth)
        assert difference.mean() < (0.5 if truth.size < 100 else 0.36)
        assert difference.max() < 2


@pytest.mark.parametrize("source", ["420", "422", "444"])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(
    "after", [(113, 200), (112, 200), (113, 201), (57, 101), (1, 3), (226, 401)]
)
@pytest.mark.parametrize("before", [(226, 401), (225, 400), (226, 400)], ids=str)
def test_chroma_stays_in_its_place(
    before: tuple[int, int], after: tuple[int, int], chroma: Chroma, source: str
) -> None:
    smooth = waves(*before)
    after_it = np.pad(smooth, ((0, 0), (0, 1)), mode="edge")[:, 1:]
    across = np.asarray((smooth + after_it)[:, ::2] / 2, np.float32)
    sources: dict[str, Floats] = {"420": halved(smooth), "422": across, "444": smooth}
    given = sources[source]
    picture = of_planes(smooth, given, 255 - given)
    height, width = min(before[0], after[0]), min(before[1], after[1])
    scaled = video.scale(picture, width, height, chroma=chroma)
    truth = by_area(smooth, (height, width))
    truth = halved(truth) if chroma == "420" else truth
    assert scaled.u.shape == scaled.v.shape == truth.shape
    # A shift by one of 200 columns would change this by 5 levels in the mean.
    for plane in (scaled.u, 255 - scaled.v):
        assert np.abs(plane - truth).mean() < 0.7
        assert np.abs(plane - truth).max() < 5  # beyond the first and last sample nothing is known


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_picture_that_has_the_size_is_not_copied(chroma: Chroma) -> None:
    side = 32 if chroma == "444" else 16
    picture = of_planes(noise(32, 32), noise(side, side), noise(side, side))
    assert video.scale(picture, 32, 32, chroma=chroma) is picture


def test_rows_in_other_memory_do_not_change_the_result() -> None:
    plane = noise(300, 400)
    expected = video.scale(of_planes(plane, plane, plane), 211, 157, chroma="444").y
    for other in (
        np.pad(plane, 7, constant_values=255)[7:-7, 7:-7],
        np.asfortranarray(plane),
        np.ascontiguousarray(plane[::-1])[::-1],
        np.frombuffer(plane.tobytes(), np.uint8).reshape(plane.shape),
    ):
        picture = Picture(other, other, other, "bt601", full_range=True, quarter_turns=0)
        scaled = video.scale(picture, 211, 157, chroma="444")
        assert all(np.array_equal(one, expected) for one in (scaled.y, scaled.u, scaled.v))


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [of_planes(*(noise(719, 1279, seed=i),) * 3) for i in range(4)]
    sizes = [(1000, 563), (640, 360), (301, 169)]
    alone = [[_scaled(picture, size) for size in sizes] for picture in pictures]
    differing: list[tuple[int, int]] = []

    def work(i: int) -> None:
        for round_ in range(30):
            found = [_scaled(pictures[i], size) for size in sizes]
            if not all(map(np.array_equal, found, alone[i])):
                differing.append((i, round_))

    run_all(work, [0, 1, 2, 3])
    assert differing == []


def _scaled(picture: Picture, size: tuple[int, int]) -> Image:
    return video.scale(picture, *size, chroma="444").y


def run_all(work: Callable[[int], None], arguments: list[int]) -> None:
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (333, 77), (720, 576), (640, 640)])
@pytest.mark.parametrize("limit", [640, 299, 224, 3])
def test_size_is_that_of_ffmpegs_scale_filter(size: tuple[int, int], limit: int) -> None:
    wide, high = size
    if max(size) <= limit:
        assert limit_size(*size, max_side=limit) == size
        return
    scale = f"scale={limit}:-1" if wide >= high else f"scale=-1:{limit}"
    source = f"color=size={wide}x{high}:rate=1,format=gray,{scale}"
    raw = ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "1", "-c:v", "pgm", "-f", "image2", "-")
    with PillowImage.open(io.BytesIO(raw)) as image:
        assert limit_size(*size, max_side=limit) == image.size


def test_shorter_side_is_at_least_one_pixel() -> None:
    assert limit_size(1000, 2, max_side=10) == (10, 1)
    assert limit_size(2, 65500, max_side=1) == (1, 1)
    assert limit_size(5, 4, max_side=None) == (5, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (9, 1), (17, 31), (48, 64)])
def test_finer_chroma_is_stored_for_each_pixel(shape: tuple[int, int]) -> None:
    planes = of_planes(*(noise(*shape, seed=seed) for seed in range(3)))
    data = jpeg.encode_picture(planes, quality=100)
    with PillowImage.open(io.BytesIO(data)) as image:
        layers = [tuple(layer[1:3]) for layer in image.layer]  # type: ignore[attr-defined]
        assert layers == [(1, 1)] * 3
        image.draft("YCbCr", image.size)
        stored = np.asarray(image.convert("YCbCr"), np.int16)
    for channel, plane in enumerate((planes.y, planes.u, planes.v)):
        assert np.abs(stored[:, :, channel] - plane).max() <= 2
    for scale in (1.0, 0.5, 0.25, 0.125):
        reduced = tuple(-(-side // round(1 / scale)) for side in shape)
        assert jpeg.decode(data, scale=scale).shape == (*reduced, 3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("source", ["422", "440", "444"])
def test_finer_chroma_is_converted_and_turned_as_rgb_is(source: str, turns: int) -> None:
    rows, columns = np.mgrid[0:31, 0:45]
    full = [60 + rows * 2 + columns, 50 + rows / 2 + columns * 3, 220 - rows * 4 - columns / 2]
    down, across = {"422": (1, 2), "440": (2, 1), "444": (1, 1)}[source]
    y, (u, v) = full[0], (by_pairs(plane, down, across) for plane in full[1:])
    picture = replace(of_planes(y, u, v), matrix="bt709", full_range=False, quarter_turns=turns)
    shown = color.to_jfif(picture)
    truth = np.rot90(_jfif_of_bt709(*full), -turns)
    steps = (down, across) if turns % 2 == 0 else (across, down)
    for channel, plane in enumerate((shown.y, shown.u, shown.v)):
        repeated = plane
        if channel:
            repeated = np.repeat(np.repeat(plane, steps[0], axis=0), steps[1], axis=1)
        found = repeated[: truth.shape[0], : truth.shape[1]]
        assert found.shape == truth.shape[:2]
        # Where two pixels share a chroma sample, they differ from it by half the step between them.
        assert np.abs(found - truth[:, :, channel]).mean() < (0.8 if source == "444" else 2.5)


def by_pairs(plane: npt.NDArray[np.float64], down: int, across: int) -> npt.NDArray[np.float64]:
    """Return the means of ``down`` times ``across`` samples."""
    sides = [(0, -side % step) for side, step in zip(plane.shape, (down, across), strict=True)]
    even = np.pad(plane, sides, mode="edge")
    height, width = even.shape[0] // down, even.shape[1] // across
    return np.asarray(even.reshape(height, down, width, across).mean(axis=(1, 3)), np.float64)


def _jfif_of_bt709(
    y: npt.NDArray[np.float64], u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return full-range BT.601 of limited-range BT.709, by the formulas of the standards."""
    luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red, blue = luma + 1.5748 * cr, luma + 1.8556 * cb
    green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = gray * 255, (blue - gray) / 1.772 * 255 + 128, (red - gray) / 1.402 * 255 + 128
    return np.stack(planes, axis=-1)
