"""Programs that extract one timeline at once share its chunks."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest

from framecache import (
    CorruptFrame,
    Frame,
    FrameCache,
    Progress,
    SettingsConflict,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    UnreadableChunk,
)
from framecache._core.manifest import Manifest
from framecache._index import current_manifest, lease
from framecache._index.lease import LeaseManager
from framecache._media import jpeg, video
from framecache.store import Store, open_store
from framecache.testing import HookedStore
from outside import wait_until

PREFIX = "cache/timelines/t/"


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


@pytest.fixture
def short_lease_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time without heartbeat after which a program loses its lease."""
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.05)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each chunk is decoded."""
    count, lock, decode = Counter[str](), threading.Lock(), video.decode

    def counting(*args: Any, name: str, threads: int) -> object:  # noqa: ANN401 -- passed on
        with lock:
            count[Path(name).name] += 1
        return decode(*args, name=name, threads=threads)

    monkeypatch.setattr(video, "decode", counting)
    return count


def uncommitted(store: Store) -> Manifest:
    """Leave a timeline with a manifest and without frames; return the manifest."""
    broken = HookedStore(store, before=refuse_puts)
    with pytest.raises(StoreUnavailable):
        Timeline(broken, "t").extract(clips.chunks())
    manifest = current_manifest(store, "t")
    assert manifest is not None
    return manifest


def refuse_puts(action: str, _: str) -> None:
    if action == "put":
        raise StoreUnavailable("no")


def remaining_leases(store: Store) -> list[str]:
    return [blob.key for blob in store.list(f"{PREFIX}claims")]


def expected_jpegs(url: str = "memory://sharing-alone") -> list[bytes]:
    alone = FrameCache(url).timeline("t")
    alone.extract(clips.chunks())
    return list(alone.jpegs(range(45)))


@pytest.mark.parametrize("callers", [2, 5])
def test_concurrent_callers_decode_each_chunk_once_and_return_when_complete(
    store: Store, decoded: Counter[str], callers: int
) -> None:
    together, paths = threading.Barrier(callers), clips.chunks()

    def extract(_: int) -> tuple[int, int]:
        together.wait(timeout=60)
        timeline = Timeline(store, "t")
        report = timeline.extract(paths, workers=1)
        assert timeline.complete
        return report.chunks_extracted, report.frames_extracted

    with ThreadPoolExecutor(callers) as pool:
        reports = list(pool.map(extract, range(callers)))
    assert decoded == {"c0.mp4": 1, "c1.mp4": 1, "c2.mp4": 1}
    assert sum(chunks for chunks, _ in reports) == 3
    assert sum(frames for _, frames in reports) == 45
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()
    assert remaining_leases(store) == []


@pytest.mark.usefixtures("short_lease_ttl")
def test_stale_lease_is_acquired(store: Store) -> None:
    manifest = uncommitted(store)
    store.create(f"{PREFIX}claims/{manifest.epoch}/000001-7.json", b"of one who died")
    assert Timeline(store, "t").extract(clips.chunks()).chunks_extracted == 3
    assert remaining_leases(store) == []


def test_live_lease_is_waited_for(
    store: Store, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 2.0)  # four heartbeats
    manifest = uncommitted(store)
    decoded.clear()
    progress: list[Progress] = []
    with LeaseManager(store, manifest) as others:
        assert others.acquire("000001")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                Timeline(store, "t").extract, clips.chunks(), progress=progress.append
            )
            wait_until(lambda: bool(progress) and progress[-1].frames_done == 35)
            key_of_live_lease = [key for key in remaining_leases(store) if "000001-" in key]
            wait_until(lambda: key_of_live_lease not in (remaining_leases(store), []))
            wait_until(
                lambda: progress[-1] == Progress(35, 45, 1, segments_done=2, segments_total=3)
            )
            assert not waiting.done()
            assert decoded["c1.mp4"] == 0
            others.release("000001")
            report = waiting.result(timeout=60)
    assert (report.chunks_extracted, decoded["c1.mp4"]) == (3, 1)


def test_chunk_committed_by_another_program_counts_as_cached(store: Store) -> None:
    manifest = uncommitted(store)
    part = f"{PREFIX}index/{manifest.epoch}/000001-0.parquet"
    blobs = open_store("memory://sharing-donor")
    Timeline(blobs, "t").extract(clips.chunks())
    donor = current_manifest(blobs, "t")
    assert donor is not None
    body = blobs.get(f"{PREFIX}index/{donor.epoch}/000001-0.parquet")
    progress: list[Progress] = []
    with LeaseManager(store, manifest) as others:
        assert others.acquire("000001")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                Timeline(store, "t").extract, clips.chunks(), progress=progress.append
            )
            wait_until(lambda: bool(progress) and progress[-1].frames_done == 35)
            for sequence in range(20, 30):
                store.put(
                    f"{PREFIX}frames/{sequence}.jpg", blobs.get(f"{PREFIX}frames/{sequence}.jpg")
                )
            store.create(part, body)
            report = waiting.result(timeout=60)
    assert (report.chunks_extracted, report.chunks_cached) == (2, 1)
    assert progress[-1] == Progress(45, 45, segments_done=3, segments_total=3)
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()


def test_extraction_succeeds_when_leases_vanish(store: Store) -> None:
    def delete_leases(_: str, key: str) -> None:
        if "/claims/" not in key:
            store.delete(remaining_leases(store))

    without_leases = HookedStore(store, before=delete_leases)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: Timeline(without_leases, "t").extract(clips.chunks()), range(3)))
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()


def test_extraction_that_lost_its_lease_stops_and_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch, decoded: Counter[str]
) -> None:
    """The program was delayed for longer than the lease TTL, so another acquired its lease."""
    monkeypatch.setattr("framecache._ingest.chunk_frames.FRAMES_BETWEEN_CHECKS", 5)
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.2)
    uncommitted(store)
    decoded.clear()
    is_asleep, may_wake = threading.Event(), threading.Event()

    def sleep(action: str, key: str) -> None:
        is_check = action == "head" and "/timeline/" in key and decoded["c0.mp4"] > 0
        if is_asleep.is_set() or is_check:
            is_asleep.set()
            assert may_wake.wait(timeout=60)

    path, hooked = clips.chunks(), HookedStore(store, before=sleep)
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(Timeline(hooked, "t").extract, path, workers=1)
        assert is_asleep.wait(timeout=60)
        assert Timeline(store, "t").extract(path).chunks_extracted == 3
        may_wake.set()
        delayed_report = delayed.result(timeout=60)
    assert [key for action, key in hooked.requests if action == "put"] == []
    assert (delayed_report.chunks_extracted, delayed_report.chunks_cached) == (0, 3)
    assert decoded == {"c0.mp4": 2, "c1.mp4": 1, "c2.mp4": 1}
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()


def test_unreadable_chunk_releases_its_lease(store: Store, tmp_path: Path) -> None:
    path = clips.copy_to(clips.clip(), tmp_path)
    manifest_only = HookedStore(store, before=refuse_puts)
    with pytest.raises(StoreUnavailable):
        Timeline(manifest_only, "t").extract(path)
    path.unlink()
    with pytest.raises(UnreadableChunk):
        Timeline(store, "t").extract(path)
    assert remaining_leases(store) == []


def test_extraction_succeeds_when_leases_cannot_be_deleted(store: Store) -> None:
    def keep(action: str, key: str) -> None:
        if action == "delete":
            raise StoreUnavailable(key)

    Timeline(HookedStore(store, before=keep), "t").extract(clips.chunks())
    assert Timeline(store, "t").complete
    assert Timeline(store, "t").extract(clips.chunks()).chunks_cached == 3


def test_cached_timeline_is_recognized_without_leases(store: Store) -> None:
    Timeline(store, "t").extract(clips.chunks())
    hooked = HookedStore(store)
    Timeline(hooked, "t").extract(clips.chunks())
    assert [key for _, key in hooked.requests if "/claims/" in key] == []


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Require that the heartbeat thread has ended."""
    yield
    assert [one for one in threading.enumerate() if one.name == "framecache-leases"] == []


