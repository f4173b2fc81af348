"""Stores that earlier releases filled open, verify and grow; newer formats are refused.

``make_fixture.py`` makes a fixture. The contents of its timelines are in ``expected.json``.
"""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import make_fixture
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framecache import Frame, FrameCache, SettingsConflict, Timeline, functional
from framecache._core import manifest
from framecache._index import parquet
from framecache._maintain.gc import Reason

FORMATS = sorted(path.name for path in Path(__file__).parent.glob("format-*"))
EXTRACTED = {"objects": ("c2.mp4", 4), "packs": ("c1.mp4", 2)}
"""The video that follows what the fixture holds, and how many frames it adds."""

Call = Callable[[Timeline], object]


@pytest.fixture(params=FORMATS)
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(__file__).parent / str(request.param)


@pytest.fixture
def cache(folder: Path, moto_endpoint: str, s3_url: str, tmp_path: Path) -> FrameCache:
    """A copy of the fixture's store, whose chunks can be read."""
    assert s3_url  # the environment leads to that server
    make_fixture.upload_videos(moto_endpoint)
    shutil.copytree(folder / "store", tmp_path / "store")
    return FrameCache(tmp_path / "store")


@pytest.fixture
def expected(folder: Path) -> dict[str, list[dict[str, Any]]]:
    document: dict[str, list[dict[str, Any]]] = json.loads((folder / "expected.json").read_text())
    return document


@pytest.fixture
def newer(tmp_path: Path) -> FrameCache:
    """Make a store whose timelines have an unknown newer format."""
    shutil.copytree(Path(__file__).parent / FORMATS[-1] / "store", tmp_path / "newer")
    for timeline_id in ("objects", "packs", "written"):
        change_manifest(tmp_path / "newer", timeline_id, format=manifest.FORMAT + 1)
    return FrameCache(tmp_path / "newer")


def change_manifest(store: Path, timeline_id: str, **changes: object) -> None:
    """Change entries of the current manifest, and its checksum."""
    path = max((store / "cache" / "timelines" / timeline_id / "timeline").iterdir())
    document = json.loads(path.read_text()) | changes
    del document["crc32c"]
    checksum = google_crc32c.value(json.dumps(document, indent=1).encode())
    path.write_text(json.dumps(document | {"crc32c": f"{checksum:08x}"}, indent=1))


def files(cache: FrameCache) -> dict[str, bytes]:
    return {blob.key: cache.store.get(blob.key) for blob in cache.store.list("")}


def test_current_format_has_a_fixture() -> None:
    assert f"format-{manifest.FORMAT}" in FORMATS, "run tests/formats/make_fixture.py"


def test_frames_of_a_fixture_are_read_as_they_were_stored(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]]
) -> None:
    assert cache.timelines() == sorted(expected)
    for timeline_id, frames in expected.items():
        timeline = cache.timeline(timeline_id)
        assert make_fixture.contents(timeline) == frames
        read = list(timeline.frames())
        assert [frame.timestamp for frame in read] == [frame["timestamp"] for frame in frames]
        assert {frame.image.shape for frame in read} == {(16, 32, 3)}
        assert (timeline.exists, timeline.complete) == (True, True)


def test_overlays_and_sprites_of_a_fixture_are_read(cache: FrameCache, folder: Path) -> None:
    stored = folder / "store" / "cache" / "timelines"
    [sheet] = (stored / "objects" / "sprites").rglob("*.jpg")
    [mask] = (stored / "written" / "overlays").rglob("*.png")
    overlays = cache.timeline("written").overlays(job_id="job", stage="edges")
    assert cache.timeline("objects").sprites().sheet(0) == sheet.read_bytes()
    assert overlays.load(1) == {"mask": mask.read_bytes()}
    assert overlays.stale() == []


@pytest.mark.parametrize("timeline_id", ["objects", "packs", "written", "frames-only"])
def test_fixture_is_verified_without_findings(cache: FrameCache, timeline_id: str) -> None:
    report = cache.timeline(timeline_id).verify()
    assert (report.ok, report.findings) == (True, ())


