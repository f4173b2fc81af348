"""Garbage collection: which blobs it removes, keeps and evicts, also next to other programs."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

import clips
import pytest

from dying import dying_at
from framecache import (
    Frame,
    FrameCache,
    InvalidValue,
    NotCached,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache._core import keys
from framecache._index import (
    access_log,
    commit_repair,
    current_manifest,
    lease,
    load_snapshot_at,
    update_manifest,
)
from framecache._maintain.gc import GcPlan, GcReport, Reason, plan_gc
from framecache.model import Layout
from framecache.store import BlobIdentity, StorageOptions, Store, identify_blob
from framecache.testing import Action, Crash, CrashingStore, Hook, HookedStore, fail_from_nth
from outside import (
    everything,
    folder_for_all,
    frame,
    jpeg_by_pillow,
    outside,
    png_by_pillow,
    without_privileges,
)

PREFIX = "cache/timelines/t/"
DAY = 24 * 3600
FRAMES = 45
"""Number of frames of all clips here."""
DOWN = StoreUnavailable("the test's store went away")


def crashing(url: str, *hooks: Hook, timeline_id: str = "t") -> Timeline:
    """Return the timeline of a program that the hooks make crash."""

    def before(action: Action, key: str) -> None:
        for hook in hooks:
            hook(action, key)

    return Timeline(HookedStore(FrameCache(url).store, before=before), timeline_id)


@pytest.fixture(autouse=True)
def _short_lease_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a program waits for the leases of one that crashed."""
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 2.0)


def fail_extracting(url: str, *hooks: Hook, chunks: Sequence[Path] = (), frames: int = 30) -> None:
    """Extract until a number of frames is stored."""
    puts = fail_from_nth(DOWN, action="put", nth=frames + 1, within="/frames/")
    with pytest.raises(StoreUnavailable):
        crashing(url, puts, *hooks).extract(chunks or [clips.clip()], workers=1)


def crash_extracting(url: str, *chunks: Path, frames: int = 30) -> None:
    """Extract until a number of frames is stored, and leave leases behind."""
    hook = fail_from_nth(DOWN, action="delete", nth=1, within="/claims/")
    fail_extracting(url, hook, chunks=chunks, frames=frames)


def crash_clearing(url: str, timeline_id: str = "t") -> None:
    hook = fail_from_nth(DOWN, action="delete", nth=1, within="")
    with pytest.raises(StoreUnavailable):
        crashing(url, hook, timeline_id=timeline_id).clear()


def age(url: str, seconds: float, within: str = "") -> None:
    """Make the files of a local store older."""
    then = time.time() - seconds
    for path in Path(url).rglob("*"):
        if path.is_file() and within in path.as_posix():
            os.utime(path, (then, then))


def plan(
    url: str,
    *,
    grace_seconds: float = DAY,
    max_bytes: int | None = None,
    max_age_seconds: float | None = None,
) -> GcPlan:
    return FrameCache(url).plan_gc(
        grace_seconds=grace_seconds, max_bytes=max_bytes, max_age_seconds=max_age_seconds
    )


def collect(url: str, *, grace_seconds: float = DAY, max_bytes: int | None = None) -> GcReport:
    return plan(url, grace_seconds=grace_seconds, max_bytes=max_bytes).execute(max_share=1)


def blobs(url: str, prefix: str = PREFIX) -> set[str]:
    return set(outside(url).list(prefix))


def removed_keys(before: dict[str, bytes], url: str) -> set[str]:
    """Return the removed keys, after a check that no other blob changed or was added."""
    after = everything(outside(url))
    assert {key: before[key] for key in after} == after
    return set(before) - set(after)


def plan_all(store: Store, *, max_bytes: int | None = None, grace_seconds: float = 0) -> GcPlan:
    """Plan a collection as ``FrameCache.plan_gc`` does, on a given store."""
    return plan_gc(
        store,
        timelines=None,
        grace_seconds=grace_seconds,
        max_bytes=max_bytes,
        max_age_seconds=None,
    )


def counts(found: GcPlan | GcReport) -> dict[Reason, int]:
    """Return the number of blobs by reason."""
    amounts = found.amounts if isinstance(found, GcPlan) else found.removed
    return {reason: amount.blobs for reason, amount in amounts.items() if amount.blobs}


def require_readable(url: str, frames: int = FRAMES) -> None:
    """Require that every frame exists and is the one that was committed."""
    timeline = FrameCache(url).timeline("t")
    assert timeline.complete
    assert [one.sequence for one in timeline.frames()] == list(range(frames))


# Removed


def test_gc_of_intact_cache_removes_nothing(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.clip())
    timeline.overlays(job_id="j", stage="s").save(
        0, {"o": png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)}
    )
    before = everything(outside(store_url))
    gc_plan = plan(store_url, grace_seconds=0)
    assert (counts(gc_plan), gc_plan.evictions, gc_plan.share) == ({}, (), 0.0)
    gc_plan.execute()
    assert removed_keys(before, store_url) == set()


def test_gc_plan_writes_nothing(store_url: str) -> None:
    crash_extracting(store_url)
    store = HookedStore(FrameCache(store_url).store)
    gc_plan = plan_all(store, max_bytes=0)
    assert gc_plan.removal.blobs > 30
    assert {action for action, _ in store.requests} <= {"get", "head", "list"}


def test_gc_plan_takes_a_few_requests_per_timeline(local_url: str) -> None:
    for name in ("t", "u"):
        FrameCache(local_url).timeline(name).extract(clips.chunks())
    store = HookedStore(FrameCache(local_url).store)
    plan_all(store)
    # The list of timelines, and the manifest, index and blobs of each.
    actions = [action for action, _ in store.requests]
    assert actions == ["list", *2 * ["list", "get", "get", "list"]]


