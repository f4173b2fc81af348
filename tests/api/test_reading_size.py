"""Frames read at a model's size: ``max_side`` limits the longer side of the images."""

import io
import sys
from collections.abc import Callable
from typing import Any

import clips
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from coroutines import run_coroutine
from framecache import FrameCache, InvalidValue, MissingPackage, Timeline
from framecache._core.frame_size import limit_size
from framecache.model import Color, Layout
from framecache.testing import HookedStore
from outside import frame, mean_error

WIDTH, HEIGHT = 400, 225


@pytest.fixture
def timeline(local_url: str) -> Timeline:
    """Three frames of natural pictures, which are 400×225."""
    written = FrameCache(local_url).timeline("t")
    written.write([frame(n, width=WIDTH, height=HEIGHT, timestamp=n / 4) for n in range(3)])
    return written


def averaged(jpeg: bytes, size: tuple[int, int], *, color: Color) -> npt.NDArray[np.uint8]:
    """Return a JPEG as Pillow decodes and averages it: each pixel is the mean of its area."""
    with Pillow.open(io.BytesIO(jpeg)) as image:
        image.draft("L" if color == "gray" else "RGB", image.size)  # luma as it is stored
        pixels = np.asarray(image.resize(size, Pillow.Resampling.BOX))
    return pixels[..., ::-1] if color == "bgr" else pixels


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize(
    ("max_side", "size"),
    [
        (399, (399, 224)),
        (300, (300, 169)),
        (200, (200, 113)),
        (123, (123, 69)),
        (64, (64, 36)),
        (50, (50, 28)),
        (7, (7, 4)),
        (1, (1, 1)),
    ],
)
def test_image_is_the_mean_of_the_areas_of_the_stored_frame(
    timeline: Timeline, color: Color, max_side: int, size: tuple[int, int]
) -> None:
    jpegs = [*timeline.jpegs(range(3))]
    expected = [averaged(jpeg, size, color=color) for jpeg in jpegs]
    many = [
        [one.image for one in timeline.frames(max_side=max_side, color=color)],
        [*timeline.batch(range(3), max_side=max_side, color=color)],
        [timeline.frame(n, max_side=max_side, color=color).image for n in range(3)],
        [timeline.frame_at(n / 4, max_side=max_side, color=color).image for n in range(3)],
    ]
    for images in many:
        for image, wanted in zip(images, expected, strict=True):
            assert image.shape == wanted.shape
            assert mean_error(image, wanted) <= 1.5


@pytest.mark.parametrize("max_side", [WIDTH, WIDTH + 1, 65500])
def test_frame_that_is_not_larger_keeps_its_pixels(timeline: Timeline, max_side: int) -> None:
    assert np.array_equal(timeline.frame(1, max_side=max_side).image, timeline.frame(1).image)


@given(width=st.integers(1, 65500), height=st.integers(1, 65500), max_side=st.integers(1, 65500))
def test_size_keeps_the_shape_to_half_a_pixel(width: int, height: int, max_side: int) -> None:
    size = limit_size(width, height, max_side=max_side)
    longer = max(width, height)
    assert max(size) == min(longer, max_side)
    for side, whole in zip(size, (width, height), strict=True):
        exact = whole * min(1, max_side / longer)
        assert abs(side - exact) <= 0.5 or (side == 1 and exact < 1)


def test_portrait_is_limited_in_height(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(0, width=90, height=160)])
    assert timeline.frame(0, max_side=64).image.shape == (64, 36, 3)


@pytest.mark.parametrize("layout", ["objects", "packs", "video"])
def test_every_layout_gives_the_same_images(local_url: str, layout: Layout) -> None:
    cache = FrameCache(local_url)
    one, other = cache.timeline("one"), cache.timeline("other")
    one.extract(clips.chunks(), layout="objects")
    other.extract(clips.chunks(), layout=layout)
    images = [found.image for found in one.frames(max_side=50)]
    assert [found.image.tobytes() for found in other.frames(max_side=50)] == [
        image.tobytes() for image in images
    ]
    assert other.batch(other.sequences(), max_side=50).tobytes() == np.stack(images).tobytes()


def test_frames_of_several_sizes_are_limited_one_by_one(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(0, width=200, height=100), frame(1, width=40, height=30)])
    shapes = [found.image.shape for found in timeline.frames(max_side=100)]
    assert shapes == [(50, 100, 3), (30, 40, 3)]


def test_given_array_is_filled(timeline: Timeline) -> None:
    out = np.empty((2, 36, 64, 3), np.uint8)
    assert timeline.batch([2, 0], max_side=64, out=out) is out
    assert np.array_equal(out, timeline.batch([2, 0], max_side=64))
    with pytest.raises(InvalidValue, match=r"shape \(2, 36, 64, 3\)"):
        timeline.batch([2, 0], max_side=64, out=np.empty((2, 225, 400, 3), np.uint8))


def test_asynchronous_calls_give_the_same(timeline: Timeline) -> None:
    async def read() -> list[npt.NDArray[np.uint8]]:
        return [
            (await timeline.aframe(1, max_side=64)).image,
            (await timeline.aframe_at(0.25, max_side=64)).image,
            (await timeline.abatch([1], max_side=64))[0],
            *[found.image async for found in timeline.aframes(1, 2, max_side=64)],
        ]

    for image in run_coroutine(read()):
        assert np.array_equal(image, timeline.frame(1, max_side=64).image)


CALLS: dict[str, Callable[..., object]] = {
    "frame": lambda timeline, **size: timeline.frame(0, **size),
    "frame_at": lambda timeline, **size: timeline.frame_at(0, **size),
    "frames": lambda timeline, **size: timeline.frames(**size),
    "batch": lambda timeline, **size: timeline.batch([0], **size),
    "aframes": lambda timeline, **size: timeline.aframes(**size),
    "to_vlm": lambda timeline, **size: timeline.to_vlm(**size),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"max_side": 0}, "max_side must be an integer from 1 to 65500, not 0"),
        ({"max_side": -1}, "not -1"),
        ({"max_side": 65501}, "not 65501"),
        ({"max_side": 64.0}, r"not 64\.0"),
        ({"max_side": "64"}, "not '64'"),
        ({"max_side": True}, "not True"),
        ({"max_side": 64, "scale": 0.5}, "scale and max_side both give the size"),
    ],
    ids=str,
)
def test_invalid_size_is_rejected_before_any_request(
    local_url: str, call: Callable[..., object], size: dict[str, Any], said: str
) -> None:
    requests = list[str]()
    store = HookedStore(
        FrameCache(local_url).store, before=lambda action, _: requests.append(action)
    )
    with pytest.raises(InvalidValue, match=said):
        call(Timeline(store, "t"), **size)
    assert requests == []


def test_frame_that_is_not_larger_goes_to_a_model_as_stored(timeline: Timeline) -> None:
    assert timeline.to_vlm(max_side=WIDTH).jpegs == tuple(timeline.jpegs(range(3)))
    clip = timeline.to_vlm(max_side=64)
    assert clip.sizes == ((64, 36),) * 3
    for sent, stored in zip(clip.jpegs, timeline.jpegs(range(3)), strict=True):
        with Pillow.open(io.BytesIO(sent)) as image:
            assert mean_error(np.asarray(image), averaged(stored, (64, 36), color="rgb")) <= 4


def test_missing_opencv_is_named(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"max_side needs opencv.*framecache\[extract\]"):
        timeline.frame(0, max_side=64)
    assert timeline.frame(0).image.shape == (HEIGHT, WIDTH, 3)
