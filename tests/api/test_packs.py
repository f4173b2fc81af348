"""Layout packs: the tars, and operations on timelines that use them."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import clips
import google_crc32c
import pytest
from packed import (
    FRAMES,
    PREFIX,
    Breaking,
    expected_jpegs,
    extract,
    rows,
    run_at_request,
    sequences,
    timeline,
    without_location,
)

from framecache import (
    Frame,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    StoreFull,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache._index import lease
from framecache._media import jpeg, video
from framecache.model import Layout
from framecache.store import Store, open_store
from framecache.testing import Fault, FaultyStore, HookedStore, WrappingStore
from outside import everything, frame, frames_of, library_threads, outside, picture, wait_until
from tars import TOOLS, jpegs_in, members_of, metadata_in, packs_of


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


# Content of a pack


def test_each_chunk_has_one_pack_and_frames_have_no_own_blobs(store_url: str) -> None:
    extract(store_url)
    named = [row["key"] for row in rows(store_url)]
    epoch = timeline(store_url).info().epoch
    assert frames_of(outside(store_url), "t") == {}
    assert sorted(set(named)) == sorted(packs_of(outside(store_url), "t"))
    for row in rows(store_url):
        folder, name = row["key"].removeprefix(f"{PREFIX}packs/").split("/")
        assert folder == epoch
        assert name.startswith(f"{row['chunk_id']:06d}-")


def test_index_records_offset_and_checksum_of_each_frame(store_url: str) -> None:
    extract(store_url)
    packs = packs_of(outside(store_url), "t")
    for row in rows(store_url):
        stored = packs[row["key"]][row["offset"] : row["offset"] + row["size"]]
        assert stored == members_of(packs[row["key"]])[f"{row['sequence']}.jpg"]
        assert google_crc32c.value(stored) == row["crc32c"]


@pytest.mark.parametrize("tool", TOOLS)
def test_pack_holds_frames_of_index_for_every_tool(url: str, tmp_path: Path, tool: str) -> None:
    extract(url)
    for key, pack in packs_of(outside(url), "t").items():
        path = tmp_path / "pack.tar"
        path.write_bytes(pack)
        members = TOOLS[tool](path)
        wanted = [row for row in rows(url) if row["key"] == key]
        names = [f"{row['sequence']}.{kind}" for row in wanted for kind in ("jpg", "json")]
        assert list(members) == names
        for row, metadata in zip(wanted, metadata_in(members), strict=True):
            assert members[f"{row['sequence']}.jpg"] == expected_jpegs()[row["sequence"]]
            assert metadata.items() <= row.items()
            assert metadata.keys() >= {"sequence", "chunk_id", "timestamp", "perceptual_hash"}


@pytest.mark.every_store
def test_frames_and_index_equal_those_of_layout_objects(store_url: str) -> None:
    extract(store_url)
    timeline(store_url, "o").extract(clips.chunks(), layout="objects")
    assert jpegs_in(packs_of(outside(store_url), "t")) == dict(enumerate(expected_jpegs()))
    others = timeline(store_url, "o").index.to_arrow().to_pylist()
    assert [*map(without_location, rows(store_url))] == [*map(without_location, others)]


def test_one_and_many_workers_store_same_packs(url: str, memory_url: str) -> None:
    timeline(url).extract(clips.chunks(), layout="packs", workers=1)
    timeline(memory_url).extract(clips.chunks(), layout="packs", workers=7)
    one, many = (sorted(packs_of(outside(place), "t").values()) for place in (url, memory_url))
    assert one == many


def test_undecodable_frame_has_no_pack_member(url: str) -> None:
    timeline(url).extract(clips.ends_in_garbage(), layout="packs")
    with_picture = [row["sequence"] for row in rows(url) if row["status"] == "ok"]
    assert with_picture != [row["sequence"] for row in rows(url)]
    assert sorted(jpegs_in(packs_of(outside(url), "t"))) == with_picture
    assert sequences(timeline(url).frames()) == with_picture
    assert {row["key"] for row in rows(url) if row["status"] != "ok"} == {""}


def test_chunk_without_decodable_frames_has_no_pack(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = video.decode

    def see_nothing(*args: Any, **kwargs: Any) -> Iterator[object]:  # noqa: ANN401 -- passed on
        for item in decode(*args, **kwargs):
            yield video.Undecodable(item.pts, "nothing is seen")

    monkeypatch.setattr(video, "decode", see_nothing)
    report = timeline(url).extract(clips.chunks(), layout="packs")
    assert (report.chunks_extracted, report.frames_undecodable) == (3, FRAMES)
    assert timeline(url).complete
    assert packs_of(outside(url), "t") == {}


def test_invalid_layout_is_rejected_before_any_request(url: str) -> None:
    layout: Any
    for layout in ("pack", "PACKS", "", "tar", b"packs", 1, ["packs"]):
        for fill in (
            lambda layout=layout: timeline(url).extract(clips.chunks(), layout=layout),
            lambda layout=layout: timeline(url).write([frame(0)], layout=layout),
            lambda layout=layout: timeline(url).rebuild(layout=layout),
            lambda layout=layout: timeline(url).repack(layout),
        ):
            with pytest.raises(InvalidValue, match="layout"):
                fill()
    assert outside(url).list() == []


# A store that fails while packs are written


@pytest.mark.parametrize(
    "error", [StoreFull("no room"), StorePermissionDenied("no"), StoreUnavailable("?")]
)
@pytest.mark.parametrize("blocks", [0, 3, 10])
def test_store_failure_during_upload_fails_extraction_and_leaves_no_pack(
    url: str, error: FrameCacheError, blocks: int
) -> None:
    breaking = Breaking(FrameCache(url).store, error, blocks=blocks)
    with pytest.raises(type(error)) as raised:
        Timeline(breaking, "t").extract(clips.chunks(), layout="packs", workers=2)
    assert raised.value is error
    assert not timeline(url).exists
    assert library_threads() == set()
    assert packs_of(outside(url), "t") == {}
    assert outside(url).list(f"{PREFIX}claims/") == []
    extract(url)
    assert list(timeline(url).jpegs(range(FRAMES))) == expected_jpegs()


def test_upload_with_lost_response_succeeds(store: Store) -> None:
    def lose(action: str, key: str) -> Fault | None:
        return Fault.LOSE_RESPONSE if action == "put" and "/packs/" in key else None

    report = Timeline(FaultyStore(store, lose), "t").extract(clips.chunks(), layout="packs")
    assert report.chunks_extracted == 3
    assert list(Timeline(store, "t").jpegs(range(FRAMES))) == expected_jpegs()


def test_truncated_upload_with_lost_response_is_not_committed(
    store: Store,
) -> None:
    """The response is lost, and the stored blob is another program's, or half of the pack."""

    def cut(action: str, key: str) -> None:
        if action == "put" and "/packs/" in key:
            store.put(key, store.get(key)[:-1])
            raise StoreUnavailable("the answer was lost")

    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(store, after=cut), "t").extract(clips.chunks(), layout="packs")
    assert not Timeline(store, "t").exists


