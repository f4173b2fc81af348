"""A store in a forked process says what to do; a spawned process opens its own."""

import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest

from framecache import Frame, FrameCache

FORK = """
import os, sys
from framecache import FrameCache, StoreUnavailable
cache = FrameCache(sys.argv[1])
if sys.argv[2] == "used":
    cache.timelines()
child = os.fork()
if child == 0:
    try:
        print(cache.timelines(), flush=True)
    except StoreUnavailable as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(cache.timelines())
"""


def run(url: str, how: str) -> str:
    command = [sys.executable, "-c", FORK, url, how]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_child_forked_from_a_user_is_told_to_spawn_and_its_parent_goes_on(local_url: str) -> None:
    said, parent, *_ = run(local_url, "used").splitlines()
    assert 'Start processes with the "spawn" method' in said
    assert parent == "[]"


def test_a_child_forked_before_any_use_works(local_url: str) -> None:
    assert run(local_url, "unused").splitlines() == ["[]", "[]"]


def read_sum(cache: FrameCache) -> int:
    return int(cache.timeline("t").frame(0).image.astype(np.int64).sum())


@pytest.mark.parametrize("kind", ["local", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_a_cache_and_its_timelines_travel_to_a_spawned_process(
    kind: str, request: pytest.FixtureRequest
) -> None:
    cache = FrameCache(str(request.getfixturevalue(f"{kind}_url")))
    timeline = cache.timeline("t")
    timeline.write([Frame(0, 0, 0.0, np.full((16, 16, 3), 128, np.uint8))])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_sum, (cache,)) == read_sum(cache)
    assert len(pickle.loads(pickle.dumps(timeline))) == 1
    overlays = timeline.overlays(job_id="j", stage="s")
    assert pickle.loads(pickle.dumps(overlays)).frames() == []
