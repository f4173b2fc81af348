"""Frames as notebooks, Pillow and OpenCV have them."""

import base64
import io
import re
import sys
from itertools import count
from typing import Any

import clips
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import (
    Frame,
    FrameCache,
    InvalidValue,
    MissingPackage,
    StoreUnavailable,
    Timeline,
    functional,
)
from framecache.model import Color
from framecache.testing import HookedStore

_NUMBERS = count()
HUES = np.zeros((48, 64, 3), np.uint8)
HUES[:, :20] = (230, 20, 10)
HUES[:, 20:40] = (20, 200, 40)
HUES[:, 40:] = (30, 60, 220)


@pytest.fixture
def cache() -> FrameCache:
    return FrameCache(f"memory://shown-frames-{next(_NUMBERS)}")


@pytest.fixture
def hues(cache: FrameCache) -> Timeline:
    """Four frames of red, green and blue."""
    timeline = cache.timeline("hues")
    timeline.write([Frame(n, 0, n / 25, np.roll(HUES, n, axis=1)) for n in range(4)], quality=95)
    return timeline


def shown(png: bytes | None) -> np.ndarray:
    assert png is not None
    assert png.startswith(b"\x89PNG")
    return np.asarray(Pillow.open(io.BytesIO(png)))


def opencv(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


# Order of channels


def test_bgr_equals_image_read_by_opencv(hues: Timeline) -> None:
    frame = hues.frame(2, color="bgr")
    difference = cv2.absdiff(frame.image, opencv(hues.jpeg(2)))
    assert difference.max() <= 4  # another libjpeg
    assert frame.color == "bgr"


def test_bgr_is_accepted_by_every_read_method(hues: Timeline) -> None:
    expected = [frame.image[:, :, ::-1] for frame in hues.frames()]
    read: dict[str, Any] = {
        "frame": [hues.frame(n, color="bgr").image for n in range(4)],
        "frame_at": [hues.frame_at(n / 25, color="bgr").image for n in range(4)],
        "frames": [frame.image for frame in hues.frames(color="bgr")],
        "batch": hues.batch(range(4), color="bgr"),
        "batch into": hues.batch(range(4), color="bgr", out=np.empty((4, 48, 64, 3), np.uint8)),
    }
    for how, images in read.items():
        assert np.array_equal(images, expected), how


def test_bgr_is_scaled_like_rgb(hues: Timeline) -> None:
    halves = hues.batch([1], color="bgr", scale=0.5)
    assert np.array_equal(halves[..., ::-1], hues.batch([1], scale=0.5))


@pytest.mark.parametrize("color", ["BGR", "rgba", None])
def test_unknown_color_error_names_valid_colors(hues: Timeline, color: Color) -> None:
    with pytest.raises(InvalidValue, match='"rgb", "bgr" or "gray"'):
        hues.frame(0, color=color)


def test_frame_read_as_bgr_is_written_with_same_colors(
    cache: FrameCache, hues: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", cache.url)
    copied = cache.timeline("copied")
    copied.write(hues.frames(color="bgr"), quality=95)
    functional.cache_frames("functional", hues.frames(color="bgr"), quality=95)
    for name in ("copied", "functional"):
        for copy, frame in zip(cache.timeline(name).frames(), hues.frames(), strict=True):
            # Encoded once more; the mean is above 50 where red and blue are exchanged.
            assert cv2.absdiff(copy.image, frame.image).mean() < 3, name
            assert copy.perceptual_hash == frame.perceptual_hash


def test_hash_of_bgr_frame_equals_that_of_rgb_frame(cache: FrameCache, hues: Timeline) -> None:
    read = hues.frames(color="bgr")
    bare = [Frame(one.sequence, 0, one.timestamp, one.image, color="bgr") for one in read]
    cache.timeline("bare").write(bare, quality=95)
    hashes = [frame.perceptual_hash for frame in cache.timeline("bare").frames()]
    assert hashes == [frame.perceptual_hash for frame in hues.frames()]


def test_write_of_frame_with_unknown_color_is_rejected(cache: FrameCache) -> None:
    frame = Frame(0, 0, 0.0, HUES, color="BGR")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match='"rgb", "bgr" or "gray"'):
        cache.timeline("t").write([frame])


# Pillow and notebooks


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_pil_and_notebook_show_same_colors(hues: Timeline, color: Color) -> None:
    frame = hues.frame(1, color=color)
    expected = hues.frame(1).image
    assert frame.pil.mode == "RGB"
    assert np.array_equal(np.asarray(frame.pil), expected)
    assert np.array_equal(shown(frame._repr_png_()), expected)


def test_pil_and_notebook_show_gray_frame_as_gray(hues: Timeline) -> None:
    frame = hues.frame(1, color="gray")
    assert frame.pil.mode == "L"
    assert np.array_equal(np.asarray(frame.pil), frame.image)
    assert np.array_equal(shown(frame._repr_png_()), frame.image)


def test_unsupported_image_has_no_pil_and_no_notebook_png() -> None:
    frame = Frame(0, 0, 0.0, np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="uint8"):
        _ = frame.pil
    assert frame._repr_png_() is None


def test_missing_pillow_error_names_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingPackage, match=r"Frame\.pil needs pillow: pip install pillow"):
        _ = Frame(0, 0, 0.0, HUES).pil


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_repr_of_frame_is_one_short_line(hues: Timeline, color: Color) -> None:
    text = repr(hues.frame(1, color=color))
    assert text.isprintable()
    assert len(text) < 200
    assert "sequence=1, chunk_id=0, timestamp=0.04, image=<uint8 48x64" in text


