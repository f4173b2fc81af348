"""Packs that are damaged, lost or left behind: found, repaired from the chunks, and collected."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import clips
import pytest

from framecache import CorruptFrame, FrameCache, StoreUnavailable, Timeline, VerifyReport
from framecache._index import current_manifest, lease
from framecache._maintain.gc import Reason
from framecache.testing import Action, HookedStore, fail_from_nth
from outside import everything, frame, outside

PREFIX = "cache/timelines/t/"
FRAMES = 45
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _short_lease_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a program waits for the leases of one that crashed."""
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 2.0)


@pytest.fixture
def url(store_url: str) -> str:
    """A store with 45 frames of three chunks, in three packs."""
    timeline(store_url).extract(clips.chunks(), layout="packs")
    return store_url


@pytest.fixture
def filled(url: str) -> Timeline:
    return timeline(url)


def timeline(url: str) -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline("t")


def all_jpegs(packed: Timeline) -> list[bytes]:
    return list(packed.jpegs(range(FRAMES)))


def packs(url: str) -> set[str]:
    return set(outside(url).list(f"{PREFIX}packs"))


def counted(report: VerifyReport) -> dict[str, int]:
    return {kind: number for kind, number in report.counts.items() if number}


def damage(packed: Timeline, sequence: int, change: Callable[[bytes, int], bytes]) -> None:
    """Change the pack of a frame by a function of its bytes and the frame's offset."""
    row = packed.index.row(sequence)
    store = FrameCache(packed.info().url).store
    store.put(row.key, change(store.get(row.key), row.offset + row.size // 2))


def flipped(pack: bytes, at: int) -> bytes:
    return pack[:at] + bytes([pack[at] ^ 1]) + pack[at + 1 :]


def cut(pack: bytes, at: int) -> bytes:
    return pack[:at]


def test_verify_of_intact_packs_reports_every_frame_ok(filled: Timeline) -> None:
    report = filled.verify(deep=True)
    assert counted(report) == {"ok": FRAMES}
    assert report.ok


def test_verify_takes_one_request_per_pack_and_changes_nothing(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks(), layout="packs")
    before = everything(outside(store_url))
    store = HookedStore(FrameCache(store_url).store)
    Timeline(store, "t").verify()
    assert everything(outside(store_url)) == before
    ranges = [key for action, key in store.requests if action == "get" and "/packs/" in key]
    assert len(ranges) == len(packs(store_url))


@pytest.mark.parametrize(
    ("sequence", "change", "kind", "bad"),
    [
        (3, flipped, "corrupt", {3}),
        (20, flipped, "corrupt", {20}),
        (44, cut, "truncated", {44}),
        (25, cut, "truncated", {25, 26, 27, 28, 29}),
    ],
)
def test_damage_is_found_per_frame_and_repaired(
    filled: Timeline,
    sequence: int,
    change: Callable[[bytes, int], bytes],
    kind: str,
    bad: set[int],
) -> None:
    good = all_jpegs(filled)
    damage(filled, sequence, change)
    found = filled.verify()
    assert {one.sequence for one in found.findings if one.kind == kind} == bad
    assert found.damaged == len(bad)
    with pytest.raises(CorruptFrame):
        filled.jpeg(min(bad))
    repaired = filled.verify(repair=True)
    assert repaired.ok
    assert repaired.repaired == len(bad)
    assert all_jpegs(filled) == good
    assert filled.verify(deep=True).counts["ok"] == FRAMES


def test_lost_pack_is_repaired_as_new_pack(url: str, filled: Timeline) -> None:
    good = all_jpegs(filled)
    lost = filled.index.row(22).key
    FrameCache(url).store.delete([lost])
    assert counted(filled.verify())["missing"] == 10
    assert filled.verify(repair=True).ok
    assert all_jpegs(filled) == good
    assert filled.index.row(22).key != lost


def test_repaired_frame_is_stored_in_new_pack_and_damaged_pack_is_kept(
    url: str, filled: Timeline
) -> None:
    before = {sequence: filled.index.row(sequence) for sequence in range(FRAMES)}
    stored = {key: outside(url).read(key) for key in packs(url)}
    damage(filled, 21, flipped)
    damaged = outside(url).read(before[21].key)
    filled.verify(repair=True)
    after = timeline(url).index
    assert [n for n in before if after.row(n) != before[n]] == [21]
    assert {key: outside(url).read(key) for key in stored} == {**stored, before[21].key: damaged}
    assert len(packs(url)) == len(stored) + 1


def test_open_reader_reads_repaired_frames(url: str, filled: Timeline) -> None:
    good = all_jpegs(filled)
    reader = timeline(url)
    assert reader.jpeg(21) == good[21]
    damage(filled, 21, flipped)
    filled.verify(repair=True)
    assert list(reader.jpegs(range(FRAMES))) == good


def test_interrupted_repair_can_be_repeated(memory_url: str) -> None:
    packed = timeline(memory_url)
    packed.extract(clips.chunks(), layout="packs")
    good = all_jpegs(packed)
    error = StoreUnavailable("the test's store went away")
    nth = 1
    while True:
        damage(timeline(memory_url), 21, flipped)
        hook = fail_from_nth(error, action="put", nth=nth, within="/packs/")
        store = HookedStore(FrameCache(memory_url).store, before=hook)
        try:
            assert Timeline(store, "t").verify(repair=True).ok
        except StoreUnavailable:
            nth += 1
            assert timeline(memory_url).verify(repair=True).ok
            assert all_jpegs(timeline(memory_url)) == good
        else:
            break
    assert nth > 1
    assert all_jpegs(timeline(memory_url)) == good


def test_repair_of_leased_index_part_stores_no_pack(url: str, filled: Timeline) -> None:
    """A part that only the compaction has cannot be committed: another program works on it."""
    store = FrameCache(url).store
    manifest = current_manifest(store, "t")
    assert manifest is not None
    before = everything(outside(url))
    store.put(manifest.index_key("000000"), b"no parquet")
    damage(filled, 21, flipped)
    with lease.LeaseManager(store, manifest) as others:
        assert others.acquire("000000")
        report = timeline(url).verify(repair=True)
    assert not report.ok
    [frame_found] = [found for found in report.findings if found.sequence == 21]
    assert "only the compacted index records" in frame_found.detail
    assert packs(url) <= set(before)
    assert timeline(url).verify(repair=True).ok


def repair_a_frame(packed: Timeline, url: str) -> None:
    damage(timeline(url), 21, flipped)
    packed.verify(repair=True)


def write_frames(packed: Timeline, url: str) -> None:
    timeline(url).delete()
    packed.write((frame(n) for n in range(20)), layout="packs")


def move_into_packs(packed: Timeline, url: str) -> None:
    timeline(url).repack("objects")
    packed.repack("packs")


@pytest.mark.parametrize(
    "work",
    [
        lambda packed, _: packed.append(clips.clip(frames=12)),
        repair_a_frame,
        write_frames,
        move_into_packs,
    ],
    ids=["append", "repair", "write", "repack"],
)
def test_store_failure_in_check_after_upload_leaves_no_pack(
    url: str, work: Callable[[Timeline, str], None]
) -> None:
    uploads = set[str]()
    failed = list[str]()

    def fail_once_after_a_pack(action: Action, key: str) -> None:
        if action == "put" and "/packs/" in key:
            uploads.add(key)
        if not failed and action == "head" and "/timeline/" in key and uploads & packs(url):
            failed.append(key)
            raise StoreUnavailable("the test's store went away")

    store = HookedStore(FrameCache(url).store, before=fail_once_after_a_pack)
    with pytest.raises(StoreUnavailable, match="the test's"):
        work(Timeline(store, "t"), url)
    assert failed
    assert uploads.isdisjoint(packs(url))


def test_corrupt_manifest_of_packs_is_repaired(url: str, filled: Timeline) -> None:
    good = all_jpegs(filled)
    newest = max(outside(url).list(f"{PREFIX}timeline"))
    FrameCache(url).store.put(newest, b"{")
    assert timeline(url).verify(repair=True).ok
    assert all_jpegs(timeline(url)) == good
    assert counted(timeline(url).verify(deep=True))["ok"] == FRAMES
    FrameCache(url).plan_gc(grace_seconds=0).execute(max_share=1)
    assert all_jpegs(timeline(url)) == good


def age(url: str, seconds: float) -> None:
    """Let some time pass for the files of a local store."""
    then = time.time() - seconds
    for path in Path(url).rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def leave_a_pack(url: str) -> set[str]:
    """Make a program die after its pack and before its index part; return the pack."""
    before = packs(url)
    error = StoreUnavailable("the test's store went away")
    hook = fail_from_nth(error, action="create", nth=1, within="/index/")
    dying = Timeline(HookedStore(FrameCache(url).store, before=hook), "t")
    with pytest.raises(StoreUnavailable):
        dying.append(clips.clip(frames=12))
    return packs(url) - before


def test_unreferenced_pack_is_an_orphan_and_removed_after_grace_period(local_url: str) -> None:
    timeline(local_url).extract(clips.chunks(), layout="packs")
    good = all_jpegs(timeline(local_url))
    [left] = leave_a_pack(local_url)
    report = timeline(local_url).verify()
    assert left in {one.key for one in report.findings if one.kind == "orphan"}
    FrameCache(local_url).plan_gc(grace_seconds=DAY).execute(max_share=1)
    assert left in packs(local_url)
    age(local_url, 2 * DAY)
    FrameCache(local_url).plan_gc(grace_seconds=DAY).execute(max_share=1)
    assert left not in packs(local_url)
    assert all_jpegs(timeline(local_url)) == good


def test_packs_of_interrupted_clear_are_stale_and_removed_by_gc(local_url: str) -> None:
    timeline(local_url).extract(clips.chunks(), layout="packs")
    old = packs(local_url)
    error = StoreUnavailable("the test's store went away")
    hook = fail_from_nth(error, action="delete", nth=1, within="")
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(FrameCache(local_url).store, before=hook), "t").clear()
    assert packs(local_url) == old
    timeline(local_url).verify()
    stale = {one.key for one in timeline(local_url).verify().findings if one.kind == "stale"}
    assert old <= stale
    age(local_url, 2 * DAY)
    plan = FrameCache(local_url).plan_gc(grace_seconds=DAY)
    report = plan.execute(max_share=1)
    assert report.removed[Reason.OLD_EPOCHS].blobs >= len(old)
    assert packs(local_url) == set()


def test_evicted_timeline_loses_its_packs_and_can_be_rebuilt(local_url: str) -> None:
    timeline(local_url).extract(clips.chunks(), layout="packs")
    good = all_jpegs(timeline(local_url))
    plan = FrameCache(local_url).plan_gc(grace_seconds=0, max_bytes=1)
    assert [state.timeline_id for state in plan.evicted] == ["t"]
    freed = plan.evicted[0].cached.size_bytes
    stored = sum(len(outside(local_url).read(key)) for key in packs(local_url))
    assert freed >= stored
    plan.execute(max_share=1)
    assert packs(local_url) == set()
    timeline(local_url).rebuild()
    assert timeline(local_url).info().settings is not None
    assert all_jpegs(timeline(local_url)) == good


def test_packs_of_written_frames_with_lost_index_part_are_kept(local_url: str) -> None:
    written = timeline(local_url)
    written.write([frame(0), frame(1)], layout="packs")
    written.write([frame(2)])
    parts = [key for key in outside(local_url).list(f"{PREFIX}index") if "/w" in key]
    FrameCache(local_url).store.delete([max(parts)])
    age(local_url, 2 * DAY)
    before = packs(local_url)
    FrameCache(local_url).plan_gc(grace_seconds=DAY).execute(max_share=1)
    assert packs(local_url) == before
