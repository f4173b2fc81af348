"""Background tasks: their results, their events, and how a restart resumes them."""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clips
import numpy as np
import pytest
from packed import damage
from served import Service, over, problem_of, serving, until

from framecache import CorruptFrame, Frame, FrameCache, InvalidValue, StoreUnavailable
from framecache._core import json_documents
from framecache._index import committed_parts, current_manifest
from framecache._index.lease import LeaseManager
from framecache._ingest import segments
from framecache.server import Limits, ServiceSettings, tasks
from framecache.server.task_spec import TaskSpec
from framecache.testing import HookedStore, fail_from_nth
from outside import frames_of, outside
from tars import jpegs_in, packs_of

TASKS = "service/tasks/"


def allowing(*folders: Path | str, tasks_waiting: int = 100) -> ServiceSettings:
    return ServiceSettings(
        allowed_chunks=tuple(str(folder) for folder in folders),
        limits=Limits(tasks_waiting=tasks_waiting),
    )


def urls(paths: list[Path]) -> list[str]:
    return [path.as_uri() for path in paths]


@pytest.fixture
def cache(served_url: str) -> FrameCache:
    return FrameCache(served_url)


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, allowing(clips.chunks()[0].parent)) as service:
        yield service


def extract(service: Service, **given: object) -> dict[str, Any]:
    body = {"chunks": urls(clips.chunks())} | given
    return service.task(service.client.post("api/v1/timelines/t/extract", json=body))


@pytest.mark.every_store
def test_extract_task_stores_the_frames_of_the_library(service: Service, cache: FrameCache) -> None:
    task = extract(service, every=4)
    cache.timeline("same").extract(clips.chunks(), every=4)
    assert task["state"] == "done"
    assert task["problem"] is None
    assert task["result"]["frame_count"] == task["frames_total"] == task["frames_done"]
    same = cache.timeline("same")
    assert list(cache.timeline("t").jpegs(same.sequences())) == list(same.jpegs(same.sequences()))


def test_done_task_is_removed_from_store(service: Service, cache: FrameCache) -> None:
    extract(service)
    assert list(cache.store.list(TASKS)) == []


def test_extract_with_append_adds_chunks(service: Service) -> None:
    first, *others = urls(clips.chunks())
    extract(service, chunks=[first], every=2)
    assert extract(service, chunks=others, append=True)["state"] == "done"
    detail = service.json("api/v1/timelines/t")
    assert [one["frame_count"] for one in detail["chunks"]] == [10, 5, 8]


def test_conflicting_extract_task_fails_with_reason(service: Service) -> None:
    extract(service, every=4)
    task = extract(service, every=5)
    assert task["state"] == "failed"
    assert "rebuild" in task["problem"]


def test_rebuild_task_applies_new_settings(service: Service) -> None:
    extract(service, every=4)
    task = service.task(service.client.post("api/v1/timelines/t/rebuild", json={"quality": 30}))
    assert task["state"] == "done"
    detail = service.json("api/v1/timelines/t")
    assert (detail["quality"], detail["cached_count"]) == (30, 12)


def test_limit_and_chroma_are_settings_of_extract_and_rebuild(service: Service) -> None:
    assert extract(service, every=4, max_side=60, chroma="444")["state"] == "done"
    detail = service.json("api/v1/timelines/t")
    assert (detail["width"], detail["height"]) == (60, 40)
    assert (detail["max_side"], detail["chroma"]) == (60, "444")
    task = extract(service, every=4, max_side=50, chroma="444")
    assert (task["state"], "rebuild" in task["problem"]) == ("failed", True)
    changes = {"max_side": 65_500, "chroma": "420"}
    service.task(service.client.post("api/v1/timelines/t/rebuild", json=changes))
    detail = service.json("api/v1/timelines/t")
    assert (detail["width"], detail["max_side"], detail["chroma"]) == (96, None, "420")


