"""Timelines after a sequence of events, which one invocation processes after another."""

import os
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from arriving import (
    SCHEDULE,
    TEST_EVENT,
    TIMELINE,
    Bucket,
    blobs,
    bridged,
    clip,
    notification,
    queued,
    send,
    shown,
    with_store,
)

from framecache import (
    Chunk,
    ChunkChanged,
    CorruptFrame,
    Frame,
    FrameCache,
    InvalidId,
    InvalidValue,
    LateChunk,
    OutOfTime,
    SettingsConflict,
    StoreUnavailable,
    UnreadableChunk,
)
from framecache._index.lease import LeaseManager
from framecache._ingest.resolve import resolve_append, resolve_chunks
from framecache.aws_lambda import EventReport, LambdaSettings
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.aws_lambda.deadline import Deadline
from framecache.aws_lambda.pending import add_pending
from framecache.testing import HookedStore
from media import make_clip
from outside import outside


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def cache(memory_url: str) -> FrameCache:
    return FrameCache(memory_url)


def errors_of(report: EventReport) -> list[type[Exception]]:
    return [type(failure.error) for failure in report.failures]


def make_older(folder: str, seconds: float) -> None:
    """Set back the time at which the local store holds that pending blobs were created."""
    for path in Path(folder, "lambda", "pending").rglob("*.json"):
        at = time.time() - seconds
        os.utime(path, (at, at))


@pytest.mark.every_store
def test_chunk_is_appended_by_its_event(store_url: str, bucket: Bucket) -> None:
    if store_url.startswith("s3://"):
        bucket = Bucket(store_url)
    cache = FrameCache(store_url)
    for number in range(3):
        bucket.upload(number, frames=2)
        report = send(cache, bucket.event(number), bucket.settings())
        assert report.failures == ()
        [timeline] = report.timelines
        assert (timeline.appended, timeline.waiting) == ((number,), 0)
    assert shown(cache.timeline(TIMELINE)) == [0, 0, 1, 1, 2, 2]
    assert [chunk.url for chunk in cache.timeline(TIMELINE).info().chunks] == [
        f"{bucket.url}/{bucket.key(number)}" for number in range(3)
    ]
    assert blobs(cache) == []


@pytest.mark.every_store
def test_chunks_wait_as_pending_blobs_for_the_one_before_them(
    store_url: str, bucket: Bucket
) -> None:
    if store_url.startswith("s3://"):
        bucket = Bucket(store_url)
    cache = FrameCache(store_url)
    bucket.upload(0, 1, 2, 3)
    for number in (3, 1, 2):
        [report] = send(cache, bucket.event(number), bucket.settings()).timelines
        assert report.appended == ()
    assert blobs(cache) == [f"lambda/pending/{TIMELINE}/{n:012d}.json" for n in (1, 2, 3)]
    assert not cache.timeline(TIMELINE).exists
    [report] = send(cache, bucket.event(0), bucket.settings()).timelines
    assert report.appended == (0, 1, 2, 3)
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2, 3]
    assert blobs(cache) == []


def test_event_that_is_delivered_again_changes_nothing(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0, 1)
    for event in (bucket.event(0), bucket.event(1)) * 3:
        assert send(cache, event, bucket.settings()).failures == ()
    assert shown(cache.timeline(TIMELINE)) == [0, 1]
    assert blobs(cache) == []


def test_event_of_each_kind_appends_its_chunk(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0, 1, 2, 3)
    events = [
        bucket.event(0),
        bridged(bucket.name, bucket.key(1)),
        queued({"a": bucket.event(2), "b": bridged(bucket.name, bucket.key(3))}),
    ]
    for event in events:
        assert send(cache, event, bucket.settings()).failures == ()
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2, 3]


def test_timelines_are_appended_to_independently(cache: FrameCache, bucket: Bucket) -> None:
    for timeline_id in ("a", "b"):
        bucket.upload(0, 1, timeline_id=timeline_id)
    event = queued(
        {
            "1": bucket.event(1, timeline_id="a"),
            "2": bucket.event(0, timeline_id="b"),
            "3": bucket.event(1, timeline_id="b"),
        }
    )
    assert send(cache, event, bucket.settings()).failures == ()
    assert (shown(cache.timeline("b")), cache.timelines()) == ([0, 1], ["b"])
    send(cache, bucket.event(0, timeline_id="a"), bucket.settings())
    assert shown(cache.timeline("a")) == [0, 1]


