"""Damaged current manifests: detected, reported by every operation, and recreated or not."""

import io
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import clips
import google_crc32c
import pyarrow.parquet as pq
import pytest

from framecache import (
    CorruptFrame,
    FrameCache,
    NotCached,
    SettingsConflict,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    VerifyReport,
)
from framecache._core import json_documents
from framecache._index import create_verified
from framecache._media import video
from framecache.store import Store
from framecache.testing import Fault, FaultyStore, HookedStore
from outside import everything, frame, frames_of, outside

PREFIX = "cache/timelines/t/"
FRAMES = 45


@pytest.fixture
def url(quick_url: str) -> str:
    return quick_url


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    """The three chunks (20, 10 and 15 frames), as files that a test may change."""
    return [clips.copy_to(path, tmp_path / "chunks") for path in clips.chunks()]


@pytest.fixture
def filled(url: str, own: list[Path]) -> str:
    """A store with all three chunks: manifests 1 and 2 name them, 3 their compaction."""
    timeline(url).extract(own)
    return url


def timeline(url: str) -> Timeline:
    return FrameCache(url).timeline("t")


def manifest_keys(url: str) -> list[str]:
    return outside(url).list(f"{PREFIX}timeline/")


def damage_last(url: str, how: str = "a bit flipped") -> str:
    """Damage the current manifest; return its key."""
    key = manifest_keys(url)[-1]
    outside(url).put(key, DAMAGE[how](outside(url).read(key)))
    return key


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "cut short": lambda body: body[:-1],
    "a bit flipped": lambda body: body[:300] + bytes([body[300] ^ 1]) + body[301:],
    "another's": lambda _: b'{"some": "JSON"}',
}


def only_corruption(report: VerifyReport) -> str:
    """Return the only finding of corruption, in words."""
    [finding] = [one for one in report.findings if one.kind == "corrupt"]
    assert (finding.sequence, finding.chunk_id) == (None, None)
    assert finding.repaired == report.ok
    return f"{finding.key.removeprefix(PREFIX)}: {finding.detail}"


def repaired(url: str) -> str:
    """Repair the manifest; return what was found, in words."""
    report = timeline(url).verify(repair=True)
    assert report.ok, report.findings
    words = only_corruption(report)
    assert words.startswith("timeline/")
    assert timeline(url).verify(deep=True).ok
    return words


def require_frames(url: str, chunks: list[Path]) -> None:
    """Require every frame of these chunks, with the pictures that ffmpeg decodes."""
    found = timeline(url)
    assert found.complete
    shown = clips.timeline_of(chunks)
    assert len(found) == len(shown)
    for read, one in zip(found.frames(), shown, strict=True):
        assert read.timestamp == pytest.approx(float(one.start))
        assert clips.nearest(read.image, chunks[one.chunk_id]) == one.position


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be decoded")


# Detected


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("deep", [False, True])
def test_verify_reports_corrupt_manifest_without_changes(filled: str, how: str, deep: bool) -> None:  # noqa: FBT001
    damage_last(filled, how)
    before = everything(outside(filled))
    report = timeline(filled).verify(deep=deep)
    assert everything(outside(filled)) == before
    assert (report.ok, report.damaged, report.repaired) == (False, 1, 0)
    assert only_corruption(report).startswith("timeline/00000003.json: this manifest is damaged")
    assert "the last intact one is version 2" in only_corruption(report)
    assert (report.counts["ok"], report.frames_checked, report.chunks_checked) == (0, 0, 0)


