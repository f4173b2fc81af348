"""Differences between two stages."""

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from framecache import FrameCache, InvalidValue, Overlays, Timeline
from framecache.store import BlobInfo
from framecache.testing import HookedStore, WrappingStore
from outside import outside, picture, png_by_pillow

PREFIX = "cache/timelines/t/overlays/"


def drawn(url: str, *, job_id: str = "j", stage: str = "s", timeline_id: str = "t") -> Overlays:
    return FrameCache(url).timeline(timeline_id).overlays(job_id=job_id, stage=stage)


def encoded(pixels: "npt.NDArray[Any] | Pillow.Image", **settings: int) -> bytes:
    image = pixels if isinstance(pixels, Pillow.Image) else Pillow.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **settings)
    return buffer.getvalue()


def are_equal(one: bytes, other: bytes) -> bool:
    """Return True if two overlays are found to be equal."""
    url = "memory://compare"
    drawn(url, job_id="one").save(0, {"o": one})
    drawn(url, job_id="other").save(0, {"o": other})
    return drawn(url, job_id="one").compare(drawn(url, job_id="other")) == {}


def rgba64(png: bytes) -> npt.NDArray[np.uint16]:
    """Return the pixels as Pillow decodes them: 16 bits, with alpha."""
    with Pillow.open(io.BytesIO(png)) as image:
        if image.mode == "I;16":
            gray = np.asarray(image).astype(np.uint16)
            return np.dstack([gray, gray, gray, np.full_like(gray, 65535)])
        return np.asarray(image.convert("RGBA")).astype(np.uint16) * np.uint16(257)


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """Generate a few pictures in many encodings."""
    levels = draw(st.sampled_from([0, 255]))
    pixels = np.full((3, 5), levels, np.uint8)
    pixels[1, 2] = draw(st.sampled_from([levels, 128]))
    mode = draw(st.sampled_from(["L", "LA", "P", "RGB", "RGBA", "I;16"]))
    if mode == "I;16":
        return encoded(pixels.astype(np.uint16) * np.uint16(257))
    image: Any = Pillow.fromarray(pixels).convert(mode)
    settings = {"compress_level": draw(st.integers(0, 9))}
    if mode == "P" and draw(st.booleans()):
        settings["transparency"] = draw(st.sampled_from([0, 255]))
    return encoded(image, **settings)


@given(pngs(), pngs())
def test_overlays_are_equal_when_pillow_decodes_same_pixels(one: bytes, other: bytes) -> None:
    assert are_equal(one, other) == np.array_equal(rgba64(one), rgba64(other))


def test_overlays_of_different_sizes_differ() -> None:
    assert not are_equal(encoded(np.zeros((2, 3), np.uint8)), encoded(np.zeros((3, 2), np.uint8)))


def test_compare_returns_frames_where_two_jobs_differ(store_url: str) -> None:
    same, more = png_by_pillow(1), png_by_pillow(2)
    again = encoded(picture(1, width=8, height=6), compress_level=0)
    drawn(store_url, job_id="one").save_many(
        {1: {"a": same}, 2: {"a": same, "b": same}, 3: {"a": same}, 12: {"a": same}}
    )
    drawn(store_url, job_id="two").save_many(
        {1: {"a": again}, 2: {"a": more, "c": same}, 4: {"a": same}, 12: {"a": same}}
    )
    one, two = drawn(store_url, job_id="one"), drawn(store_url, job_id="two")
    expected = {2: ("a", "b", "c"), 3: ("a",), 4: ("a",)}
    assert one.compare(two) == two.compare(one) == expected
    assert list(one.compare(two)) == [2, 3, 4]
    assert one.compare(one) == {}


def test_stages_of_different_timelines_and_stores_are_compared(
    store_url: str, local_url: str
) -> None:
    drawn(store_url, timeline_id="x").save_many({n: {"a": png_by_pillow(n)} for n in range(30)})
    drawn(local_url, stage="z").save_many({n: {"a": png_by_pillow(n % 29)} for n in range(30)})
    assert drawn(store_url, timeline_id="x").compare(drawn(local_url, stage="z")) == {29: ("a",)}