def test_renditions_are_a_setting_of_extract_and_rebuild(service: Service) -> None:
    assert extract(service, every=4, renditions=[48, 20])["state"] == "done"
    assert service.json("api/v1/timelines/t")["renditions"] == [48, 20]
    small = service.client.get("api/v1/timelines/t/frames/0.jpg", params={"width": 48})
    stored = service.inside.cache.timeline("t")
    assert small.content == stored.jpeg(0, max_side=48)
    assert len(small.content) == stored.index.row(0).renditions[0].size
    assert extract(service, every=4)["state"] == "done"
    task = extract(service, every=4, renditions=[64, 48, 20])
    assert (task["state"], "rebuild" in task["problem"]) == ("failed", True)
    service.task(service.client.post("api/v1/timelines/t/rebuild", json={"renditions": []}))
    assert service.json("api/v1/timelines/t")["renditions"] == []


def test_clear_task_removes_frames_and_keeps_chunks(service: Service) -> None:
    extract(service, every=4)
    service.task(service.client.post("api/v1/timelines/t/clear"))
    detail = service.json("api/v1/timelines/t")
    assert (detail["state"], detail["cached_count"], detail["chunk_count"]) == ("cleared", 0, 3)


def test_delete_task_removes_every_blob(service: Service, cache: FrameCache) -> None:
    extract(service, every=4)
    service.task(service.client.delete("api/v1/timelines/t"))
    assert list(cache.store.list("cache/timelines/")) == []
    assert problem_of(service.get("api/v1/timelines/t")) == (404, "not_cached")


@pytest.mark.every_store
def test_verify_task_counts_and_repairs_damage(service: Service, cache: FrameCache) -> None:
    extract(service, every=4)
    intact = cache.store.get("cache/timelines/t/frames/3.jpg")
    cache.store.put("cache/timelines/t/frames/3.jpg", b"damaged")
    found = service.task(service.client.post("api/v1/timelines/t/verify"))["result"]
    assert (found["is_ok"], found["damaged"], found["ok"]) == (False, 1, 11)
    repaired = service.client.post("api/v1/timelines/t/verify", json={"repair": True})
    assert service.task(repaired)["result"]["repaired"] == 1
    assert cache.store.get("cache/timelines/t/frames/3.jpg") == intact


def test_packs_are_extracted_verified_repaired_and_cleared(
    service: Service, cache: FrameCache, served_url: str
) -> None:
    blobs = outside(served_url)
    task = extract(service, every=4, layout="packs")
    assert (task["state"], task["result"]["frame_count"]) == ("done", 12)
    cache.timeline("same").extract(clips.chunks(), every=4)
    same = frames_of(blobs, "same")
    jpegs = {int(name.removesuffix(".jpg")): data for name, data in same.items()}
    assert sorted(jpegs) == list(range(12))
    assert jpegs_in(packs_of(blobs, "t")) == jpegs
    assert frames_of(blobs, "t") == {}

    intact = service.task(service.client.post("api/v1/timelines/t/verify"))["result"]
    assert (intact["is_ok"], intact["damaged"], intact["ok"]) == (True, 0, 12)
    damage(served_url, 3, "a bit flipped")
    found = service.task(service.client.post("api/v1/timelines/t/verify"))["result"]
    assert (found["is_ok"], found["damaged"], found["ok"]) == (False, 1, 11)
    repaired = service.client.post("api/v1/timelines/t/verify", json={"repair": True})
    assert service.task(repaired)["result"]["repaired"] == 1
    assert service.get("api/v1/timelines/t/frames/3.jpg").content == jpegs[3]

    cleared = service.task(service.client.post("api/v1/timelines/t/clear"))
    assert cleared["state"] == "done"
    assert packs_of(blobs, "t") == {}
    assert service.json("api/v1/timelines/t")["state"] == "cleared"
    assert frames_of(blobs, "same") == same


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/clear"), ("POST", "/rebuild"), ("POST", "/verify"), ("DELETE", "")],
)
def test_task_on_unknown_timeline_is_not_cached(service: Service, method: str, path: str) -> None:
    answer = service.client.request(method, f"api/v1/timelines/none{path}")
    assert problem_of(answer) == (404, "not_cached")


