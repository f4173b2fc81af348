"""Following a timeline: frames are read as other programs commit them."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import clips
import pytest

from framecache import (
    FrameCache,
    InvalidValue,
    NotCached,
    Timeline,
    TimelineCleared,
    UndecodableFrame,
)
from framecache._read import follow
from framecache.store import Store, open_store
from framecache.testing import Action, HookedStore
from outside import frame, frames_of, mean_error, outside, pixels_by_pillow, wait_until

PREFIX = "cache/timelines/t/"
LENGTHS = (20, 10, 15)
STARTS = (0, 20, 30, 45)


@pytest.fixture
def url(memory_url: str) -> str:
    return memory_url


class Reader:
    """A program that follows ``t`` on a thread of its own."""

    def __init__(self, url: str, pool: ThreadPoolExecutor, **options: Any) -> None:  # noqa: ANN401 -- of frames
        self.store = HookedStore(open_store(url))
        self.sequences: list[int] = []
        self.frames = Timeline(self.store, "t").frames(**{"follow": True} | options)
        self.done: Future[None] = pool.submit(self._read)

    def _read(self) -> None:
        for one in self.frames:
            self.sequences.append(one.sequence)

    def wait_for(self, *sequences: int) -> None:
        """Wait until exactly these have been read."""
        wait_until(lambda: self.done.done() or len(self.sequences) >= len(sequences))
        assert self.sequences == list(sequences)

    def wait_for_polls(self, number: int) -> list[tuple[Action, str]]:
        """Return the requests of that number of polls from now on."""
        known = len(self.store.requests)
        nexts = re.compile(rf"{PREFIX}timeline/[0-9]+\.json")

        def polls() -> list[int]:
            requests = self.store.requests
            return [n for n in range(known, len(requests)) if nexts.fullmatch(requests[n][1])]

        wait_until(lambda: self.done.done() or len(polls()) > number)
        return self.store.requests[polls()[0] : polls()[number]]

    def end(self, *, error: type[Exception] | None = None, match: str = "") -> None:
        """Wait until it has ended."""
        if error is None:
            self.done.result(60)
            return
        with pytest.raises(error, match=match):
            self.done.result(60)


@contextmanager
def reading(url: str, **options: Any) -> Iterator[Reader]:  # noqa: ANN401 -- of frames
    """A reader; it must have ended by the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        reader = Reader(url, pool, **options)
        try:
            yield reader
        finally:
            if not reader.done.done():
                # A cleared timeline ends any reader that has frames.
                match = FrameCache(url).timeline("t")
                match.append(clips.clip())
                match.clear()
                pytest.fail("it has not ended")


def timeline(url: str) -> Timeline:
    return FrameCache(url).timeline("t")


@pytest.mark.every_store
def test_frames_of_appended_chunks_are_read_until_stop(store_url: str) -> None:
    paths = clips.chunks()
    timeline(store_url).extract(paths[0])
    with reading(store_url, stop=40) as reader:
        reader.wait_for(*range(20))
        for path, end in zip(paths[1:], (30, 40), strict=True):
            timeline(store_url).append(path)
            reader.wait_for(*range(end))
        reader.end()


def test_followed_frames_equal_stored_frames(url: str) -> None:
    timeline(url).extract(clips.chunks())
    stored = frames_of(outside(url), "t")
    for one in timeline(url).frames(follow="complete"):
        assert mean_error(one.image, pixels_by_pillow(stored[f"{one.sequence}.jpg"])) <= 0.5


def test_timeline_can_be_followed_before_its_first_frame(url: str) -> None:
    with reading(url, follow="complete") as reader:
        reader.wait_for_polls(2)
        timeline(url).extract(clips.chunks())
        reader.end()
        assert reader.sequences == list(range(45))


def test_follow_until_complete_on_complete_timeline_ends_at_once(url: str) -> None:
    timeline(url).extract(clips.chunks(), every=10)
    assert [one.sequence for one in timeline(url).frames(follow="complete")] == [0, 1, 2, 3, 4]