def test_delayed_clear_keeps_later_epoch(store: Store) -> None:
    """Another program begins a later epoch and fills it before the old frames are deleted."""
    Timeline(store, "t").extract(clips.chunks())

    def rebuild(action: str, key: str) -> None:
        if (action, key) == ("list", f"{PREFIX}index/"):
            Timeline(store, "t").rebuild(every=2)

    Timeline(HookedStore(store, before=rebuild), "t").clear()
    assert Timeline(store, "t").complete
    assert len(list(Timeline(store, "t").frames())) == 23


def test_concurrent_write_and_extraction_conflict(store: Store) -> None:
    """Both see no frames and no lease; the last to create the manifest detects the other."""
    picture = np.zeros((64, 96, 3), np.uint8)

    def extract(action: str, key: str) -> None:
        if action == "create" and "/index/" in key:
            store.delete(remaining_leases(store))
            Timeline(store, "t").extract(clips.chunks())

    with pytest.raises(SettingsConflict, match="extracted from chunks"):
        Timeline(HookedStore(store, before=extract), "t").write([Frame(0, 0, 0.0, picture)])
    assert Timeline(store, "t").verify(repair=True).ok
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()


def test_concurrent_writes_of_two_qualities_conflict(store: Store) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)

    def write(action: str, key: str) -> None:
        if action == "create" and "/index/" in key:
            Timeline(store, "t").write([Frame(1, 0, 0.0, picture)], quality=60)

    with pytest.raises(SettingsConflict, match="quality 60"):
        Timeline(HookedStore(store, before=write), "t").write([Frame(0, 0, 0.0, picture)])
    assert Timeline(store, "t").sequences() == [1]


