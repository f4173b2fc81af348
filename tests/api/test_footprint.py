"""Reported bytes and requests equal those that a server or a store counted."""

from collections.abc import Callable
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import clips
import numpy as np
import pytest

from framecache import (
    Frame,
    FrameCache,
    NotCached,
    StoreUnavailable,
    Timeline,
)
from framecache._index import access_log, lease
from framecache.model import Layout, Requests
from framecache.store import Store
from framecache.testing import Action, HookedStore, WrappingStore, fail_from_nth
from framecache.testing.wrapping import Result
from media import real_clip
from network import Proxy
from outside import frame

LAYOUTS: list[Layout] = ["objects", "packs"]
RENDITIONS: list[tuple[int, ...]] = [(), (48, 16)]
OTHER: dict[Layout, Layout] = {"objects": "packs", "packs": "objects"}


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not count heartbeats, which depend on the clock."""
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 3600.0)


@pytest.fixture
def counted(proxy: Proxy) -> Callable[[], Requests]:
    """Return a function that counts the requests of a real S3 server since its last call.

    Requests that detect the kind of server once in a process are not counted.
    """

    def count() -> Requests:
        once = ("create-if-absent", "cache/absent-")
        kinds = [_kind(*one) for one in proxy.requests if not any(name in one[1] for name in once)]
        proxy.requests.clear()
        return Requests(**{kind: kinds.count(kind) for kind in set(kinds)})

    return count


def _kind(method: str, path: str) -> str:
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    if method == "GET" and "list-type" in query:
        return "lists"
    if method == "POST" and "delete" in query:
        return "deletes"
    return {"GET": "gets", "DELETE": "deletes", "PUT": "puts", "POST": "puts"}[method]


@pytest.mark.parametrize("renditions", RENDITIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunks", [1, 3])
def test_extraction_makes_planned_number_of_requests(
    layout: Layout,
    chunks: int,
    renditions: tuple[int, ...],
    s3_url: str,
    counted: Callable[[], Requests],
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    videos = clips.chunks()[:chunks]
    planned = timeline.plan_extract(videos, layout=layout, renditions=renditions)
    counted()

    # One of two workers may check the manifest while the other replaces it: one more request.
    timeline.extract(videos, layout=layout, renditions=renditions, workers=1)

    made = counted()
    assert planned.requests == made
    assert planned.footprints[layout].fill == made
    assert timeline.footprint().fill == made


def test_checks_for_deletion_during_extraction_are_counted(
    s3_url: str, counted: Callable[[], Requests], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("_ingest.chunk_frames", "_estimate.requests"):
        monkeypatch.setattr(f"framecache.{module}.FRAMES_BETWEEN_CHECKS", 10)
    timeline = FrameCache(s3_url).timeline("t")
    planned = timeline.plan_extract(clips.chunks())
    counted()
    timeline.extract(clips.chunks(), workers=1)
    assert planned.requests == counted()


@pytest.mark.parametrize("cached", [1, 2, 3])
def test_resumed_extraction_makes_planned_number_of_requests(
    cached: int, s3_url: str, counted: Callable[[], Requests]
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    timeline.extract(clips.chunks()[:cached], layout="packs")
    planned = timeline.plan_extract(clips.chunks())
    counted()
    timeline.extract(clips.chunks(), workers=1)
    assert planned.requests == counted()


def test_append_makes_planned_number_of_requests(
    s3_url: str, counted: Callable[[], Requests]
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    for number, chunk in enumerate(clips.chunks()):
        planned = timeline.plan_append(chunk)
        counted()
        timeline.append(chunk)
        assert planned.requests == counted(), number


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunks", [1, 3])
def test_read_makes_reported_number_of_requests(
    layout: Layout,
    chunks: int,
    s3_url: str,
    counted: Callable[[], Requests],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    planned = timeline.plan_extract(clips.chunks()[:chunks], layout=layout).footprints[layout]
    timeline.extract(clips.chunks()[:chunks], layout=layout)
    footprint = timeline.footprint()
    counted()

    assert sum(1 for _ in opened(s3_url).frames()) == footprint.frame_count
    assert counted() == footprint.read_all == planned.read_all
    monkeypatch.setattr(
        access_log, "INTERVAL_SECONDS", 0.0
    )  # as another process, which updates the access log too
    opened(s3_url).frame(0)
    assert counted() == footprint.read_one == planned.read_one


@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_of_real_footage_fetches_reported_ranges_and_bytes(
    layout: Layout, memory_url: str
) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([real_clip("bikes.mp4"), real_clip("bigbuckbunny.mp4")], layout=layout)
    footprint = timeline.footprint()
    store = CountingStore(FrameCache(memory_url).store)

    jpegs = list(Timeline(store, "t").jpegs(timeline.sequences()))

    assert len(jpegs) == footprint.frame_count == 382
    opening = footprint.read_one.gets - 1
    assert (store.gets, store.bytes_read) == (
        footprint.read_all.gets - opening,
        footprint.read_bytes,
    )
    assert (store.gets < 60) == (layout == "packs")


@pytest.mark.parametrize("renditions", RENDITIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_footprint_blobs_and_bytes_equal_those_in_store(
    layout: Layout, renditions: tuple[int, ...], memory_url: str
) -> None:
    cache = FrameCache(memory_url)
    videos = [*clips.chunks(), clips.ends_in_garbage()]
    cache.timeline("t").extract(videos, layout=layout, renditions=renditions)
    assert_footprint_is_that_of_store(cache)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_footprint_of_written_renditions_is_that_in_store(layout: Layout, memory_url: str) -> None:
    cache = FrameCache(memory_url)
    frames = [frame(number, width=128, height=96) for number in range(5)]
    cache.timeline("t").write(frames, layout=layout)
    cache.timeline("t").add_renditions(RENDITIONS[-1])
    assert len(stored_sizes(cache, "renditions")) == len(RENDITIONS[-1])
    assert_footprint_is_that_of_store(cache)


def assert_footprint_is_that_of_store(cache: FrameCache) -> None:
    footprint = cache.timeline("t").footprint()
    sizes = stored_sizes(cache, "frames", "packs", "renditions")
    assert (footprint.blobs, footprint.stored_bytes) == (len(sizes), sum(sizes))


def stored_sizes(cache: FrameCache, *folders: str) -> list[int]:
    return [
        blob.size_bytes
        for folder in folders
        for blob in cache.store.list(f"cache/timelines/t/{folder}/")
    ]


@pytest.mark.parametrize("renditions", RENDITIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_footprint_of_other_layout_equals_footprint_after_repack(
    layout: Layout, renditions: tuple[int, ...], memory_url: str
) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    videos = [*clips.chunks(), clips.ends_in_garbage()]
    timeline.extract(videos, layout=layout, renditions=renditions)
    before = timeline.footprint(OTHER[layout])
    timeline.repack(OTHER[layout])
    assert before == timeline.footprint()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_makes_reported_number_of_requests(
    layout: Layout, s3_url: str, counted: Callable[[], Requests]
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    counted()
    timeline.write([frame(number) for number in range(5)], layout=layout)
    made = counted()
    footprint = timeline.footprint()
    assert footprint.fill == made

    counted()
    assert len(list(opened(s3_url).frames())) == 5
    assert counted() == footprint.read_all


def test_multipart_uploads_of_large_pack_are_counted(
    s3_url: str, counted: Callable[[], Requests]
) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (1080, 1920, 3), np.uint8)
    frames = [Frame(number, 0, float(number), noise, "0" * 16) for number in range(12)]
    timeline = FrameCache(s3_url).timeline("t")
    counted()

    timeline.write(frames, quality=100, layout="packs")

    made = counted()
    footprint = timeline.footprint()
    assert footprint.stored_bytes > 2 * 16 * 2**20
    assert footprint.fill == made


def test_opening_requests_of_incomplete_timeline_are_counted(
    s3_url: str, counted: Callable[[], Requests]
) -> None:
    cache = FrameCache(s3_url)
    cache.timeline("t").extract(clips.chunks()[:1])
    failing = fail_from_nth(
        StoreUnavailable("a test's"), action="create", nth=1, within="/000001-0.parquet"
    )
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(cache.store, before=failing), "t").append(clips.chunks()[1])
    footprint = cache.timeline("t").footprint()
    counted()

    assert len(list(opened(s3_url).frames())) == footprint.frame_count == 20
    assert counted() == footprint.read_all


def test_footprint_of_foreign_frames_has_read_but_no_fill_requests(
    s3_url: str, counted: Callable[[], Requests]
) -> None:
    cache = FrameCache(s3_url)
    cache.timeline("t").extract(clips.clip())
    for number, jpeg in enumerate(cache.timeline("t").jpegs(range(3))):
        cache.store.put(f"cache/timelines/foreign/frames/{number}.jpg", jpeg)
    foreign = cache.timeline("foreign")
    footprint = foreign.footprint()
    counted()

    assert len(list(opened(s3_url, "foreign").frames())) == 3
    assert counted() == footprint.read_all
    assert footprint.fill is None
    with pytest.raises(NotCached, match="its layout cannot be changed"):
        foreign.footprint("packs")


def test_footprint_of_uncached_timeline_raises_not_cached(memory_url: str) -> None:
    with pytest.raises(NotCached, match="extract it first"):
        FrameCache(memory_url).timeline("t").footprint()


class CountingStore(WrappingStore):
    """Store that counts the bytes fetched from frames."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.gets = self.bytes_read = 0
        self._lock = Lock()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:  # noqa: ARG002 -- the signature
        result = operation()
        if "/frames/" in key or "/packs/" in key:
            assert isinstance(result, bytes)
            with self._lock:
                self.gets += 1
                self.bytes_read += len(result)
        return result


def opened(url: str, timeline_id: str = "t") -> Timeline:
    """Open a timeline as another program does."""
    return FrameCache(url).timeline(timeline_id)
