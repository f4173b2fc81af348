"""Videos that take several invocations: each of them extracts some of their segments."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from arriving import SCHEDULE, TIMELINE, Bucket, blobs, notification, queued, send, with_store

from framecache import Chunk, FrameCache, LateChunk, OutOfTime, UnreadableChunk
from framecache._index.lease import LeaseManager
from framecache._ingest import segments
from framecache._ingest.resolve import resolve_append, resolve_chunks
from framecache.aws_lambda import LambdaSettings, handler, processing
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.aws_lambda.pending import add_pending
from framecache.testing import Crash, HookedStore
from media import ffprobe_frames, made, make_clip
from table_clips import without_picture

LONG_FRAMES = 400
SEGMENTS = 8
"""Segments of 50 frames: 2 s."""
SHORT_FRAMES = 10
PLANNED_FRAMES = 100
SECONDS = 60.0
"""Time that an invocation may use."""

Hook = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = segments.SegmentLimits(seconds=Fraction(2), min_frames=20)
    monkeypatch.setattr(segments, "LIMITS", limits)


@pytest.fixture
def cache(memory_url: str) -> FrameCache:
    return FrameCache(memory_url)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{uuid.uuid4().hex}")


class Clock:
    """Clock of the invocations, which a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("framecache.aws_lambda.deadline.time", clock)
    return clock


class Context:
    """Context object of an invocation that may use `SECONDS`."""

    def get_remaining_time_in_millis(self) -> int:
        return int(SECONDS * 1000)


def upload(bucket: Bucket, number: int, *, frames: int) -> str:
    """Upload a video with a keyframe each 10 frames; return its key."""
    keyframes = ["-g", "10", "-keyint_min", "10", "-sc_threshold", "0", "-bf", "2"]
    path = made(
        f"lambda-{frames}.mp4", partial(make_clip, size=(64, 48), frames=frames, extra=keyframes)
    )
    assert len(ffprobe_frames(path)) == frames
    key = f"live/{TIMELINE}/{number}.mp4"
    bucket.store.put(key, path.read_bytes())
    return key


def event_of(bucket: Bucket, key: str) -> dict[str, Any]:
    return queued({"a": notification(bucket.name, [key])})


def settings_of(bucket: Bucket, **changes: Any) -> LambdaSettings:  # noqa: ANN401 -- as the fields
    pattern = f"{bucket.url}/live/{{timeline_id}}/{{number}}.mp4"
    return LambdaSettings(pattern, workers=1, **changes)


class Counts:
    """Frames and index parts that were stored, counted by key."""

    def __init__(self) -> None:
        self.frames = Counter[str]()
        self.parts = Counter[str]()

    def hook(self, and_then: Hook = lambda *_: None) -> Hook:
        def before(action: str, key: str) -> None:
            if action == "put" and "/frames/" in key:
                self.frames[key] += 1
            if action == "create" and key.endswith(".parquet"):
                self.parts[key] += 1
            and_then(action, key)

        return before

    def check_all_were_stored_once(self, *, frames: int, parts: int) -> None:
        assert (len(self.frames), len(self.parts)) == (frames, parts)
        assert {*self.frames.values(), *self.parts.values()} == {1}


def use_up_time(clock: Clock, *, segments: int) -> Hook:
    """Return a hook with which the time of an invocation suffices for this number of segments."""
    commits = 0

    def before(action: str, key: str) -> None:
        nonlocal commits
        if action == "create" and key.endswith(".parquet"):
            commits += 1
            clock.seconds += SECONDS if commits % segments == 0 else 0

    return before


