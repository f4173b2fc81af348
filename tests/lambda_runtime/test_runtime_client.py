"""The handler in the real runtime client of AWS Lambda, with S3 and a stub of the runtime API.

Each process can write no file, neither in the checkout nor in /tmp, and has no home folder.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arriving import (
    SCHEDULE,
    TEST_EVENT,
    TIMELINE,
    Bucket,
    blobs,
    bridged,
    notification,
    queued,
    shown,
)
from runtime_api import Function, running_function

from framecache import Chunk, FrameCache
from framecache._index.lease import LeaseManager
from framecache._ingest.resolve import resolve_append, resolve_chunks
from media import make_clip


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    return Bucket(s3_url)


@pytest.fixture
def cache(s3_url: str) -> FrameCache:
    return FrameCache(s3_url)


@pytest.fixture
def variables(bucket: Bucket, s3_url: str) -> dict[str, str]:
    return {"FRAMECACHE_URL": s3_url, "FRAMECACHE_LAMBDA_CHUNKS": bucket.pattern}


@pytest.fixture
def function(tmp_path: Path, variables: dict[str, str]) -> Iterator[Function]:
    with running_function(tmp_path, variables) as function:
        yield function


def test_events_of_each_kind_append_their_chunks(
    function: Function, bucket: Bucket, cache: FrameCache
) -> None:
    bucket.upload(*range(4))
    assert function.api.invoke(TEST_EVENT).body == {"timelines": []}
    answer = function.api.invoke(bucket.event(1))
    assert answer.body["timelines"][0]["waiting"] == 1
    answer = function.api.invoke(bridged(bucket.name, bucket.key(0)))
    assert answer.body["timelines"][0]["appended"] == [0, 1]
    batch = queued({"a": bucket.event(2), "b": notification("other", ["x"]), "c": "{"})
    failures = [{"itemIdentifier": "b"}, {"itemIdentifier": "c"}]
    assert function.api.invoke(batch).body == {"batchItemFailures": failures}
    assert function.api.invoke(bucket.event(3)).body["timelines"][0]["appended"] == [3]
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2, 3]
    assert blobs(cache) == []


def test_event_that_fails_is_answered_with_the_type_of_its_error(
    function: Function, bucket: Bucket
) -> None:
    bucket.store.put(bucket.key(0), b"not a video")
    assert function.api.invoke({"Records": 7}).error_type == "InvalidValue"
    assert function.api.invoke(notification("other", ["x"])).error_type == "InvalidValue"
    assert function.api.invoke(bucket.event(0)).error_type == "UnreadableChunk"
    answer = function.api.invoke(queued({"a": bucket.event(0)}))
    assert answer.body == {"batchItemFailures": [{"itemIdentifier": "a"}]}
    assert "UnreadableChunk" in function.log.read_text()


def test_late_chunk_is_answered_with_the_type_of_its_error(
    tmp_path: Path, variables: dict[str, str], bucket: Bucket
) -> None:
    bucket.upload(0, 1)
    eager = {**variables, "FRAMECACHE_LAMBDA_MAX_WAIT_SECONDS": "0"}
    with running_function(tmp_path, eager) as function:
        answer = function.api.invoke(bucket.event(1))
        assert answer.body["timelines"][0]["skipped"] == [[0, 1]]
        assert function.api.invoke(bucket.event(0)).error_type == "LateChunk"


def test_missing_setting_is_answered_with_the_type_of_its_error(tmp_path: Path) -> None:
    with running_function(tmp_path, {"FRAMECACHE_URL": "s3://media"}) as function:
        answer = function.api.invoke(SCHEDULE)
        assert answer.error_type == "InvalidValue"
        assert "$FRAMECACHE_LAMBDA_CHUNKS is not set" in answer.body["errorMessage"]


def test_invocation_stops_before_its_deadline_and_the_next_one_continues(
    function: Function, bucket: Bucket, cache: FrameCache
) -> None:
    """Another program that is alive extracts its chunk, so it waits as long as it may."""
    bucket.upload(0)
    chunks = resolve_chunks(cache.store, [Chunk(f"{bucket.url}/{bucket.key(0)}")])
    placed = resolve_append(cache.store, TIMELINE, chunks, bucket.settings().extraction)
    event = queued({"a": bucket.event(0)})
    with LeaseManager(cache.store, placed.manifest) as leases:
        assert leases.acquire(placed.entries[0].parts[0])
        answer = function.api.invoke(event, seconds=20)
        assert leases.is_held(placed.entries[0].parts[0])
    assert answer.body == {"batchItemFailures": [{"itemIdentifier": "a"}]}
    assert answer.is_in_time
    assert "OutOfTime" in function.log.read_text()
    assert not cache.timeline(TIMELINE).exists
    assert function.api.invoke(event).body == {"batchItemFailures": []}
    assert shown(cache.timeline(TIMELINE)) == [0]


def test_invocation_that_is_killed_is_continued_by_another_process(
    tmp_path: Path, variables: dict[str, str], bucket: Bucket, cache: FrameCache
) -> None:
    video = make_clip(tmp_path / "long.mp4", frames=200)
    bucket.store.put("live/long/0.gif", video.read_bytes())
    event = queued({"a": notification(bucket.name, ["live/long/0.gif"])})
    with running_function(tmp_path, variables) as function:
        function.api.send(event)
        while not blobs(cache, "cache/timelines/long/frames"):
            assert function.process.poll() is None
        function.kill()
    assert not cache.timeline("long").exists
    with running_function(tmp_path, variables) as function:
        answer = function.api.invoke(event, seconds=300)
        assert answer.body == {"batchItemFailures": []}
    assert len(cache.timeline("long")) == 200
    assert cache.timeline("long").verify().ok


def test_committed_segments_of_a_killed_invocation_are_not_extracted_again(
    tmp_path: Path, variables: dict[str, str], bucket: Bucket, cache: FrameCache
) -> None:
    """A video of 120 s has four segments: each ends at the first keyframe after 30 s."""
    keyframes = ["-g", "25", "-keyint_min", "25", "-sc_threshold", "0"]
    video = make_clip(tmp_path / "long.mp4", size=(64, 48), frames=3000, extra=keyframes)
    bucket.store.put("live/long/0.gif", video.read_bytes())
    event = queued({"a": notification(bucket.name, ["live/long/0.gif"])})
    variables |= {"FRAMECACHE_LAMBDA_LAYOUT": "packs", "FRAMECACHE_LAMBDA_WORKERS": "1"}

    def packs_of(timeline_id: str) -> set[str]:
        return {*FrameCache(cache.url).timeline(timeline_id).index.key.tolist()}

    with running_function(tmp_path, variables) as function:
        function.api.send(event)
        while not packs_of("long"):
            assert function.process.poll() is None
        function.kill()
    before = packs_of("long")
    assert 1 <= len(before) < 4
    with running_function(tmp_path, variables) as function:
        assert function.api.invoke(event, seconds=300).body == {"batchItemFailures": []}
    after = packs_of("long")
    timeline = cache.timeline("long")
    assert before < after
    assert len(after) == 4
    assert len(timeline) == 3000
    assert timeline.verify(deep=True).ok


def test_processes_at_once_append_each_chunk_once_and_in_order(
    tmp_path: Path, variables: dict[str, str], bucket: Bucket, cache: FrameCache
) -> None:
    count, at_once = 24, 3
    bucket.upload(*range(count))
    numbers = [*range(count)] * 2
    random.Random(2).shuffle(numbers)
    with ExitStack() as stack:
        functions = [
            stack.enter_context(running_function(tmp_path, variables)) for _ in range(at_once)
        ]
        sent = []
        for index, start in enumerate(range(0, len(numbers), 4)):
            batch = numbers[start : start + 4]
            messages = {str(place): bucket.event(number) for place, number in enumerate(batch)}
            api = functions[index % at_once].api
            sent.append((api, api.send(queued(messages), seconds=300)))
        for api, request_id in sent:
            assert api.answer(request_id).body == {"batchItemFailures": []}
        assert functions[0].api.invoke(SCHEDULE, seconds=300).body["timelines"] == []
    assert shown(cache.timeline(TIMELINE)) == [*range(count)]
    assert blobs(cache) == []
    assert cache.timeline(TIMELINE).verify().ok