def test_chunk_with_times_is_placed_and_trimmed(service: Service) -> None:
    first, second, _ = urls(clips.chunks())
    placed = {"url": second, "start_seconds": "0:05", "trim_start": 0.08, "trim_stop": "0.2"}
    assert extract(service, chunks=[first, placed])["state"] == "done"
    detail = service.json("api/v1/timelines/t")
    shown = [(one["start_seconds"], one["frame_count"]) for one in detail["chunks"]]
    assert shown == [(0, 20), (5, 3)]


@pytest.mark.parametrize(
    "given",
    [
        {"chunks": []},
        {"chunks": [{"url": "upload:a", "trim_start": 2, "trim_stop": 1}]},
        {"chunks": [{"url": "upload:a", "trim_start": "soon"}]},
        {"chunks": [{"url": "upload:a", "start_seconds": -1}]},
        {"chunks": [{"url": "upload:a", "part": 1}]},
        {"chunks": ["upload:../a"]},
        {"fps": 5, "every": 2},
        {"fps": "nan"},
        {"fps": -1},
        {"quality": 0},
        {"max_side": 0},
        {"max_side": 65_501},
        {"max_side": True},
        {"renditions": [0]},
        {"renditions": [65_501]},
        {"renditions": [20, 48]},
        {"renditions": 48},
        {"renditions": [48], "layout": "video"},
        {"max_side": 64.0},
        {"max_side": "64"},
        {"chroma": "422"},
        {"layout": "zip"},
        {"append": True, "every": 2},
        {"append": True, "quality": 70},
        {"append": True, "quality": 85},
        {"append": True, "aspect": "square"},
        {"append": True, "layout": "packs"},
        {"append": True, "max_side": 64},
        {"append": True, "chroma": "444"},
        {"unknown": 1},
    ],
)
def test_invalid_extract_request_is_refused_and_stores_nothing(
    service: Service, cache: FrameCache, given: dict[str, Any]
) -> None:
    body = {"chunks": urls(clips.chunks())} | given
    answer = service.client.post("api/v1/timelines/t/extract", json=body)
    assert problem_of(answer)[0] == 422
    assert list(cache.store.list("")) == []


def forbidden_chunks(tmp_path: Path) -> list[str]:
    """Return URLs of chunks outside the allowed folder, some of which seem to be inside."""
    allowed = clips.chunks()[0].parent
    tmp_path.joinpath("secret.mp4").write_bytes(clips.clip().read_bytes())
    secret = (tmp_path / "secret.mp4").as_uri()
    parent_path = f"{allowed.as_uri()}/../../../../../../../..{tmp_path}/secret.mp4"
    return [
        secret,
        parent_path,
        parent_path.replace("..", "%2e%2e"),
        str(tmp_path / "secret.mp4"),
        f"{allowed}/c0.mp4",
        f"{allowed.as_uri()}x/c0.mp4",
        "file://localhost/etc/passwd",
        "file://evil.example/c0.mp4",
        "http://127.0.0.1:1/c0.mp4",
        "https://evil.example/c0.mp4",
        "ftp://evil.example/c0.mp4",
        "data:video/mp4;base64,AAAA",
        "concat:/etc/passwd|/etc/hosts",
        "s3://other/c0.mp4",
        "s3://allowed-and-more/c0.mp4",
        "s3://allowed/videos/../../other/c0.mp4",
        "s3://allowed/videos-and-more/c0.mp4",
        "gs://allowed/videos/c0.mp4",
        "memory://other/c0.mp4",
        "~root/c0.mp4",
        "",
        "file:///",
        "\0",
    ]


def test_chunk_outside_allowed_locations_is_refused(local_url: str, tmp_path: Path) -> None:
    cache = FrameCache(local_url)
    settings = allowing(clips.chunks()[0].parent, "s3://allowed/videos")
    with serving(cache, settings) as service:
        for chunk in forbidden_chunks(tmp_path):
            for given in (chunk, {"url": chunk}):
                answer = service.client.post("api/v1/timelines/t/extract", json={"chunks": [given]})
                assert problem_of(answer) == (403, "chunk_not_allowed"), chunk
    assert list(cache.store.list("")) == []


