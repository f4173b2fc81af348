"""Filmstrips and comparisons of frames, as a notebook displays them."""

import base64
import io
import re

import clips
import imagehash
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageChops, ImageStat

from framecache import Filmstrip, Frame, FrameCache, FrameComparison, InvalidValue, Timeline
from framecache.model import Color


@pytest.fixture
def match(memory_url: str) -> Timeline:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(clips.clip())
    return timeline


def pictures(html: str) -> list[Pillow.Image]:
    """The pictures of a page, by Pillow."""
    found = re.findall(r'<img src="data:image/png;base64,([A-Za-z0-9+/=]+)"', html)
    return [Pillow.open(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_filmstrip_shows_each_frame_with_its_sequence_and_time(
    match: Timeline, color: Color
) -> None:
    strip = Filmstrip(match.frames(0, 45, 20, color=color))
    html = strip._repr_html_()
    assert re.findall(r"<figcaption[^>]*>([^<]+)", html) == [
        f"frame {n}, {n / 25:.3f} s" for n in (0, 20, 40)
    ]
    for picture, sequence in zip(pictures(html), (0, 20, 40), strict=True):
        assert np.array_equal(np.asarray(picture), match.frame(sequence).image)
    assert repr(strip) == "<Filmstrip of frames [0, 20, 40]>"


@pytest.mark.parametrize(("size", "expected"), [((1000, 400), (142, 57)), ((161, 3), (80, 1))])
def test_filmstrip_scales_large_frames_down(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    width, height = size
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[:, None], (height, width, 3))
    for image in (ramp.copy(), ramp[..., 0].copy()):
        color: Color = "rgb" if image.ndim == 3 else "gray"
        [picture] = pictures(Filmstrip([Frame(0, 0, 0.0, image, "", color)])._repr_html_())
        assert picture.size == expected
        smaller = Pillow.fromarray(image).resize(expected, Pillow.Resampling.BOX)
        assert ImageStat.Stat(ImageChops.difference(picture, smaller)).mean[0] < 2


def test_filmstrip_of_no_frames_is_empty() -> None:
    assert pictures(Filmstrip([])._repr_html_()) == []


def test_comparison_differences_equal_those_of_pillow_and_imagehash(match: Timeline) -> None:
    left, right = match.frame(3), match.frame(30)
    compared = FrameComparison(left, right)
    difference = ImageChops.difference(left.pil, right.pil)
    assert compared.mean_difference == pytest.approx(np.mean(ImageStat.Stat(difference).mean))
    hashes = [imagehash.hex_to_hash(one.perceptual_hash) for one in (left, right)]
    assert compared.changed_bits == hashes[0] - hashes[1]
    assert f"{compared.changed_bits} bits of the hash" in repr(compared)


def test_comparison_shows_both_frames_and_brightened_difference(match: Timeline) -> None:
    left, right = match.frame(3), match.frame(4)
    first, second, third = pictures(FrameComparison(left, right)._repr_html_())
    assert np.array_equal(np.asarray(first), left.image)
    assert np.array_equal(np.asarray(second), right.image)
    plain = np.asarray(ImageChops.difference(left.pil, right.pil)).astype(float)
    assert np.abs(np.asarray(third) - plain * 255 / plain.max()).max() <= 1


def test_equal_frames_have_no_difference(match: Timeline) -> None:
    compared = FrameComparison(match.frame(3), match.frame(3))
    assert (compared.mean_difference, compared.changed_bits) == (0, 0)
    assert not np.asarray(pictures(compared._repr_html_())[2]).any()


def test_frames_without_a_hash_are_compared_by_their_pixels() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    compared = FrameComparison(Frame(0, 0, 0.0, image), Frame(1, 0, 0.0, image + 2))
    assert compared.changed_bits is None
    assert compared.mean_difference == 2
    assert "bits" not in repr(compared)


@pytest.mark.parametrize("other", [{"scale": 0.5}, {"color": "bgr"}, {"color": "gray"}])
def test_comparison_of_different_sizes_or_colors_is_rejected(
    match: Timeline, other: dict[str, object]
) -> None:
    with pytest.raises(InvalidValue, match="differ in size or color"):
        FrameComparison(match.frame(3), match.frame(4, **other))  # type: ignore[arg-type]