def test_reader_opened_during_rebuild_sees_new_frames(store: Store) -> None:
    Timeline(store, "t").extract(clips.chunks())
    left = [True]

    def rebuild(action: str, key: str) -> None:
        if action == "get" and "/index/" in key and left:
            left.pop()
            Timeline(store, "t").rebuild(every=2)

    assert len(Timeline(HookedStore(store, before=rebuild), "t").sequences()) == 23


def test_open_reader_reads_recreated_timeline(store: Store) -> None:
    reader = Timeline(store, "t")
    reader.extract(clips.chunks())
    assert len(reader.sequences()) == 45
    reader = Timeline(store, "t")
    assert len(reader.sequences()) == 45
    Timeline(store, "t").delete()
    Timeline(store, "t").extract(clips.chunks(), every=2)
    assert len(reader.sequences()) == 23


def test_delayed_clear_keeps_timeline_recreated_at_same_version(store: Store) -> None:
    """The timeline was deleted and extracted again before the clear removed frames."""
    Timeline(store, "t").extract(clips.chunks())
    left = [True]

    def recreate(action: str, key: str) -> None:
        if action == "head" and "/timeline/" in key and left:
            left.pop()
            Timeline(store, "t").delete()
            Timeline(store, "t").extract(clips.chunks())

    Timeline(HookedStore(store, before=recreate), "t").clear()
    assert Timeline(store, "t").verify().ok
    assert list(Timeline(store, "t").jpegs(range(45))) == expected_jpegs()


def test_extraction_of_deleted_timeline_leaves_no_frames(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._ingest.chunk_frames.FRAMES_BETWEEN_CHECKS", 5)
    left = [True]

    def delete(action: str, key: str) -> None:
        if (action, key) == ("put", f"{PREFIX}frames/3.jpg") and left:
            left.pop()
            Timeline(store, "t").delete()

    with pytest.raises(TimelineCleared):
        Timeline(HookedStore(store, before=delete), "t").extract(clips.chunks(), workers=1)
    assert not Timeline(store, "t").exists
    assert [*store.list(f"{PREFIX}frames")] == []


def test_delete_removes_chunk_appended_meanwhile(store: Store) -> None:
    """Frames left behind would look like another program's and prevent an extraction."""
    first, second = clips.chunks()[:2]
    Timeline(store, "t").extract(first)
    left = [True]

    def append(action: str, key: str) -> None:
        if (action, key) == ("delete", f"{PREFIX}frames/0.jpg") and left:
            left.pop()
            Timeline(store, "t").append(second)

    Timeline(HookedStore(store, before=append), "t").delete()
    assert not left
    assert [*store.list(PREFIX)] == []
    assert Timeline(store, "t").extract(second).chunks_extracted == 1


def test_delete_keeps_timeline_recreated_at_its_end(store: Store) -> None:
    Timeline(store, "t").extract(clips.clip())
    listings: list[str] = []

    def recreate(action: str, key: str) -> None:
        if action == "list" and key == PREFIX:
            listings.append(key)
            if len(listings) == 2:
                Timeline(store, "t").extract(clips.clip())

    Timeline(HookedStore(store, before=recreate), "t").delete()
    assert len(listings) == 2
    assert Timeline(store, "t").verify().ok


def test_adopted_index_part_of_other_frames_raises_corrupt_frame(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs with different encoders each treated the other's lease as stale."""
    left = [True]

    def commit_first(action: str, key: str) -> None:
        if action == "create" and "/index/" in key and left:
            left.pop()
            with monkeypatch.context() as other:
                other.setattr(lease, "LEASE_TTL_SECONDS", 0.0)
                other.setattr("framecache._media.jpeg.encode_picture", encode_at_lower_quality)
                Timeline(store, "t").extract(clips.clip())

    encode = jpeg.encode_picture

    def encode_at_lower_quality(*planes: Any, quality: int) -> bytes:  # noqa: ANN401 -- passed on
        return encode(*planes, quality=quality - 1)

    with pytest.raises(CorruptFrame, match=r"framecache verify t --repair"):
        Timeline(HookedStore(store, before=commit_first), "t").extract(clips.clip())
    assert Timeline(store, "t").verify(repair=True).ok


def test_timeline_with_corrupt_manifest_can_be_deleted(store: Store) -> None:
    Timeline(store, "t").extract(clips.clip())
    store.put(f"{PREFIX}timeline/00000002.json", b"{}")
    with pytest.raises(CorruptFrame):
        Timeline(store, "t").extract(clips.clip())
    Timeline(store, "t").delete()
    assert [*store.list(PREFIX)] == []
    assert Timeline(store, "t").extract(clips.clip()).chunks_extracted == 1