def test_repr_of_frame_with_list_image_and_multiline_hash_is_one_line() -> None:
    frame = Frame(1, 0, 0.5, [[0, 1], [2, 3]], "two\nlines")  # type: ignore[arg-type]
    assert repr(frame).isprintable()
    assert "image=<list>" in repr(frame)


def test_repr_of_frame_with_array_fields_is_one_short_line() -> None:
    lines = np.arange(600).reshape(20, 30)
    frame = Frame(lines, lines, lines, HUES)  # type: ignore[arg-type]
    assert repr(frame).isprintable()
    assert len(repr(frame)) < 500


# Timelines in notebooks


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [opencv(base64.b64decode(data)) for data in found]


def test_timeline_html_shows_facts_and_some_frames_in_time_order(cache: FrameCache) -> None:
    match = cache.timeline("match")
    match.extract(clips.chunks())
    html = match._repr_html_()
    assert "<b>match</b>" in html
    assert "45 frames" in html
    assert "3 of 3 chunks" in html
    assert re.findall(r'title="frame (\d+),', html) == ["0", "8", "17", "26", "35", "44"]
    assert len(pictures(html)) == 6


def test_timeline_html_scales_large_frame_down(cache: FrameCache) -> None:
    large = cache.timeline("large")
    large.write([Frame(0, 0, 0.0, np.full((540, 960, 3), 200, np.uint8))])
    [picture] = pictures(large._repr_html_())
    assert picture.shape == (135, 240, 3)


def test_timeline_html_without_frames_says_nothing_is_cached(cache: FrameCache) -> None:
    assert "Nothing is cached" in cache.timeline("none")._repr_html_()


def test_timeline_html_shows_escaped_store_error(cache: FrameCache) -> None:
    def fail(action: str, key: str) -> None:
        raise StoreUnavailable(f"the <store> is gone: {action} {key}")

    html = Timeline(HookedStore(cache.store, before=fail), "hues")._repr_html_()
    assert "the &lt;store&gt; is gone" in html
    assert "<store>" not in html


def test_timeline_html_with_damaged_frame_keeps_facts(cache: FrameCache, hues: Timeline) -> None:
    cache.store.put("cache/timelines/hues/frames/0.jpg", b"damage")
    html = hues._repr_html_()
    assert "4 frames" in html
    assert "it has 6 bytes" in html
