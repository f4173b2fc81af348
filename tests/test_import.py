"""Modules that importing framecache must not import."""

import json
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from framecache import Frame, FrameCache
from framecache.model import Layout
from media import made, make_clip

LAYOUTS: Mapping[str, Layout] = {"few": "objects", "keys": "packs", "replaced": "objects"}
FRAMEWORKS = {"aiohttp", "fastapi", "flask", "ray", "starlette", "torch", "uvicorn"}
EVERY_MODULE = """
import importlib, pkgutil
for room in pkgutil.iter_modules(framecache.__path__, "framecache."):
    if room.name.split(".")[1] not in {"ray", "server", "testing", "torch"}:
        path = getattr(importlib.import_module(room.name), "__path__", ())
        for module in pkgutil.walk_packages(path, f"{room.name}."):
            importlib.import_module(module.name)
"""


@pytest.mark.parametrize("then", ["", EVERY_MODULE], ids=["package", "every module of the core"])
def test_import_never_loads_machine_learning_or_web_frameworks(then: str) -> None:
    program = f"import json, sys, framecache\n{then}\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    packages = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert "framecache" in packages
    assert not packages & FRAMEWORKS


def test_lambda_handler_imports_nothing_heavy() -> None:
    """A function is ready 0.35 s after its start, most of which numpy takes."""
    program = "import json, sys, framecache.aws_lambda\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    packages = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert {"framecache", "numpy"} <= packages
    heavy = {"PIL", "arro3", "av", "boto3", "cv2", "obstore", "pandas", "pyarrow", "simplejpeg"}
    assert not packages & (heavy | FRAMEWORKS)


_USED = """
import sys
from framecache import FrameCache
timeline = FrameCache(sys.argv[1]).timeline("few")
timeline.frame(1), list(timeline.frames()), timeline.info(), timeline.verify()
timeline.overlays(job_id="j", stage="s").save(1, {"o": timeline.frame(1).image})
print(sorted({"av", "cv2", "pandas", "PIL"} & sys.modules.keys()))
"""


def test_reading_does_not_import_an_installed_decoder(local_url: str) -> None:
    """The import would take a third of a second."""
    frames = [Frame(n, 0, float(n), np.full((16, 16, 3), n, np.uint8)) for n in range(3)]
    FrameCache(local_url).timeline("few").write(frames)
    command = [sys.executable, "-c", _USED, local_url]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "[]\n"


_WITHOUT = """
import importlib, sys
name = sys.argv[1]
sys.modules[name] = None  # as if it were not installed
from framecache import MissingPackage
try:
    importlib.import_module(f"framecache.{name}")
except MissingPackage as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ray",
            "framecache.ray needs Ray 2.60 or newer, below 3: pip install 'framecache[ray]'",
        ),
        (
            "torch",
            "framecache.torch needs PyTorch 2.13 or newer: pip install 'framecache[torch]'",
        ),
    ],
)
def test_package_of_an_extra_that_is_missing_names_the_extra(name: str, expected: str) -> None:
    command = [sys.executable, "-c", _WITHOUT, name]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout.strip() == expected


_WATCHED = """
import sys, threading
class Finder:
    def find_spec(self, name, path=None, target=None):
        is_main = threading.current_thread() is threading.main_thread()
        part_of_numpy = name.startswith("numpy.") and not name.startswith("numpy.core")
        if name.partition(".")[0] == "pandas" or (part_of_numpy and not is_main):
            print(name)
sys.meta_path.insert(0, Finder())
import numpy as np
from framecache import Frame, FrameCache
cache, clip = FrameCache(sys.argv[1]), sys.argv[2]
"""
_READING = """
for timeline_id in ("few", "keys", "replaced"):
    timeline = cache.timeline(timeline_id)
    timeline.jpeg(1), timeline.frame_at(2.0), list(timeline.frames()), timeline.info()
    timeline.batch([0, 1]), timeline.sequences(stop_seconds=1.5), timeline.sprites().sheet(0)
    timeline.index.timestamp, timeline.index.key, timeline.index.row(0), timeline.index.to_arrow()
assert len(cache.timeline("none")) == 0
assert len(cache.frames_table()) == 9
"""
_WRITING = """
timeline = cache.timeline("new")
frames = [Frame(n, 0, float(n), np.full((16, 16, 3), n, np.uint8)) for n in range(3)]
timeline.write(frames[:2])
timeline.write(frames, on_conflict="keep")
cache.timeline("replaced").write(frames[1:2], on_conflict="replace")
extracted = cache.timeline("extracted")
extracted.extract(clip)
extracted.extract([clip, clip])
extracted.repack("packs")
assert extracted.verify(repair=True).ok
"""


@pytest.mark.parametrize("work", [_READING, _WRITING], ids=["reading", "writing"])
def test_work_imports_neither_pandas_nor_more_of_numpy_on_threads(
    local_url: str, work: str
) -> None:
    """Pandas takes most of a second, during which Ctrl-C is lost.

    Attributes of numpy that import a module on first use (``np.ma`` for ``np.unique``) raise
    RecursionError if several threads use them first. arro3 loads ``numpy.core``, the C interface,
    on one thread, for which the others wait.
    """
    cache = FrameCache(local_url)
    frames = [Frame(n, 0, float(n), np.full((16, 16, 3), n, np.uint8)) for n in range(3)]
    for timeline_id, layout in LAYOUTS.items():
        cache.timeline(timeline_id).write(frames, layout=layout)
    changed = Frame(1, 0, 1.0, np.full((16, 16, 3), 99, np.uint8))
    cache.timeline("replaced").write([changed], on_conflict="replace")
    clip = made("import.mp4", lambda path: make_clip(path, frames=5))
    command = [sys.executable, "-c", _WATCHED + work, local_url, str(clip)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == ""