OPERATIONS: dict[str, Callable[[Timeline], object]] = {
    "extract": lambda t: t.extract(clips.chunks()),
    "append": lambda t: t.append(clips.clip()),
    "write": lambda t: t.write([frame(0)]),
    "rebuild": lambda t: t.rebuild(),
    "clear": lambda t: t.clear(),
    "info": lambda t: t.info(),
    "exists": lambda t: t.exists,
    "frame": lambda t: t.frame(0),
    "frame_at": lambda t: t.frame_at(0.0),
    "frames": lambda t: list(t.frames()),
    "jpegs": lambda t: list(t.jpegs([0])),
    "index": lambda t: t.index,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_other_operations_name_repair_command_and_change_nothing(
    filled: str, operation: str
) -> None:
    key = damage_last(filled)
    before = everything(outside(filled))
    with pytest.raises(CorruptFrame) as raised:
        OPERATIONS[operation](timeline(filled))
    assert key in str(raised.value)
    assert "framecache verify t --repair" in str(raised.value)
    assert everything(outside(filled)) == before


def test_gc_names_repair_command_and_removes_nothing(filled: str) -> None:
    damage_last(filled)
    before = everything(outside(filled))
    plan = FrameCache(filled).plan_gc(grace_seconds=0, max_bytes=0)
    assert "framecache verify t --repair" in str(plan.unreadable["t"])
    plan.execute(max_share=1)
    assert everything(outside(filled)) == before


def test_new_iteration_of_open_reader_raises_corrupt_frame(filled: str) -> None:
    reader = timeline(filled)
    assert len(list(reader.frames())) == FRAMES
    damage_last(filled)
    with pytest.raises(CorruptFrame, match="framecache verify t --repair"):
        reader.frames()


# Recreated


@pytest.mark.parametrize("how", DAMAGE)
def test_repair_recreates_manifest_without_decoding(
    filled: str, own: list[Path], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, stored = timeline(filled).index.to_arrow().to_pylist(), frames_of(outside(filled), "t")
    epoch = timeline(filled).info().epoch
    damaged = outside(filled).read(damage_last(filled, how))
    with monkeypatch.context() as patch:
        patch.setattr(video, "decode", refuse)
        report = timeline(filled).verify(repair=True)
    assert report.ok
    assert (report.repaired, report.counts["ok"], report.chunks_not_cached) == (1, FRAMES, 0)
    assert only_corruption(report).startswith("timeline/00000003.json: ")
    assert timeline(filled).index.to_arrow().to_pylist() == known
    assert frames_of(outside(filled), "t") == stored
    assert timeline(filled).info().epoch != epoch
    assert [Path(key).stem for key in manifest_keys(filled)] == [f"{n:08d}" for n in range(1, 6)]
    assert outside(filled).read(manifest_keys(filled)[2]) == damaged
    require_frames(filled, own)
    assert counted_requests(filled) == 3


def counted_requests(url: str) -> int:
    """Return the number of requests that open the timeline."""
    store = HookedStore(FrameCache(url).store)
    assert len(Timeline(store, "t").index) == FRAMES
    return len(store.requests)


@pytest.mark.every_store
def test_repair_recreates_manifest_in_every_store(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks())
    damage_last(store_url)
    repaired(store_url)
    require_frames(store_url, clips.chunks())


def test_repair_keeps_provenance_of_index_parts(filled: str) -> None:
    provenance = provenance_of_parts(filled)
    damage_last(filled)
    repaired(filled)
    for before, after in zip(provenance, provenance_of_parts(filled), strict=True):
        assert before["epoch"] != after["epoch"]
        for name in ("part", "settings", "chunk_url", "chunk_etag", "ffmpeg", "jpeg_encoder"):
            assert before[name] == after[name]


def provenance_of_parts(url: str) -> list[dict[str, Any]]:
    epoch = timeline(url).info().epoch
    keys = outside(url).list(f"{PREFIX}index/{epoch}/0")
    found = [pq.read_schema(io.BytesIO(outside(url).read(key))).metadata for key in keys]
    assert len(found) == 3
    return [json.loads(metadata[b"framecache"]) for metadata in found]


def test_gc_after_repair_leaves_one_intact_epoch(filled: str, own: list[Path]) -> None:
    damage_last(filled)
    repaired(filled)
    FrameCache(filled).plan_gc(grace_seconds=0).execute(max_share=1)
    report = timeline(filled).verify()
    assert {kind: n for kind, n in report.counts.items() if n} == {"ok": FRAMES}
    require_frames(filled, own)


def test_damaged_frames_are_repaired_along_with_manifest(filled: str, own: list[Path]) -> None:
    outside(filled).remove(f"{PREFIX}frames/23.jpg")
    damage_last(filled)
    report = timeline(filled).verify(repair=True)
    assert (report.ok, report.repaired) == (True, 2)
    require_frames(filled, own)


def test_uncached_chunk_stays_uncached_after_repair(url: str, own: list[Path]) -> None:
    timeline(url).extract(own)
    for key in outside(url).list(f"{PREFIX}index/"):
        if "/000001-" in key or "/_timeline-" in key:
            outside(url).remove(key)
    outside(url).remove(manifest_keys(url)[-1])
    outside(url).put(f"{PREFIX}timeline/00000003.json", b"")
    report = timeline(url).verify(repair=True)
    assert (report.ok, report.chunks_not_cached) == (True, 1)
    timeline(url).extract(own)
    require_frames(url, own)


@pytest.mark.parametrize("video", ["there", "gone"])
def test_chunk_with_lost_index_part_is_extracted_again(
    filled: str, own: list[Path], video: str
) -> None:
    [lost] = [key for key in outside(filled).list(f"{PREFIX}index/") if "/000001-" in key]
    outside(filled).put(lost, b"")
    damage_last(filled)
    if video == "gone":
        own[1].unlink()
    report = timeline(filled).verify(repair=True)
    assert report.ok == (video == "there")
    found = {one.key: one for one in report.findings if one.kind == "corrupt"}
    assert found[lost].repaired == (video == "there")
    if video == "there":
        require_frames(filled, own)
    else:
        assert own[1].name in found[lost].detail
        assert len(timeline(filled)) == 35


# Changes of the lost version


def damage_append(url: str) -> None:
    """Damage the manifest of an append, and that of the compaction after it."""
    for key in manifest_keys(url)[-2:]:
        outside(url).put(key, b"")


def test_chunk_appended_in_lost_version_can_be_appended_again(url: str, own: list[Path]) -> None:
    timeline(url).extract(own[0])
    timeline(url).append(own[1])
    damage_append(url)
    assert "if chunks were appended" in repaired(url)
    require_frames(url, own[:1])
    timeline(url).append(own[1])
    require_frames(url, own[:2])


def test_index_part_of_lost_version_is_not_used_for_another_chunk(
    url: str, own: list[Path]
) -> None:
    """Chunk 1 was a different video from the one that is appended in its place."""
    timeline(url).extract(own[0])
    timeline(url).append(own[1])
    damage_append(url)
    repaired(url)
    timeline(url).append(own[2])
    require_frames(url, [own[0], own[2]])


@pytest.mark.parametrize("is_index_removed", [True, False])
def test_timeline_after_lost_clear_is_cached_if_index_was_not_removed(
    filled: str,
    own: list[Path],
    is_index_removed: bool,  # noqa: FBT001
) -> None:
    before = everything(outside(filled))
    timeline(filled).clear()
    if not is_index_removed:
        for key, body in before.items():
            outside(filled).put(key, body)
    damage_last(filled)
    timeline(filled).verify(repair=True)
    assert timeline(filled).exists != is_index_removed
    timeline(filled).extract(own)
    require_frames(filled, own)


def test_lost_rebuild_restores_previous_settings_without_wrong_frames(
    filled: str, own: list[Path]
) -> None:
    """The rebuild stored other frames under the same names."""
    old = {key: body for key, body in everything(outside(filled)).items() if "/index/" in key}
    timeline(filled).rebuild(every=2, quality=60)
    for key, body in old.items():
        outside(filled).put(key, body)
    # The manifests of its creation, its first commit and its compaction.
    for key in manifest_keys(filled)[-3:]:
        outside(filled).put(key, b"")
    assert timeline(filled).verify(repair=True).ok
    require_frames(filled, own)
    assert timeline(filled).verify(deep=True).ok
    timeline(filled).rebuild(every=2, quality=60)
    assert [one.timestamp for one in timeline(filled).frames()] == [
        pytest.approx(float(one.start)) for one in clips.timeline_of(own)[::2]
    ]


def test_repair_starts_later_epoch_than_any_lost_version(filled: str, own: list[Path]) -> None:
    timeline(filled).clear()
    timeline(filled).rebuild()
    last = timeline(filled).info().epoch
    for key in manifest_keys(filled)[2:]:
        outside(filled).put(key, b"")
    timeline(filled).verify(repair=True)
    new = timeline(filled).info().epoch
    assert last is not None
    assert new is not None
    assert int(new.partition("-")[0]) > int(last.partition("-")[0])
    timeline(filled).extract(own)
    require_frames(filled, own)
    timeline(filled).clear()
    assert outside(filled).list(f"{PREFIX}index/") == []


# Not recreated


def test_repair_without_intact_version_changes_nothing_and_names_remedy(
    filled: str, own: list[Path]
) -> None:
    for key in manifest_keys(filled)[:2]:
        outside(filled).remove(key)
    damage_last(filled)
    before = everything(outside(filled))
    report = timeline(filled).verify(repair=True)
    assert not report.ok
    assert "no intact version before it is left; delete the timeline" in only_corruption(report)
    assert everything(outside(filled)) == before
    timeline(filled).delete()
    timeline(filled).extract(own)
    require_frames(filled, own)


def test_written_timeline_is_not_repaired_but_can_go_back_one_version(url: str) -> None:
    timeline(url).write([frame(n) for n in range(3)])
    timeline(url).write([frame(n) for n in range(3, 6)])
    damage_last(url)
    before = everything(outside(url))
    report = timeline(url).verify(repair=True)
    assert not report.ok
    assert "remove all versions after 2 to go back to that one, or delete" in only_corruption(
        report
    )
    assert everything(outside(url)) == before
    outside(url).remove(manifest_keys(url)[-1])
    assert timeline(url).verify(repair=True).ok
    assert timeline(url).sequences() == [0, 1, 2]
    timeline(url).write([frame(n) for n in range(6)])
    assert timeline(url).sequences() == list(range(6))
    assert timeline(url).verify(deep=True).ok


def test_previous_version_of_newer_format_asks_for_upgrade(filled: str) -> None:
    _, begun, _ = manifest_keys(filled)
    document = json.loads(outside(filled).read(begun)) | {"format": 99}
    del document["crc32c"]
    checksum = google_crc32c.value(json.dumps(document, indent=1).encode())
    document["crc32c"] = f"{checksum:08x}"
    outside(filled).put(begun, json.dumps(document, indent=1).encode())
    damage_last(filled)
    before = everything(outside(filled))
    with pytest.raises(SettingsConflict, match="upgrade"):
        timeline(filled).verify(repair=True)
    assert everything(outside(filled)) == before


class Noisy(HookedStore):
    """Store that damages a manifest in transit, the first times that it is fetched."""

    def __init__(self, inner: Store, *, times: int, damage: Callable[[int, bytes], bytes]) -> None:
        super().__init__(inner)
        self._left = iter(range(times))
        self._damage = damage

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        body = super().get_range(key, start=start, length=length)
        if "/timeline/" in key and (turn := next(self._left, None)) is not None:
            return self._damage(turn, body)
        return body


def _other_each_time(turn: int, body: bytes) -> bytes:
    return body[: 50 + turn] + b"#" + body[51 + turn :]


def _cut(_: int, body: bytes) -> bytes:
    return body[:-20]


@pytest.mark.parametrize("damage_body", [_other_each_time, _cut], ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("times", [1, 2, 3, 4, 1000])
def test_manifest_damaged_in_transit_is_left_unchanged(
    filled: str, own: list[Path], times: int, damage_body: Callable[[int, bytes], bytes]
) -> None:
    before = everything(outside(filled))
    store = Noisy(FrameCache(filled).store, times=times, damage=damage_body)
    if times < 3:
        assert Timeline(store, "t").verify(repair=True).ok
    else:
        with pytest.raises(StoreUnavailable, match="reads differently each time"):
            Timeline(store, "t").verify(repair=True)
    assert everything(outside(filled)) == before
    require_frames(filled, own)


class Metered(HookedStore):
    """Store that counts the fetched bytes of manifests."""

    bytes_fetched = 0

    def get(self, key: str) -> bytes:
        return self._counted(key, super().get(key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        return self._counted(key, super().get_range(key, start=start, length=length))

    def _counted(self, key: str, body: bytes) -> bytes:
        self.bytes_fetched += len(body) * ("/timeline/" in key)
        return body


@pytest.fixture
def longest_bytes(filled: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Replace a manifest by one a hundred times as long as the limit; return the limit."""
    key = manifest_keys(filled)[-1]
    length = 2 * len(outside(filled).read(key))
    monkeypatch.setattr(json_documents, "MAX_BYTES", length)
    outside(filled).put(key, b" " * 100 * length)
    return length


def test_oversized_manifest_is_read_one_byte_past_limit(filled: str, longest_bytes: int) -> None:
    store = Metered(FrameCache(filled).store)
    with pytest.raises(CorruptFrame):
        Timeline(store, "t").info()
    assert store.bytes_fetched == longest_bytes + 1


@pytest.mark.usefixtures("longest_bytes")
def test_oversized_manifest_is_repaired(filled: str, own: list[Path]) -> None:
    assert "the last intact one is version 2" in repaired(filled)
    require_frames(filled, own)


def test_create_conflict_reads_only_as_many_bytes_as_its_own(filled: str) -> None:
    store = Metered(FrameCache(filled).store)
    key = manifest_keys(filled)[-1]
    assert not create_verified(store, key, b"mine")
    assert store.bytes_fetched == 2 * len(b"mine.")


# Other programs at work


def run_before_recreation(url: str, do: Callable[[], object]) -> Store:
    """Return a store that runs other work before the manifest is first recreated."""
    turns = count()

    def before(action: str, key: str) -> None:
        if action == "create" and "/timeline/" in key and not next(turns):
            do()

    return HookedStore(FrameCache(url).store, before=before)


def test_concurrent_repairs_share_one_recreated_manifest(filled: str, own: list[Path]) -> None:
    damage_last(filled)
    store = run_before_recreation(filled, lambda: repaired(filled))
    assert Timeline(store, "t").verify(repair=True).ok
    assert len(manifest_keys(filled)) == 5
    epochs = {key.split("/")[4] for key in outside(filled).list(f"{PREFIX}index/")}
    assert len(epochs) == 2
    require_frames(filled, own)


def test_delete_does_not_skip_manifest_damaged_in_transit(
    filled: str,
) -> None:
    """If it did and died, the manifest would remain in its epoch without its frames."""
    before, flips = everything(outside(filled)), [Fault.FLIP_BIT] * 2

    def schedule(action: str, key: str) -> Fault | None:
        return flips.pop() if flips and action == "get" and "/timeline/" in key else None

    faulty = Timeline(FaultyStore(FrameCache(filled).store, schedule), "t")
    with pytest.raises(CorruptFrame):
        faulty.delete()
    assert flips == []
    assert everything(outside(filled)) == before
    faulty.delete()
    assert outside(filled).list(PREFIX) == []


def test_timeline_deleted_during_repair_stays_deleted(filled: str) -> None:
    damage_last(filled)
    store = run_before_recreation(filled, lambda: timeline(filled).delete())
    with pytest.raises(NotCached):
        Timeline(store, "t").verify(repair=True)
    assert outside(filled).list(PREFIX) == []


def test_extraction_started_before_repair_raises_and_commits_nothing(
    url: str, own: list[Path]
) -> None:
    """The manifest is damaged and recreated while chunk 1 is extracted."""
    timeline(url).extract(own[0])

    def lose(action: str, key: str) -> None:
        if action == "put" and key.endswith("/frames/25.jpg"):
            damage_last(url)
            repaired(url)

    hooked = HookedStore(FrameCache(url).store, before=lose)
    with pytest.raises(TimelineCleared):
        Timeline(hooked, "t").append(own[1])
    require_frames(url, own[:1])
    timeline(url).append(own[1:])
    require_frames(url, own)