def test_overlays_with_same_etag_are_not_read(s3_url: str) -> None:
    same, again = png_by_pillow(1), encoded(picture(1, width=8, height=6), compress_level=0)
    for job_id, second in [("one", same), ("two", again)]:
        drawn(s3_url, job_id=job_id).save_many({1: {"a": same}, 2: {"a": second}})
    store = HookedStore(FrameCache(s3_url).store)
    one, two = (Timeline(store, "t").overlays(job_id=job, stage="s") for job in ("one", "two"))
    assert one.compare(two) == {}
    assert sorted(store.requests) == [
        ("get", f"{PREFIX}one/s/2_a.png"),
        ("get", f"{PREFIX}two/s/2_a.png"),
        ("list", f"{PREFIX}one/s/"),
        ("list", f"{PREFIX}two/s/"),
    ]


def test_etags_of_two_stores_are_not_compared(memory_url: str) -> None:
    other_url = f"{memory_url}-other"
    drawn(memory_url).save(0, {"a": png_by_pillow(1)})
    drawn(other_url).save(0, {"a": png_by_pillow(2)})
    assert len(png_by_pillow(1)) == len(png_by_pillow(2))
    assert drawn(memory_url).compare(drawn(other_url)) == {0: ("a",)}


class OneEtag(WrappingStore):
    """Store with the same ETag for every blob."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return (replace(blob, etag="same") for blob in super().list(prefix))


def test_etags_independent_of_content_are_not_trusted(memory_url: str) -> None:
    for job_id, shade in (("one", 1), ("two", 2)):
        drawn(memory_url, job_id=job_id).save(0, {"a": png_by_pillow(shade)})
    store = OneEtag(FrameCache(memory_url).store)
    one, two = (Timeline(store, "t").overlays(job_id=job, stage="s") for job in ("one", "two"))
    assert one.compare(two) == {0: ("a",)}


@pytest.mark.parametrize("damaged", [b"", b"no PNG", png_by_pillow(1)[:-5]])
def test_damaged_overlay_differs_unless_bytes_are_equal(local_url: str, damaged: bytes) -> None:
    outside(local_url).put(f"{PREFIX}one/s/0_a.png", damaged)
    outside(local_url).put(f"{PREFIX}two/s/0_a.png", png_by_pillow(1))
    outside(local_url).put(f"{PREFIX}three/s/0_a.png", damaged)
    one, two, three = (drawn(local_url, job_id=job) for job in ("one", "two", "three"))
    assert one.compare(two) == {0: ("a",)}
    assert one.compare(three) == {}


def test_compare_with_other_type_is_rejected(local_url: str) -> None:
    with pytest.raises(InvalidValue, match="dict"):
        drawn(local_url).compare({})  # type: ignore[arg-type]


_FORK_WHILE_THREADS_COMPARE = """
import faulthandler, os, sys, threading
from framecache import FrameCache
from framecache._overlays import compare
one, other = (FrameCache(sys.argv[1]).timeline("t").overlays(job_id=j, stage="s") for j in "ab")
decode, is_over = compare._decode, threading.Event()
inside = threading.Barrier(3)
def decode_slowly(png):
    if not is_over.is_set():
        inside.wait()
        is_over.wait()
    return decode(png)
compare._decode = decode_slowly
threads = [threading.Thread(target=one.compare, args=[other]) for _ in range(2)]
for thread in threads:
    thread.start()
inside.wait()
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(30, exit=True)
    compare._decode = decode
    print(one.compare(other), flush=True)
    os._exit(0)
os.waitpid(child, 0)
is_over.set()
for thread in threads:
    thread.join()
"""


def test_process_forked_while_threads_compare_can_compare(local_url: str) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    for job_id, level in (("a", 0), ("b", 9)):
        png = encoded(pixels, compress_level=level)
        drawn(local_url, job_id=job_id).save(0, {"o": png})
    command = [sys.executable, "-c", _FORK_WHILE_THREADS_COMPARE, local_url]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert run.stdout == "{}\n", run.stderr