def test_upload_to_slow_store_takes_a_bounded_number_of_frames(store: Store) -> None:
    """The number of frames that wait for a slow store does not depend on their total."""
    given, far_ahead = [0], threading.Event()

    def produce() -> Iterator[Frame]:
        for sequence in range(400):
            given[0] += 1
            if given[0] > 150:
                far_ahead.set()
            yield frame(sequence, width=16, height=16)

    class Slow(WrappingStore):
        def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
            def slowly() -> Iterator[bytes]:
                for number, block in enumerate(blocks):
                    if number == 0:
                        assert not far_ahead.wait(0.5)
                    yield block

            self.inner.put_stream(key, slowly())

    Timeline(Slow(store), "t").write(produce(), layout="packs", workers=2)
    assert far_ahead.is_set()
    assert len(Timeline(store, "t")) == 400


# Other programs at work


@pytest.mark.every_store
def test_concurrent_extractions_store_each_pack_once(store_url: str) -> None:
    together = threading.Barrier(3)

    def work(_: int) -> int:
        t = timeline(store_url)
        together.wait(timeout=60)
        return t.extract(clips.chunks(), layout="packs", workers=2).chunks_extracted

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, range(3))) == 3
    assert list(timeline(store_url).jpegs(range(FRAMES))) == expected_jpegs()
    named = {row["key"] for row in rows(store_url)}
    assert sorted(packs_of(outside(store_url), "t")) == sorted(named)