@pytest.mark.every_store
def test_crashed_extraction_is_removed_with_its_leases(store_url: str) -> None:
    crash_extracting(store_url)
    before = everything(outside(store_url))
    gc_plan = plan(store_url, grace_seconds=0)
    report = gc_plan.execute(max_share=1)
    wanted = {key for key in before if key.startswith((f"{PREFIX}frames/", f"{PREFIX}claims/"))}
    assert removed_keys(before, store_url) == wanted
    frames = sum(key.startswith(f"{PREFIX}frames/") for key in wanted)
    assert frames >= 30
    assert (
        counts(gc_plan)
        == counts(report)
        == {
            Reason.UNFINISHED_EXTRACTIONS: frames,
            Reason.EXPIRED_LEASES: len(wanted) - frames,
        }
    )
    assert report.removal == gc_plan.removal
    assert report.removal.size_bytes == sum(len(before[key]) for key in wanted)
    FrameCache(store_url).timeline("t").extract(clips.clip())
    require_readable(store_url)


def test_interrupted_clear_is_completed(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.chunks())
    timeline.overlays(job_id="j", stage="s").save(
        0, {"o": png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)}
    )
    crash_clearing(store_url)
    before = everything(outside(store_url))
    gc_plan = plan(store_url, grace_seconds=0)
    # Three parts and their compaction, and the manifest versions before it.
    assert counts(gc_plan) == {
        Reason.OLD_EPOCHS: 4,
        Reason.UNFINISHED_EXTRACTIONS: FRAMES,
        Reason.OLD_MANIFESTS: 2,
    }
    gc_plan.execute(max_share=1)
    kept = {f"{PREFIX}timeline/0000000{n}.json" for n in (3, 4)}
    kept.add(f"{PREFIX}overlays/j/s/0_o.png")
    assert {key for key in before if key.startswith(PREFIX)} - removed_keys(
        before, store_url
    ) == kept
    timeline.rebuild()
    require_readable(store_url)


def test_leftover_frames_of_denser_sampling_are_removed(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.clip())
    swept = fail_from_nth(DOWN, action="delete", nth=1, within="/frames/")
    with pytest.raises(StoreUnavailable):
        crashing(store_url, swept).rebuild(fps=5)
    timeline.extract(clips.clip(), fps=5)
    count = len(timeline)
    assert 0 < count < FRAMES
    before = everything(outside(store_url))
    report = collect(store_url, grace_seconds=0)
    frames = {f"{PREFIX}frames/{n}.jpg" for n in range(count, FRAMES)}
    # Each epoch was created and begun.
    old = {f"{PREFIX}timeline/0000000{n}.json" for n in (1, 2)}
    assert counts(report) == {Reason.ORPHANS: len(frames), Reason.OLD_MANIFESTS: len(old)}
    assert removed_keys(before, store_url) == frames | old
    require_readable(store_url, count)


