"""Overlapping operations: none removes what another has stored."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import clips
import pytest

from framecache import (
    Frame,
    FrameCache,
    SettingsConflict,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache._index import lease
from framecache._maintain.gc import plan_gc
from framecache.model import Layout
from framecache.store import BlobInfo
from framecache.testing import Action, FaultyStore, HookedStore, WrappingStore
from framecache.testing.faulty import Fault, SideEffect
from outside import frame, outside

PREFIX = "cache/timelines/t/"
FRAMES = 45
LAYOUTS: list[Layout] = ["objects", "packs"]


@pytest.fixture(autouse=True)
def _short_lease_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 2.0)


def timeline(url: str) -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline("t")


def run_at_request(
    url: str, action: Action, within: str, other_work: Callable[[], object]
) -> Timeline:
    """Return a timeline that runs other work before its first matching request."""
    left = [other_work]

    def before(requested: Action, key: str) -> None:
        if requested == action and within in key and left:
            left.pop()()

    return Timeline(HookedStore(FrameCache(url).store, before=before), "t")


def run_at_nth_request(url: str, nth: int, other_work: Callable[[], object]) -> Timeline:
    """Return a timeline that runs other work before its ``nth`` request."""
    requests = 0

    def before(_: Action, __: str) -> None:
        nonlocal requests
        requests += 1
        if requests == nth:
            other_work()

    return Timeline(HookedStore(FrameCache(url).store, before=before), "t")


class Aged(WrappingStore):
    """Store whose blobs are two days old, except for leases."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return (
            blob
            if "/claims/" in blob.key
            else replace(blob, modified_at=blob.modified_at - timedelta(days=2))
            for blob in super().list(prefix)
        )