def test_symlink_out_of_allowed_folder_is_refused(local_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "link.mp4").symlink_to(clips.clip())
    (folder / "folder").symlink_to(clips.clip().parent)
    paths = [folder / "link.mp4", folder / "folder" / clips.clip().name]
    with serving(FrameCache(local_url), allowing(folder)) as service:
        for path in paths:
            body = {"chunks": [path.as_uri()]}
            answer = service.client.post("api/v1/timelines/t/extract", json=body)
            assert problem_of(answer) == (403, "chunk_not_allowed")


@pytest.mark.parametrize(
    ("path", "body"),
    [("rebuild", {}), ("verify", {}), ("verify", {"deep": True}), ("verify", {"repair": True})],
)
def test_task_on_timeline_with_forbidden_chunks_is_refused(
    local_url: str, path: str, body: dict[str, bool]
) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.clip(), every=10)
    with serving(cache) as service:
        answer = service.client.post(f"api/v1/timelines/t/{path}", json=body)
    assert problem_of(answer) == (403, "chunk_not_allowed")
    assert list(cache.store.list(TASKS)) == []


def damage_manifest(cache: FrameCache) -> None:
    """Damage the latest manifest; earlier ones name the same chunks."""
    manifest = current_manifest(cache.store, "t")
    assert manifest is not None
    cache.store.put(f"cache/timelines/t/timeline/{manifest.version:08d}.json", b"damaged")


def test_repair_of_corrupt_manifest_with_forbidden_chunks_is_refused(
    local_url: str,
) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.clip(), every=10)
    cache.timeline("t").rebuild(quality=30)
    damage_manifest(cache)
    with serving(cache) as service:
        answer = service.client.post("api/v1/timelines/t/verify", json={"repair": True})
    assert problem_of(answer) == (403, "chunk_not_allowed")


def test_corrupt_manifest_is_repaired(service: Service, cache: FrameCache) -> None:
    extract(service, every=4)
    damage_manifest(cache)
    answer = service.client.post("api/v1/timelines/t/verify", json={"repair": True})
    assert service.task(answer)["result"]["repaired"] >= 1
    assert cache.timeline("t").complete


class HeldStore:
    """Store that stores no frame until the test lets it continue."""

    def __init__(self, cache: FrameCache) -> None:
        self.may_continue = threading.Event()
        self.is_reached = threading.Event()
        self.cache = over(HookedStore(cache.store, before=self._before))

    def _before(self, action: str, key: str) -> None:
        if action == "put" and "/frames/" in key:
            self.is_reached.set()
            assert self.may_continue.wait(60)


def start_extraction(service: Service, held_store: HeldStore) -> str:
    """Start an extraction, wait for its first frame, and return the id of the task."""
    body = {"chunks": urls(clips.chunks())}
    answer = service.client.post("api/v1/timelines/t/extract", json=body)
    assert held_store.is_reached.wait(60)
    task_id = answer.json()["task_id"]
    assert isinstance(task_id, str)
    return task_id


