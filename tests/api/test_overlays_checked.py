"""What is refused as an overlay, and that nothing is stored then."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import clips
import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import FrameCache, InvalidId, InvalidValue, Overlays, Timeline, functional
from framecache.model import Layout
from framecache.overlays import MAX_BYTES, MAX_PIXELS
from framecache.testing import HookedStore
from outside import frame, jpeg_by_pillow, outside, png_by_pillow

PNG = png_by_pillow(1)
OVERLAYS = "cache/timelines/t/overlays/"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png_of(width: int, height: int, *parts: bytes) -> bytes:
    """A PNG that announces a size and whose pixels lie in several chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = b"".join(chunk(b"IDAT", part) for part in parts)
    return PNG[:8] + header + pixels + chunk(b"IEND")


def empty_png(width: int, height: int) -> bytes:
    """A PNG that announces a size and has few bytes."""
    return png_of(width, height, zlib.compress(b"\0"))


def flipped(png: bytes) -> bytes:
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 4
    return bytes(damaged)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "other bytes": (lambda: b"GIF89a", "not a whole PNG"),
    "a JPEG": (lambda: jpeg_by_pillow(1), "not a whole PNG"),
    "no bytes": (lambda: b"", "not a whole PNG"),
    "truncated": (lambda: PNG[:-1], "in the midst of a chunk"),
    "flipped": (lambda: flipped(PNG), "CRC differs"),
    "base64 of a truncated one": (lambda: base64.b64encode(PNG[:-9]).decode(), "not a whole PNG"),
    "no zlib": (lambda: png_of(8, 6, b"these are no pixels"), "not compressed"),
    "pixels of no byte": (lambda: png_of(8, 6, zlib.compress(b"")), "no pixels"),
    "empty chunks of pixels": (lambda: png_of(8, 6, b"", b""), "no pixels"),
    "not base64": (lambda: "é!", "not base64"),
    "too many bytes": (lambda: PNG + bytes(MAX_BYTES), "67,108,93[0-9] bytes|bytes: an overlay"),
    "too much base64": (lambda: "A" * (MAX_BYTES * 4 // 3 + 8), "bytes: an overlay"),
    "too many pixels": (lambda: empty_png(MAX_PIXELS + 1, 1), "pixels"),
    "a large array": (lambda: np.zeros((1, MAX_PIXELS + 1), np.uint8), "pixels"),
    "a large image": (lambda: Pillow.new("L", (MAX_PIXELS + 1, 1)), "pixels"),
    "floats": (lambda: np.zeros((6, 8, 3)), "uint8"),
    "16 bits": (lambda: np.zeros((6, 8), np.uint16), "uint8"),
    "two channels": (lambda: np.zeros((6, 8, 2), np.uint8), "shape"),
    "one row": (lambda: np.zeros(8, np.uint8), "shape"),
    "an empty array": (lambda: np.zeros((0, 8, 3), np.uint8), "shape"),
    "a number": (lambda: 7, "int"),
    "none": (lambda: None, "NoneType"),
}


@pytest.fixture
def store(local_url: str) -> HookedStore:
    return HookedStore(FrameCache(local_url).store)


def drawn(store: HookedStore) -> Overlays:
    return Timeline(store, "t").overlays(job_id="j", stage="s")


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_overlay_is_refused_before_any_request(store: HookedStore, kind: str) -> None:
    make, reason = BAD[kind]
    bad = make()
    with pytest.raises(InvalidValue, match=reason) as refusal:
        drawn(store).save(3, {"good": PNG, "bad": bad})
    assert "'bad'" in str(refusal.value)
    assert len(str(refusal.value)) < 300
    with pytest.raises(InvalidValue, match=reason):
        drawn(store).save_many({1: {"good": PNG}, 2: {"good": PNG, "bad": bad}, 3: {"good": PNG}})
    assert store.requests == []


def test_a_bad_name_or_sequence_among_many_is_refused_before_any_request(
    store: HookedStore,
) -> None:
    with pytest.raises(InvalidId):
        drawn(store).save_many({1: {"good": PNG}, 2: {"../bad": PNG}})
    with pytest.raises(InvalidValue):
        drawn(store).save_many({1: {"good": PNG}, -2: {"good": PNG}})
    assert store.requests == []


def test_the_most_pixels_are_taken(local_url: str) -> None:
    png = empty_png(MAX_PIXELS, 1)
    drawn_here = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    drawn_here.save(0, {"o": png})
    assert drawn_here.load_one(0, "o") == png


def test_pixels_may_lie_in_any_number_of_chunks(local_url: str) -> None:
    pixels = zlib.compress(bytes(6 * (1 + 3 * 8)))
    png = png_of(8, 6, b"", *(pixels[n : n + 1] for n in range(len(pixels))))
    with Pillow.open(io.BytesIO(png)) as image:
        image.load()
    overlays = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    overlays.save(0, {"a": png})
    assert overlays.load(0) == {"a": png}


def test_an_overlay_of_another_size_than_its_frame_is_refused(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.write([frame(0), frame(1, width=64, height=40)])
    edges = FrameCache(store_url).timeline("t").overlays(job_id="j", stage="s")
    fits = png_by_pillow(1, width=48, height=32)
    with pytest.raises(InvalidValue, match="'o' is 48x32, and not 64x40 as frame 1 of timeline t"):
        edges.save_many({0: {"o": fits}, 1: {"o": fits}})
    with pytest.raises(InvalidValue, match="not 48x32"):
        edges.save(0, {"o": np.zeros((48, 32), np.uint8)})
    assert outside(store_url).list(OVERLAYS) == []
    edges.save_many({0: {"o": fits}, 1: {"o": png_by_pillow(1, width=64, height=40)}})
    assert edges.frames() == [0, 1]


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_overlays_fit_extracted_frames_of_either_layout(local_url: str, layout: Layout) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.clip(), every=9, layout=layout)
    edges = timeline.overlays(job_id="j", stage="s")
    edges.save(1, {"o": np.zeros((clips.HEIGHT, clips.WIDTH), np.uint8)})
    with pytest.raises(InvalidValue, match="96x64 as frame 1"):
        edges.save(1, {"o": np.zeros((clips.HEIGHT // 2, clips.WIDTH // 2), np.uint8)})


def test_an_overlay_of_a_frame_that_the_index_does_not_know_may_have_any_size(
    local_url: str,
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(0)])
    edges = timeline.overlays(job_id="j", stage="s")
    edges.save(7, {"o": PNG})
    assert edges.load(7) == {"o": PNG}


def test_an_overlay_of_an_undecodable_frame_may_have_any_size(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.ends_in_garbage())
    bad = int(np.flatnonzero(~timeline.index.is_ok)[0])
    timeline.overlays(job_id="j", stage="s").save(bad, {"o": PNG})


def test_an_overlay_of_another_programs_frame_may_have_any_size(store_url: str) -> None:
    outside(store_url).put("cache/timelines/t/frames/0.jpg", jpeg_by_pillow(0))
    edges = FrameCache(store_url).timeline("t").overlays(job_id="j", stage="s")
    edges.save(0, {"o": PNG})
    assert edges.load(0) == {"o": PNG}


def test_the_size_is_that_of_the_frame_as_it_was_rebuilt_by_another_program(
    local_url: str,
) -> None:
    mine = FrameCache(local_url).timeline("t")
    mine.write([frame(0)])
    edges = mine.overlays(job_id="j", stage="s")
    edges.save(0, {"o": png_by_pillow(1, width=48, height=32)})
    other = FrameCache(local_url).timeline("t")
    other.clear()
    other.write([frame(0, width=64, height=40)])
    edges.save(0, {"o": png_by_pillow(1, width=64, height=40)})
    with pytest.raises(InvalidValue, match="not 64x40"):
        edges.save(0, {"o": png_by_pillow(1, width=48, height=32)})


def test_the_functional_save_checks_as_much(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    functional.cache_frames("t", [frame(0)])
    for bad, reason in [(PNG, "48x32 as frame 0"), (PNG[:-1], "not a whole PNG")]:
        with pytest.raises(InvalidValue, match=reason):
            functional.save_overlays("t", "j", "s", 0, {"o": base64.b64encode(bad).decode()})
    assert functional.load_overlays("t", "j", "s", 0) is None
    fits = base64.b64encode(png_by_pillow(1, width=48, height=32)).decode()
    functional.save_overlays("t", "j", "s", 0, {"o": fits})
    assert functional.load_overlays("t", "j", "s", 0) == {"o": fits}


def test_what_was_drawn_is_kept_where_the_timeline_is_damaged(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(0)])
    blobs = outside(local_url)
    latest = blobs.list("cache/timelines/t/timeline/")[-1]
    blobs.put(latest, b"{}")
    edges = FrameCache(local_url).timeline("t").overlays(job_id="run-7", stage="edges")
    edges.save(0, {"edges": PNG})
    assert edges.load(0) == {"edges": PNG}
