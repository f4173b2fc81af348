"""Extraction of timelines as tasks of a cluster of two nodes."""

from collections import Counter
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import clips
import numpy as np
import pytest

from framecache import (
    Chunk,
    ChunkChanged,
    FrameCache,
    InvalidId,
    InvalidValue,
    SettingsConflict,
    Timeline,
    UnreadableChunk,
)
from framecache.ray import ExtractionFailed, ExtractProgress, extract
from ray_cluster.logged_store import DyingStore, LoggedStore, cache_in
from ray_cluster.nodes import node_arguments

pytestmark = pytest.mark.usefixtures("cluster")

FRAMES = 45
CHUNKS = 3


def packs_in(folder: Path) -> list[Path]:
    return [*(folder / "store").rglob("*.tar")]


def jpegs_of(timeline: Timeline) -> list[bytes]:
    return [*timeline.jpegs(timeline.sequences())]


def test_the_frames_are_those_that_one_machine_extracts(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path / "fleet")
    reports = extract({"a": clips.chunks(), "b": clips.clip()}, cache=cache, quality=70)
    alone = FrameCache(tmp_path / "alone").timeline("a")
    alone.extract(clips.chunks(), quality=70)
    assert [*reports] == ["a", "b"]
    assert (reports["a"].chunks_extracted, reports["b"].chunks_extracted) == (CHUNKS, 1)
    assert reports["a"].frames_extracted == reports["a"].frame_count == FRAMES
    assert cache.timeline("a").complete
    assert jpegs_of(cache.timeline("a")) == jpegs_of(alone)
    expected = [float(frame.start) for frame in clips.timeline_of(clips.chunks())]
    np.testing.assert_allclose(cache.timeline("a").index.timestamp, expected, atol=1e-9)


