"""Long videos that several nodes share by their segments."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from framecache import Chunk, FrameCache, Timeline
from framecache._core.manifest import Manifest, Settings
from framecache._index import current_manifest
from framecache._ingest import segments
from framecache._media import video
from framecache.model import Layout
from framecache.ray import ExtractProgress, extract
from framecache.ray.chunk_tasks import PlannedTimeline, plan_timeline
from framecache.store import Store
from framecache.testing import HookedStore
from media import ffmpeg, ffprobe_frames, made, make_clip
from ray_cluster.logged_store import (
    DyingInSegmentStore,
    LoggedStore,
    SharedStore,
    cache_in,
    plan_short_segments,
)
from ray_cluster.nodes import node_arguments
from table_clips import changed, entry_at

pytestmark = pytest.mark.usefixtures("cluster")

SECONDS = 40
FRAMES = 25 * SECONDS


def long_clip() -> Path:
    """A video of 40 segments of a second."""
    return made("ray-long.mp4", partial(_make_long, frames=FRAMES))


def _make_long(path: Path, *, frames: int) -> None:
    keyframes = ["-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "2"]
    make_clip(path, size=(64, 48), frames=frames, extra=keyframes)


@pytest.fixture
def short_segments() -> Iterator[None]:
    """Have this process plan as the workers of these tests do."""
    before = segments.LIMITS
    plan_short_segments()
    yield
    segments.LIMITS = before


def manifest_of(store: Store) -> Manifest:
    manifest = current_manifest(store, "a")
    assert manifest is not None
    return manifest


def jpegs_of(timeline: Timeline) -> list[bytes]:
    return [*timeline.jpegs(timeline.sequences())]


def store_of(cache: FrameCache) -> LoggedStore:
    assert isinstance(cache.store, LoggedStore)
    return cache.store


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_two_nodes_share_one_video_and_extract_each_segment_once(
    tmp_path: Path, layout: Layout
) -> None:
    cache = cache_in(tmp_path, SharedStore)
    seen: list[ExtractProgress] = []
    report = extract({"a": long_clip()}, cache=cache, layout=layout, progress=seen.append)["a"]
    requests = store_of(cache).requests()
    parts = manifest_of(cache.store).parts
    assert len(parts) == SECONDS
    committed = [one for one in requests if one.action == "create" and one.key.endswith(".parquet")]
    assert len(committed) == len({one.key for one in committed}) == SECONDS
    assert isinstance(cache.store, SharedStore)
    assert len([*cache.store.nodes.iterdir()]) == len({one.process for one in committed}) == 2
    stored = Counter(one.key for one in requests if one.key.endswith((".jpg", ".tar")))
    assert {*stored.values()} == {1}
    assert len(stored) == (SECONDS if layout == "packs" else FRAMES)
    assert (report.chunks_extracted, report.chunks_cached) == (1, 0)
    assert (report.segments_extracted, report.segments_cached) == (SECONDS, 0)
    assert report.frames_extracted == report.frame_count == len(ffprobe_frames(long_clip()))
    assert seen[-1] == ExtractProgress(1, 1, 1, 1, FRAMES, FRAMES, SECONDS, SECONDS)
    assert len({one.segments_done for one in seen}) > 4
    assert {one.chunks_done for one in seen if one.segments_done < SECONDS} == {0}


def test_frames_of_a_shared_video_are_those_that_one_machine_extracts(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, SharedStore)
    extract({"a": long_clip()}, cache=cache, every=3)
    alone = FrameCache(tmp_path / "alone").timeline("a")
    alone.extract(long_clip(), every=3)
    assert jpegs_of(cache.timeline("a")) == jpegs_of(alone)
    assert cache.timeline("a").verify(deep=True).ok


def test_finished_timeline_of_many_segments_is_opened_with_three_requests(tmp_path: Path) -> None:
    extract({"a": long_clip()}, cache=cache_in(tmp_path, SharedStore), layout="packs")
    opened = cache_in(tmp_path)
    before = len(store_of(opened).requests())
    assert len(opened.timeline("a")) == FRAMES
    assert len(store_of(opened).requests()) - before == 3


class Stopped(Exception):
    """Raised by a test's hook, in place of the end of a process."""


def extract_some_segments(cache: FrameCache, count: int) -> None:
    commits = 0

    def stop(action: str, key: str) -> None:
        nonlocal commits
        if action == "create" and key.endswith(".parquet"):
            if commits == count:
                raise Stopped
            commits += 1

    with pytest.raises(Stopped):
        Timeline(HookedStore(cache.store, before=stop), "a").extract(long_clip(), workers=1)