def test_video_is_finished_by_several_invocations_that_extract_each_segment_once(
    cache: FrameCache, bucket: Bucket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts()
    hook = counts.hook(use_up_time(clock, segments=3))
    limited = with_store(cache, HookedStore(cache.store, before=hook))
    monkeypatch.setattr(processing, "_configuration", lambda: (limited, settings_of(bucket)))
    event = event_of(bucket, upload(bucket, 0, frames=LONG_FRAMES))
    cached = []
    for _ in range(2):
        assert handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": "a"}]}
        cached.append(cache.timeline(TIMELINE).info().segments_cached)
    assert cached == [3, 6]
    assert handler(event, Context()) == {"batchItemFailures": []}
    assert blobs(cache) == []
    counts.check_all_were_stored_once(frames=LONG_FRAMES, parts=SEGMENTS)
    timeline = cache.timeline(TIMELINE)
    assert timeline.sequences() == [*range(LONG_FRAMES)]
    assert timeline.verify(deep=True).ok


def test_schedule_continues_a_video_whose_event_is_not_delivered_again(
    cache: FrameCache, bucket: Bucket, clock: Clock
) -> None:
    limited = with_store(cache, HookedStore(cache.store, before=use_up_time(clock, segments=3)))
    event = event_of(bucket, upload(bucket, 0, frames=LONG_FRAMES))
    events = [event, SCHEDULE, SCHEDULE]
    reports = [send(limited, one, settings_of(bucket), remaining_seconds=SECONDS) for one in events]
    assert [report.timelines[0].appended for report in reports] == [(), (), (0,)]
    assert [len(report.failures) for report in reports] == [1, 0, 0]
    assert cache.timeline(TIMELINE).info().complete


def test_video_that_is_not_finished_in_time_says_how_many_segments_are_cached(
    cache: FrameCache, bucket: Bucket, clock: Clock
) -> None:
    limited = with_store(cache, HookedStore(cache.store, before=use_up_time(clock, segments=3)))
    event = event_of(bucket, upload(bucket, 0, frames=LONG_FRAMES))
    report = send(limited, event, settings_of(bucket), remaining_seconds=SECONDS)
    [failure] = report.failures
    assert isinstance(failure.error, OutOfTime)
    assert "3 of 8 segments of chunk 0 are cached" in str(failure.error)


def test_invocations_for_one_event_share_the_segments_of_its_video(
    cache: FrameCache, bucket: Bucket
) -> None:
    """The event is delivered again while the first invocation is committing its first segment."""
    event = event_of(bucket, upload(bucket, 0, frames=LONG_FRAMES))
    counts, first_holds, others_are_done = Counts(), threading.Event(), threading.Event()

    def hold(action: str, key: str) -> None:
        if action == "create" and key.endswith(".parquet"):
            first_holds.set()
            assert others_are_done.wait(60)

    def release(action: str, key: str) -> None:
        if action == "create" and key.endswith(".parquet") and len(counts.parts) == SEGMENTS:
            others_are_done.set()

    def invoke(hook: Hook) -> Any:  # noqa: ANN401 -- a report
        other = with_store(cache, HookedStore(cache.store, before=counts.hook(hook)))
        return send(other, event, settings_of(bucket))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(invoke, hold)
        assert first_holds.wait(60)
        again = pool.submit(invoke, release)
        reports = [first.result(), again.result()]
    assert [report.failures for report in reports] == [(), ()]
    assert {report.timelines[0].appended for report in reports} <= {(0,), ()}
    counts.check_all_were_stored_once(frames=LONG_FRAMES, parts=SEGMENTS)
    assert cache.timeline(TIMELINE).info().complete
    assert blobs(cache) == []


def test_invocation_for_another_video_extracts_free_segments_and_waits_for_no_others(
    cache: FrameCache, bucket: Bucket
) -> None:
    key = upload(bucket, 0, frames=LONG_FRAMES)
    settings = settings_of(bucket)
    [first] = resolve_chunks(cache.store, [Chunk(f"{bucket.url}/{key}")])
    placed = resolve_append(cache.store, TIMELINE, [first], settings.extraction)
    add_pending(cache.store, ArrivedChunk(first.url, TIMELINE, 0))
    counts = Counts()
    counted = with_store(cache, HookedStore(cache.store, before=counts.hook()))
    with LeaseManager(cache.store, placed.manifest) as leases:
        assert leases.acquire(placed.entries[0].parts[4])
        report = send(counted, event_of(bucket, upload(bucket, 1, frames=SHORT_FRAMES)), settings)
    assert (report.failures, report.timelines[0].appended) == ((), (1,))
    assert blobs(cache) == [f"lambda/pending/{TIMELINE}/{0:012d}.json"]
    counts.check_all_were_stored_once(
        frames=LONG_FRAMES + SHORT_FRAMES - LONG_FRAMES // SEGMENTS, parts=SEGMENTS
    )
    assert send(counted, SCHEDULE, settings).timelines[0].appended == (0,)
    counts.check_all_were_stored_once(frames=LONG_FRAMES + SHORT_FRAMES, parts=SEGMENTS + 1)


def test_chunks_keep_their_order_while_a_long_one_is_extracted(
    cache: FrameCache, bucket: Bucket, clock: Clock
) -> None:
    limited = with_store(cache, HookedStore(cache.store, before=use_up_time(clock, segments=3)))
    settings = settings_of(bucket, max_wait_seconds=0)
    keys = [upload(bucket, number, frames=SHORT_FRAMES) for number in (0, 2)]
    long = upload(bucket, 1, frames=LONG_FRAMES)
    report = send(limited, event_of(bucket, long), settings, remaining_seconds=SECONDS)
    assert report.timelines[0].skipped == (range(1),)
    assert [type(failure.error) for failure in report.failures] == [OutOfTime]
    early, later = (send(cache, event_of(bucket, key), settings) for key in keys)
    assert [type(failure.error) for failure in early.failures] == [LateChunk]
    assert later.failures == ()
    assert {*early.timelines[0].appended, *later.timelines[0].appended} == {1, 2}
    info = cache.timeline(TIMELINE).info()
    assert [chunk.url.rpartition("/")[2] for chunk in info.chunks] == ["1.mp4", "2.mp4"]
    assert info.complete
    assert cache.timeline(TIMELINE).sequences() == [*range(LONG_FRAMES + SHORT_FRAMES)]


@pytest.fixture
def wrong_tables(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two videos of `PLANNED_FRAMES`; the second has one frame less than its tables list."""
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 0)
    monkeypatch.setattr("framecache._ingest.chunk_scans._MIN_BYTES_FOR_TABLES", 0)
    keys = [upload(bucket, number, frames=PLANNED_FRAMES) for number in range(2)]
    whole = bucket.store.get(keys[1])
    path = made("lambda-lying.mp4", lambda path: path.write_bytes(whole))
    bucket.store.put(keys[1], without_picture(path, 25))
    return keys


def test_video_with_wrong_tables_has_all_chunks_planned_again(
    cache: FrameCache, bucket: Bucket, wrong_tables: list[str]
) -> None:
    settings = settings_of(bucket)
    for key in wrong_tables:
        assert send(cache, event_of(bucket, key), settings).failures == ()
    check_planned_again(cache)


def check_planned_again(cache: FrameCache) -> None:
    timeline = cache.timeline(TIMELINE)
    assert timeline.info().complete
    assert timeline.sequences() == [*range(2 * PLANNED_FRAMES - 1)]
    assert timeline.verify(deep=True).ok
    assert blobs(cache) == []


def test_new_plan_is_finished_by_later_invocations(
    cache: FrameCache, bucket: Bucket, clock: Clock, wrong_tables: list[str]
) -> None:
    """The time of the invocation that makes the plan is over after its first commit."""
    settings = settings_of(bucket)
    send(cache, event_of(bucket, wrong_tables[0]), settings)
    epochs: list[str] = []

    def use_up(action: str, key: str) -> None:
        if action == "create" and "replanned-" in key:
            epochs.append(key)
        clock.seconds += SECONDS if epochs and key.endswith(".parquet") else 0

    limited = with_store(cache, HookedStore(cache.store, before=use_up))
    event = event_of(bucket, wrong_tables[1])
    report = send(limited, event, settings, remaining_seconds=SECONDS)
    assert [type(failure.error) for failure in report.failures] == [OutOfTime]
    assert not cache.timeline(TIMELINE).info().complete
    report = send(cache, SCHEDULE, settings)
    assert report.failures == ()
    assert len(epochs) == 1
    check_planned_again(cache)


@pytest.mark.parametrize("writes", range(6))
def test_new_plan_is_finished_after_its_invocation_died(
    cache: FrameCache, bucket: Bucket, wrong_tables: list[str], writes: int
) -> None:
    """The invocation dies after some writes, counted from that of the mark of the new epoch."""
    settings = settings_of(bucket)
    send(cache, event_of(bucket, wrong_tables[0]), settings)
    made: list[str] = []

    def die(action: str, key: str) -> None:
        if action in ("create", "put", "delete") and (made or "replanned-" in key):
            made.append(key)
            if len(made) > writes:
                raise Crash

    dying = with_store(cache, HookedStore(cache.store, before=die))
    with pytest.raises(Crash):
        send(dying, event_of(bucket, wrong_tables[1]), settings)
    assert send(cache, SCHEDULE, settings).failures == ()
    check_planned_again(cache)


def test_new_plan_needs_all_videos(
    cache: FrameCache, bucket: Bucket, wrong_tables: list[str]
) -> None:
    settings = settings_of(bucket)
    send(cache, event_of(bucket, wrong_tables[0]), settings)
    kept = bucket.store.get(wrong_tables[0])
    bucket.store.delete([wrong_tables[0]])
    report = send(cache, event_of(bucket, wrong_tables[1]), settings)
    [failure] = report.failures
    assert isinstance(failure.error, UnreadableChunk)
    assert wrong_tables[0] in str(failure.error)
    assert cache.timeline(TIMELINE).sequences()[:PLANNED_FRAMES] == [*range(PLANNED_FRAMES)]
    bucket.store.put(wrong_tables[0], kept)
    assert send(cache, SCHEDULE, settings).failures == ()
    check_planned_again(cache)
