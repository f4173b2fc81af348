"""Work without the packages of the extras, and errors where they are needed."""

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clips
import imagehash
import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import Frame, FrameCache, MissingPackage, Timeline
from framecache.testing import HookedStore
from outside import frame, png_by_pillow

EXTRA = r"pip install 'framecache\[extract\]'$"
BASE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"av", "cv2", "pandas", "PIL", "pyarrow"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())

import numpy as np
import framecache
from framecache import Frame, FrameCache, MissingPackage, functional
pixels = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
"""
PIXELS = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
FUNCTIONS = """
frames = [Frame(n, 0, n / 5, pixels) for n in range(3)]
assert not functional.cache_exists("t")
assert functional.cache_frames("t", frames) == 3
assert functional.cache_exists("t")
loaded = functional.load_cached_frames("t")
assert [frame.sequence for frame in loaded] == [0, 1, 2]
assert len(loaded[0].perceptual_hash) == 16
assert [one["seq"] for one in functional.load_cached_frames_b64("t")] == [0, 1, 2]
assert [one["seq"] for one in functional.frames_to_b64(loaded)] == [0, 1, 2]
functional.save_overlays("t", "j", "s", 1, {"o": sys.argv[1]})
assert functional.load_overlays("t", "j", "s", 1) == {"o": sys.argv[1]}
assert functional.list_overlay_frames("t", "j", "s") == [1]
functional.clear_cache("t")
assert not functional.cache_exists("t")
assert not {"av", "cv2", "pandas", "PIL", "pyarrow"} & sys.modules.keys()
"""
READING = """
timeline = FrameCache(sys.argv[1]).timeline("t")
assert timeline.complete and len(timeline) == len(timeline.index)
batch = timeline.batch(timeline.sequences(), scale=0.5, color="bgr")
for frame, jpeg in zip(timeline.frames(), timeline.jpegs(timeline.sequences()), strict=True):
    assert frame.image.any() and jpeg.startswith(bytes([255, 216])) and frame._repr_png_()
assert "frames" in timeline._repr_html_()
stage = timeline.overlays(job_id="j", stage="s")
stage.save(0, {"gray": pixels[:, :, 0], "rgb": pixels, "deep": pixels[:, :, 0] * np.uint16(257)})
stage.save(1, {"rgba": np.dstack([pixels, pixels[:, :, :1]]), "mask": pixels[:, :, 0] > 99})
assert stage.frames() == [0, 1] and list(stage.listing().names)
timeline.repack("packs")
assert timeline.verify().ok
written = FrameCache(sys.argv[1]).timeline("written")
written.write([Frame(0, 0, 0.0, pixels)])
assert not {"av", "cv2", "pandas", "PIL", "pyarrow"} & sys.modules.keys()
"""


def run(program: str, *arguments: str, url: str = "") -> None:
    """Run a program in an interpreter without the packages of the extra."""
    command = [sys.executable, "-c", BASE + program, *arguments]
    environment = {"FRAMECACHE_URL": url, "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run(command, check=True, env=environment, timeout=60)


@pytest.mark.parametrize("store", ["memory", "folder"])
def test_plain_functions_work_without_the_extra(store: str, tmp_path: Path) -> None:
    png = base64.b64encode(png_by_pillow(1)).decode()
    run(FUNCTIONS, png, url="memory://" if store == "memory" else str(tmp_path))


def test_timeline_extracted_elsewhere_is_usable_without_the_extra(local_url: str) -> None:
    cache = FrameCache(local_url)
    timeline = cache.timeline("t")
    timeline.extract(clips.chunks())
    run(READING, local_url)
    stage = timeline.overlays(job_id="j", stage="s")
    found = {name: opened(png) for name, png in (stage.load(0) | stage.load(1)).items()}
    gray = PIXELS[:, :, 0]
    assert np.array_equal(found.pop("gray"), gray)
    assert np.array_equal(found.pop("rgb"), PIXELS)
    assert np.array_equal(found.pop("deep"), gray.astype(np.uint16) * 257)
    assert np.array_equal(found.pop("rgba"), np.dstack([PIXELS, gray]))
    assert np.array_equal(found.pop("mask"), gray > 99)
    assert not found
    name = cache.timeline("written").frame(0).perceptual_hash
    cache.timeline("here").write([Frame(0, 0, 0.0, PIXELS)])
    assert cache.timeline("here").frame(0).perceptual_hash == name
    by_imagehash = imagehash.phash(Pillow.fromarray(PIXELS))
    assert imagehash.hex_to_hash(name) - by_imagehash <= 4


def opened(png: bytes) -> "np.ndarray[Any, Any]":
    with Pillow.open(io.BytesIO(png)) as image:
        return np.asarray(image)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("av", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed


def compare(timeline: Timeline) -> object:
    stage = timeline.overlays(job_id="j", stage="s")
    return stage.compare(timeline.overlays(job_id="k", stage="s"))


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize(
    ("packages", "call"),
    [
        ("av and opencv-python-headless", lambda timeline: timeline.extract("c.mp4")),
        ("av and opencv-python-headless", lambda timeline: timeline.append("c.mp4")),
        ("av and opencv-python-headless", lambda timeline: timeline.plan_extract("c.mp4")),
        ("av and opencv-python-headless", lambda timeline: timeline.plan_append("c.mp4")),
        ("av and opencv-python-headless", lambda timeline: timeline.rebuild()),
        ("av and opencv-python-headless", lambda timeline: timeline.verify(deep=True)),
        ("av and opencv-python-headless", lambda timeline: timeline.verify(repair=True)),
        ("opencv-python-headless", compare),
    ],
    ids=[
        *("extract", "append", "plan_extract", "plan_append", "rebuild", "verify deep"),
        *("verify repair", "compare"),
    ],
)
def test_missing_package_is_named_before_any_request(
    memory_url: str, packages: str, call: Callable[[Timeline], object]
) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    with pytest.raises(MissingPackage, match=f"needs {packages}: {EXTRA}"):
        call(Timeline(store, "t"))
    assert store.requests == []


def test_single_missing_package_is_named_alone(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=f"^extraction needs av: {EXTRA}"):
        FrameCache(memory_url).timeline("t").extract("c.mp4")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("Index.to_arrow", lambda cache: cache.timeline("t").index.to_arrow()),
        ("FrameCache.frames_table", lambda cache: cache.frames_table()),
    ],
    ids=["to_arrow", "frames_table"],
)
def test_pyarrow_table_without_pyarrow_names_its_extra(
    memory_url: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    call: Callable[[FrameCache], object],
) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").write([frame(0)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    extra = r"pip install 'framecache\[arrow\]'$"
    with pytest.raises(MissingPackage, match=f"^{name} needs pyarrow: {extra}"):
        call(cache)


def test_stored_sprites_are_read_without_the_extra_and_new_ones_name_it(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FrameCache(memory_url)
    for timeline_id in ("made", "new"):
        cache.timeline(timeline_id).write([frame(0), frame(1)])
    sheet = cache.timeline("made").sprites().sheet(0)
    for module in ("av", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)
    assert cache.timeline("made").sprites().sheet(0) == sheet
    sprites = cache.timeline("new").sprites()
    with pytest.raises(MissingPackage, match=f"needs opencv-python-headless: {EXTRA}"):
        sprites.sheet(0)
