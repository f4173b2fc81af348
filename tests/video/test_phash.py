"""Perceptual hashes are ImageHash's, within a few bits."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image as PillowImage

from framecache._media import color, jpeg, phash, phash_arithmetic, video
from framecache.model import Image
from media import ffmpeg, ffprobe, real_clip

FEW_BITS = 4
STEP = 6


def bits_apart(left: str, right: str) -> int:
    return (int(left, 16) ^ int(right, 16)).bit_count()


def by_imagehash(image: Image) -> str:
    return str(imagehash.phash(PillowImage.fromarray(image)))


def pictures(path: Path) -> tuple[list[Image], list[Image]]:
    """Some frames of a clip: the luma that framecache stores, and the RGB that ffmpeg gives."""
    with path.open("rb") as file:
        scan = video.scan(file, name=path.name)
        items = list(video.decode(file, scan, scan.pts[::STEP], name=path.name, threads=1))
    lumas = [color.to_jfif(one.to_planes()).y for one in items if isinstance(one, video.Decoded)]
    graph = rf"select=not(mod(n\,{STEP}))"
    raw = ffmpeg(
        *("-i", str(path), "-vf", graph, "-fps_mode", "passthrough"),
        *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
    )
    stream = ffprobe(path, "-show_streams")["streams"][0]
    rgbs = np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 3)
    return lumas, list(rgbs)


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_hashes_of_real_clips_are_within_four_bits_of_imagehash(name: str) -> None:
    lumas, rgbs = pictures(real_clip(name))
    for luma, rgb in zip(lumas, rgbs, strict=True):
        expected = by_imagehash(rgb)
        assert bits_apart(phash.perceptual_hash(luma), expected) <= FEW_BITS
        assert bits_apart(phash.hash_from_rgb(rgb), expected) <= FEW_BITS


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_hashes_of_stored_jpegs_are_within_four_bits_of_imagehash(name: str) -> None:
    for rgb in pictures(real_clip(name))[1]:
        data = jpeg.encode_rgb(rgb, quality=85)
        with PillowImage.open(io.BytesIO(data)) as stored:
            expected = str(imagehash.phash(stored))
        for scale in (1.0, 0.125):
            found = phash.perceptual_hash(jpeg.decode(data, color="gray", scale=scale))
            assert bits_apart(found, expected) <= FEW_BITS


@pytest.mark.parametrize(
    "shape",
    [(32, 32), (31, 33), (8, 8), (40, 200), (255, 256), (257, 511), (1080, 1920), (64, 2000)],
)
def test_hashes_of_pictures_of_any_shape_match_imagehash(shape: tuple[int, int]) -> None:
    image = textured(*shape)
    assert bits_apart(phash.hash_from_rgb(image), by_imagehash(image)) <= FEW_BITS


def textured(height: int, width: int) -> Image:
    """Large shapes of different sizes, the same at every resolution."""
    rows = np.linspace(0, 1, height)[:, np.newaxis]
    columns = np.linspace(0, 1, width)[np.newaxis]
    waves = [
        np.sin(7 * rows + 3 * columns + phase) + np.cos(11 * rows * columns - 5 * columns + phase)
        for phase in (0.0, 0.7, 1.9)
    ]
    image: Image = np.rint(127 + 60 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)
    return image


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_pictures_have_a_hash(shape: tuple[int, int]) -> None:
    found = phash.perceptual_hash(np.full(shape, 77, np.uint8))
    assert len(found) == 16
    assert int(found, 16) >= 0


def test_similar_pictures_have_near_hashes_and_different_ones_far() -> None:
    image = textured(180, 320)
    brighter = (image.astype(np.int16) + 9).clip(0, 255).astype(np.uint8)
    here = phash.hash_from_rgb(image)
    assert bits_apart(here, phash.hash_from_rgb(brighter)) <= FEW_BITS
    assert bits_apart(here, phash.hash_from_rgb(image[::-1])) > 3 * FEW_BITS


def test_rows_with_padding_between_them_are_hashed() -> None:
    luma = textured(200, 400)[:, :, 0]
    apart = np.pad(luma, ((0, 0), (0, 24)))[:, :400]
    packed = np.ascontiguousarray(luma)
    assert phash.perceptual_hash(apart) == phash.perceptual_hash(packed)


# Without OpenCV


def both_hashes(luma: Image, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the hash as computed with OpenCV, and with numpy alone."""
    with_opencv = phash.perceptual_hash(luma)
    with monkeypatch.context() as patched:
        patched.setattr(phash, "_has_opencv", lambda: False)
        return with_opencv, phash.perceptual_hash(luma)