@pytest.mark.parametrize("moment", [("put", "/packs/"), ("create", "/index/")])
def test_extraction_that_lost_its_lease_leaves_no_pack(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    def take_over() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(lease, "LEASE_TTL_SECONDS", 0.0)
            Timeline(store, "t").extract(clips.chunks(), layout="packs", workers=1)

    sleeping = HookedStore(store, before=run_at_request(*moment, take_over))
    report = Timeline(sleeping, "t").extract(clips.chunks(), layout="packs", workers=1)
    assert report.chunks_extracted < 3
    named = set(Timeline(store, "t").index.key)
    assert {blob.key for blob in store.list(f"{PREFIX}packs")} == named
    assert list(Timeline(store, "t").jpegs(range(FRAMES))) == expected_jpegs()


def test_complete_pack_is_removed_when_lease_is_found_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last check of the manifest ends after the pack is stored."""
    holds = lease.LeaseManager.is_held

    def find_another(*_: object) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(lease, "LEASE_TTL_SECONDS", 0.0)
            patch.setattr(lease.LeaseManager, "is_held", holds)
            Timeline(store, "t").extract(clips.clip(), layout="packs", workers=1)
            wait_until(lambda: len(list(store.list(f"{PREFIX}packs"))) == 2)
        monkeypatch.setattr(lease.LeaseManager, "is_held", holds)
        return False

    monkeypatch.setattr(lease.LeaseManager, "is_held", find_another)
    report = Timeline(store, "t").extract(clips.clip(), layout="packs", workers=1)
    assert (report.chunks_extracted, report.chunks_cached) == (0, 1)
    named = set(Timeline(store, "t").index.key)
    assert {blob.key for blob in store.list(f"{PREFIX}packs")} == named


@pytest.mark.parametrize("end", ["clear", "delete"])
def test_complete_pack_is_removed_when_timeline_is_found_cleared(store: Store, end: str) -> None:
    """The last check of the manifest ends after the pack is stored."""

    def end_it() -> None:
        getattr(Timeline(store, "t"), end)()
        wait_until(lambda: any(True for _ in store.list(f"{PREFIX}packs")))

    hooked = HookedStore(store, before=run_at_request("head", "/timeline/", end_it))
    with pytest.raises(TimelineCleared):
        Timeline(hooked, "t").extract(clips.clip(), layout="packs", workers=1)
    assert not list(store.list(f"{PREFIX}packs"))
    if end == "delete":
        assert not list(store.list(PREFIX))


def test_adopted_packs_of_another_encoder_need_no_repair(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = jpeg.encode_picture

    def encode_at_lower_quality(*planes: Any, quality: int) -> bytes:  # noqa: ANN401 -- passed on
        return encode(*planes, quality=quality - 1)

    def commit_first() -> None:
        with monkeypatch.context() as other:
            other.setattr(lease, "LEASE_TTL_SECONDS", 0.0)
            other.setattr("framecache._media.jpeg.encode_picture", encode_at_lower_quality)
            Timeline(store, "t").extract(clips.clip(), layout="packs")

    hooked = HookedStore(store, before=run_at_request("create", "/index/", commit_first))
    assert Timeline(hooked, "t").extract(clips.clip(), layout="packs").chunks_cached == 1
    assert len(list(Timeline(store, "t").jpegs(range(FRAMES)))) == FRAMES


@pytest.mark.parametrize("end", ["clear", "delete"])
@pytest.mark.parametrize("moment", [("put", "/packs/"), ("create", "/claims/")])
def test_extraction_of_cleared_or_deleted_timeline_leaves_no_pack(
    store_url: str, end: str, moment: tuple[str, str]
) -> None:
    def end_it() -> None:
        getattr(timeline(store_url), end)()

    hooked = HookedStore(FrameCache(store_url).store, before=run_at_request(*moment, end_it))
    with pytest.raises(TimelineCleared):
        Timeline(hooked, "t").extract(clips.chunks(), layout="packs", workers=1)
    assert not timeline(store_url).exists
    assert packs_of(outside(store_url), "t") == {}
    if end == "delete":
        assert outside(store_url).list(PREFIX) == []


def test_read_of_cleared_packs_raises_timeline_cleared(store_url: str) -> None:
    extract(store_url)
    readers = [timeline(store_url) for _ in range(3)]
    for reader in readers:
        assert reader.frame(0).sequence == 0
    iterating = readers[2].jpegs([1, 2, 3])
    timeline(store_url).rebuild(every=2)
    for read in (
        lambda: readers[0].frame(30),
        lambda: readers[1].batch([1, 2, 3]),
        lambda: list(iterating),
    ):
        with pytest.raises(TimelineCleared, match="timeline t "):
            read()
    for reader in readers:
        assert len(list(reader.frames())) == 23


# Clearing, deleting, rebuilding, appending


@pytest.mark.parametrize("written", [False, True])
def test_clear_removes_all_packs(store_url: str, *, written: bool) -> None:
    t = timeline(store_url)
    if written:
        t.write([frame(0), frame(1)], layout="packs")
    else:
        extract(store_url)
    png = picture(1) if written else picture(1, width=clips.WIDTH, height=clips.HEIGHT)
    t.overlays(job_id="j", stage="s").save(1, {"o": png})
    overlays = outside(store_url).list(f"{PREFIX}overlays/")
    t.clear()
    left = outside(store_url).list(PREFIX)
    assert [
        key for key in left if "/timeline/" not in key and not key.endswith("/used")
    ] == overlays
    assert not timeline(store_url).exists
    info = timeline(store_url).info()
    assert info.settings is not None
    assert info.settings.layout == "packs"


def test_delete_removes_all_packs(store_url: str) -> None:
    extract(store_url)
    timeline(store_url).delete()
    assert outside(store_url).list(PREFIX) == []


def test_rebuild_after_clear_fills_packs_again(url: str) -> None:
    extract(url)
    timeline(url).clear()
    timeline(url).rebuild()
    assert list(timeline(url).jpegs(range(FRAMES))) == expected_jpegs()
    assert frames_of(outside(url), "t") == {}


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_rebuild_in_other_layout_removes_blobs_of_previous_layout(
    store_url: str, layout: Layout
) -> None:
    extract(store_url, "packs" if layout == "objects" else "objects")
    timeline(store_url).rebuild(layout=layout)
    assert list(timeline(store_url).jpegs(range(FRAMES))) == expected_jpegs()
    frames, packs = (
        len(outside(store_url).list(f"{PREFIX}{what}/")) for what in ("frames", "packs")
    )
    assert (frames, packs) == ((FRAMES, 0) if layout == "objects" else (0, 3))


def test_extraction_into_packs_removes_frames_of_failed_extraction(url: str) -> None:
    breaking = HookedStore(FrameCache(url).store, before=refuse_to_begin)
    with pytest.raises(StorePermissionDenied):
        Timeline(breaking, "t").extract(clips.chunks())
    assert frames_of(outside(url), "t") != {}
    extract(url)
    assert frames_of(outside(url), "t") == {}


def refuse_to_begin(action: str, key: str) -> None:
    if (action, key) == ("create", f"{PREFIX}timeline/00000002.json"):
        raise StorePermissionDenied("no")


def test_append_adds_a_pack_and_keeps_existing_packs(store_url: str) -> None:
    paths = clips.chunks()
    timeline(store_url).extract(paths[:2], layout="packs")
    before = packs_of(outside(store_url), "t")
    timeline(store_url).append(paths[2])
    after = packs_of(outside(store_url), "t")
    assert before.items() <= after.items()
    assert len(after) == 3
    assert list(timeline(store_url).jpegs(range(FRAMES))) == expected_jpegs()


def test_repeated_extraction_into_packs_changes_nothing(url: str) -> None:
    extract(url)
    before = everything(outside(url))
    for layout in ("packs", None):
        report = timeline(url).extract(clips.chunks(), layout=layout)
        assert (report.chunks_extracted, report.chunks_cached) == (0, 3)
    assert everything(outside(url)) == before


@pytest.mark.parametrize(("layout", "other"), [("objects", "packs"), ("packs", "objects")])
def test_different_layout_conflicts_and_error_names_repack(
    url: str, layout: Layout, other: Layout
) -> None:
    extract(url, layout)
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=f"framecache repack t --layout {other}"):
        timeline(url).extract(clips.chunks(), layout=other)
    with pytest.raises(SettingsConflict, match=r"quality 85.*quality 60.*rebuild"):
        timeline(url).extract(clips.chunks(), layout=other, quality=60)
    assert everything(outside(url)) == before


def test_overlays_work_on_timeline_in_packs(url: str) -> None:
    extract(url)
    edges = timeline(url).overlays(job_id="j", stage="s")
    edges.save(7, {"o": picture(1, width=clips.WIDTH, height=clips.HEIGHT)})
    assert edges.frames() == [7]
    assert timeline(url).jobs() == {"j": {"s": 1}}
    timeline(url).rebuild()
    assert edges.frames() == [7]