def test_extracting_the_same_chunks_again_stores_nothing(cache: FrameCache) -> None:
    objects = cache.timeline("objects").extract(make_fixture.urls("c0.mp4", "c1.mp4"))
    packs = cache.timeline("packs").extract(make_fixture.urls("c0.mp4"), every=2)
    assert (objects.chunks_cached, objects.chunks_extracted) == (2, 0)
    assert (packs.chunks_cached, packs.chunks_extracted) == (1, 0)


@pytest.mark.parametrize("timeline_id", EXTRACTED)
def test_chunk_is_appended_after_the_frames_of_a_fixture(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]], timeline_id: str
) -> None:
    video, added = EXTRACTED[timeline_id]
    before = expected[timeline_id]
    cache.timeline(timeline_id).append(make_fixture.urls(video)[0])
    after = make_fixture.contents(FrameCache(cache.url).timeline(timeline_id))
    assert after[: len(before)] == before
    assert [frame["sequence"] for frame in after] == [*range(len(before) + added)]
    assert after[len(before)]["timestamp"] > before[-1]["timestamp"]
    assert cache.timeline(timeline_id).verify().ok


def test_frames_are_written_and_replaced_beside_those_of_a_fixture(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]]
) -> None:
    written = cache.timeline("written")
    image = np.full((16, 32, 3), 70, np.uint8)
    written.write([Frame(3, 0, 0.3, image)])
    assert make_fixture.contents(written)[:3] == expected["written"]
    report = written.write([Frame(0, 0, 0.0, image)], on_conflict="replace")
    assert (report.replaced, report.stored) == (1, 0)
    assert make_fixture.contents(written)[1:3] == expected["written"][1:]
    assert written.verify().findings == ()


@pytest.mark.parametrize("timeline_id", EXTRACTED)
def test_damage_in_a_fixture_is_repaired_from_its_chunks(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]], timeline_id: str
) -> None:
    timeline = cache.timeline(timeline_id)
    cache.store.put(timeline.index.row(0).key, b"")
    assert not timeline.verify().ok
    assert timeline.verify(repair=True).ok
    after = make_fixture.contents(timeline)
    assert [frame["timestamp"] for frame in after] == [
        frame["timestamp"] for frame in expected[timeline_id]
    ]


@pytest.mark.parametrize("timeline_id", EXTRACTED)
def test_fixture_is_repacked_and_rebuilt_with_the_same_numbers(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]], timeline_id: str
) -> None:
    timeline = cache.timeline(timeline_id)
    timeline.repack("packs" if timeline_id == "objects" else "objects")
    assert make_fixture.contents(timeline) == expected[timeline_id]
    timeline.rebuild()
    kept = ("sequence", "chunk_id", "timestamp")
    after = make_fixture.contents(timeline)
    assert [[one[name] for name in kept] for one in after] == [
        [one[name] for name in kept] for one in expected[timeline_id]
    ]


def test_garbage_collection_keeps_every_blob_that_a_fixture_needs(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]]
) -> None:
    cache.plan_gc(grace_seconds=0).execute()
    for timeline_id, frames in expected.items():
        assert make_fixture.contents(cache.timeline(timeline_id)) == frames


def test_current_release_writes_every_entry_and_column_of_a_fixture(
    cache: FrameCache, tmp_path: Path
) -> None:
    """Releases that wrote the fixture need them to read what today's code stores."""
    today = FrameCache(tmp_path / "today")
    make_fixture.fill(today)
    for timeline_id in ("objects", "packs", "written"):
        older, newer = (entries(one, timeline_id) for one in (cache, today))
        assert older <= newer


def entries(cache: FrameCache, timeline_id: str) -> set[str]:
    """The names of all entries of the current manifest, and of the columns of the first part."""
    prefix = f"cache/timelines/{timeline_id}"
    current = max(blob.key for blob in cache.store.list(f"{prefix}/timeline"))
    parts = sorted(blob.key for blob in cache.store.list(f"{prefix}/index"))
    names = names_in(json.loads(cache.store.get(current)))
    part = pq.read_schema(Path(cache.url.removeprefix("file://")) / parts[0])
    return names | {f"{field.name}: {field.type}" for field in part}


