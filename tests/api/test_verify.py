"""Verification: damage made behind the library's back is found, named, and repaired."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clips
import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from framecache import (
    CorruptFrame,
    Finding,
    FrameCache,
    InvalidValue,
    NotCached,
    Progress,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    VerifyReport,
)
from framecache._index import current_manifest, lease
from framecache._index.lease import LeaseManager
from framecache._index.parquet import add_checksum
from framecache._media import video
from framecache.store import Store
from framecache.testing import Action, HookedStore, fail_from_nth
from outside import (
    Outside,
    everything,
    frame,
    frames_of,
    jpeg_by_pillow,
    library_threads,
    mean_error,
    outside,
    pixels_by_pillow,
    wait_for_library_threads,
)
from signing import sign_pictures

PREFIX = "cache/timelines/t/"
WRITES = {"put", "create", "delete"}
KINDS = {
    *("ok", "missing", "truncated", "corrupt", "stale", "orphan", "undecodable"),
    *("source_changed", "source_missing"),
}


@pytest.fixture
def url(quick_url: str) -> str:
    return quick_url


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    """The three chunks (20, 10 and 15 frames), as files that a test may change."""
    return [clips.copy_to(path, tmp_path / "chunks") for path in clips.chunks()]


@pytest.fixture
def filled(url: str, own: list[Path]) -> str:
    """A store with the frames of all three chunks, and an index of three parts, compacted."""
    timeline(url).extract(own)
    return url


@pytest.fixture
def single(url: str, own: list[Path]) -> str:
    """A store with the frames of one chunk of 10, and an index of one file."""
    timeline(url).extract(own[1])
    return url


def timeline(url: str) -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline("t")


def findings_of(report: VerifyReport) -> set[tuple[str, str, int | None, bool]]:
    """Return the kind, key, sequence and repair of each finding."""
    return {
        (one.kind, one.key.removeprefix(PREFIX), one.sequence, one.repaired)
        for one in report.findings
    }


def counted(report: VerifyReport) -> dict[str, int]:
    """Return the kinds of the findings."""
    assert set(report.counts) == KINDS
    return {kind: number for kind, number in report.counts.items() if number}


def only_finding(report: VerifyReport) -> Finding:
    [finding] = report.findings
    return finding


def assert_sound(url: str, frames: int) -> None:
    """Require that a deep check finds no damage, and that all frames can be read."""
    report = timeline(url).verify(deep=True)
    assert report.ok, report.findings
    assert report.counts["ok"] == frames
    assert len(list(timeline(url).frames())) == frames


def index_keys(blobs: Outside) -> list[str]:
    """The parts of the current epoch, then the compaction."""
    return blobs.list(f"{PREFIX}index/")


def rows(url: str) -> list[dict[str, Any]]:
    return timeline(url).index.to_arrow().to_pylist()


def rewrite(blobs: Outside, key: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of an index file, by pyarrow alone."""
    table = pq.read_table(pa.BufferReader(blobs.read(key)))
    changed = table.to_pylist()
    change(changed)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), sink)
    blobs.put(key, add_checksum(sink.getvalue()))


def store_other(blobs: Outside, sequence: int, jpeg: bytes, **row: object) -> None:
    """Replace a frame by another JPEG, with its CRC in the only index file of the timeline."""
    blobs.put(f"{PREFIX}frames/{sequence}.jpg", jpeg)

    def change(rows: list[dict[str, Any]]) -> None:
        one = next(one for one in rows if one["sequence"] == sequence)
        one |= {"size": len(jpeg), "crc32c": google_crc32c.value(jpeg)} | row

    [key] = index_keys(blobs)
    rewrite(blobs, key, change)


@contextmanager
def undisturbed(blobs: Outside) -> Iterator[None]:
    before = everything(blobs)
    yield
    assert everything(blobs) == before


# Intact timelines


@pytest.mark.parametrize("deep", [False, True])
def test_verify_of_intact_timeline_writes_nothing(store_url: str, deep: bool) -> None:  # noqa: FBT001
    timeline(store_url).extract(clips.chunks())
    hooked = HookedStore(FrameCache(store_url).store)
    report = Timeline(hooked, "t").verify(deep=deep)
    assert counted(report) == {"ok": 45}
    assert report.ok
    assert (report.timeline_id, report.findings, report.repaired) == ("t", (), 0)
    assert (report.frames_checked, report.chunks_checked, report.chunks_not_cached) == (45, 3, 0)
    stored = frames_of(outside(store_url), "t")
    assert report.bytes_read == sum(map(len, stored.values()))
    assert not {action for action, _ in hooked.requests} & WRITES
    fetched = [key for action, key in hooked.requests if action == "get" and "/frames/" in key]
    assert sorted(fetched) == sorted(f"{PREFIX}frames/{name}" for name in stored)
    assert library_threads() == set()


def test_verify_lists_timeline_once(filled: str) -> None:
    hooked = HookedStore(FrameCache(filled).store)
    Timeline(hooked, "t").verify()
    listed = [key for action, key in hooked.requests if action == "list"]
    assert listed.count(PREFIX) == 1
    assert set(listed) == {PREFIX, f"{PREFIX}timeline/"}


def test_repair_of_intact_timeline_writes_nothing(filled: str) -> None:
    with undisturbed(outside(filled)):
        report = timeline(filled).verify(repair=True)
    assert (report.ok, report.repaired) == (True, 0)