def test_written_frames_never_committed_to_manifest_are_removed(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.write([frame(n) for n in range(5)])
    hook = fail_from_nth(DOWN, action="create", nth=1, within="/timeline/")
    with pytest.raises(StoreUnavailable):
        crashing(store_url, hook).write([frame(n) for n in range(5, 9)])
    before = everything(outside(store_url))
    report = collect(store_url, grace_seconds=0)
    [part] = [key for key in before if "/index/" in key and "w000001" in key]
    frames = {f"{PREFIX}frames/{n}.jpg" for n in range(5, 9)}
    assert removed_keys(before, store_url) == frames | {part}
    assert counts(report) == {Reason.ORPHANS: 5}
    timeline.write([frame(n) for n in range(9)])
    require_readable(store_url, 9)


def test_replaced_index_files_are_removed(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    # The keys are sorted: the oldest part is kept, and must differ from the replaced one.
    timeline.extract(clips.chunks()[:2], workers=1)
    timeline.extract(clips.chunks(), workers=1)
    store = FrameCache(store_url).store
    manifest = current_manifest(store, "t")
    assert manifest is not None
    for attempt in range(2):  # no manifest names the first
        generation = commit_repair(
            store, manifest, "000001", load_snapshot_at(store, manifest).index, provenance={}
        )
        assert generation == attempt + 1
    update_manifest(
        store,
        "t",
        lambda current: current.next_version(generations={"000001": 2}),  # type: ignore[union-attr]
    )
    assert manifest.compaction is not None
    names = {key.rpartition("/")[2]: key for key in blobs(store_url, f"{PREFIX}index/")}
    before = everything(outside(store_url))
    collect(store_url, grace_seconds=0)
    removed = removed_keys(before, store_url)
    compactions = {name for name in names if name.startswith("_timeline-")}
    assert len(compactions) == 2
    assert {key for key in removed if "/index/" in key} == {
        names["000001-0.parquet"],
        names["000001-1.parquet"],
        *(
            names[name]
            for name in compactions - {f"_timeline-{manifest.compaction.number}.compacted"}
        ),
    }
    assert {key for key in removed if "/index/" not in key} == {
        f"{PREFIX}timeline/{version:08d}.json" for version in range(1, manifest.version)
    }
    assert len(timeline.index) == FRAMES


def test_abandoned_upload_is_removed_after_grace_period(local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract(clips.clip())
    staged = [Path(local_url) / PREFIX / "frames" / name for name in ("7.jpg#1", "8.jpg#1")]
    for path in staged:
        path.write_bytes(b"half a frame")
    age(local_url, 2 * DAY, "7.jpg#1")
    gc_plan = plan(local_url)
    assert counts(gc_plan) == {Reason.ABANDONED_UPLOADS: 1}
    assert gc_plan.removal.size_bytes == 12
    assert counts(gc_plan.execute()) == {Reason.ABANDONED_UPLOADS: 1}
    assert [path.exists() for path in staged] == [False, True]


def test_access_log_without_timeline_is_removed(local_url: str) -> None:
    store = FrameCache(local_url).store
    store.put(f"{PREFIX}used", b"")
    store.put("cache/timelines/other/used", b"")
    store.put("cache/timelines/other/frames/0.jpg", jpeg_by_pillow(1))
    assert counts(collect(local_url, grace_seconds=0)) == {Reason.ORPHANS: 1}
    assert FrameCache(local_url).timelines() == ["other"]
    assert len(blobs(local_url, "cache/timelines/other/")) == 2


# Kept


def test_nothing_is_removed_within_grace_period(store_url: str) -> None:
    FrameCache(store_url).timeline("u").extract(clips.chunks())
    crash_clearing(store_url, "u")
    crash_extracting(store_url)
    before = everything(outside(store_url))
    gc_plan = plan(store_url)
    assert counts(gc_plan) == {}
    gc_plan.execute()
    assert removed_keys(before, store_url) == set()


def test_young_lease_keeps_frames_of_its_extraction(local_url: str) -> None:
    crash_extracting(local_url)
    age(local_url, 2 * DAY)
    [name] = blobs(local_url, f"{PREFIX}claims/")
    age(local_url, DAY / 2, name)
    before = everything(outside(local_url))
    collect(local_url)
    assert removed_keys(before, local_url) == set()


def test_first_lease_is_kept_while_later_ones_exist(local_url: str) -> None:
    crash_extracting(local_url)
    age(local_url, 2 * DAY)
    [first] = blobs(local_url, f"{PREFIX}claims/")
    # Its number is the lowest, so it keeps later programs out.
    outside(local_url).put(first.replace("-0.json", "-20000.json"), b"{}")
    before = everything(outside(local_url))
    collect(local_url)
    assert removed_keys(before, local_url) == set()


def test_young_frame_keeps_frames_of_same_extraction(local_url: str) -> None:
    crash_extracting(local_url)
    age(local_url, 2 * DAY)
    age(local_url, DAY / 2, "/frames/20.jpg")
    assert counts(collect(local_url)) == {Reason.EXPIRED_LEASES: 1}


def test_young_frame_keeps_frames_of_same_write(local_url: str) -> None:
    hook = fail_from_nth(DOWN, action="create", nth=5, within="/frames/")
    with pytest.raises(StoreUnavailable):
        crashing(local_url, hook).write([frame(n) for n in range(9)], workers=1)
    age(local_url, 2 * DAY)
    age(local_url, DAY / 2, "/frames/3.jpg")
    before = everything(outside(local_url))
    collect(local_url)
    assert removed_keys(before, local_url) == set()


def test_written_frames_with_lost_index_part_are_kept(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(n) for n in range(5)])
    timeline.write([frame(n) for n in range(5, 9)])
    [lost] = [key for key in blobs(local_url, f"{PREFIX}index/") if "w000001" in key]
    outside(local_url).remove(lost)
    before = everything(outside(local_url))
    report = collect(local_url, grace_seconds=0)
    assert set(counts(report)) == {Reason.OLD_MANIFESTS}
    assert removed_keys(before, local_url) == {f"{PREFIX}timeline/00000001.json"}


def test_manifest_version_is_kept_while_next_version_is_young(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    for n in range(4):
        timeline.write([frame(n)])
    age(local_url, 2 * DAY)
    age(local_url, DAY / 2, "/timeline/00000004.json")
    assert len(blobs(local_url, f"{PREFIX}timeline/")) == 5
    before = everything(outside(local_url))
    collect(local_url)
    # A client that read version 3 half a day ago must still find version 4.
    assert removed_keys(before, local_url) == {f"{PREFIX}timeline/0000000{n}.json" for n in (1, 2)}


def test_previous_manifest_version_is_kept_at_any_age(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.chunks()[0])
    timeline.extract(clips.chunks())
    before = everything(outside(store_url))
    collect(store_url, grace_seconds=0)
    # Created, begun, extended and compacted.
    old = {f"{PREFIX}timeline/0000000{n}.json" for n in (1, 2)}
    assert removed_keys(before, store_url) == old
    outside(store_url).put(f"{PREFIX}timeline/00000004.json", b"")
    assert timeline.verify(repair=True).ok
    require_readable(store_url)


def test_foreign_frames_are_kept(store_url: str) -> None:
    store = outside(store_url)
    for n in range(3):
        store.put(f"{PREFIX}frames/{n}.jpg", jpeg_by_pillow(n))
    store.put(f"{PREFIX}notes.txt", b"by hand")
    store.put(f"{PREFIX}index/of/000000-0.parquet", b"another's")
    store.put("cache/timelines/loose.txt", b"by hand")
    before = everything(store)
    gc_plan = plan(store_url, grace_seconds=0, max_bytes=0, max_age_seconds=0)
    assert gc_plan.removal.blobs == 0
    assert [(one.timeline_id, one.amount.blobs, one.reason) for one in gc_plan.kept] == [
        ("t", 4, "another program stored them")
    ]
    gc_plan.execute()
    assert removed_keys(before, store_url) == set()


def test_unknown_keys_are_kept(store_url: str) -> None:
    FrameCache(store_url).timeline("t").extract(clips.clip())
    crash_clearing(store_url)
    names = (
        "frames/007.jpg",
        "frames/7.png",
        "frames/deep/7.jpg",
        "index/notes.txt",
        "index/000000-0.parquet",
        "index/000000-00000000/deep/000000-0.parquet",
        "claims/000000-0.json",
        "claims/000000-00000000/READ ME",
        "timeline/1.json",
        "timeline/deep/00000001.json",
        "packs/000000-00000000/000000-0.tar",
        "overlays/j/s/0_o.png",
    )
    for name in names:
        outside(store_url).put(f"{PREFIX}{name}", b"")
    collect(store_url, grace_seconds=0, max_bytes=0)
    left = {key.removeprefix(PREFIX) for key in blobs(store_url)}
    assert left == {*names, "timeline/00000002.json", "timeline/00000003.json"}


@pytest.mark.parametrize("damaged", ["timeline", "index"])
def test_gc_removes_nothing_of_unreadable_timeline(local_url: str, damaged: str) -> None:
    cache = FrameCache(local_url)
    for name in ("t", "u"):
        cache.timeline(name).extract(clips.chunks())
    # An index file that has no substitute.
    key = {"timeline": max, "index": min}[damaged](blobs(local_url, f"{PREFIX}{damaged}/"))
    for compaction in blobs(local_url, f"{PREFIX}index/"):
        if damaged == "index" and "/_timeline-" in compaction:
            outside(local_url).remove(compaction)
    outside(local_url).put(key, b"{}")
    before = everything(outside(local_url))
    gc_plan = plan(local_url, grace_seconds=0, max_bytes=0)
    assert list(gc_plan.unreadable) == ["t"]
    assert key in str(gc_plan.unreadable["t"])
    assert gc_plan.total.size_bytes == sum(
        len(data) for name, data in before.items() if name.startswith("cache/timelines/")
    )
    gc_plan.execute(max_share=1)
    left = everything(outside(local_url))
    assert {key: left.get(key) for key in before if key.startswith(PREFIX)} == {
        key: data for key, data in before.items() if key.startswith(PREFIX)
    }
    assert not cache.timeline("u").exists


def test_gc_reads_only_named_timelines(store_url: str) -> None:
    cache = FrameCache(store_url)
    for name in ("t", "u"):
        cache.timeline(name).extract(clips.clip())
        crash_clearing(store_url, name)
    before = everything(outside(store_url))
    gc_plan = cache.plan_gc(grace_seconds=0, timelines=["u"])
    assert gc_plan.total.blobs == len(blobs(store_url, "cache/timelines/u/"))
    gc_plan.execute(max_share=1)
    removed = removed_keys(before, store_url)
    assert len(removed) == FRAMES + 2  # the index part, and the version 1 manifest
    assert all(key.startswith("cache/timelines/u/") for key in removed)
    with pytest.raises(NotCached, match="no timeline v "):
        cache.plan_gc(timelines=["u", "v"])


# Quotas and ages


@pytest.fixture
def three(local_url: str) -> str:
    """Timelines ``a``, ``b`` and ``c``; ``b`` was used 3 days ago, ``c`` 20, and ``a`` 40."""
    cache = FrameCache(local_url)
    for name, days in (("a", 40), ("b", 3), ("c", 20)):
        cache.timeline(name).extract(clips.clip())
        cache.timeline(name).frame(0)
        age(local_url, 50 * DAY, f"/{name}/")
        age(local_url, days * DAY, f"/{name}/used")
    return local_url


def size_of(url: str, *prefixes: str) -> int:
    return sum(
        len(outside(url).read(key)) for prefix in prefixes for key in outside(url).list(prefix)
    )


@pytest.mark.parametrize(("room", "evicted"), [(3, ""), (2, "a"), (1, "ac"), (0, "acb")])
def test_least_recently_used_timelines_are_evicted_until_quota_fits(
    three: str, room: int, evicted: str
) -> None:
    quota = size_of(three, "cache/timelines/") - sum(
        size_of(three, f"cache/timelines/{name}/frames/", f"cache/timelines/{name}/index/")
        for name in "acb"[: 3 - room]
    )
    gc_plan = plan(three, max_bytes=quota)
    assert "".join(eviction.timeline_id for eviction in gc_plan.evictions) == evicted
    assert gc_plan.size_bytes_after == quota
    # With one byte less, one more has to be evicted.
    assert len(plan(three, max_bytes=quota - 1).evictions) == min(3, len(evicted) + 1)
    before = everything(outside(three))
    report = gc_plan.execute(max_share=1)
    assert set(report.evicted) == set(evicted)
    wanted = {
        key
        for name in evicted
        for kind in ("frames", "index")
        for key in before
        if key.startswith(f"cache/timelines/{name}/{kind}/")
    }
    after = set(outside(three).list())
    assert set(before) - after == wanted
    assert after - set(before) == {
        f"cache/timelines/{name}/timeline/00000003.json" for name in evicted
    }
    assert report.removal == gc_plan.removal


@pytest.mark.parametrize(("days", "evicted"), [(41, ""), (30, "a"), (10, "ac"), (1, "acb")])
def test_timelines_unused_longer_than_max_age_are_evicted(
    three: str, days: int, evicted: str
) -> None:
    gc_plan = plan(three, max_age_seconds=days * DAY)
    assert "".join(eviction.timeline_id for eviction in gc_plan.evictions) == evicted
    for eviction in gc_plan.evictions:
        assert (time.time() - eviction.last_used_at.timestamp()) > days * DAY


def test_quota_counts_blobs_removed_without_eviction(three: str) -> None:
    crash_clearing(three, "b")
    age(three, 2 * DAY, "/b/timeline/")
    total = size_of(three, "cache/timelines/")
    removable = ("frames/", "index/", "timeline/00000001.json")
    left = size_of(three, *(f"cache/timelines/b/{name}" for name in removable))
    gc_plan = plan(three, max_bytes=total - left)
    assert gc_plan.evictions == ()
    assert gc_plan.size_bytes_after == total - left


def test_evicted_timeline_can_be_rebuilt(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.chunks(), every=2)
    stored = {key: outside(store_url).read(key) for key in blobs(store_url, f"{PREFIX}frames/")}
    timeline.overlays(job_id="j", stage="s").save(
        0, {"o": png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)}
    )
    collect(store_url, max_bytes=0)
    assert not timeline.exists
    assert len(timeline.info().chunks) == 3
    assert timeline.jobs() == {"j": {"s": 1}}
    timeline.rebuild()
    assert stored == {
        key: outside(store_url).read(key) for key in blobs(store_url, f"{PREFIX}frames/")
    }


def test_written_frames_are_never_evicted(local_url: str) -> None:
    FrameCache(local_url).timeline("t").write([frame(n) for n in range(3)])
    gc_plan = plan(local_url, max_bytes=0, max_age_seconds=0)
    assert gc_plan.evictions == ()
    assert [(one.timeline_id, one.amount.blobs, one.reason) for one in gc_plan.kept] == [
        ("t", 4, "a program wrote them")
    ]


def _remove(chunk: Path) -> None:
    chunk.unlink()


def _change(chunk: Path) -> None:
    clips.grow(chunk, to_bytes=chunk.stat().st_size + 1)


def _hide(chunk: Path) -> None:
    chunk.parent.chmod(0)


LOSSES = {"is missing": _remove, "changed": _change, "cannot be read": _hide}


@pytest.fixture
def two() -> Iterator[tuple[str, Path]]:
    """Timelines ``a``, used least recently, and ``b``, and the second chunk of ``a``.

    Every user may read them.
    """
    with folder_for_all() as folder:
        url = str(folder / "cache")
        chunks = [clips.copy_to(chunk, folder / chunk.stem) for chunk in clips.chunks()]
        for timeline_id, given, days in (("a", chunks, 40), ("b", chunks[:1], 3)):
            FrameCache(url).timeline(timeline_id).extract(given)
            age(url, days * DAY, f"/{timeline_id}/")
        yield url, chunks[1]
        chunks[1].parent.chmod(0o755)


@pytest.mark.parametrize("why", LOSSES)
@pytest.mark.parametrize("limits", [{"max_bytes": 1}, {"max_age_seconds": DAY}], ids=str)
def test_timeline_with_lost_chunk_is_kept_and_not_counted_as_freed(
    two: tuple[str, Path], why: str, limits: dict[str, Any]
) -> None:
    url, chunk = two
    LOSSES[why](chunk)
    with without_privileges():
        gc_plan = plan(url, **limits)
    assert [one.timeline_id for one in gc_plan.evictions] == ["b"]
    [kept] = gc_plan.kept
    assert kept.timeline_id == "a"
    assert why in kept.reason
    assert chunk.name in kept.reason
    assert kept.amount.size_bytes == size_of(
        url, "cache/timelines/a/frames/", "cache/timelines/a/index/"
    )
    gc_plan.execute(max_share=1)
    assert FrameCache(url).timeline("a").complete
    assert not FrameCache(url).timeline("b").exists


def test_next_timeline_is_evicted_in_place_of_one_with_lost_chunk(two: tuple[str, Path]) -> None:
    url, chunk = two
    quota = plan(url).size_bytes_after - 1
    assert [one.timeline_id for one in plan(url, max_bytes=quota).evictions] == ["a"]
    chunk.unlink()
    assert [one.timeline_id for one in plan(url, max_bytes=quota).evictions] == ["b"]


@pytest.mark.parametrize("why", ["is missing", "changed"])
def test_timeline_that_lost_a_chunk_after_planning_is_kept(two: tuple[str, Path], why: str) -> None:
    url, chunk = two
    gc_plan = plan(url, max_bytes=0)
    LOSSES[why](chunk)
    report = gc_plan.execute(max_share=1)
    assert set(report.evicted) == {"b"}
    assert [
        (one.timeline_id, f"{why}: its frames were" in one.reason) for one in report.skipped
    ] == [("a", True)]
    assert FrameCache(url).timeline("a").complete


def test_only_chunks_of_eviction_candidates_are_checked(
    two: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = two
    looked_at: list[str] = []

    def identify(chunk: str, *, options: StorageOptions) -> BlobIdentity:
        looked_at.append(Path(chunk).name)
        return identify_blob(chunk, options=options)

    monkeypatch.setattr("framecache._maintain.gc.source_availability.identify_blob", identify)
    plan(url)
    assert looked_at == []
    plan(url, max_age_seconds=30 * DAY)
    assert sorted(looked_at) == sorted(chunk.name for chunk in clips.chunks())


def test_timeline_being_extracted_is_not_evicted(local_url: str) -> None:
    crash_extracting(local_url)
    assert plan(local_url, max_bytes=0, max_age_seconds=0).evictions == ()


def test_timeline_read_after_planning_is_not_evicted(three: str) -> None:
    gc_plan = plan(three, max_bytes=0)
    FrameCache(three).store.put(keys.access_log("c"), b"")
    report = gc_plan.execute(max_share=1)
    assert set(report.evicted) == {"a", "b"}
    assert [(one.timeline_id, "read" in one.reason) for one in report.skipped] == [("c", True)]
    assert FrameCache(three).timeline("c").complete


@pytest.mark.parametrize(
    "limits",
    [
        {"grace_seconds": -1},
        {"grace_seconds": float("nan")},
        {"grace_seconds": "1d"},
        {"grace_seconds": 1e300},
        {"grace_seconds": 1e12},
        {"grace_seconds": float("inf")},
        {"max_bytes": -1},
        {"max_bytes": 1.5},
        {"max_age_seconds": -1},
        {"max_age_seconds": True},
        {"timelines": "t"},
        {"timelines": ["../t"]},
    ],
    ids=str,
)
def test_invalid_limit_is_rejected_before_any_request(
    local_url: str, limits: dict[str, object]
) -> None:
    store = HookedStore(FrameCache(local_url).store)
    arguments: dict[str, object] = {
        "timelines": None,
        "grace_seconds": 0.0,
        "max_bytes": None,
        "max_age_seconds": None,
    }
    with pytest.raises((InvalidValue, ValueError)):
        plan_gc(store, **arguments | limits)  # type: ignore[arg-type]
    assert store.requests == []


# More than half


def test_removal_of_more_than_half_needs_max_share(three: str) -> None:
    gc_plan = plan(three, max_age_seconds=10 * DAY)
    assert 0.6 < gc_plan.share < 0.7
    before = everything(outside(three))
    with pytest.raises(InvalidValue, match=r"6\d% of everything"):
        gc_plan.execute()
    assert removed_keys(before, three) == set()
    gc_plan.execute(max_share=0.7)
    assert len(set(before) - set(outside(three).list())) == 2 * (FRAMES + 1)


def test_share_counts_number_of_blobs_as_well_as_bytes(local_url: str) -> None:
    crash_extracting(local_url)
    # Few bytes in many blobs, next to many bytes in one.
    outside(local_url).put("cache/timelines/u/frames/0.jpg", b"\0" * 10_000_000)
    gc_plan = plan(local_url, grace_seconds=0)
    assert gc_plan.removal.size_bytes < 0.1 * gc_plan.total.size_bytes
    assert gc_plan.share > 0.5
    with pytest.raises(InvalidValue):
        gc_plan.execute()


# Interrupted


def test_gc_interrupted_at_any_request_can_be_repeated(memory_url: str) -> None:
    FrameCache(memory_url).timeline("t").extract(clips.chunks())
    crash_clearing(memory_url)
    fail_extracting(memory_url, chunks=clips.chunks(), frames=25)
    before = everything(outside(memory_url))
    *_, replaced, current = sorted(blobs(memory_url, f"{PREFIX}timeline/"))
    # The first chunk was finished, with 20 frames, before the second failed.
    [committed] = blobs(memory_url, f"{PREFIX}index/000001-")
    frames = {f"{PREFIX}frames/{n}.jpg" for n in range(20)}
    left = {replaced, current, committed, *frames, *blobs(memory_url, "cache/create")}
    crashes = 0
    for at in range(1, 1000, 2):
        url = f"{memory_url}-{at}"
        for key, data in before.items():
            outside(url).put(key, data)
        store = CrashingStore(FrameCache(url).store, at=at)
        with suppress(Crash):
            plan_all(store).execute(max_share=1)
        crashes += store.has_crashed
        versions = sorted(int(Path(key).stem) for key in blobs(url, f"{PREFIX}timeline/"))
        # The oldest are deleted first, so the rest has no gap and includes the current one.
        assert versions == list(range(versions[0], int(Path(current).stem) + 1))
        collect(url, grace_seconds=0)
        assert set(outside(url).list()) == left
        assert outside(url).read(current) == before[current]
        if not store.has_crashed:
            break
    assert crashes > 10


# Other programs at work


@pytest.mark.every_store
def test_gc_during_extraction_removes_none_of_its_frames(store_url: str) -> None:
    FrameCache(store_url).timeline("t").extract(clips.chunks())
    crash_clearing(store_url)
    runs = list[GcReport]()

    def collect_now_and_then(action: str, key: str) -> None:
        if action == "put" and "/frames/" in key and int(Path(key).stem) % 9 == 0:
            runs.append(collect(store_url, max_bytes=0))

    crashing(store_url, collect_now_and_then).extract(clips.chunks())
    assert len(runs) >= 5
    assert all(report.removal.blobs == 0 for report in runs)
    require_readable(store_url)


class Extraction:
    """Program that extracts the same clip on a thread, and its progress."""

    def __init__(self, url: str) -> None:
        self._condition = Condition()
        self._lease_listings = 0
        self._is_done = False
        self._store = HookedStore(FrameCache(url).store, after=self._observe)
        self._thread = Thread(target=self._extract)

    def start_and_wait_for_lease(self) -> None:
        """Return once it waits for another program's lease, or has ended because there was none."""
        self._thread.start()
        with self._condition:
            assert self._condition.wait_for(lambda: self._is_done or self._lease_listings >= 3, 60)

    def finish(self) -> None:
        self._thread.join(60)
        assert self._is_done

    def _extract(self) -> None:
        Timeline(self._store, "t").extract(clips.clip())
        with self._condition:
            self._is_done = True
            self._condition.notify_all()

    def _observe(self, action: str, key: str) -> None:
        with self._condition:
            self._lease_listings += action == "list" and "/claims/" in key
            self._condition.notify_all()


def _start_at_first_delete_of_frames(url: str, *, max_bytes: int | None) -> Extraction:
    """Execute a plan, during which an extraction starts before the first frames are deleted."""
    extraction = Extraction(url)
    begun = Event()

    def begin(action: str, key: str) -> None:
        if action == "delete" and "/frames/" in key and not begun.is_set():
            begun.set()
            extraction.start_and_wait_for_lease()

    store = HookedStore(FrameCache(url).store, before=begin)
    gc_plan = plan_all(store, max_bytes=max_bytes, grace_seconds=DAY)
    gc_plan.execute(max_share=1)
    assert begun.is_set()
    return extraction


def test_extraction_started_during_removal_of_its_old_frames_loses_none(local_url: str) -> None:
    fail_extracting(local_url)
    age(local_url, 2 * DAY)
    _start_at_first_delete_of_frames(local_url, max_bytes=None).finish()
    require_readable(local_url)


def test_extraction_started_during_eviction_loses_no_frame(local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract(clips.clip())
    age(local_url, 2 * DAY)
    _start_at_first_delete_of_frames(local_url, max_bytes=0).finish()
    require_readable(local_url)


def test_frames_committed_after_planning_are_kept(local_url: str) -> None:
    crash_extracting(local_url)
    age(local_url, 2 * DAY)
    gc_plan = plan(local_url)
    assert gc_plan.amounts[Reason.UNFINISHED_EXTRACTIONS].blobs >= 30
    # One chunk: its commit makes no new version of the manifest.
    FrameCache(local_url).timeline("t").extract(clips.clip())
    gc_plan.execute(max_share=1)
    require_readable(local_url)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_frames_repacked_after_planning_are_kept(
    local_url: str, layout: Layout, moment: str
) -> None:
    """Another repack to the same layout was stopped, and left what the plan removes."""
    store = FrameCache(local_url).store
    other: Layout = "packs" if layout == "objects" else "objects"
    FrameCache(local_url).timeline("t").extract(clips.chunks(), layout=other)
    with pytest.raises(Crash):
        Timeline(dying_at(store, "create", "/timeline/"), "t").repack(layout)
    age(local_url, 2 * DAY)
    planned = plan(local_url)
    assert counts(planned)[Reason.ORPHANS] >= 3

    def collect_now(action: Action, key: str) -> None:
        if action == "create" and "/timeline/" in key:
            planned.execute(max_share=1)

    hooked = HookedStore(store, **{moment: collect_now})
    Timeline(hooked, "t").repack(layout)

    require_readable(local_url)
    assert FrameCache(local_url).timeline("t").verify().ok


def test_frames_repacked_between_two_checks_of_gc_are_kept(local_url: str) -> None:
    """The repack stored the frames, and commits its manifest while gc checks the timeline."""
    store = FrameCache(local_url).store
    FrameCache(local_url).timeline("t").extract(clips.chunks(), layout="packs")
    with pytest.raises(Crash):
        Timeline(dying_at(store, "create", "/timeline/"), "t").repack("objects")
    age(local_url, 2 * DAY)
    has_stored, may_commit = Event(), Event()

    def wait_before_manifest(action: Action, key: str) -> None:
        if action == "create" and "/timeline/" in key:
            has_stored.set()
            assert may_commit.wait(60)

    hooked = Timeline(HookedStore(store, before=wait_before_manifest), "t")
    repack = Thread(target=hooked.repack, args=("objects",))
    checks: list[str] = []

    def commit_between_checks(action: Action, key: str) -> None:
        """Let the repack commit before the second kind of check that follows a lease."""
        kind = "lease" if action == "list" and "/claims/" in key else "manifest"
        if action == "create" and "/claims/" in key:
            checks.append("begun")
        elif checks and kind not in checks and (kind == "lease" or "/timeline/" in key):
            checks.append(kind)
            if len(checks) == 3:
                may_commit.set()
                repack.join()

    planned = plan_gc(
        HookedStore(store, before=commit_between_checks),
        timelines=["t"],
        grace_seconds=DAY,
        max_bytes=None,
        max_age_seconds=None,
    )
    repack.start()
    assert has_stored.wait(60)
    planned.execute(max_share=1)
    may_commit.set()
    repack.join()
    assert checks
    require_readable(local_url)


def test_frames_being_extracted_after_planning_are_kept(local_url: str) -> None:
    crash_extracting(local_url)
    age(local_url, 2 * DAY)
    gc_plan = plan(local_url)
    reports = list[GcReport]()

    def execute_plan(action: str, key: str) -> None:
        if action == "put" and key.endswith("/frames/40.jpg"):
            reports.append(gc_plan.execute(max_share=1))

    crashing(local_url, execute_plan).extract(clips.clip())
    assert [set(counts(report)) - {Reason.EXPIRED_LEASES} for report in reports] == [set()]
    require_readable(local_url)


@pytest.mark.parametrize("planned", ["before", "while"])
def test_old_frames_being_written_again_are_kept(local_url: str, planned: str) -> None:
    """An old attempt stored them, so the new one stores none of them again."""
    timeline = FrameCache(local_url).timeline("t")
    hook = fail_from_nth(DOWN, action="create", nth=2, within="/timeline/")
    with pytest.raises(StoreUnavailable):
        crashing(local_url, hook).write([frame(n) for n in range(9)])
    age(local_url, 2 * DAY)
    before = plan(local_url)
    assert before.amounts[Reason.ORPHANS].blobs == 10
    reports = list[GcReport]()

    def frames_and_gc() -> Iterator[Frame]:
        yield from (frame(n) for n in range(9))
        gc_plan = before if planned == "before" else plan(local_url)
        assert gc_plan.amounts[Reason.ORPHANS].blobs == (10 if planned == "before" else 0)
        reports.append(gc_plan.execute(max_share=1))

    timeline.write(frames_and_gc())
    assert len(reports) == 1
    require_readable(local_url, 9)


def _append(timeline: Timeline) -> None:
    timeline.append(clips.chunks()[0])


def _rebuild(timeline: Timeline) -> None:
    timeline.rebuild()


def _clear(timeline: Timeline) -> None:
    timeline.clear()


def _recreate(timeline: Timeline) -> None:
    timeline.delete()
    timeline.extract(clips.clip())
    timeline.append(clips.chunks()[0])


def _delete(timeline: Timeline) -> None:
    timeline.delete()


@pytest.mark.parametrize("max_bytes", [None, 0])
@pytest.mark.parametrize(
    "change", [_append, _rebuild, _clear, _recreate, _delete], ids=lambda f: f.__name__[1:]
)
def test_timeline_changed_after_planning_is_skipped(
    store_url: str, change: Callable[[Timeline], None], max_bytes: int | None
) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.extract(clips.clip())
    crash_clearing(store_url)
    timeline.extract(clips.clip())
    gc_plan = FrameCache(store_url).plan_gc(grace_seconds=0, max_bytes=max_bytes)
    assert gc_plan.removal.blobs
    change(timeline)
    before = everything(outside(store_url))
    report = gc_plan.execute(max_share=1)
    assert removed_keys(before, store_url) == set()
    assert report.removal.blobs == 0
    assert [one.timeline_id for one in report.skipped] in (["t"], [])


# Access log


def access_log_requests(store: HookedStore) -> list[tuple[str, str]]:
    return [(action, key) for action, key in store.requests if key.endswith("/used")]


READS: list[Callable[[Timeline], object]] = [
    lambda t: t.frame(0),
    lambda t: t.frame_at(0.0),
    lambda t: t.jpeg(0),
    lambda t: t.batch([0]),
    lambda t: next(t.frames(), None),
    lambda t: next(t.jpegs([0])),
]


@pytest.mark.parametrize(
    "read", READS, ids=["frame", "frame_at", "jpeg", "batch", "frames", "jpegs"]
)
def test_repeated_reads_update_access_log_once(
    store_url: str, read: Callable[[Timeline], object]
) -> None:
    FrameCache(store_url).timeline("t").extract(clips.clip())
    store = HookedStore(FrameCache(store_url).store)
    for _ in range(3):
        read(Timeline(store, "t"))
    assert access_log_requests(store) == [("put", f"{PREFIX}used")]
    assert outside(store_url).read(f"{PREFIX}used") == b"\n"


def test_access_log_is_updated_again_after_an_hour(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FrameCache(local_url).timeline("t").extract(clips.clip())
    store = HookedStore(FrameCache(local_url).store)
    timeline = Timeline(store, "t")
    timeline.frame(0)
    now = time.monotonic()
    for minutes, notes in ((59, 1), (61, 2), (90, 2), (122, 3)):
        later = now + 60 * minutes
        monkeypatch.setattr(
            "framecache._index.access_log.time.monotonic", lambda later=later: later
        )
        timeline.frame(1)
        assert len(access_log_requests(store)) == notes
        monkeypatch.undo()


def test_metadata_queries_do_not_update_access_log(local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract(clips.clip())
    store = HookedStore(FrameCache(local_url).store)
    timeline = Timeline(store, "t")
    assert (timeline.exists, timeline.complete, len(timeline)) == (True, True, FRAMES)
    timeline.info()
    timeline.sequences()
    timeline.sequence_at(0.5)
    timeline.jobs()
    assert access_log_requests(store) == []


def test_reads_of_unevictable_timelines_do_not_update_access_log(local_url: str) -> None:
    FrameCache(local_url).timeline("t").write([frame(0)])
    outside(local_url).put("cache/timelines/other/frames/0.jpg", jpeg_by_pillow(1))
    store = HookedStore(FrameCache(local_url).store)
    for name in ("t", "other"):
        Timeline(store, name).frame(0)
    assert access_log_requests(store) == []


@pytest.mark.parametrize(
    ("error", "asked"), [(StorePermissionDenied("read only"), 1), (StoreUnavailable("busy"), 2)]
)
def test_read_succeeds_when_access_log_cannot_be_written(
    local_url: str, error: Exception, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_write_denied", set())
    cache = FrameCache(local_url)
    for name in ("t", "u"):
        cache.timeline(name).extract(clips.clip())
    hook = fail_from_nth(error, action="put", nth=1, within="/used")
    store = HookedStore(cache.store, before=hook)
    for name in ("t", "u", "t"):
        assert Timeline(store, name).frame(0).sequence == 0
    assert len(access_log_requests(store)) == asked


def test_reads_of_deleted_timeline_store_nothing(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.clip())
    readers = [FrameCache(local_url).timeline("t") for _ in READS]
    assert [len(reader) for reader in readers] == [FRAMES] * len(READS)
    timeline.delete()
    for read, reader in zip(READS, readers, strict=True):
        # frames() checks for frames, and yields none.
        with suppress(TimelineCleared):
            assert read(reader) is None
    assert blobs(local_url) == set()


def test_clear_keeps_access_log_and_delete_removes_it(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.clip())
    timeline.frame(0)
    timeline.clear()
    assert f"{PREFIX}used" in blobs(local_url)
    assert (timeline.exists, len(timeline)) == (False, 0)
    timeline.delete()
    assert blobs(local_url) == set()