def test_running_task_is_cancelled_before_completion(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    with serving(held_store.cache, allowing(clips.chunks()[0].parent)) as service:
        task_id = start_extraction(service, held_store)
        assert service.client.delete(f"api/v1/tasks/{task_id}").status_code == 200
        held_store.may_continue.set()
        until(lambda: service.json(f"api/v1/tasks/{task_id}")["state"] == "cancelled")
    assert list(cache.store.list(TASKS)) == []
    assert not cache.timeline("t").complete


def test_queued_task_is_cancelled(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    with serving(held_store.cache, allowing(clips.chunks()[0].parent)) as service:
        start_extraction(service, held_store)
        waiting = service.client.post("api/v1/timelines/t/verify").json()["task_id"]
        assert service.client.delete(f"api/v1/tasks/{waiting}").json()["state"] == "cancelled"
        held_store.may_continue.set()
    assert len(list(cache.store.list(TASKS))) <= 1


def test_tasks_beyond_queue_limit_are_refused(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    settings = allowing(clips.chunks()[0].parent, tasks_waiting=1)
    with serving(held_store.cache, settings) as service:
        start_extraction(service, held_store)
        assert service.client.post("api/v1/timelines/t/verify").status_code == 202
        answer = service.client.post("api/v1/timelines/t/verify")
        held_store.may_continue.set()
    assert problem_of(answer) == (429, "rate_limited")
    assert answer.headers["retry-after"]


def test_restarted_service_resumes_unfinished_task(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    settings = allowing(clips.chunks()[0].parent)
    with serving(held_store.cache, settings) as service:
        task_id = start_extraction(service, held_store)
        service.inside.stop()
        held_store.may_continue.set()
    assert [blob.key for blob in cache.store.list(TASKS)] == [f"{TASKS}{task_id}.json"]
    with serving(cache, settings) as service:
        done = next(task for task in service.events() if task["state"] == "done")
    assert done["task_id"] == task_id
    assert cache.timeline("t").complete
    assert list(cache.store.list(TASKS)) == []


def test_restarted_service_extracts_only_the_missing_segments(
    cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = segments.SegmentLimits(seconds=Fraction(2), min_frames=20)
    monkeypatch.setattr(segments, "LIMITS", limits)
    path = clips.clip(frames=400)
    settings = allowing(path.parent)
    commits, is_reached, may_continue = Counter[str](), threading.Event(), threading.Event()

    def hold_third_commit(action: str, key: str) -> None:
        commits["segments"] += action == "create" and key.endswith(".parquet")
        if commits["segments"] > 2:
            is_reached.set()
            assert may_continue.wait(60)

    held = over(HookedStore(cache.store, before=hold_third_commit))
    with serving(held, settings) as service:
        body = {"chunks": urls([path])}
        task = service.client.post("api/v1/timelines/t/extract", json=body).json()
        assert is_reached.wait(60)
        service.inside.stop()
        may_continue.set()
    manifest = current_manifest(cache.store, "t")
    assert manifest is not None
    cached = committed_parts(cache.store, manifest, manifest.parts)
    assert len(manifest.parts) == 8
    assert 2 <= len(cached) < 8
    stored = Counter[int]()

    def count(action: str, key: str) -> None:
        if action == "put" and "/frames/" in key:
            stored[int(Path(key).stem)] += 1

    with serving(over(HookedStore(cache.store, before=count)), settings) as service:
        done = next(one for one in service.events() if one["state"] == "done")
    missing = [one for one in manifest.segments if one.part not in cached]
    assert done["task_id"] == task["task_id"]
    assert done["result"]["segments_extracted"] == len(missing)
    assert done["result"]["segments_cached"] == len(cached)
    assert stored == {
        sequence: 1 for one in missing for sequence in range(one.first_sequence, one.stop_sequence)
    }
    assert cache.timeline("t").verify(deep=True).ok


def test_resumed_clear_keeps_frames_written_later(
    local_url: str,
) -> None:
    cache = FrameCache(local_url)
    image = np.zeros((16, 16, 3), np.uint8)
    cache.timeline("t").write([Frame(0, 0, 0.0, image)])
    # The service stops without finishing its task, as in a crash.
    with serving(cache, ServiceSettings(limits=Limits(tasks_at_once=0))) as service:
        service.client.post("api/v1/timelines/t/clear")
    cache.timeline("t").clear()
    cache.timeline("t").write([Frame(5, 0, 0.5, image)])
    with serving(cache) as service:
        task = next(task for task in service.events() if task["state"] == "failed")
    assert task["kind"] == "clear"
    assert cache.timeline("t").sequences() == [5]


TASK_REQUESTS = [("POST", "/clear"), ("DELETE", "")]


def write(cache: FrameCache, sequence: int) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    cache.timeline("t").write([Frame(sequence, 0, sequence / 10, image)])


def create_task(cache: FrameCache, method: str, path: str) -> None:
    """Create a task in a service that stops without executing it."""
    with serving(cache, ServiceSettings(limits=Limits(tasks_at_once=0))) as service:
        answer = service.client.request(method, f"api/v1/timelines/t{path}")
        assert answer.status_code == 202, answer.text


def resume(cache: FrameCache) -> dict[str, Any]:
    """Start a service, and return the outcome of the only stored task."""
    with serving(cache) as service:
        ended = {"done", "failed", "cancelled"}
        return next(task for task in service.events() if task["state"] in ended)


def test_task_done_by_another_service_is_not_repeated(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    with serving(held_store.cache, allowing(clips.chunks()[0].parent)) as service:
        start_extraction(service, held_store)
        task_id = service.client.delete("api/v1/timelines/t").json()["task_id"]
        cache.store.delete([f"{TASKS}{task_id}.json"])
        held_store.may_continue.set()
        until(lambda: service.json(f"api/v1/tasks/{task_id}")["state"] == "done")
    assert cache.timeline("t").complete


@pytest.mark.parametrize(("method", "path"), TASK_REQUESTS)
def test_queued_task_keeps_frames_written_later(cache: FrameCache, method: str, path: str) -> None:
    held_store = HeldStore(cache)
    with serving(held_store.cache, allowing(clips.chunks()[0].parent)) as service:
        start_extraction(service, held_store)
        answer = service.client.request(method, f"api/v1/timelines/t{path}")
        cache.timeline("t").delete()
        write(cache, 5)
        held_store.may_continue.set()
        task = service.task(answer)
    assert task["state"] == "failed"
    assert "changed after" in task["problem"]
    assert cache.timeline("t").sequences() == [5]


@pytest.mark.parametrize("key", ["timeline/00000000.json", "frames/0.jpg"])
def test_delete_task_created_without_valid_manifest_keeps_later_timeline(
    local_url: str, key: str
) -> None:
    cache = FrameCache(local_url)
    cache.store.put(f"cache/timelines/t/{key}", b"damaged")
    create_task(cache, "DELETE", "")
    cache.timeline("t").delete()
    write(cache, 5)
    assert resume(cache)["state"] == "failed"
    assert cache.timeline("t").sequences() == [5]


@pytest.mark.parametrize(("method", "path"), TASK_REQUESTS)
def test_resumed_task_keeps_later_epoch_without_commits(
    local_url: str, method: str, path: str
) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, method, path)
    cache.timeline("t").clear()
    manifest = current_manifest(cache.store, "t")
    assert manifest is not None
    with LeaseManager(cache.store, manifest) as leases:
        leases.acquire("w000000")
        assert resume(cache)["state"] == "failed"
    assert current_manifest(cache.store, "t") == manifest


@pytest.mark.parametrize(("method", "path"), TASK_REQUESTS)
def test_interrupted_task_is_completed_on_resume(local_url: str, method: str, path: str) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, method, path)
    hook = fail_from_nth(StoreUnavailable("gone"), action="delete", nth=1, within="/t/")
    dying = over(HookedStore(cache.store, before=hook)).timeline("t")
    with pytest.raises(StoreUnavailable):
        dying.delete() if method == "DELETE" else dying.clear()
    assert list(cache.store.list("cache/timelines/t/frames"))
    assert resume(cache)["state"] == "done"
    left = [blob.key.split("/")[3] for blob in cache.store.list("cache/timelines/t")]
    assert set(left) == (set() if method == "DELETE" else {"timeline"})


def test_interrupted_rebuild_resumes_in_its_epoch(cache: FrameCache) -> None:
    timeline = cache.timeline("t")
    timeline.extract(clips.chunks(), every=4)
    held_store = HeldStore(cache)
    settings = allowing(clips.chunks()[0].parent)
    with serving(held_store.cache, settings) as service:
        service.client.post("api/v1/timelines/t/rebuild", json={"quality": 30})
        assert held_store.is_reached.wait(60)
        service.inside.stop()
        held_store.may_continue.set()
    epoch = timeline.info().epoch
    with serving(cache, settings) as service:
        next(task for task in service.events() if task["state"] == "done")
    info = timeline.info()
    assert info.complete
    assert info.epoch == epoch
    assert info.settings is not None
    assert info.settings.jpeg.quality == 30


def test_read_only_service_ignores_stored_tasks(local_url: str) -> None:
    cache = FrameCache(local_url)
    cache.store.put(f"{TASKS}20260101T000000000000-0123456789abcdef.json", b"{}")
    with serving(cache, ServiceSettings(read_only=True)) as service:
        assert service.json("api/v1/tasks") == {"tasks": []}


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"format": 2}'])
def test_invalid_stored_task_does_not_block_new_tasks(local_url: str, body: bytes) -> None:
    cache = FrameCache(local_url)
    cache.store.put(f"{TASKS}20260101T000000000000-0123456789abcdef.json", body)
    with serving(cache, allowing(clips.chunks()[0].parent)) as service:
        assert extract(service)["state"] == "done"


def test_task_that_cannot_be_stored_is_not_accepted(local_url: str) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    hook = fail_from_nth(StoreUnavailable("gone"), action="create", nth=1, within=TASKS)
    with serving(over(HookedStore(cache.store, before=hook))) as service:
        answer = service.client.post("api/v1/timelines/t/clear")
        assert problem_of(answer) == (503, "store_unavailable")
        assert service.json("api/v1/tasks") == {"tasks": []}


def test_too_long_task_is_not_accepted(
    service: Service, cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_documents, "MAX_BYTES", 300)
    body = {"chunks": urls(clips.chunks()) * 10}
    answer = service.client.post("api/v1/timelines/t/extract", json=body)
    assert problem_of(answer) == (422, "invalid_value")
    assert list(cache.store.list(TASKS)) == []
    assert service.json("api/v1/tasks") == {"tasks": []}


def test_task_with_lone_surrogate_is_not_stored() -> None:
    with pytest.raises(InvalidValue, match="this task cannot be stored"):
        TaskSpec.create("t", "clear", {"name": "\ud800"}).encode()


def test_stored_task_with_naive_time_is_corrupt() -> None:
    task = TaskSpec.create("t", "clear", {})
    document = json.loads(task.encode())
    assert TaskSpec.decode(json.dumps(document).encode(), key=task.key) == task
    document["created_at"] = task.created_at.replace(tzinfo=None).isoformat()
    with pytest.raises(CorruptFrame, match="damaged"):
        TaskSpec.decode(json.dumps(document).encode(), key=task.key)


class UnavailableStore:
    """Store that fails some requests, a number of times or always."""

    def __init__(self, cache: FrameCache, action: str, *, times: int | None) -> None:
        self.is_reached = threading.Event()
        self.times = times
        """Number of failures; None: every time."""
        self._action = action
        self.cache = over(HookedStore(cache.store, before=self._before))

    def _before(self, action: str, key: str) -> None:
        if action == self._action and key.startswith(TASKS) and self.times != 0:
            self.times = None if self.times is None else self.times - 1
            self.is_reached.set()
            raise StoreUnavailable("gone")


@pytest.fixture
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RETRY_SECONDS", 0.01)


@pytest.mark.usefixtures("_fast_retries")
@pytest.mark.parametrize("action", ["list", "get", "head", "delete"])
def test_task_completes_after_store_outage(local_url: str, action: str) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, "DELETE", "")
    unavailable = UnavailableStore(cache, action, times=2)
    assert resume(unavailable.cache)["state"] == "done"
    assert unavailable.is_reached.is_set()
    assert not [blob for folder in (TASKS, "cache/timelines") for blob in cache.store.list(folder)]


def test_invalid_stored_tasks_do_not_stop_a_valid_one(local_url: str) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, "DELETE", "")
    for number, body in enumerate(_INVALID_TASKS):
        outside(local_url).put(f"{TASKS}0{number}.json", body)
    assert resume(cache)["state"] == "done"
    assert not cache.timeline("t").exists


_INVALID_TASKS = [
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"\xff",
    b"{}",
    b'"text"',
    b'{"format": Infinity, "task_id": "00"}',
    json.dumps(
        {"format": 1, "task_id": "../x", "timeline_id": "t", "kind": "delete", "arguments": {}}
        | {"created_at": "2026-01-01T00:00:00+00:00"}
    ).encode(),
]


@pytest.mark.usefixtures("_fast_retries")
def test_unreadable_stored_task_does_not_stop_others(local_url: str) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, "DELETE", "")
    outside(local_url).put(f"{TASKS}00.json", b"{}")
    hook = fail_from_nth(StoreUnavailable("gone"), action="get", nth=1, within=f"{TASKS}00")
    assert resume(over(HookedStore(cache.store, before=hook)))["state"] == "done"