class HeldCommits:
    """A store that commits each chunk only when the test lets it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._allowed = [threading.Event() for _ in LENGTHS]
        self.store: Store = HookedStore(open_store(url), before=self._hold)

    def _hold(self, action: Action, key: str) -> None:
        found = re.search(r"/index/[^/]+/0*([0-9]+)-0\.parquet", key)
        if action == "create" and found:
            assert self._allowed[int(found[1])].wait(60)

    def allow(self, *chunk_ids: int) -> None:
        for chunk_id in chunk_ids:
            self._allowed[chunk_id].set()

    def wait_for_commit(self, chunk_id: int) -> None:
        """Wait until a chunk is committed."""
        name = f"{chunk_id:06d}-0.parquet"
        wait_until(lambda: any(name in key for key in outside(self._url).list()))


def test_frames_are_read_in_order_when_chunks_are_committed_out_of_order(url: str) -> None:
    held = HeldCommits(url)
    with ThreadPoolExecutor(1) as pool, reading(url, follow="complete") as reader:
        extracting = pool.submit(
            lambda: Timeline(held.store, "t").extract(clips.chunks(), workers=3)
        )
        try:
            held.allow(2)
            held.wait_for_commit(2)
            reader.wait_for_polls(2)
            assert reader.sequences == []
            held.allow(0)
            reader.wait_for(*range(20))
        finally:
            held.allow(0, 1, 2)
        extracting.result(60)
        reader.end()
        assert reader.sequences == list(range(45))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": 7, "step": 9, "stop": 44}, list(range(7, 44, 9))),
        ({"step": 7}, list(range(0, 45, 7))),
        ({"start_seconds": 0.5, "step": 4}, list(range(13, 45, 4))),
        ({"start_seconds": 0.76, "stop_seconds": 1.24}, list(range(19, 31))),
        ({"missing": "raise"}, list(range(45))),
        ({"missing": "raise", "step": 7}, list(range(0, 45, 7))),
    ],
)
def test_range_continues_across_commits(
    url: str, options: dict[str, Any], expected: list[int]
) -> None:
    paths = clips.chunks()
    held = HeldCommits(url)
    with ThreadPoolExecutor(1) as pool, reading(url, **{"follow": "complete"} | options) as reader:
        extracting = pool.submit(lambda: Timeline(held.store, "t").extract(paths, workers=3))
        for chunk_id, end in enumerate(STARTS[1:]):
            held.allow(chunk_id)
            reader.wait_for(*[n for n in expected if n < end])
        extracting.result(60)
        reader.end()


@pytest.mark.parametrize("begin", [0, 25])
def test_missing_frames_at_the_end_raise_where_none_may_be_missing(url: str, begin: int) -> None:
    timeline(url).extract(clips.ends_in_garbage())
    options: dict[str, Any] = {"start": begin, "missing": "raise"}
    with pytest.raises(UndecodableFrame) as expected:
        list(timeline(url).frames(**options))
    with pytest.raises(UndecodableFrame, match=re.escape(str(expected.value))):
        list(timeline(url).frames(follow="complete", **options))


def test_frames_beyond_a_complete_timeline_raise_where_none_may_be_missing(url: str) -> None:
    timeline(url).extract(clips.clip())
    with reading(url, stop=50, follow="complete", missing="raise") as reader:
        reader.end(error=NotCached, match="no frame 45")
        assert reader.sequences == list(range(45))


def test_min_change_is_measured_across_commits(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths[0])
    with reading(url, min_change=10, stop=45) as reader:
        for path in paths[1:]:
            timeline(url).append(path)
        reader.end()
        assert reader.sequences == timeline(url).sequences(min_change=10)


def test_written_frames_are_followed_in_ascending_order(url: str) -> None:
    timeline(url).write([frame(3), frame(5)])
    with reading(url, stop=21) as reader:
        reader.wait_for(3, 5)
        timeline(url).write([frame(1), frame(9)])
        reader.wait_for(3, 5, 9)
        timeline(url).write([frame(9, number=4)], on_conflict="replace")
        timeline(url).write([frame(20)])
        reader.end()
        assert reader.sequences == [3, 5, 9, 20]


def test_follow_continues_through_repack(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths[:2])
    with reading(url, stop=45) as reader:
        reader.wait_for(*range(30))
        timeline(url).repack("packs")
        timeline(url).append(paths[2])
        reader.end()
        assert reader.sequences == list(range(45))


# The end


def test_follow_ends_when_no_frame_is_committed_within_timeout(url: str) -> None:
    timeline(url).extract(clips.chunks()[0])
    with reading(url, timeout_seconds=0.3) as reader:
        reader.end()
        assert reader.sequences == list(range(20))


def test_commits_of_frames_that_are_left_out_defer_the_timeout(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    held = HeldCommits(url)
    options = {"start": 44, "follow": "complete", "timeout_seconds": 1.5}
    with ThreadPoolExecutor(1) as pool, reading(url, **options) as reader:
        extracting = pool.submit(
            lambda: Timeline(held.store, "t").extract(clips.chunks(), workers=3)
        )
        try:
            for chunk_id in range(3):
                reader.wait_for_polls(2)
                seconds[0] += 1
                held.allow(chunk_id)
                held.wait_for_commit(chunk_id)
        finally:
            held.allow(0, 1, 2)
        extracting.result(60)
        reader.end()
        assert reader.sequences == [44]


def test_following_an_empty_range_ends_before_anything_is_cached(url: str) -> None:
    for ends in ((0, 0), (7, 5)):
        frames = timeline(url).frames(*ends, follow="complete", timeout_seconds=0)
        assert list(frames) == []


@pytest.mark.parametrize(("remove", "what"), [(True, "1 of its segments"), (False, "nothing")])
def test_incomplete_timeline_raises_not_cached_after_timeout(
    url: str, *, remove: bool, what: str
) -> None:
    if remove:
        timeline(url).extract(clips.chunks())
        for key in outside(url).list():
            if key.endswith((".compacted", "000001-0.parquet")):
                outside(url).remove(key)
    with reading(url, follow="complete", timeout_seconds=0) as reader:
        reader.end(error=NotCached, match=f"no frame was committed for 0 s: {what}")
        assert reader.sequences == (list(range(20)) if remove else [])


def test_clear_during_follow_raises_timeline_cleared(url: str) -> None:
    changes: list[Callable[[Timeline], object]] = [
        Timeline.clear,
        lambda match: match.rebuild(every=2),
        Timeline.delete,
    ]
    for change in changes:
        timeline(url).extract(clips.chunks())
        with reading(url) as reader:
            reader.wait_for(*range(45))
            change(timeline(url))
            reader.end(error=TimelineCleared, match="timeline t")
        timeline(url).delete()


def test_follow_of_cleared_timeline_reads_rebuilt_frames(url: str) -> None:
    timeline(url).extract(clips.chunks())
    timeline(url).clear()
    with reading(url, follow="complete") as reader:
        reader.wait_for_polls(2)
        timeline(url).rebuild(every=15)
        reader.end()
        assert reader.sequences == [0, 1, 2]


def test_foreign_frames_without_manifest_cannot_be_followed(url: str) -> None:
    outside(url).put(f"{PREFIX}frames/0.jpg", b"jpeg")
    with pytest.raises(InvalidValue, match="no manifest"):
        next(timeline(url).frames(follow=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"follow": "live"}, "follow"),
        ({"follow": 1}, "follow"),
        ({"follow": True, "reverse": True}, "neither reverse nor ranges"),
        ({"follow": True, "ranges": [(0, 1), (2, 3)]}, "neither reverse nor ranges"),
        ({"follow": True, "timeout_seconds": -1}, "timeout_seconds"),
        ({"follow": True, "timeout_seconds": "1"}, "timeout_seconds"),
        ({"timeout_seconds": 1}, "timeout_seconds needs follow"),
    ],
)
def test_arguments_incompatible_with_follow_are_rejected(
    url: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        timeline(url).frames(**options)


# Requests


def test_wait_for_append_takes_one_get_per_poll(url: str) -> None:
    timeline(url).extract(clips.chunks()[0])
    with reading(url, stop=30) as reader:
        reader.wait_for(*range(20))
        polls = reader.wait_for_polls(3)
        assert polls == [("get", f"{PREFIX}timeline/00000003.json")] * 3
        timeline(url).append(clips.chunks()[1])
        reader.end()


def test_wait_for_chunk_takes_two_gets_per_poll(url: str) -> None:
    held = HeldCommits(url)
    with ThreadPoolExecutor(1) as pool, reading(url, follow="complete") as reader:
        extracting = pool.submit(
            lambda: Timeline(held.store, "t").extract(clips.chunks(), workers=3)
        )
        held.allow(0)
        reader.wait_for(*range(20))
        polls = reader.wait_for_polls(2)
        held.allow(1, 2)
        extracting.result(60)
        reader.end()
    [manifest, part] = [key for _, key in polls[:2]]
    assert re.fullmatch(rf"{PREFIX}timeline/[0-9]+\.json", manifest)
    assert re.fullmatch(rf"{PREFIX}index/[^/]+/000001-0\.parquet", part)
    assert polls == [("get", manifest), ("get", part)] * 2


def test_follow_lists_only_to_open_timeline(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths[0])
    with reading(url, stop=45) as reader:
        for path in paths[1:]:
            timeline(url).append(path)
        reader.end()
    lists = [request for request in reader.store.requests if request[0] == "list"]
    assert lists == [("list", f"{PREFIX}timeline/")]
    fetched = [key for _, key in reader.store.requests if re.search(r"/frames/\d+\.jpg$", key)]
    assert len(fetched) == len(set(fetched)) == 45


def test_follower_closed_early_leaves_no_thread(url: str) -> None:
    timeline(url).extract(clips.chunks())
    frames = timeline(url).frames(follow=True)
    assert next(frames).sequence == 0
    del frames
    wait_until(lambda: not [t for t in threading.enumerate() if "framecache-read" in t.name])
