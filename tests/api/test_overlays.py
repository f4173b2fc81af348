"""Debug overlays, through a timeline."""

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import FrameCache, Overlays, StorePermissionDenied, Timeline
from framecache.testing import HookedStore, fail_from_nth
from outside import everything, frame, outside, picture, png_by_pillow

PREFIX = "cache/timelines/t/overlays/"


def overlays(url: str, *, job_id: str = "run-7", stage: str = "edges") -> Overlays:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline("t").overlays(job_id=job_id, stage=stage)


def opened(png: bytes) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A PNG decoded by Pillow, in its own mode."""
    with Pillow.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.every_store
def test_saved_overlays_are_loaded(store_url: str) -> None:
    png = png_by_pillow(1)
    overlays(store_url).save(120, {"edge_overlay": png, "mask": png_by_pillow(2)})
    assert overlays(store_url).load(120) == {"edge_overlay": png, "mask": png_by_pillow(2)}
    assert everything(outside(store_url)) == {
        f"{PREFIX}run-7/edges/120_edge_overlay.png": png,
        f"{PREFIX}run-7/edges/120_mask.png": png_by_pillow(2),
    }
    assert overlays(store_url).frames() == [120]


def test_timeline_without_overlays_loads_none(store_url: str) -> None:
    found = overlays(store_url)
    assert (found.load(0), found.frames(), found.clear()) == ({}, [], 0)
    assert outside(store_url).list() == []


@pytest.mark.parametrize(
    "given",
    [bytes, bytearray, memoryview, lambda png: base64.b64encode(png).decode()],
    ids=["bytes", "bytearray", "memoryview", "base64"],
)
def test_png_bytes_are_kept_unchanged(local_url: str, given: Callable[[bytes], bytes]) -> None:
    png = png_by_pillow(1) + b"trailing"
    overlays(local_url).save(0, {"o": given(png)})
    assert overlays(local_url).load(0) == {"o": png}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["array", "image"])
def test_arrays_and_images_become_pngs_of_the_same_pixels(
    local_url: str, mode: str, kind: str
) -> None:
    image: Any = Pillow.fromarray(picture(3)).convert(mode)
    given = np.asarray(image)
    if mode == "RGBA":
        given = np.where(np.arange(4) == 3, np.uint8(77), given).astype(np.uint8)
        image = Pillow.fromarray(given)
    overlays(local_url).save(0, {"o": given if kind == "array" else image})
    [png] = overlays(local_url).load(0).values()
    assert np.array_equal(opened(png), given)


@pytest.mark.parametrize("mode", ["1", "P", "LA"])
def test_images_of_other_modes_keep_their_rgba_pixels(local_url: str, mode: str) -> None:
    image: Any = Pillow.fromarray(picture(3)).convert(mode)
    overlays(local_url).save(0, {"o": image})
    [png] = overlays(local_url).load(0).values()
    with Pillow.open(io.BytesIO(png)) as read:
        assert np.array_equal(np.asarray(read.convert("RGBA")), np.asarray(image.convert("RGBA")))


def test_array_of_any_strides_is_saved_with_same_pixels(local_url: str) -> None:
    views = {
        "flipped": picture(3)[::-1],
        "bgr": picture(3)[:, :, ::-1],
        "gray": picture(3)[:, :, 1],
    }
    overlays(local_url).save(0, views)
    for name, png in overlays(local_url).load(0).items():
        assert np.array_equal(opened(png), views[name])


def test_overlays_need_no_frames_and_create_none(local_url: str) -> None:
    overlays(local_url).save(7, {"o": png_by_pillow(1)})
    timeline = FrameCache(local_url).timeline("t")
    assert not timeline.exists
    assert list(timeline.frames()) == []
    assert timeline.write([frame(0)]) == 1
    assert overlays(local_url).load(7) == {"o": png_by_pillow(1)}


def test_clear_of_stage_keeps_other_stages(store_url: str) -> None:
    for job_id, stage in [("j", "s"), ("j", "s2"), ("j", "s-2"), ("j2", "s")]:
        overlays(store_url, job_id=job_id, stage=stage).save(1, {"a": png_by_pillow(1)})
        overlays(store_url, job_id=job_id, stage=stage).save(12, {"a_b": png_by_pillow(2)})
    assert overlays(store_url, job_id="j", stage="s").clear() == 2
    timeline = FrameCache(store_url).timeline("t")
    assert timeline.jobs() == {"j": {"s-2": 2, "s2": 2}, "j2": {"s": 2}}
    assert overlays(store_url, job_id="j", stage="s").load(1) == {}


def test_jobs_are_counted_by_stage(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    assert timeline.jobs() == {}
    overlays(store_url, job_id="b", stage="edges").save(
        1, {"a": png_by_pillow(1), "b": png_by_pillow(1)}
    )
    overlays(store_url, job_id="b", stage="edges").save(2, {"a": png_by_pillow(1)})
    overlays(store_url, job_id="a", stage="ocr").save(2, {"a": png_by_pillow(1)})
    outside(store_url).put(f"{PREFIX}b/edges/notes.txt", b"no overlay")
    FrameCache(store_url).timeline("t2").overlays(job_id="x", stage="y").save(
        0, {"a": png_by_pillow(1)}
    )
    assert timeline.jobs() == {"a": {"ocr": 1}, "b": {"edges": 3}}
    assert list(timeline.jobs()) == ["a", "b"]


def test_sequence_may_be_a_numpy_integer(local_url: str) -> None:
    overlays(local_url).save(int(np.int64(5)), {"o": png_by_pillow(1)})
    assert overlays(local_url).load(np.int64(5).item()) == {"o": png_by_pillow(1)}
    index_like = np.array([7])
    for sequence in index_like:
        overlays(local_url).save(sequence, {"o": png_by_pillow(1)})
    assert overlays(local_url).frames() == [5, 7]


def test_save_of_no_overlays_stores_nothing(local_url: str) -> None:
    overlays(local_url).save(0, {})
    assert outside(local_url).list() == []


def test_threads_may_save_to_one_stage(store_url: str) -> None:
    shared = overlays(store_url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: shared.save(n, {"o": png_by_pillow(n)}), range(20)))
    assert shared.frames() == list(range(20))
    assert shared.load(13) == {"o": png_by_pillow(13)}


def test_store_failure_is_an_error_and_not_an_empty_result(local_url: str) -> None:
    overlays(local_url).save(0, {"o": png_by_pillow(1)})
    hook = fail_from_nth(StorePermissionDenied("no"), action="get", nth=1, within="/overlays/")
    broken = Timeline(HookedStore(FrameCache(local_url).store, before=hook), "t")
    with pytest.raises(StorePermissionDenied):
        broken.overlays(job_id="run-7", stage="edges").load(0)


def test_overlays_handle_makes_no_request(local_url: str) -> None:
    store = HookedStore(FrameCache(local_url).store)
    handle = Timeline(store, "t").overlays(job_id="j", stage="s")
    assert (handle.timeline_id, handle.job_id, handle.stage) == ("t", "j", "s")
    assert "t" in repr(handle)
    assert store.requests == []


@pytest.mark.parametrize("name", ["overlays/j/s/1_é.png", "frames/x é.jpg", "frames/a b#1.txt"])
def test_foreign_blob_in_timeline_does_not_prevent_delete(local_url: str, name: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.overlays(job_id="j", stage="s").save(1, {"mine": np.zeros((4, 4), np.uint8)})
    path = Path(local_url) / "cache" / "timelines" / "t" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert set(timeline.overlays(job_id="j", stage="s").load(1)) == {"mine"}
    timeline.delete()
    assert not path.exists()