def collect(url: str) -> None:
    """Remove all unreferenced blobs."""
    plan_gc(
        Aged(FrameCache(url).store),
        timelines=None,
        grace_seconds=24 * 3600,
        max_bytes=None,
        max_age_seconds=None,
    ).execute(max_share=1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nth", range(1, 6))
def test_frames_survive_gc_during_repack(memory_url: str, layout: Layout, nth: int) -> None:
    other: Layout = "objects" if layout == "packs" else "packs"
    timeline(memory_url).extract(clips.chunks(), layout=layout)
    jpegs = list(timeline(memory_url).jpegs(range(FRAMES)))
    creates = 0

    def before(action: Action, key: str) -> None:
        nonlocal creates
        if action == "create" and ("/index/" in key or "/timeline/" in key):
            creates += 1
            if creates == nth:
                collect(memory_url)

    repacking = Timeline(HookedStore(FrameCache(memory_url).store, before=before), "t")
    with suppress(StoreUnavailable):  # the program may detect it, and then raises an error
        repacking.repack(other)
    assert list(timeline(memory_url).jpegs(range(FRAMES))) == jpegs
    timeline(memory_url).repack(other)
    assert list(timeline(memory_url).jpegs(range(FRAMES))) == jpegs
    assert timeline(memory_url).verify(deep=True).ok


def test_repack_removes_no_old_frames_when_new_index_parts_are_lost(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip())
    jpegs = list(timeline(memory_url).jpegs(range(FRAMES)))
    store = FrameCache(memory_url).store

    def lose() -> None:
        parts = [blob.key for blob in store.list(f"{PREFIX}index") if "000000-1" in blob.key]
        store.delete(parts)

    run_at_request(memory_url, "create", "/timeline/", lose).repack("packs")
    frames = [blob.key for blob in store.list(f"{PREFIX}frames")]
    assert len(frames) == FRAMES
    assert timeline(memory_url).verify(repair=True).ok
    assert list(timeline(memory_url).jpegs(range(FRAMES))) == jpegs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nth", range(1, 12))
def test_concurrent_write_of_same_sequence_keeps_first_frame(
    memory_url: str, layout: Layout, nth: int
) -> None:
    """Another program writes its frame before one of this program's requests."""
    timeline(memory_url).write([frame(0)], layout=layout)
    theirs: list[bytes] = []

    def write_another() -> None:
        timeline(memory_url).write([frame(1)])
        theirs.append(timeline(memory_url).jpeg(1))

    writing = run_at_nth_request(memory_url, nth, write_another)
    mine = replace(frame(1), image=frame(7).image)
    try:
        writing.write([mine])
    except SettingsConflict:
        assert timeline(memory_url).jpeg(1) == theirs[0]
    else:
        pytest.fail("another picture was written over a cached one")
    assert timeline(memory_url).verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nth", range(1, 16))
def test_write_during_clear_stores_all_it_reports_or_raises(
    memory_url: str, layout: Layout, nth: int
) -> None:
    frames = [frame(number) for number in range(6)]
    timeline(memory_url).write(frames[:4], layout=layout)
    writing = run_at_nth_request(memory_url, nth, timeline(memory_url).clear)
    try:
        written = writing.write(frames, layout=layout)
    except TimelineCleared:
        return
    left = timeline(memory_url).index.sequence.tolist()
    assert left in (list(range(written)), [])


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_rewrite_of_cached_frames_during_delete_leaves_no_blobs(
    memory_url: str, layout: Layout, count: int
) -> None:
    """The write finds them missing and stores them again, alone or with another frame."""
    timeline(memory_url).write([frame(n) for n in range(3)], layout=layout)
    within = {"objects": "/frames/", "packs": "/packs/"}[layout]
    slow = run_at_request(memory_url, "get", within, lambda: timeline(memory_url).delete())
    with suppress(TimelineCleared):
        slow.write([frame(n) for n in range(count)], workers=1)
    assert outside(memory_url).list(PREFIX) == []


def test_own_index_part_misread_after_lost_response_is_still_committed(memory_url: str) -> None:
    """The response is lost, and a bit flips in each of two attempts to read the part back."""
    seen_requests: list[str] = []

    def schedule(action: Action, key: str) -> Fault | SideEffect | None:
        if "/index/" not in key or "timeline-" in key:
            return None
        if action == "create":
            seen_requests.append(action)
            return Fault.RETRIED
        if action == "get" and seen_requests and len(seen_requests) < 3:
            seen_requests.append(action)
            return Fault.FLIP_BIT
        return None

    store = FaultyStore(FrameCache(memory_url).store, schedule)
    Timeline(store, "t").extract(clips.clip(), layout="packs")
    assert seen_requests == ["create", "get", "get"]
    assert len(list(timeline(memory_url).frames())) == FRAMES
    assert timeline(memory_url).verify(deep=True).ok


def test_blobs_stored_after_delete_are_removed_by_gc(local_url: str) -> None:
    timeline(local_url).extract(clips.clip(), layout="packs")
    left = {
        key: outside(local_url).read(key)
        for key in outside(local_url).list(PREFIX)
        if "/packs/" in key or "/index/" in key
    }
    timeline(local_url).delete()
    for key, body in left.items():
        outside(local_url).put(key, body)
    collect(local_url)
    assert outside(local_url).list(PREFIX) == []


def test_gc_keeps_foreign_frames_next_to_blobs_stored_after_delete(local_url: str) -> None:
    """Another program may have stored them."""
    timeline(local_url).extract(clips.clip(), layout="packs")
    [pack] = [key for key in outside(local_url).list(PREFIX) if "/packs/" in key]
    body = outside(local_url).read(pack)
    timeline(local_url).delete()
    outside(local_url).put(pack, body)
    outside(local_url).put(f"{PREFIX}frames/0.jpg", b"another's")
    collect(local_url)
    assert f"{PREFIX}frames/0.jpg" in outside(local_url).list(PREFIX)


def test_frames_beyond_pack_size_limit_start_another_pack(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline(memory_url).extract(clips.clip())
    jpegs = list(timeline(memory_url).jpegs(range(FRAMES)))
    timeline(memory_url).delete()
    monkeypatch.setattr("framecache._layouts.pack_upload._MAX_PACK_BYTES", 20_000)
    timeline(memory_url).extract(clips.clip(), layout="packs")
    assert len(set(timeline(memory_url).index.key.tolist())) > 2
    assert list(timeline(memory_url).jpegs(range(FRAMES))) == jpegs
    assert timeline(memory_url).verify(deep=True).ok
    timeline(memory_url).clear()
    assert list(FrameCache(memory_url).store.list(f"{PREFIX}packs")) == []


def test_failed_write_leaves_no_packs(memory_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._layouts.pack_upload._MAX_PACK_BYTES", 2_000)

    def frames() -> Iterator[Frame]:
        yield from (frame(number) for number in range(20))
        raise EOFError

    with pytest.raises(EOFError):
        timeline(memory_url).write(frames(), layout="packs")
    assert list(FrameCache(memory_url).store.list(f"{PREFIX}packs")) == []