def test_numbers_may_begin_at_another_number(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(5, 6)
    settings = bucket.settings(first_number=5)
    assert send(cache, bucket.event(6), settings).timelines[0].waiting == 1
    assert send(cache, bucket.event(5), settings).timelines[0].appended == (5, 6)
    report = send(cache, bucket.event(4), settings)
    assert errors_of(report) == [LateChunk]


def test_new_timeline_gets_the_settings_and_an_existing_one_keeps_its_own(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 1, frames=4)
    settings = bucket.settings(every=2, quality=70, layout="packs")
    send(cache, bucket.event(0), settings)
    send(cache, bucket.event(1), bucket.settings(quality=90))
    stored = cache.timeline(TIMELINE).info().settings
    assert stored is not None
    assert (stored.jpeg.quality, stored.layout) == (70, "packs")
    assert shown(cache.timeline(TIMELINE)) == [0, 0, 1, 1]


def test_chunk_extracted_before_counts_as_appended(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0, 1, frames=4)
    cache.timeline(TIMELINE).extract(f"{bucket.url}/{bucket.key(0)}", every=2)
    assert send(cache, bucket.event(1), bucket.settings()).timelines[0].appended == (1,)
    assert shown(cache.timeline(TIMELINE)) == [0, 0, 1, 1]


def test_gap_is_skipped_and_reported_after_the_wait(local_url: str, bucket: Bucket) -> None:
    cache, settings = FrameCache(local_url), bucket.settings(max_wait_seconds=300)
    bucket.upload(0, 1, 4, 5)
    for number in (0, 4, 5):
        send(cache, bucket.event(number), settings)
    make_older(local_url, seconds=290)
    [report] = send(cache, SCHEDULE, settings).timelines
    assert (report.skipped, report.waiting, shown(cache.timeline(TIMELINE))) == ((), 2, [0])
    make_older(local_url, seconds=301)
    [report] = send(cache, SCHEDULE, settings).timelines
    assert (report.skipped, report.appended) == ((range(1, 4),), (4, 5))
    assert shown(cache.timeline(TIMELINE)) == [0, 4, 5]
    assert blobs(cache) == []


def test_chunk_that_arrives_after_it_was_skipped_is_late_and_renumbers_nothing(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 1, 2)
    settings = bucket.settings(max_wait_seconds=0)
    for number in (0, 2):
        assert send(cache, bucket.event(number), settings).failures == ()
    before = cache.timeline(TIMELINE).index.to_arrow()
    for _ in range(2):
        report = send(cache, queued({"a": bucket.event(1)}), settings)
        assert errors_of(report) == [LateChunk]
        assert report.to_response() == {"batchItemFailures": [{"itemIdentifier": "a"}]}
        assert report.timelines[0].late == (1,)
    assert cache.timeline(TIMELINE).index.to_arrow() == before
    assert shown(cache.timeline(TIMELINE)) == [0, 2]
    assert blobs(cache) == [f"lambda/late/{TIMELINE}/000000000001.json"]


def test_chunk_that_is_appended_between_a_skip_and_its_commit_keeps_its_place(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 1, 2)
    send(cache, bucket.event(0), bucket.settings())
    reports: list[EventReport] = []

    def meanwhile(action: str, key: str) -> None:
        if action == "create" and "/timeline/" in key and not reports:
            reports.append(send(cache, bucket.event(1), bucket.settings(max_wait_seconds=99)))

    other = with_store(cache, HookedStore(cache.store, before=meanwhile))
    [report] = send(other, bucket.event(2), bucket.settings(max_wait_seconds=0)).timelines
    assert reports[0].timelines[0].appended == (1, 2)
    assert (report.skipped, report.late, report.failures) == ((), (), {})
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2]


def test_chunk_stored_between_a_skip_and_its_commit_is_reported_as_late(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 1, 2, 3)
    send(cache, bucket.event(0), bucket.settings())
    acknowledged: list[EventReport] = []

    def meanwhile(action: str, key: str) -> None:
        if action == "create" and "/timeline/" in key and not acknowledged:
            acknowledged.append(send(cache, bucket.event(2), bucket.settings(max_wait_seconds=99)))

    other = with_store(cache, HookedStore(cache.store, before=meanwhile))
    [report] = send(other, bucket.event(3), bucket.settings(max_wait_seconds=0)).timelines
    assert acknowledged[0].failures == ()
    assert (report.skipped, report.late) == ((range(1, 3),), (2,))
    assert isinstance(report.failures[2], LateChunk)
    assert shown(cache.timeline(TIMELINE)) == [0, 3]
    assert blobs(cache) == [f"lambda/late/{TIMELINE}/000000000002.json"]