def test_each_chunk_is_decoded_once_and_the_index_is_one_file(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    extract({"a": clips.chunks(), "b": clips.chunks()}, cache=cache, layout="packs")
    assert len(packs_in(tmp_path)) == 2 * CHUNKS
    assert isinstance(cache.store, LoggedStore)
    put = Counter(one.key for one in cache.store.requests() if one.key.endswith(".tar"))
    assert [*put.values()] == [1] * 2 * CHUNKS
    opened = cache_in(tmp_path)
    before = len(cache.store.requests())
    assert len(opened.timeline("a")) == FRAMES
    assert len(cache.store.requests()) - before == 3


def test_a_second_run_extracts_only_the_chunks_that_are_new(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    first, second, third = clips.chunks()
    assert extract({"a": [first, second]}, cache=cache, every=5)["a"].chunks_extracted == 2
    again = extract({"a": [first, second]}, cache=cache, every=5)["a"]
    assert (again.chunks_extracted, again.chunks_cached, again.frames_extracted) == (0, 2, 0)
    more = extract({"a": [first, second, third]}, cache=cache, every=5)["a"]
    assert (more.chunks_extracted, more.chunks_cached) == (1, 2)
    assert more.frame_count == len(cache.timeline("a")) == FRAMES // 5


def test_numbers_of_any_type_are_taken(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {
        "every": np.int64(15),
        "quality": np.uint8(60),
        "num_cpus": np.float32(0.5),
        "memory_bytes": np.int64(2**20),
        "max_retries": np.int8(1),
        "max_tasks": np.int32(2),
    }
    report = extract({"a": clips.clip()}, cache=FrameCache(tmp_path), **numbers)["a"]
    assert report.frames_extracted == FRAMES // 15


def test_settings_of_size_and_chroma_are_those_of_an_extraction(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    extract({"a": clips.clip()}, cache=cache, every=15, max_side=60, chroma="444")
    a, alone = cache.timeline("a"), cache.timeline("alone")
    alone.extract(clips.clip(), every=15, max_side=60, chroma="444")
    assert a.frame(0).image.shape[:2] == (40, 60)
    assert list(a.jpegs(a.sequences())) == list(alone.jpegs(alone.sequences()))


def test_progress_counts_timelines_chunks_and_frames(tmp_path: Path) -> None:
    seen: list[ExtractProgress] = []
    wanted = {name: clips.chunks() for name in ("a", "b")}
    extract(wanted, cache=FrameCache(tmp_path), progress=seen.append)
    chunks, frames = 2 * CHUNKS, 2 * FRAMES
    assert seen[-1] == ExtractProgress(2, 2, chunks, chunks, frames, frames, chunks, chunks)
    assert [one.chunks_done for one in seen] == sorted(one.chunks_done for one in seen)
    assert {one.chunks_done for one in seen} == set(range(2 * CHUNKS + 1))


def test_no_more_tasks_run_at_a_time_than_were_allowed(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    extract({"a": clips.chunks(), "b": clips.chunks()}, cache=cache, max_tasks=1)
    assert isinstance(cache.store, LoggedStore)
    held, most = 0, 0
    for one in cache.store.requests():
        if "/claims/" in one.key:
            held += {"create": 1, "delete": -1}.get(one.action, 0)
            most = max(most, held)
    assert (held, most) == (0, 1)


def test_the_others_are_finished_if_a_timeline_fails(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    cache.timeline("cached").extract(clips.clip(), every=3)
    wanted = {"gone": [Path("gone.mp4")], "cached": [clips.clip()], "good": clips.chunks()}
    with pytest.raises(ExtractionFailed, match="2 of 3 timelines could not be extracted") as caught:
        extract(wanted, cache=cache)
    assert [*caught.value.reports] == ["good"]
    assert {name: type(one) for name, one in caught.value.failures.items()} == {
        "gone": UnreadableChunk,
        "cached": SettingsConflict,
    }
    assert "Traceback" not in str(caught.value)
    assert cache.timeline("good").complete


def test_a_chunk_that_changes_after_it_was_planned_fails_its_timeline(tmp_path: Path) -> None:
    first, second, third = clips.chunks()
    changed = clips.copy_to(first, tmp_path)

    def change(_: ExtractProgress) -> None:
        changed.write_bytes(second.read_bytes())

    cache = FrameCache(tmp_path / "store")
    with pytest.raises(ExtractionFailed, match="1 of 2 timelines") as caught:
        extract({"a": [changed, second, third], "b": clips.chunks()}, cache=cache, progress=change)
    assert isinstance(caught.value.failures["a"], ChunkChanged)
    assert caught.value.reports["b"].chunks_extracted == CHUNKS
    assert cache.timeline("a").info().chunks_cached == 2


def test_a_start_that_is_given_places_the_chunk(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    first, second, _ = clips.chunks()
    extract({"a": [first, Chunk(str(second), start_seconds=5)]}, cache=cache)
    assert cache.timeline("a").index.timestamp[20] == 5.0


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, DyingStore)
    reports = extract({"a": clips.chunks(), "b": clips.chunks()}, cache=cache)
    assert isinstance(cache.store, DyingStore)
    assert cache.store.marker.exists()
    assert sum(one.chunks_extracted for one in reports.values()) == 2 * CHUNKS
    for name in ("a", "b"):
        assert cache.timeline(name).complete
        assert cache.timeline(name).verify(deep=True).ok


def test_a_killed_node_loses_nothing(tmp_path: Path, cluster: Any) -> None:  # noqa: ANN401 -- Ray's
    doomed = cluster.add_node(**node_arguments(num_cpus=2))
    cache = cache_in(tmp_path, partial(DyingStore, on_node=doomed.node_id))
    store = cache.store
    assert isinstance(store, DyingStore)

    def kill() -> None:
        store.wait_for_marker()
        cluster.remove_node(doomed, allow_graceful=False)

    killer = Thread(target=kill)
    killer.start()
    wanted = {f"t{number}": clips.chunks() for number in range(4)}
    reports = extract(wanted, cache=cache)
    killer.join()
    extracted = sum(one.chunks_extracted for one in reports.values())
    # What a task of the node has committed without reporting it counts as cached.
    assert 4 * CHUNKS - 2 <= extracted <= 4 * CHUNKS
    assert extracted + sum(one.chunks_cached for one in reports.values()) == 4 * CHUNKS
    assert all(cache.timeline(name).verify(deep=True).ok for name in wanted)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"timelines": {}}, InvalidValue, "timelines must be chunks by timeline"),
        ({"timelines": ["a.mp4"]}, InvalidValue, "timelines must be chunks by timeline"),
        ({"timelines": {"a": []}}, InvalidValue, "no chunk was given for timeline a"),
        ({"timelines": {"a/b": "a.mp4"}}, InvalidId, "a/b"),
        ({"cache": FrameCache("memory://ray")}, InvalidValue, "in the memory of this program"),
        ({"num_cpus": 0}, InvalidValue, "num_cpus must be a number above 0, not 0"),
        ({"resources": {"gpu": -1}}, InvalidValue, "resources\\['gpu'\\] must be a number above 0"),
        ({"memory_bytes": 0}, InvalidValue, "memory_bytes must be an integer from 1"),
        ({"max_retries": -1}, InvalidValue, "max_retries must be an integer from 0"),
        ({"max_tasks": 0}, InvalidValue, "max_tasks must be an integer from 1"),
        ({"fps": 5, "every": 2}, InvalidValue, "every"),
        ({"address": "127.0.0.1:1"}, InvalidValue, "is connected to the Ray cluster at"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_refused(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given: dict[str, Any] = {"timelines": {"a": "a.mp4"}, "cache": FrameCache(tmp_path)}
    with pytest.raises(error, match=message):
        extract(**{**given, **arguments})