def test_verify_of_missing_timeline_raises_not_cached(url: str) -> None:
    with pytest.raises(NotCached, match="extract it first"):
        timeline(url).verify()


def test_cleared_timeline_has_no_damage(filled: str) -> None:
    timeline(filled).clear()
    report = timeline(filled).verify(repair=True)
    assert report.ok
    assert (report.frames_checked, report.chunks_not_cached, report.findings) == (0, 3, ())


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_invalid_workers_are_rejected(filled: str, workers: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidValue, match="workers"):
        timeline(filled).verify(workers=workers)


# Frames


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "removed": ("missing", lambda _: None),
    "cut short": ("truncated", lambda data: data[:-1]),
    "emptied": ("truncated", lambda _: b""),
    "grown": ("corrupt", lambda data: data + b"\0"),
    "a bit flipped": ("corrupt", _flip),
    "replaced": ("corrupt", lambda data: jpeg_by_pillow(7).ljust(len(data), b"\0")[: len(data)]),
}


def damage(blobs: Outside, key: str, how: str) -> str:
    """Damage a blob; returns the kind that it is to be found as."""
    kind, change = DAMAGE[how]
    data = change(blobs.read(key))
    if data is None:
        blobs.remove(key)
    else:
        blobs.put(key, data)
    return kind


@pytest.mark.parametrize("how", DAMAGE)
def test_verify_repairs_damaged_frame_to_same_bytes(filled: str, how: str) -> None:
    blobs = outside(filled)
    before = everything(blobs)
    kind = damage(blobs, f"{PREFIX}frames/23.jpg", how)
    with undisturbed(blobs):
        report = timeline(filled).verify()
    assert not report.ok
    assert (report.damaged, report.repaired) == (1, 0)
    assert counted(report) == {"ok": 44, kind: 1}
    assert findings_of(report) == {(kind, "frames/23.jpg", 23, False)}
    assert only_finding(report).chunk_id == 1

    report = timeline(filled).verify(repair=True)
    assert findings_of(report) == {(kind, "frames/23.jpg", 23, True)}
    assert (report.ok, report.damaged, report.repaired) == (True, 0, 1)
    assert everything(blobs) == before


@pytest.mark.every_store
def test_damaged_frames_are_found_and_repaired_in_every_store(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks())
    blobs = outside(store_url)
    before = everything(blobs)
    kinds = {
        position: damage(blobs, f"{PREFIX}frames/{position}.jpg", how)
        for position, how in zip([0, 19, 20, 29, 30, 44], DAMAGE, strict=True)
    }
    expected = {(kind, f"frames/{n}.jpg", n) for n, kind in kinds.items()}
    report = timeline(store_url).verify()
    assert findings_of(report) == {(*one, False) for one in expected}
    report = timeline(store_url).verify(repair=True)
    assert findings_of(report) == {(*one, True) for one in expected}
    assert everything(blobs) == before


def test_repair_stores_only_damaged_frames(filled: str) -> None:
    outside(filled).remove(f"{PREFIX}frames/23.jpg")
    outside(filled).remove(f"{PREFIX}frames/28.jpg")
    hooked = HookedStore(FrameCache(filled).store)
    Timeline(hooked, "t").verify(repair=True)
    written = [key for action, key in hooked.requests if action in {"put", "create"}]
    assert sorted(key for key in written if "/claims/" not in key) == [
        f"{PREFIX}frames/23.jpg",
        f"{PREFIX}frames/28.jpg",
    ]


def test_repair_restores_timeline_without_any_frame(filled: str) -> None:
    blobs = outside(filled)
    before = everything(blobs)
    for key in blobs.list(f"{PREFIX}frames/"):
        blobs.remove(key)
    report = timeline(filled).verify(repair=True)
    assert counted(report) == {"missing": 45}
    assert report.repaired == 45
    assert everything(blobs) == before