@pytest.mark.usefixtures("short_segments")
def test_a_second_run_extracts_only_the_missing_segments(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    extract_some_segments(cache, 10)
    before = len(store_of(cache).requests())
    report = extract({"a": long_clip()}, cache=cache)["a"]
    assert (report.chunks_extracted, report.segments_extracted) == (1, SECONDS - 10)
    assert report.segments_cached == 10
    stored = [one.key for one in store_of(cache).requests()[before:] if one.key.endswith(".jpg")]
    assert sorted(int(key.rpartition("/")[2][:-4]) for key in stored) == [*range(250, FRAMES)]


@pytest.mark.usefixtures("short_segments")
def test_tasks_of_a_resumed_chunk_share_one_scan(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    extract_some_segments(cache, 10)
    planned, scan = plan_timeline(cache.store, "a", [Chunk(str(long_clip()))], lambda _: Settings())
    assert isinstance(planned, PlannedTimeline)
    assert planned.missing == (tuple(range(10, SECONDS)),)
    assert isinstance(scan, video.VideoScan)
    assert len(scan.pts) == FRAMES


def test_a_worker_killed_in_a_segment_loses_this_segment_only(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, DyingInSegmentStore)
    report = extract({"a": long_clip()}, cache=cache)["a"]
    check_what_a_death_cost(cache, report.frame_count)


def test_a_killed_node_loses_its_segments_under_way_only(
    tmp_path: Path,
    cluster: Any,  # noqa: ANN401 -- Ray's
) -> None:
    doomed = cluster.add_node(**node_arguments(num_cpus=1))
    cache = cache_in(tmp_path, partial(DyingInSegmentStore, on_node=doomed.node_id))
    store = cache.store
    assert isinstance(store, DyingInSegmentStore)

    def kill() -> None:
        store.wait_for_marker()
        cluster.remove_node(doomed, allow_graceful=False)

    killer = Thread(target=kill)
    killer.start()
    report = extract({"a": long_clip()}, cache=cache)["a"]
    killer.join()
    check_what_a_death_cost(cache, report.frame_count)


def check_what_a_death_cost(cache: FrameCache, frame_count: int) -> None:
    """Check that no committed segment was extracted again, and one that was not committed was."""
    store = store_of(cache)
    assert isinstance(store, DyingInSegmentStore)
    assert store.marker.exists()
    part_of = {
        sequence: one.part
        for one in manifest_of(store).segments
        for sequence in range(one.first_sequence, one.stop_sequence)
    }
    assert (len({*part_of.values()}), len(part_of)) == (SECONDS, frame_count)
    committed: set[str] = set()
    processes: dict[str, set[int]] = {part: set() for part in part_of.values()}
    for one in store.requests():
        name = one.key.rpartition("/")[2]
        if one.action == "create" and name.endswith(".parquet"):
            committed.add(name.partition("-")[0])
        elif one.action == "put" and "/frames/" in one.key:
            part = part_of[int(name.removesuffix(".jpg"))]
            assert part not in committed
            processes[part].add(one.process)
    assert sorted(map(len, processes.values())) == [1] * (SECONDS - 1) + [2]
    timeline = cache.timeline("a")
    assert timeline.complete
    assert timeline.verify(deep=True).ok


def noise() -> Path:
    """A video that is large enough to be listed from its sample tables, in groups of 25 frames."""

    def make(path: Path) -> None:
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25,noise=c0s=60:c0f=t"),
            *("-frames:v", "300", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"),
            *("-g", "25", "-sc_threshold", "0", "-pix_fmt", "yuv420p", str(path)),
        )

    return made("ray-noise.mp4", make)


def test_timeline_of_contradicted_tables_is_planned_again_from_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise().read_bytes()
    lying = tmp_path / "lying.mp4"
    lying.write_bytes(changed(data, entry_at(data, b"stss", 3), 80))
    wanted = {"a": [noise(), lying], "b": [noise()]}
    cache = FrameCache(tmp_path / "store")
    extract({"a": noise()}, cache=cache, keyframes=True)
    before = manifest_of(cache.store)
    assert [entry.listed_from for entry in before.chunks] == ["tables"]
    seen: list[ExtractProgress] = []
    reports = extract(wanted, cache=cache, keyframes=True, progress=seen.append)
    after = manifest_of(cache.store)
    assert int(after.epoch[:6]) == int(before.epoch[:6]) + 1
    assert [entry.listed_from for entry in after.chunks] == ["packets", "packets"]
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 2**62)
    scanned = FrameCache(tmp_path / "scanned").timeline("a")
    expected = scanned.extract(wanted["a"], keyframes=True)
    assert jpegs_of(cache.timeline("a")) == jpegs_of(scanned)
    assert reports["a"].frames_extracted == expected.frames_extracted
    assert (reports["a"].chunks_extracted, reports["b"].chunks_extracted) == (2, 1)
    assert (seen[-1].chunks_done, seen[-1].chunks_total) == (3, 3)
    assert seen[-1].frames_done == seen[-1].frames_total