@pytest.mark.parametrize("content", [b"", b"not a video", None], ids=["empty", "text", "missing"])
def test_chunk_that_cannot_be_read_fails_and_is_skipped_after_the_wait(
    local_url: str, bucket: Bucket, content: bytes | None
) -> None:
    cache, settings = FrameCache(local_url), bucket.settings(max_wait_seconds=300)
    bucket.upload(0, 2)
    if content is not None:
        bucket.store.put(bucket.key(1), content)
    report = send(cache, queued({"a": bucket.event(0, 1, 2)}), settings)
    assert errors_of(report) == [UnreadableChunk]
    assert (report.timelines[0].appended, report.timelines[0].waiting) == ((0,), 2)
    make_older(local_url, seconds=301)
    report = send(cache, SCHEDULE, settings)
    assert errors_of(report) == [UnreadableChunk]
    assert (report.timelines[0].late, report.timelines[0].appended) == ((1,), (2,))
    assert shown(cache.timeline(TIMELINE)) == [0, 2]
    assert blobs(cache) == [f"lambda/late/{TIMELINE}/000000000001.json"]


def test_chunk_that_is_uploaded_again_within_the_wait_is_appended(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 2)
    bucket.store.put(bucket.key(1), b"not a video")
    send(cache, bucket.event(0, 1, 2), bucket.settings())
    bucket.upload(1)
    assert send(cache, bucket.event(1), bucket.settings()).timelines[0].appended == (1, 2)
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2]


def test_last_chunk_that_cannot_be_read_is_given_up_after_the_wait(
    local_url: str, bucket: Bucket
) -> None:
    cache, settings = FrameCache(local_url), bucket.settings(max_wait_seconds=300)
    bucket.store.put(bucket.key(0), b"not a video")
    send(cache, bucket.event(0), settings)
    make_older(local_url, seconds=301)
    assert send(cache, SCHEDULE, settings).timelines[0].late == (0,)
    assert send(cache, SCHEDULE, settings) == EventReport(is_from_queue=False)
    bucket.upload(0)
    assert send(cache, bucket.event(0), settings).timelines[0].appended == (0,)


def test_chunk_that_changed_after_it_was_cached_is_an_error(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0)
    send(cache, bucket.event(0), bucket.settings())
    bucket.upload(0, frames=3)
    assert errors_of(send(cache, bucket.event(0), bucket.settings())) == [ChunkChanged]
    assert shown(cache.timeline(TIMELINE)) == [0]
    assert blobs(cache) == []


def test_video_that_was_deleted_after_it_was_cached_is_no_error(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0)
    send(cache, bucket.event(0), bucket.settings())
    bucket.store.delete([bucket.key(0)])
    assert send(cache, bucket.event(0), bucket.settings()).failures == ()


@pytest.mark.parametrize("is_cached", [False, True], ids=["pending", "cached"])
def test_second_object_with_the_same_number_is_an_error(
    cache: FrameCache, bucket: Bucket, *, is_cached: bool
) -> None:
    bucket.upload(1, *([0] if is_cached else []))
    bucket.store.put(f"live/{TIMELINE}/001.gif", b"x")
    first = send(cache, bucket.event(*([0] if is_cached else []), 1), bucket.settings())
    assert first.failures == ()
    event = notification(bucket.name, [f"live/{TIMELINE}/001.gif"])
    assert errors_of(send(cache, event, bucket.settings())) == [SettingsConflict]
    if is_cached:
        assert blobs(cache) == []


def test_message_that_is_bad_fails_alone(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0, 1)
    event = queued(
        {
            "first": bucket.event(0),
            "not json": "{",
            "other bucket": notification("other", [bucket.key(1)]),
            "no match": notification(bucket.name, ["live/notes.txt"]),
            "bad id": notification(bucket.name, ["live/a..b/1.gif"]),
            "bad url": notification(bucket.name, [f"live/{TIMELINE}/\n/2.gif"]),
            "test": TEST_EVENT,
            "mixed": notification(bucket.name, ["live/notes.txt", bucket.key(1)]),
        }
    )
    report = send(cache, event, bucket.settings())
    assert {failure.message_id: type(failure.error) for failure in report.failures} == {
        "not json": InvalidValue,
        "other bucket": InvalidValue,
        "no match": InvalidValue,
        "bad id": InvalidId,
        "bad url": InvalidValue,
        "mixed": InvalidValue,
    }
    names = [one["itemIdentifier"] for one in report.to_response()["batchItemFailures"]]
    assert sorted(names) == sorted(
        {"not json", "other bucket", "no match", "bad id", "bad url", "mixed"}
    )
    assert shown(cache.timeline(TIMELINE)) == [0, 1]
    assert blobs(cache) == []