class Flaky(HookedStore):
    """Damages each frame the first time it is fetched."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._met: set[str] = set()

    def get(self, key: str) -> bytes:
        data = super().get(key)
        if "/frames/" in key and key not in self._met:
            self._met.add(key)
            return data[:-1]
        return data


def test_frame_damaged_in_transit_is_ok(filled: str) -> None:
    report = Timeline(Flaky(FrameCache(filled).store), "t").verify()
    assert counted(report) == {"ok": 45}


@pytest.mark.parametrize("error", [StorePermissionDenied("no"), StoreUnavailable("away")])
def test_store_error_is_never_a_missing_frame(filled: str, error: Exception) -> None:
    before = fail_from_nth(error, action="get", nth=5, within="/frames/")
    hooked = HookedStore(FrameCache(filled).store, before=before)
    with pytest.raises(type(error)):
        Timeline(hooked, "t").verify(repair=True)
    assert not any(action == "put" for action, _ in hooked.requests)
    wait_for_library_threads()


def test_clear_during_verify_raises_and_reports_no_missing_frames(filled: str) -> None:
    once = threading.Event()

    def clear(action: str, key: str) -> None:
        if action == "get" and key.endswith("frames/10.jpg") and not once.is_set():
            once.set()
            timeline(filled).clear()

    for repair in (False, True):
        found: list[Finding] = []
        with pytest.raises(TimelineCleared):
            Timeline(HookedStore(FrameCache(filled).store, before=clear), "t").verify(
                repair=repair, on_finding=found.append
            )
        assert found == []
        once.clear()
        timeline(filled).rebuild()


def test_undecodable_frame_is_reported_with_its_reason(url: str) -> None:
    timeline(url).extract(clips.ends_in_garbage())
    index = timeline(url).index
    for deep in (False, True):
        report = timeline(url).verify(deep=deep, repair=True)
        assert report.ok
        assert counted(report) == {"ok": 20, "undecodable": 25}
        found = {one.sequence: one for one in report.findings}
        assert sorted(found) == list(range(20, 45))  # type: ignore[type-var]
        assert found[30].detail == index.reason[30]
        assert found[30].key == f"{PREFIX}frames/30.jpg"


@pytest.fixture
def linked(local_url: str, own: list[Path], tmp_path: Path) -> Path:
    """A store in which frames 22 and 25 of 45 lie behind links to the same picture elsewhere."""
    timeline(local_url).extract(own)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for sequence in (22, 25):
        path = Path(local_url) / f"{PREFIX}frames/{sequence}.jpg"
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    return Path(local_url)


@pytest.mark.parametrize("deep", [False, True])
def test_frame_behind_escaping_link_is_reported_and_others_are_checked(
    linked: Path,
    deep: bool,  # noqa: FBT001
) -> None:
    (linked / f"{PREFIX}frames/40.jpg").unlink()
    report = timeline(str(linked)).verify(deep=deep)
    assert counted(report) == {"ok": 42, "corrupt": 2, "missing": 1}
    found = {one.sequence: one for one in report.findings}
    for sequence in (22, 25):
        assert found[sequence].kind == "corrupt"
        assert "leads out of the store: remove the link" in found[sequence].detail


@pytest.mark.parametrize("encoder", ["same", "other"])
def test_frame_behind_escaping_link_is_repaired_only_after_link_is_removed(
    linked: Path, tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encoder == "other":
        sign_pictures(monkeypatch)
    elsewhere = {path: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    (linked / f"{PREFIX}frames/23.jpg").unlink()
    report = timeline(str(linked)).verify(repair=True)
    assert findings_of(report) - {one for one in findings_of(report) if one[0] == "orphan"} == {
        ("corrupt", "frames/22.jpg", 22, False),
        ("missing", "frames/23.jpg", 23, True),
        ("corrupt", "frames/25.jpg", 25, False),
    }
    assert "remove the link; then repair again" in report.findings[0].detail
    assert {path: path.read_bytes() for path in elsewhere} == elsewhere

    for sequence in (22, 25):
        (linked / f"{PREFIX}frames/{sequence}.jpg").unlink()
    assert timeline(str(linked)).verify(repair=True).ok
    assert_sound(str(linked), 45)


def test_index_part_with_frame_behind_escaping_link_is_not_repaired(linked: Path) -> None:
    blobs = outside(str(linked))
    for key in blobs.list(f"{PREFIX}index/"):
        if "/000001-" in key or "/_timeline-" in key:
            blobs.put(key, b"")
    report = timeline(str(linked)).verify(repair=True)
    found = {one.key.rpartition("/")[2]: one for one in report.findings}
    assert not found["000001-0.parquet"].repaired
    assert "frame 22 in it: a link" in found["000001-0.parquet"].detail
    for sequence in (22, 25):
        (linked / f"{PREFIX}frames/{sequence}.jpg").unlink()
    assert timeline(str(linked)).verify(repair=True).ok
    assert_sound(str(linked), 45)


@pytest.mark.parametrize("name", ["000001-0.parquet", "_timeline-"])
def test_index_file_behind_escaping_link_is_repaired(
    local_url: str, own: list[Path], tmp_path: Path, name: str
) -> None:
    timeline(local_url).extract(own)
    [path] = (path for path in Path(local_url, PREFIX, "index").glob("*/*") if name in path.name)
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    report = timeline(local_url).verify()
    assert [(one.kind, Path(one.key).name) for one in report.findings] == [("corrupt", path.name)]
    assert timeline(local_url).verify(repair=True).ok
    assert_sound(local_url, 45)


# The index


@pytest.mark.parametrize("how", ["removed", "emptied", "cut short"])
def test_damaged_index_part_is_repaired_from_compaction(
    filled: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = outside(filled)
    before, stored = rows(filled), frames_of(blobs, "t")
    key = index_keys(blobs)[1]
    kind = "missing" if how == "removed" else "corrupt"
    damage(blobs, key, how)
    monkeypatch.setattr(video, "decode", _refuse)
    with undisturbed(blobs):
        report = timeline(filled).verify()
    assert counted(report) == {"ok": 45, kind: 1}
    assert findings_of(report) == {(kind, key.removeprefix(PREFIX), None, False)}
    assert only_finding(report).chunk_id == 1

    report = timeline(filled).verify(repair=True)
    assert findings_of(report) == {(kind, key.removeprefix(PREFIX), None, True)}
    assert report.ok
    assert rows(filled) == before
    assert frames_of(blobs, "t") == stored
    monkeypatch.undo()
    assert_sound(filled, 45)
    _without_compaction(blobs)
    assert rows(filled) == before


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be decoded")


def _without_compaction(blobs: Outside) -> None:
    for key in blobs.list(f"{PREFIX}index/"):
        if "/_timeline-" in key:
            blobs.remove(key)


@pytest.mark.parametrize("how", ["removed", "emptied", "cut short", "of other rows"])
def test_damaged_compaction_is_repaired_from_index_parts(
    filled: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = outside(filled)
    before = rows(filled)
    key = index_keys(blobs)[-1]
    assert "/_timeline-" in key
    kind = "missing" if how == "removed" else "corrupt"
    if how == "of other rows":
        rewrite(blobs, key, lambda rows: rows[7].update(timestamp=99.0))
    else:
        damage(blobs, key, how)
    monkeypatch.setattr(video, "decode", _refuse)
    with undisturbed(blobs):
        report = timeline(filled).verify()
    assert counted(report) == {"ok": 45, kind: 1}
    assert findings_of(report) == {(kind, key.removeprefix(PREFIX), None, False)}

    assert timeline(filled).verify(repair=True).ok
    monkeypatch.undo()
    assert rows(filled) == before
    assert_sound(filled, 45)
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    assert manifest.compaction is not None
    assert manifest.compaction.parts == manifest.parts


def test_chunk_without_index_part_and_compaction_is_extracted_again(filled: str) -> None:
    blobs = outside(filled)
    before, stored = rows(filled), frames_of(blobs, "t")
    keys = index_keys(blobs)
    for key in (keys[1], keys[-1]):
        blobs.put(key, b"PAR1 and noise")
    blobs.remove(f"{PREFIX}frames/25.jpg")
    with undisturbed(blobs):
        report = timeline(filled).verify()
    # Which frames are damaged is not known, and all of the chunk's frames are referenced.
    assert counted(report) == {"ok": 35, "corrupt": 2}

    hooked = HookedStore(FrameCache(filled).store)
    report = Timeline(hooked, "t").verify(repair=True)
    assert report.ok
    assert counted(report) == {"ok": 45, "corrupt": 2}
    put = [key for action, key in hooked.requests if action == "put"]
    assert sorted(put) == [f"{PREFIX}frames/{n}.jpg" for n in range(20, 30)]
    assert rows(filled) == before
    assert frames_of(blobs, "t") == stored
    assert_sound(filled, 45)


def test_damaged_only_index_file_is_repaired(single: str) -> None:
    blobs = outside(single)
    before = rows(single)
    [key] = index_keys(blobs)
    blobs.put(key, b"")
    report = timeline(single).verify()
    assert counted(report) == {"corrupt": 1}
    assert timeline(single).verify(repair=True).ok
    assert rows(single) == before
    assert_sound(single, 10)


def test_index_part_without_a_planned_frame_is_corrupt(single: str) -> None:
    blobs = outside(single)
    before = rows(single)
    [key] = index_keys(blobs)
    rewrite(blobs, key, lambda rows: rows.pop(4))
    report = timeline(single).verify()
    assert findings_of(report) == {("corrupt", key.removeprefix(PREFIX), None, False)}
    assert "frames 0 to 9 of chunk 0" in only_finding(report).detail
    assert timeline(single).verify(repair=True).ok
    assert rows(single) == before


def test_index_part_that_fails_only_in_decoding_is_corrupt(single: str) -> None:
    blobs = outside(single)
    before = rows(single)
    [key] = index_keys(blobs)
    rewrite(blobs, key, lambda rows: rows[4].update(reason=None))
    report = timeline(single).verify()
    assert findings_of(report) == {("corrupt", key.removeprefix(PREFIX), None, False)}
    assert timeline(single).verify(repair=True).ok
    assert rows(single) == before


def test_repaired_frames_are_stored_before_their_index_part(filled: str) -> None:
    blobs = outside(filled)
    keys = index_keys(blobs)
    for key in (keys[0], keys[-1]):
        blobs.remove(key)
    hooked = HookedStore(FrameCache(filled).store)
    Timeline(hooked, "t").verify(repair=True)
    writes = [key for action, key in hooked.requests if action in {"put", "create"}]
    order = [key.removeprefix(PREFIX).partition("/")[0] for key in writes if "/claims/" not in key]
    assert order[:22] == ["frames"] * 20 + ["index", "timeline"]


# Unreferenced blobs


def test_unreferenced_blobs_are_orphans_and_are_kept(filled: str) -> None:
    blobs = outside(filled)
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    epoch = manifest.epoch
    orphans: dict[str, int | None] = {
        "frames/45.jpg": 45,
        "frames/900000000000.jpg": 900000000000,
        f"index/{epoch}/000000-1.parquet": None,
        f"index/{epoch}/000009-0.parquet": None,
        f"index/{epoch}/timeline-1.parquet": None,
        f"index/{epoch}/_timeline-1.compacted": None,
        f"index/{epoch}/notes.txt": None,
        f"claims/{epoch}/000001-3.json": None,
    }
    stale = {"index/000000-00000000/000000-0.parquet", "claims/000000-00000000/000000-0.json"}
    ignored = {
        "frames/notes.txt",
        "notes.txt",
        "overlays/job/stage/5_mask.png",
        f"claims/{epoch}/000007-0.json",
    }
    for name in (*orphans, *stale, *ignored):
        blobs.put(PREFIX + name, b"x")
    expected = {("orphan", name, sequence, False) for name, sequence in orphans.items()}
    expected |= {("stale", name, None, False) for name in stale}
    with undisturbed(blobs):
        report = timeline(filled).verify(deep=True)
        assert findings_of(report) == expected
        assert findings_of(timeline(filled).verify(repair=True)) == expected
    assert report.ok
    assert counted(report) == {"ok": 45, "orphan": 8, "stale": 2}


def test_replaced_index_files_kept_by_gc_are_no_orphans(url: str) -> None:
    timeline(url).write([frame(0), frame(1)])
    for number in (2, 3):
        timeline(url).write([frame(0, number=number)], on_conflict="replace")
    FrameCache(url).plan_gc(grace_seconds=0).execute(max_share=1)
    manifest = current_manifest(FrameCache(url).store, "t")
    assert manifest is not None
    current = {manifest.index_key(part) for part in manifest.parts}
    assert set(index_keys(outside(url))) > current
    assert counted(timeline(url).verify()) == {"ok": 2}


def test_public_key_of_frame_pending_relocation_is_referenced(url: str) -> None:
    timeline(url).write([frame(0), frame(1)])
    hook = fail_from_nth(StoreUnavailable("away"), action="put", nth=1, within="frames/")
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(FrameCache(url).store, before=hook), "t").write(
            [frame(0, number=2)], on_conflict="replace"
        )
    assert counted(timeline(url).verify()) == {"ok": 2}
    FrameCache(url).plan_gc(grace_seconds=0).execute(max_share=1)
    assert counted(timeline(url).verify(deep=True)) == {"ok": 2}


def test_frames_of_uncached_chunk_are_orphans_of_that_chunk(url: str, own: list[Path]) -> None:
    error = StoreUnavailable("away")
    hook = fail_from_nth(error, action="create", nth=1, within="000001-0.parquet")
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(FrameCache(url).store, before=hook), "t").extract(own[:2], workers=1)
    report = timeline(url).verify()
    assert report.ok
    assert (report.chunks_checked, report.chunks_not_cached) == (1, 1)
    assert counted(report) == {"ok": 20, "orphan": 10}
    assert {one.chunk_id for one in report.findings} == {1}
    assert {one.sequence for one in report.findings} == set(range(20, 30))
    assert all("chunk 1 is not cached" in one.detail for one in report.findings)


# Videos


def test_missing_source_is_reported_and_is_no_damage(filled: str, own: list[Path]) -> None:
    own[1].unlink()
    for deep in (False, True):
        report = timeline(filled).verify(deep=deep)
        assert report.ok
        assert findings_of(report) == {("source_missing", own[1].as_uri(), None, False)}
        assert only_finding(report).chunk_id == 1


def test_changed_source_is_reported_and_is_no_damage(filled: str, own: list[Path]) -> None:
    clips.grow(own[2], to_bytes=own[2].stat().st_size + 1000)
    for deep in (False, True):
        report = timeline(filled).verify(deep=deep)
        assert report.ok
        assert findings_of(report) == {("source_changed", own[2].as_uri(), None, False)}


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_damaged_frame_without_source_is_not_repaired_and_names_remedy(
    filled: str, own: list[Path], how: str
) -> None:
    blobs = outside(filled)
    for sequence in (5, 25):
        blobs.remove(f"{PREFIX}frames/{sequence}.jpg")
    if how == "gone":
        own[1].unlink()
    else:
        clips.set_time(own[1], 10**18)
    report = timeline(filled).verify(repair=True)
    found = {one.sequence: one for one in report.findings if one.kind == "missing"}
    assert found[5].repaired
    assert not found[25].repaired
    assert "restore" in found[25].detail
    assert own[1].name in found[25].detail
    assert (report.ok, report.damaged, report.repaired) == (False, 1, 1)


def test_damaged_index_part_without_source_names_remedy(single: str, own: list[Path]) -> None:
    [key] = index_keys(outside(single))
    outside(single).remove(key)
    outside(single).put(key, b"")
    own[1].unlink()
    report = timeline(single).verify(repair=True)
    found = next(one for one in report.findings if one.kind == "corrupt")
    assert (found.repaired, report.ok) == (False, False)
    assert "restore it, or clear the timeline" in found.detail


# Deep verification


def reencoded(jpeg: bytes) -> bytes:
    """Nearly the same picture, encoded by Pillow."""
    buffer = io.BytesIO()
    image = Pillow.fromarray(pixels_by_pillow(jpeg))
    image.save(buffer, "JPEG", quality=97, subsampling="4:4:4")
    return buffer.getvalue()


def test_deep_verify_repairs_wrong_image_with_right_crc(single: str) -> None:
    blobs = outside(single)
    before, known = frames_of(blobs, "t"), rows(single)
    store_other(blobs, 6, before["1.jpg"])
    assert timeline(single).verify().ok
    with undisturbed(blobs):
        report = timeline(single).verify(deep=True)
    assert findings_of(report) == {("corrupt", "frames/6.jpg", 6, False)}
    assert "its picture differs from the chunk's: mean difference" in only_finding(report).detail

    report = timeline(single).verify(deep=True, repair=True)
    assert findings_of(report) == {("corrupt", "frames/6.jpg", 6, True)}
    assert report.ok
    assert frames_of(blobs, "t") == before
    assert rows(single) == known
    assert_sound(single, 10)


def test_deep_verify_repairs_committed_bytes_that_are_no_jpeg(single: str) -> None:
    blobs = outside(single)
    before = frames_of(blobs, "t")
    store_other(blobs, 3, before["3.jpg"][:-300])
    assert timeline(single).verify().ok
    report = timeline(single).verify(deep=True)
    assert findings_of(report) == {("corrupt", "frames/3.jpg", 3, False)}
    assert "not a JPEG" in only_finding(report).detail
    assert timeline(single).verify(deep=True, repair=True).ok
    assert frames_of(blobs, "t") == before


def test_deep_verify_finds_image_of_wrong_size(single: str) -> None:
    store_other(outside(single), 3, jpeg_by_pillow(3))
    report = timeline(single).verify(deep=True)
    assert findings_of(report) == {("corrupt", "frames/3.jpg", 3, False)}
    assert "48×32" in only_finding(report).detail
    assert f"{clips.WIDTH}×{clips.HEIGHT}" in only_finding(report).detail


def test_deep_verify_repairs_wrong_perceptual_hash(single: str) -> None:
    blobs = outside(single)
    known, stored = rows(single), frames_of(blobs, "t")
    opposite = f"{~int(known[4]['perceptual_hash'], 16) & (2**64 - 1):016x}"
    store_other(blobs, 4, stored["4.jpg"], perceptual_hash=opposite)
    report = timeline(single).verify(deep=True)
    assert findings_of(report) == {("corrupt", "frames/4.jpg", 4, False)}
    assert "64 of 64 bits" in only_finding(report).detail
    assert timeline(single).verify(deep=True, repair=True).ok
    assert rows(single) == known


def test_same_image_by_another_encoder_is_no_damage(single: str) -> None:
    blobs = outside(single)
    for sequence in range(10):
        jpeg = blobs.read(f"{PREFIX}frames/{sequence}.jpg")
        other = reencoded(jpeg)
        assert 0 < mean_error(pixels_by_pillow(jpeg), pixels_by_pillow(other)) < 1.5
        store_other(blobs, sequence, other)
    assert counted(timeline(single).verify(deep=True)) == {"ok": 10}


def test_first_and_last_frame_of_chunk_are_always_compared(url: str, own: list[Path]) -> None:
    timeline(url).extract(own[0])
    blobs = outside(url)
    middle = blobs.read(f"{PREFIX}frames/10.jpg")
    for sequence in (0, 19):
        store_other(blobs, sequence, middle)
    found = timeline(url).verify(deep=True).findings
    assert {0, 19} <= {one.sequence for one in found}
    assert timeline(url).verify(deep=True).findings == found


def test_undecodable_frame_that_decodes_now_is_reported(single: str) -> None:
    blobs = outside(single)
    [key] = index_keys(blobs)
    without = {"status": "undecodable", "reason": "decoder: bad luck", "key": "", "size": 0}
    rewrite(blobs, key, lambda rows: rows[8].update(without | {"crc32c": 0, "perceptual_hash": ""}))
    blobs.remove(f"{PREFIX}frames/8.jpg")
    assert only_finding(timeline(single).verify()).detail == "decoder: bad luck"
    report = timeline(single).verify(deep=True)
    assert report.ok
    assert findings_of(report) == {("undecodable", "frames/8.jpg", 8, False)}
    assert "bad luck" in only_finding(report).detail
    assert "rebuild" in only_finding(report).detail


def test_frame_that_no_longer_decodes_is_reported_and_kept(
    single: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = video.decode

    def worse(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401
        for item in decode(*args, **kwargs):
            yield video.Undecodable(item.pts, "decoder: bad luck")

    monkeypatch.setattr(video, "decode", worse)
    with undisturbed(outside(single)):
        report = timeline(single).verify(deep=True, repair=True)
    assert report.ok
    assert counted(report) == {"undecodable": 10}
    assert "stored picture is kept" in report.findings[0].detail

    outside(single).remove(f"{PREFIX}frames/2.jpg")
    report = timeline(single).verify(repair=True)
    assert (report.ok, only_finding(report).repaired) == (False, False)
    assert "cannot be decoded" in only_finding(report).detail


# Repairs with other bytes


@pytest.fixture
def other_encoder(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it was made before
    sign_pictures(monkeypatch)


@pytest.mark.usefixtures("other_encoder")
def test_frames_repaired_to_other_bytes_commit_next_generation_of_index_part(
    filled: str, own: list[Path]
) -> None:
    blobs = outside(filled)
    before, known = frames_of(blobs, "t"), rows(filled)
    files_before = index_keys(blobs)
    for sequence in (22, 27):
        blobs.remove(f"{PREFIX}frames/{sequence}.jpg")
    report = timeline(filled).verify(repair=True)
    assert report.ok
    assert report.repaired == 2
    after = frames_of(blobs, "t")
    assert {name for name in before if before[name] != after[name]} == {"22.jpg", "27.jpg"}
    differing = [
        n for n, (old, new) in enumerate(zip(known, rows(filled), strict=True)) if old != new
    ]
    assert differing == [22, 27]
    looks = [clips.nearest(timeline(filled).frame(n).image, own[1]) for n in range(20, 30)]
    assert looks == list(range(10))
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    assert manifest.generations == {"000001": 1}
    assert manifest.compaction is not None
    assert manifest.index_key("000001") in index_keys(blobs)
    # The first index file dates the frames; parts are committed as they are encoded.
    indexes = FrameCache(filled).store.list(f"{PREFIX}index/")
    first = min(indexes, key=lambda blob: (blob.modified_at, blob.key))
    replaced = {key for key in files_before if "000001" in key or key.endswith(".compacted")}
    replaced -= {first.key}
    report = timeline(filled).verify(deep=True)
    assert counted(report) == {"ok": 45, "orphan": len(replaced)}
    assert {one.key for one in report.findings} == replaced
    assert blobs.list(f"{PREFIX}claims/") == []


@pytest.mark.usefixtures("other_encoder")
@pytest.mark.parametrize(
    ("action", "within"),
    [
        ("put", "/frames/27.jpg"),
        ("create", "/index/"),
        ("create", "/timeline/"),
        ("create", "/_timeline-"),
    ],
)
def test_interrupted_repair_adds_no_damage_and_can_be_repeated(
    filled: str, action: Action, within: str
) -> None:
    blobs = outside(filled)
    for sequence in (22, 27):
        blobs.remove(f"{PREFIX}frames/{sequence}.jpg")
    hook = fail_from_nth(StoreUnavailable("away"), action=action, nth=1, within=within)
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(FrameCache(filled).store, before=hook), "t").verify(repair=True)
    report = timeline(filled).verify()
    assert {one.sequence for one in report.findings if one.sequence is not None} <= {22, 27}
    assert len(timeline(filled)) == 45
    assert timeline(filled).verify(repair=True).ok
    assert_sound(filled, 45)
    assert len(list(timeline(filled).frames())) == 45


@pytest.mark.usefixtures("other_encoder")
def test_uncommitted_generation_is_skipped(filled: str) -> None:
    blobs = outside(filled)
    key = index_keys(blobs)[1]
    blobs.put(key.replace("000001-0", "000001-1"), b"an interrupted repair")
    blobs.remove(f"{PREFIX}frames/22.jpg")
    assert timeline(filled).verify(repair=True).ok
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    assert manifest.generations == {"000001": 2}
    assert_sound(filled, 45)


def test_damaged_repair_can_be_repaired(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = outside(filled)
    known = rows(filled)
    for generation in (1, 2, 3):
        for key in index_keys(blobs):
            if f"000001-{generation - 1}" in key:
                blobs.put(key, b"")
        with monkeypatch.context() as patch:
            patch.setattr(video, "decode", _refuse)
            assert timeline(filled).verify(repair=True).ok
        manifest = current_manifest(FrameCache(filled).store, "t")
        assert manifest is not None
        assert manifest.generations == {"000001": generation}
        assert rows(filled) == known


@pytest.mark.usefixtures("other_encoder")
def test_newer_generation_of_another_program_is_kept(filled: str) -> None:
    outside(filled).remove(f"{PREFIX}frames/22.jpg")
    once = threading.Event()

    def repair_first(action: str, key: str) -> None:
        # Another run repairs the same part before this one commits it.
        if action == "create" and "/index/" in key and not once.is_set():
            once.set()
            for lease_key in outside(filled).list(f"{PREFIX}claims/"):
                outside(filled).remove(lease_key)
            assert timeline(filled).verify(repair=True).ok

    hooked = HookedStore(FrameCache(filled).store, before=repair_first)
    report = Timeline(hooked, "t").verify(repair=True)
    assert once.is_set()
    assert not only_finding(report).repaired
    assert "another program repaired it" in only_finding(report).detail
    assert timeline(filled).verify().ok
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    assert manifest.generations == {"000001": 1}


def test_frame_lost_by_store_is_not_reported_as_repaired(single: str) -> None:
    key = f"{PREFIX}frames/2.jpg"
    outside(single).remove(key)

    def lose(action: str, stored: str) -> None:
        if (action, stored) == ("put", key):
            outside(single).remove(key)

    report = Timeline(HookedStore(FrameCache(single).store, after=lose), "t").verify(repair=True)
    assert (report.ok, only_finding(report).repaired) == (False, False)
    assert "check the store" in only_finding(report).detail


# Concurrent operations


def test_leased_chunk_is_not_repaired(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 1.0)
    store = FrameCache(filled).store
    manifest = current_manifest(store, "t")
    assert manifest is not None
    for sequence in (3, 22):
        outside(filled).remove(f"{PREFIX}frames/{sequence}.jpg")
    with LeaseManager(store, manifest) as other:
        assert other.acquire("000001")
        report = timeline(filled).verify(repair=True)
    found = {one.sequence: one for one in report.findings if one.kind == "missing"}
    assert found[3].repaired
    assert not found[22].repaired
    assert "another program is working" in found[22].detail
    assert timeline(filled).verify(repair=True).ok


def test_rows_only_in_compaction_are_kept_while_chunk_is_leased(
    filled: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("other_encoder")
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 1.0)
    store = FrameCache(filled).store
    manifest = current_manifest(store, "t")
    assert manifest is not None
    known = rows(filled)
    outside(filled).put(index_keys(outside(filled))[1], b"")
    outside(filled).remove(f"{PREFIX}frames/3.jpg")
    with LeaseManager(store, manifest) as other:
        assert other.acquire("000001")
        report = timeline(filled).verify(repair=True)
    assert (report.repaired, report.damaged) == (0, 2)
    assert rows(filled) == known
    assert timeline(filled).verify(repair=True).ok
    assert_sound(filled, 45)


def test_stale_lease_is_acquired(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.5)
    manifest = current_manifest(FrameCache(filled).store, "t")
    assert manifest is not None
    outside(filled).put(f"{PREFIX}claims/{manifest.epoch}/000001-0.json", b"{}")
    outside(filled).remove(f"{PREFIX}frames/22.jpg")
    assert timeline(filled).verify(repair=True).ok
    assert outside(filled).list(f"{PREFIX}claims/") == []


# Frames without a chunk


def test_foreign_frames_are_counted_and_checked_only_by_deep_verify(url: str) -> None:
    blobs = outside(url)
    for sequence in range(5):
        blobs.put(f"{PREFIX}frames/{sequence}.jpg", jpeg_by_pillow(sequence))
    blobs.put(f"{PREFIX}frames/5.jpg", jpeg_by_pillow(5)[:-200])
    with undisturbed(blobs):
        report = timeline(url).verify(repair=True)
        assert counted(report) == {"ok": 6}
        assert (report.bytes_read, report.frames_checked) == (0, 0)
        report = timeline(url).verify(deep=True, repair=True)
    assert counted(report) == {"ok": 5, "corrupt": 1}
    assert findings_of(report) == {("corrupt", "frames/5.jpg", 5, False)}
    assert report.frames_checked == 6


def test_written_frame_is_checked_and_cannot_be_repaired(url: str) -> None:
    timeline(url).write([frame(n) for n in range(6)])
    outside(url).remove(f"{PREFIX}frames/2.jpg")
    for repair in (False, True):
        with undisturbed(outside(url)):
            report = timeline(url).verify(deep=True, repair=repair)
        assert counted(report) == {"ok": 5, "missing": 1}
        assert findings_of(report) == {("missing", "frames/2.jpg", 2, False)}
        assert "write the frame again" in only_finding(report).detail
    timeline(url).write([frame(2)])
    assert_sound(url, 6)


def test_index_parts_of_written_frames_are_repaired_from_compaction(url: str) -> None:
    for n in range(17):
        timeline(url).write([frame(n), frame(n + 1)])
    blobs = outside(url)
    known, read = rows(url), [f.timestamp for f in timeline(url).frames()]
    keys = index_keys(blobs)
    assert any("/_timeline-" in key for key in keys)
    for key in (keys[3], keys[4], keys[15]):
        blobs.put(key, b"")
    report = timeline(url).verify(repair=True)
    assert report.ok
    assert (report.counts["corrupt"], report.repaired) == (3, 3)
    assert rows(url) == known
    _without_compaction(blobs)
    assert rows(url) == known
    assert [f.timestamp for f in timeline(url).frames()] == read


def test_lost_index_part_of_written_frames_is_not_repaired_and_names_remedy(url: str) -> None:
    timeline(url).write([frame(n) for n in range(3)])
    timeline(url).write([frame(n) for n in range(3, 6)])
    blobs = outside(url)
    blobs.remove(index_keys(blobs)[0])
    report = timeline(url).verify(repair=True)
    # The other three frames may be another program's.
    assert counted(report) == {"ok": 3, "missing": 1}
    assert "written again" in only_finding(report).detail
    assert not report.ok


# Progress


def test_progress_counts_every_frame(filled: str) -> None:
    reports: list[Progress] = []
    outside(filled).remove(f"{PREFIX}frames/3.jpg")
    timeline(filled).verify(progress=reports.append)
    assert reports == [Progress(n, 45) for n in range(1, 46)]


def test_progress_of_deep_verify_counts_decoded_frames(filled: str) -> None:
    reports: list[Progress] = []
    assert timeline(filled).verify(deep=True, progress=reports.append).ok
    total = reports[0].frames_total
    assert reports == [Progress(n, total) for n in range(1, total + 1)]
    assert total > 45


def test_findings_are_streamed_and_report_keeps_first_thousand(memory_url: str) -> None:
    timeline(memory_url).extract(clips.chunks()[1])
    for sequence in range(100, 1300):
        outside(memory_url).put(f"{PREFIX}frames/{sequence}.jpg", b"x")
    reports: list[Finding] = []
    report = timeline(memory_url).verify(on_finding=reports.append)
    assert report.counts["orphan"] == len(reports) == 1200
    assert report.findings == tuple(reports[:1000])
    assert {one.sequence for one in reports} == set(range(100, 1300))


def test_prefetch_is_bounded_by_workers(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip(frames=200))
    fetched = reported = furthest = 0
    lock = threading.Lock()

    def count(action: str, key: str) -> None:
        nonlocal fetched, furthest
        if action == "get" and "/frames/" in key:
            with lock:
                fetched += 1
                furthest = max(furthest, fetched - reported)

    def reports(_: Progress) -> None:
        nonlocal reported
        with lock:
            reported += 1

    hooked = HookedStore(FrameCache(memory_url).store, before=count)
    report = Timeline(hooked, "t").verify(workers=4, progress=reports)
    assert report.counts["ok"] == reported == 200
    assert furthest <= 2 * 4 + 1


def test_handle_reads_repaired_frame(filled: str) -> None:
    t = timeline(filled)
    outside(filled).remove(f"{PREFIX}frames/22.jpg")
    with pytest.raises(CorruptFrame):
        t.frame(22)
    assert t.verify(repair=True).ok
    assert clips.nearest(t.frame(22).image, clips.chunks()[1]) == 2