@pytest.mark.usefixtures("_fast_retries")
@pytest.mark.parametrize("action", ["get", "head", "delete"])
def test_stopping_service_does_not_wait_for_silent_store(local_url: str, action: str) -> None:
    cache = FrameCache(local_url)
    write(cache, 0)
    create_task(cache, "DELETE", "")
    unavailable = UnavailableStore(cache, action, times=None)
    with serving(unavailable.cache) as service:
        assert unavailable.is_reached.wait(60)
        service.inside.stop()
        service.inside.tasks.join(60)
        states = {task.state for task in service.inside.tasks.list_tasks(None)}
    assert not states & {"done", "failed", "cancelled"}
    assert len(list(cache.store.list(TASKS))) == 1


@pytest.mark.usefixtures("_fast_retries")
def test_running_task_is_cancelled_only_once_its_blob_is_deleted(cache: FrameCache) -> None:
    held_store = HeldStore(cache)
    unavailable = UnavailableStore(held_store.cache, "delete", times=None)
    with serving(unavailable.cache, allowing(clips.chunks()[0].parent)) as service:
        task_id = start_extraction(service, held_store)
        service.client.delete(f"api/v1/tasks/{task_id}")
        held_store.may_continue.set()
        assert unavailable.is_reached.wait(60)
        assert service.json(f"api/v1/tasks/{task_id}")["state"] == "running"
        unavailable.times = 0
        until(lambda: service.json(f"api/v1/tasks/{task_id}")["state"] == "cancelled")
        assert list(cache.store.list(TASKS)) == []