def test_event_without_a_queue_raises_its_error_after_the_rest_is_done(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0)
    event = notification(bucket.name, ["live/notes.txt", bucket.key(0)])
    report = send(cache, event, bucket.settings())
    with pytest.raises(InvalidValue, match="does not match"):
        report.to_response()
    assert shown(cache.timeline(TIMELINE)) == [0]


@pytest.mark.s3
def test_key_with_characters_that_s3_encodes_is_appended(cache: FrameCache, s3_url: str) -> None:
    bucket = Bucket(s3_url)
    key = "live é+ %41/cam/0 (1).gif"
    outside(s3_url).put(key, clip(1))
    settings = LambdaSettings(f"{s3_url}/live*/{{timeline_id}}/0 ({{number}}).gif", first_number=1)
    assert send(cache, notification(bucket.name, [key]), settings).failures == ()
    assert shown(cache.timeline("cam")) == [1]


def test_timeline_that_cannot_be_appended_to_fails_alone(cache: FrameCache, bucket: Bucket) -> None:
    cache.timeline("written").write([Frame(0, 0, 0.0, np.zeros((8, 8, 3), np.uint8))])
    bucket.upload(0, timeline_id="written")
    bucket.upload(0, timeline_id="good")
    event = queued(
        {
            "written": bucket.event(0, timeline_id="written"),
            "good": bucket.event(0, timeline_id="good"),
        }
    )
    report = send(cache, event, bucket.settings())
    assert [(one.message_id, type(one.error)) for one in report.failures] == [
        ("written", SettingsConflict)
    ]
    assert shown(cache.timeline("good")) == [0]


def test_schedule_appends_the_pending_chunks_of_all_timelines(
    cache: FrameCache, bucket: Bucket
) -> None:
    for timeline_id in ("a", "b"):
        bucket.upload(1, timeline_id=timeline_id)
        send(cache, bucket.event(1, timeline_id=timeline_id), bucket.settings())
    report = send(cache, SCHEDULE, bucket.settings(max_wait_seconds=0))
    assert [(one.timeline_id, one.skipped) for one in report.timelines] == [
        ("a", (range(1),)),
        ("b", (range(1),)),
    ]
    assert (shown(cache.timeline("a")), shown(cache.timeline("b"))) == ([1], [1])