def names_in(value: object, *, at: str = "") -> set[str]:
    if isinstance(value, dict) and at != "/generations":  # whose names are those of parts
        inner = [names_in(held, at=f"{at}/{name}") for name, held in value.items()]
        return {f"{at}/{name}" for name in value}.union(*inner)
    if isinstance(value, list):
        return set().union(*(names_in(held, at=f"{at}[]") for held in value))
    return set()


def test_unknown_manifest_entries_of_the_same_format_are_ignored(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]]
) -> None:
    store = Path(cache.url.removeprefix("file://"))
    change_manifest(store, "objects", entry_of_a_later_release={"any": ["value"]})
    assert make_fixture.contents(cache.timeline("objects")) == expected["objects"]


def test_unknown_index_columns_of_the_same_format_are_ignored(
    cache: FrameCache, expected: dict[str, list[dict[str, Any]]]
) -> None:
    for part in [blob.key for blob in cache.store.list("cache/timelines/packs/index")]:
        table = pq.read_table(io.BytesIO(cache.store.get(part)))
        wider = table.append_column("later", pa.array([1.5] * len(table)))
        body = io.BytesIO()
        pq.write_table(wider, body)
        cache.store.put(part, parquet.add_checksum(body.getvalue()))
    assert make_fixture.contents(cache.timeline("packs")) == expected["packs"]


@pytest.mark.parametrize("timeline_id", ["objects", "packs", "written"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda timeline: timeline.exists, id="exists"),
        pytest.param(lambda timeline: timeline.index, id="index"),
        pytest.param(lambda timeline: timeline.frame(0), id="frame"),
        pytest.param(lambda timeline: list(timeline.frames()), id="frames"),
        pytest.param(lambda timeline: timeline.info(), id="info"),
        pytest.param(lambda timeline: timeline.sprites().sheet(0), id="sprites"),
        pytest.param(lambda timeline: timeline.verify(), id="verify"),
        pytest.param(lambda timeline: timeline.verify(repair=True), id="repair"),
        pytest.param(lambda timeline: timeline.extract(__file__), id="extract"),
        pytest.param(lambda timeline: timeline.append(__file__), id="append"),
        pytest.param(lambda timeline: timeline.rebuild(), id="rebuild"),
        pytest.param(lambda timeline: timeline.write([a_frame()]), id="write"),
        pytest.param(lambda timeline: timeline.repack("packs"), id="repack to packs"),
        pytest.param(lambda timeline: timeline.repack("objects"), id="repack to objects"),
        pytest.param(lambda timeline: timeline.clear(), id="clear"),
        pytest.param(lambda timeline: timeline.delete(), id="delete"),
    ],
)
def test_newer_format_is_refused_and_nothing_changes(
    newer: FrameCache, timeline_id: str, call: Call
) -> None:
    before = files(newer)
    with pytest.raises(SettingsConflict) as caught:
        call(newer.timeline(timeline_id))
    assert_names_both_versions(caught.value)
    assert files(newer) == before


def test_tables_and_plain_functions_refuse_a_newer_format(
    newer: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", newer.url)
    calls: list[Callable[[], object]] = [
        newer.frames_table,
        lambda: functional.cache_exists("objects"),
        lambda: functional.load_cached_frames("objects"),
        lambda: functional.cache_frames("objects", [a_frame()]),
        lambda: functional.clear_cache("objects"),
    ]
    for call in calls:
        with pytest.raises(SettingsConflict) as caught:
            call()
        assert_names_both_versions(caught.value)


def test_garbage_collection_removes_nothing_of_a_newer_format(newer: FrameCache) -> None:
    before = files(newer)
    plan = newer.plan_gc(grace_seconds=0, max_age_seconds=0)
    assert sorted(plan.unreadable) == ["objects", "packs", "written"]
    report = plan.execute()
    assert all(report.removed[reason].blobs == 0 for reason in Reason)
    assert files(newer) == before


def a_frame() -> Frame:
    return Frame(0, 0, 0.0, np.zeros((16, 32, 3), np.uint8))


def assert_names_both_versions(error: SettingsConflict) -> None:
    text = str(error)
    assert f"format {manifest.FORMAT + 1}" in text
    assert f"({manifest.FORMAT})" in text
    assert "upgrade framecache" in text