@pytest.mark.usefixtures("_fast_retries")
def test_queued_task_is_cancelled_later_if_its_blob_cannot_be_deleted(
    cache: FrameCache,
) -> None:
    held_store = HeldStore(cache)
    unavailable = UnavailableStore(held_store.cache, "delete", times=1)
    with serving(unavailable.cache, allowing(clips.chunks()[0].parent)) as service:
        start_extraction(service, held_store)
        task_id = service.client.delete("api/v1/timelines/t").json()["task_id"]
        refused = service.client.delete(f"api/v1/tasks/{task_id}")
        assert problem_of(refused) == (503, "store_unavailable")
        assert service.json(f"api/v1/tasks/{task_id}")["state"] == "queued"
        held_store.may_continue.set()
        until(lambda: service.json(f"api/v1/tasks/{task_id}")["state"] == "cancelled")
    assert cache.timeline("t").complete


def test_events_report_task_states_until_done(service: Service) -> None:
    body = {"chunks": urls(clips.chunks())}
    states = []
    with service.client.stream("GET", "api/v1/events") as stream:
        posted = service.client.post("api/v1/timelines/t/extract", json=body).json()["task_id"]
        for line in stream.iter_lines():
            if line.startswith("data:"):
                task = json.loads(line.removeprefix("data:"))
                assert task["task_id"] == posted
                states.append(task["state"])
                if states[-1] == "done":
                    break
    assert states[-1] == "done"
    assert set(states) <= {"queued", "running", "done"}


def test_chunk_with_undecodable_file_name_is_extracted_by_url(
    local_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9")
    path = clips.copy_to(clips.chunks()[0], folder).rename(folder / os.fsdecode(b"\xff.mp4"))
    with serving(FrameCache(local_url), allowing(folder)) as service:
        asked = {"chunks": [f"file://{quote(os.fsencode(path))}"]}
        ended = service.task(service.client.post("api/v1/timelines/t/extract", json=asked))
        assert ended["state"] == "done"
        assert service.json("api/v1/timelines/t")["chunks"][0]["name"] == "\ufffd.mp4"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("extract", {"chunks": ["c.mp4"]}),
        ("rebuild", None),
        ("verify", {"deep": True}),
        ("verify", {"repair": True}),
    ],
    ids=["extract", "rebuild", "verify deep", "verify repair"],
)
def test_task_that_needs_missing_package_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any] | None
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    answer = service.client.post(f"api/v1/timelines/t/{path}", json=body)
    assert problem_of(answer) == (501, "missing_package")
    assert service.json("api/v1/tasks")["tasks"] == []