def test_luma_of_every_color_is_the_same_without_opencv() -> None:
    blue, green = (plane.astype(np.uint8) for plane in np.mgrid[:256, :256])
    for red in range(256):
        image = np.dstack([np.full_like(green, red), green, blue])
        expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        assert np.array_equal(phash_arithmetic.to_luma(image), expected)


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_hashes_of_real_clips_are_the_same_without_opencv(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lumas, rgbs = pictures(real_clip(name))
    for luma, rgb in zip(lumas, rgbs, strict=True):
        assert len(set(both_hashes(luma, monkeypatch))) == 1
        expected = phash.hash_from_rgb(rgb)
        with monkeypatch.context() as patched:
            patched.setattr(phash, "_has_opencv", lambda: False)
            assert phash.hash_from_rgb(rgb) == expected
            assert phash.hash_from_rgb(rgb[:, :, ::-1][:, :, ::-1]) == expected


def noise(rng: np.random.Generator, height: int, width: int) -> Image:
    return rng.integers(0, 256, (height, width), np.uint8)


def flat(rng: np.random.Generator, height: int, width: int) -> Image:
    return np.full((height, width), rng.integers(256), np.uint8)


def ramp(rng: np.random.Generator, height: int, width: int) -> Image:
    """Return straight lines: nearly all frequencies are zero, except for rounding."""
    rows, columns = rng.integers(0, 4, 2)
    lines = np.add.outer(rows * np.arange(height), columns * np.arange(width))
    return np.asarray(lines % 256, np.uint8)


def checkers(rng: np.random.Generator, height: int, width: int) -> Image:
    step = int(rng.integers(1, 9))
    return np.asarray(np.indices((height, width)).sum(0) // step % 2 * 255, np.uint8)


def smooth(rng: np.random.Generator, height: int, width: int) -> Image:
    few = noise(rng, *rng.integers(2, 12, 2))
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("draw", [noise, flat, ramp, checkers, smooth])
def test_hashes_of_pictures_of_any_size_are_the_same_without_opencv(
    monkeypatch: pytest.MonkeyPatch, draw: Callable[[np.random.Generator, int, int], Image]
) -> None:
    rng = np.random.default_rng(5)
    for largest in (6, 32, 130, 700):
        for _ in range(200):
            height, width = rng.integers(1, largest, 2).tolist()
            luma = draw(rng, height, width)
            for variant in (luma, luma[:, ::-1], np.asfortranarray(luma)):
                with_opencv, without = both_hashes(variant, monkeypatch)
                assert without == with_opencv, (draw, variant.shape, variant.strides)


@pytest.mark.parametrize("draw", [noise, flat, ramp, checkers, smooth])
def test_hashes_of_a_single_row_or_column_are_the_same_without_opencv(
    monkeypatch: pytest.MonkeyPatch, draw: Callable[[np.random.Generator, int, int], Image]
) -> None:
    rng = np.random.default_rng(6)
    for length in range(1, 200):
        for shape in ((1, length), (length, 1)):
            with_opencv, without = both_hashes(draw(rng, *shape), monkeypatch)
            assert without == with_opencv, (draw, shape)
