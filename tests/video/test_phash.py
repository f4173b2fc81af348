"""Perceptual hashes are ImageHash's, within a few bits."""

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image as PillowImage

from framecache._media import color, jpeg, phash, video
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
def test_pictures_of_any_shape_are_hashed_as_by_imagehash(shape: tuple[int, int]) -> None:
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
def test_tiny_pictures_have_a_hash_too(shape: tuple[int, int]) -> None:
    found = phash.perceptual_hash(np.full(shape, 77, np.uint8))
    assert len(found) == 16
    assert int(found, 16) >= 0


def test_pictures_that_look_alike_are_near_and_others_far() -> None:
    image = textured(180, 320)
    brighter = (image.astype(np.int16) + 9).clip(0, 255).astype(np.uint8)
    here = phash.hash_from_rgb(image)
    assert bits_apart(here, phash.hash_from_rgb(brighter)) <= FEW_BITS
    assert bits_apart(here, phash.hash_from_rgb(image[::-1])) > 3 * FEW_BITS


def test_rows_may_lie_apart_in_memory() -> None:
    luma = textured(200, 400)[:, :, 0]
    apart = np.pad(luma, ((0, 0), (0, 24)))[:, :400]
    packed = np.ascontiguousarray(luma)
    assert phash.perceptual_hash(apart) == phash.perceptual_hash(packed)