def test_pending_chunk_of_another_pattern_is_an_error(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(1)
    send(cache, bucket.event(1), bucket.settings())
    pattern = f"{bucket.url}/other/{{timeline_id}}/{{number}}.gif"
    other = LambdaSettings(pattern, max_wait_seconds=0)
    report = send(cache, SCHEDULE, other)
    assert errors_of(report) == [InvalidValue]


def test_invocation_stops_before_its_time_is_over_and_the_next_one_continues(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(*range(4))
    for number in (1, 2, 3):
        send(cache, bucket.event(number), bucket.settings())
    committed = 0

    def use_time(action: str, key: str) -> None:
        nonlocal committed
        if action == "create" and "/index/" in key:
            committed += 1
            if committed == 2:  # the time passes while the second chunk is being committed
                time.sleep(1.5)

    slow = with_store(cache, HookedStore(cache.store, before=use_time))
    event = queued({"a": bucket.event(0)})
    settings = bucket.settings(workers=1, reserve_seconds=1)
    report = send(slow, event, settings, remaining_seconds=2)
    assert report.timelines[0].appended == (0, 1)
    assert report.failures == ()
    assert blobs(cache, "lambda/pending") == [
        f"lambda/pending/{TIMELINE}/{number:012d}.json" for number in (2, 3)
    ]
    assert send(cache, SCHEDULE, settings).timelines[0].appended == (2, 3)
    assert shown(cache.timeline(TIMELINE)) == [0, 1, 2, 3]


def test_chunk_that_is_not_extracted_in_time_fails_and_is_extracted_when_redelivered(
    cache: FrameCache, bucket: Bucket, tmp_path: Path
) -> None:
    video = make_clip(tmp_path / "long.mp4", frames=400).read_bytes()
    pattern = f"{bucket.url}/{{timeline_id}}/{{number}}.mp4"
    settings = LambdaSettings(pattern, workers=1, reserve_seconds=0)
    bucket.store.put("long/0.mp4", video)
    event = queued({"a": notification(bucket.name, ["long/0.mp4"])})
    seen = 0

    def use_time(action: str, key: str) -> None:
        nonlocal seen
        seen += action == "put" and "/frames/" in key
        if seen == 10:
            time.sleep(1.1)

    slow = with_store(cache, HookedStore(cache.store, before=use_time))
    report = send(slow, event, settings, remaining_seconds=1)
    assert errors_of(report) == [OutOfTime]
    assert report.to_response() == {"batchItemFailures": [{"itemIdentifier": "a"}]}
    assert 10 <= seen < 400
    assert len(cache.timeline("long")) == 0
    assert send(cache, event, settings).failures == ()
    assert len(cache.timeline("long")) == 400
    assert cache.timeline("long").verify().ok


def test_scan_of_a_chunk_stops_when_the_time_is_over(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0)
    report = send(cache, bucket.event(0), bucket.settings(), remaining_seconds=0)
    assert errors_of(report) == [OutOfTime]
    assert not cache.timeline(TIMELINE).exists
    assert send(cache, SCHEDULE, bucket.settings()).timelines[0].appended == (0,)


def test_scan_that_takes_longer_than_the_time_stops_and_places_nothing(
    cache: FrameCache, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over while the chunk is read, at which no frame is counted yet."""
    bucket.upload(0)
    reads = 0

    def let_time_pass(_self: Deadline, *_: object) -> None:
        nonlocal reads
        reads += sys._getframe(1).f_code.co_name == "readinto"  # noqa: SLF001 -- the caller
        if reads == 1:
            raise OutOfTime("over")

    monkeypatch.setattr(Deadline, "check", let_time_pass)
    report = send(cache, bucket.event(0), bucket.settings())
    assert (errors_of(report), reads) == ([OutOfTime], 1)
    assert not cache.timeline(TIMELINE).exists
    monkeypatch.undo()
    assert send(cache, SCHEDULE, bucket.settings()).timelines[0].appended == (0,)


def test_chunk_that_another_program_extracts_is_left_to_it(
    cache: FrameCache, bucket: Bucket
) -> None:
    """An invocation waits for the chunk of its own event only."""
    bucket.upload(0, 1)
    [first] = resolve_chunks(cache.store, [Chunk(f"{bucket.url}/{bucket.key(0)}")])
    placed = resolve_append(cache.store, TIMELINE, [first], bucket.settings().extraction)
    add_pending(cache.store, ArrivedChunk(first.url, TIMELINE, 0))
    with LeaseManager(cache.store, placed.manifest) as leases:
        assert leases.acquire(placed.entries[0].parts[0])
        report = send(cache, bucket.event(1), bucket.settings())
    assert (report.failures, report.timelines[0].appended) == ((), (1,))
    assert blobs(cache) == [f"lambda/pending/{TIMELINE}/{0:012d}.json"]
    assert send(cache, SCHEDULE, bucket.settings()).timelines[0].appended == (0,)
    assert shown(cache.timeline(TIMELINE)) == [0, 1]


def test_damaged_pending_blob_is_an_error_that_names_it(cache: FrameCache, bucket: Bucket) -> None:
    bucket.upload(0)
    cache.store.put(f"lambda/pending/{TIMELINE}/{0:012d}.json", b"{}")
    report = send(cache, queued({"a": bucket.event(0)}), bucket.settings())
    assert errors_of(report) == [CorruptFrame]
    assert f"lambda/pending/{TIMELINE}/{0:012d}.json" in str(report.failures[0].error)


def test_store_that_does_not_answer_fails_the_messages(cache: FrameCache, bucket: Bucket) -> None:
    def fail(_action: str, _key: str) -> None:
        raise StoreUnavailable("no answer")

    bucket.upload(0)
    broken = with_store(cache, HookedStore(cache.store, before=fail))
    report = send(broken, queued({"a": bucket.event(0), "b": TEST_EVENT}), bucket.settings())
    assert [(one.message_id, type(one.error)) for one in report.failures] == [
        ("a", StoreUnavailable)
    ]
    assert blobs(cache) == []


def test_timeline_that_was_cleared_is_filled_again_by_its_events(
    cache: FrameCache, bucket: Bucket
) -> None:
    bucket.upload(0, 1)
    send(cache, bucket.event(0), bucket.settings())
    cache.timeline(TIMELINE).clear()
    assert send(cache, queued({"a": bucket.event(0)}), bucket.settings()).failures == ()
    assert send(cache, bucket.event(1), bucket.settings()).timelines[0].appended == (1,)
    assert shown(cache.timeline(TIMELINE)) == [0, 1]
