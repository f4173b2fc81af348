"""Extraction of real clips, compared with ffprobe."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import clips
import google_crc32c
import imagehash
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clips import Shown
from PIL import Image as Pillow

import framecache._media.video
from framecache import (
    Chunk,
    ChunkChanged,
    CorruptFrame,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    NotCached,
    Progress,
    SettingsConflict,
    StoreFull,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    UndecodableFrame,
    UnreadableChunk,
)
from framecache._media import video
from framecache.functional import cache_exists, load_cached_frames, load_cached_frames_b64
from framecache.testing import HookedStore, fail_from_nth
from outside import (
    everything,
    frame,
    frames_of,
    jpeg_by_pillow,
    library_threads,
    outside,
    pixels_by_pillow,
    png_by_pillow,
)

PREFIX = "cache/timelines/t/"


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    """The three chunks, as files that a test may change."""
    return [clips.copy_to(path, tmp_path / "chunks") for path in clips.chunks()]


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


def rows(url: str, timeline_id: str = "t") -> list[dict[str, Any]]:
    """Return the index without the values that differ between timelines."""
    found = timeline(url, timeline_id).index.to_arrow().to_pylist()
    return [row | {"key": row["key"].replace(f"/{timeline_id}/", "/-/")} for row in found]


def assert_shows(url: str, expected: Sequence[Shown], paths: Sequence[Path]) -> None:
    """Require the expected frames: numbers, times and pictures."""
    t = timeline(url)
    index = t.index
    assert t.complete
    assert index.sequence.tolist() == list(range(len(expected)))
    assert index.chunk_id.tolist() == [one.chunk_id for one in expected]
    assert index.pts.tolist() == [one.pts for one in expected]
    assert index.timestamp.tolist() == [float(one.start) for one in expected]
    assert index.duration.tolist() == [float(one.end - one.start) for one in expected]
    read = list(t.frames())
    assert [(f.sequence, f.timestamp) for f in read] == [
        (n, float(one.start)) for n, one in enumerate(expected)
    ]
    looks = [clips.nearest(f.image, paths[f.chunk_id]) for f in read]
    assert looks == [one.position for one in expected]


# Frames and times


@pytest.mark.every_store
def test_all_frames_of_several_chunks_are_cached(store_url: str) -> None:
    paths = clips.chunks()
    report = timeline(store_url).extract(paths)
    expected = clips.timeline_of(paths)
    assert len(paths) == 3
    assert len(expected) == 45
    assert_shows(store_url, expected, paths)
    stored = frames_of(outside(store_url), "t")
    assert set(stored) == {f"{n}.jpg" for n in range(45)}
    assert report.timeline_id == "t"
    assert (report.chunks_extracted, report.chunks_cached) == (3, 0)
    assert (report.frames_extracted, report.frames_undecodable, report.frame_count) == (45, 0, 45)
    assert report.bytes_stored == sum(map(len, stored.values()))


def test_extraction_encodes_and_hashes_without_rgb(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("went through RGB")

    monkeypatch.setattr("framecache._media.jpeg.encode_rgb", refuse)
    monkeypatch.setattr("framecache._media.phash.hash_from_rgb", refuse)
    assert timeline(url).extract(clips.chunks()).frame_count == 45
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(45)}
    # Frames given as RGB are stored by the encoder that this test watches.
    with pytest.raises(AssertionError, match="went through RGB"):
        timeline(url, "w").write([frame(0)])


def test_chunks_cut_at_keyframes_show_the_frames_of_the_whole_clip(url: str) -> None:
    timeline(url).extract(clips.chunks())
    whole = clips.timeline_of([clips.clip()])
    assert timeline(url).index.timestamp.tolist() == [float(one.start) for one in whole]
    looks = [clips.nearest(f.image, clips.clip()) for f in timeline(url).frames()]
    assert looks == list(range(45))


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (5, Fraction(5)),
        (1, Fraction(1)),
        (0.5, Fraction(1, 2)),
        (7.3, Fraction(73, 10)),
        ("30000/1001", Fraction(30000, 1001)),
        (Fraction(25, 3), Fraction(25, 3)),
        (25, Fraction(25)),
        (1000, Fraction(1000)),
    ],
    ids=str,
)
def test_fps_takes_frame_on_screen_at_each_instant(
    url: str, fps: float | str | Fraction, rate: Fraction
) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths, fps=fps)
    expected = clips.at_rate(clips.timeline_of(paths), rate)
    assert len(expected) == min(45, math.ceil(Fraction(45, 25) * rate))
    assert_shows(url, expected, paths)


@pytest.mark.parametrize("every", [1, 2, 7, 20, 44, 45, 1000])
def test_every_nth_frame_counts_across_chunks(url: str, every: int) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths, every=every)
    assert_shows(url, clips.timeline_of(paths)[::every], paths)


def test_keyframes_equal_those_marked_by_ffprobe(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths, keyframes=True)
    expected = [one for one in clips.timeline_of(paths) if one.key]
    assert len(expected) == 5
    assert_shows(url, expected, paths)


def test_chunks_of_different_rates_and_containers_form_one_timeline(url: str) -> None:
    paths = [
        clips.clip(frames=7, rate="30000/1001", keyframe_every=5),
        clips.clip(frames=12, rate="25", keyframe_every=5, kind="mkv"),
        clips.clip(frames=9, rate="24000/1001", keyframe_every=5, kind="ts"),
        clips.clip(frames=7, rate="30000/1001", keyframe_every=5),
    ]
    timeline(url).extract(paths)
    assert_shows(url, clips.timeline_of(paths), paths)


@pytest.mark.parametrize("fps", [None, 10], ids=["every frame", "a rate"])
def test_timestamps_do_not_drift_over_many_chunks(url: str, fps: int | None) -> None:
    path = clips.clip(frames=7, rate="30000/1001", keyframe_every=5)
    timeline(url).extract([path] * 60, fps=fps, quality=10)
    whole = clips.timeline_of([path] * 60)
    # In fractions, every frame is exactly k · 1001/30000 s from the start.
    assert [one.start for one in whole] == [Fraction(1001 * k, 30000) for k in range(420)]
    expected = clips.at_rate(whole, Fraction(fps)) if fps else whole
    assert timeline(url).index.timestamp.tolist() == [float(one.start) for one in expected]


def test_frame_at_returns_frame_on_screen(url: str) -> None:
    paths = clips.chunks()
    t = timeline(url)
    t.extract(paths)
    for n, one in enumerate(clips.timeline_of(paths)):
        assert t.frame_at(float(one.start)).sequence == n
        assert t.frame_at(float((one.start + one.end) / 2)).sequence == n
    with pytest.raises(NotCached):
        t.frame_at(45 / 25)
    with pytest.raises(NotCached):
        t.frame_at(-0.01)


def test_frame_at_on_sampled_timeline_returns_last_sampled_frame(url: str) -> None:
    t = timeline(url)
    t.extract(clips.chunks(), every=10)
    assert [t.frame_at(k / 25).sequence for k in range(45)] == [k // 10 for k in range(45)]


# Sources of chunks


def test_chunk_may_be_a_path_a_string_or_a_file_url(url: str, own: list[Path]) -> None:
    given: list[Path | str] = [own[0], str(own[1]), own[2].as_uri()]
    timeline(url).extract(given)
    assert_shows(url, clips.timeline_of(own), own)
    assert timeline(url).extract(own).chunks_cached == 3


def test_single_chunk_needs_no_list(url: str) -> None:
    paths = clips.chunks()
    timeline(url, "a").extract(paths[0])
    timeline(url, "b").extract(str(paths[0]))
    timeline(url, "c").extract(Chunk(str(paths[0])))
    assert rows(url, "a") == rows(url, "b") == rows(url, "c")
    assert len(rows(url, "a")) == 20


def test_chunks_may_come_from_a_generator(url: str) -> None:
    assert timeline(url).extract(path for path in clips.chunks()).frame_count == 45


@pytest.mark.parametrize(
    "kind", ["memory", "s3", pytest.param("ceph", marks=pytest.mark.ceph), "local"]
)
def test_chunks_of_any_store_give_the_same_frames(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = str(request.getfixturevalue(f"{kind}_url"))
    for path in clips.chunks():
        outside(source).put(f"videos/{path.name}", path.read_bytes())
    folder = str(tmp_path / "cache")
    urls = [f"{source}/videos/{path.name}" for path in clips.chunks()]
    timeline(folder).extract(urls)
    timeline(folder, "u").extract(clips.chunks())
    assert frames_of(outside(folder), "t") == frames_of(outside(folder), "u")
    assert rows(folder) == rows(folder, "u")
    assert [chunk.url.removeprefix("file://") for chunk in timeline(folder).info().chunks] == urls


@pytest.mark.parametrize(
    "name", ["a b.mp4", "50%.mp4", "a#1.mp4", "a?b.mp4", "ä%20ü.mp4", "%41.mp4"]
)
def test_local_chunk_may_have_any_name(url: str, tmp_path: Path, name: str) -> None:
    path = clips.copy_to(clips.chunks()[1], tmp_path / "odd names", name)
    assert timeline(url).extract(path).frame_count == 10
    assert timeline(url).extract(path.as_uri()).chunks_cached == 1
    assert timeline(url).rebuild().chunks_extracted == 1


def test_relative_path_resolves_from_another_working_directory(
    url: str, own: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own[0].parent)
    timeline(url).extract([own[0].name, Path(own[1].name)])
    monkeypatch.chdir("/")
    assert timeline(url).rebuild().frame_count == 30


# Independence of the number of workers and calls


@pytest.mark.parametrize("settings", [{}, {"fps": 7.3}, {"every": 4}, {"keyframes": True}], ids=str)
def test_one_and_eight_workers_store_same_frames_and_rows(
    url: str, memory_url: str, settings: dict[str, Any]
) -> None:
    timeline(url).extract(clips.chunks(), workers=1, **settings)
    timeline(memory_url).extract(clips.chunks(), workers=8, **settings)
    assert frames_of(outside(url), "t") == frames_of(outside(memory_url), "t")
    assert rows(url) == rows(memory_url)


def test_append_chunk_by_chunk_equals_one_extraction(store_url: str) -> None:
    paths = clips.chunks()
    t = timeline(store_url, "grown")
    t.extract(paths[0], fps=10)
    for path in paths[1:]:
        report = t.append(path)
        assert (report.chunks_extracted, report.chunks_cached) == (1, 0)
    timeline(store_url, "whole").extract(paths, fps=10)
    blobs = outside(store_url)
    assert frames_of(blobs, "grown") == frames_of(blobs, "whole")
    assert rows(store_url, "grown") == rows(store_url, "whole")
    grown, whole = (timeline(store_url, name).info() for name in ("grown", "whole"))
    assert grown.chunks == whole.chunks
    assert grown.complete


def test_append_of_many_chunks_one_by_one_has_exact_times(url: str) -> None:
    path = clips.clip(frames=7, rate="30000/1001", keyframe_every=5)
    t = timeline(url)
    for n in range(20):
        t.append(clips.copy_to(path, Path(url).parent / "chunks", f"{n}.mp4"))
    expected = clips.timeline_of([path] * 20)
    assert t.index.timestamp.tolist() == [float(one.start) for one in expected]
    assert len(list(timeline(url).frames())) == 140


def test_append_to_new_timeline_extracts_every_frame(url: str) -> None:
    assert timeline(url).append(clips.chunks()[:2]).frame_count == 30
    assert_shows(url, clips.timeline_of(clips.chunks()[:2]), clips.chunks())


def test_append_of_cached_chunk_changes_nothing(store_url: str) -> None:
    paths = clips.chunks()
    t = timeline(store_url)
    t.extract(paths[:2])
    t.append(paths[2])
    before = everything(outside(store_url))
    report = timeline(store_url).append(paths[2])
    assert (report.chunks_extracted, report.chunks_cached, report.frames_extracted) == (0, 1, 0)
    assert everything(outside(store_url)) == before


def test_append_of_partly_cached_chunks_adds_the_missing_ones(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths[:2])
    report = timeline(url).append(paths)
    assert (report.chunks_extracted, report.chunks_cached, report.frame_count) == (1, 2, 45)
    assert_shows(url, clips.timeline_of(paths), paths)


def test_files_of_same_size_and_mtime_are_separate_chunks(url: str, own: list[Path]) -> None:
    # A recorder with a constant bit rate and an archive produce such files.
    size_bytes = max(path.stat().st_size for path in own) + 100
    for path in own:
        clips.grow(path, to_bytes=size_bytes)
        clips.set_time(path, 1_700_000_000_000_000_000)
    timeline(url).extract(own[0])
    for path in own[1:]:
        timeline(url).append(path)
    assert_shows(url, clips.timeline_of(own), own)


def test_repeated_extraction_decodes_and_changes_nothing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline(store_url).extract(clips.chunks(), fps=5)
    before = everything(outside(store_url))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a chunk was read again")

    monkeypatch.setattr(video, "scan", fail)
    monkeypatch.setattr(video, "decode", fail)
    report = timeline(store_url).extract(clips.chunks(), fps=5)
    assert (report.chunks_extracted, report.chunks_cached) == (0, 3)
    assert (report.frames_extracted, report.bytes_stored, report.frame_count) == (0, 0, 9)
    assert everything(outside(store_url)) == before


def test_extraction_of_first_chunks_again_changes_nothing(url: str) -> None:
    timeline(url).extract(clips.chunks())
    before = everything(outside(url))
    report = timeline(url).extract(clips.chunks()[:1])
    assert (report.chunks_extracted, report.chunks_cached, report.frame_count) == (0, 1, 45)
    assert everything(outside(url)) == before


def test_extraction_of_more_chunks_extends_timeline(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths[:1])
    report = timeline(url).extract(paths)
    assert (report.chunks_extracted, report.chunks_cached) == (2, 1)
    assert_shows(url, clips.timeline_of(paths), paths)


@pytest.mark.every_store
def test_concurrent_extractions_all_succeed(store_url: str) -> None:
    paths = clips.chunks()

    def extract(_: int) -> int:
        return timeline(store_url).extract(paths, every=3, workers=2).frame_count

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(extract, range(3))) == [15, 15, 15]
    assert_shows(store_url, clips.timeline_of(paths)[::3], paths)


def test_extraction_finished_by_another_program_succeeds(url: str) -> None:
    paths = clips.chunks()

    def commit_first(action: str, key: str) -> None:
        if (action, key) == ("list", f"{PREFIX}frames/"):
            timeline(url).extract(paths)

    store = HookedStore(FrameCache(url).store, before=commit_first)
    assert Timeline(store, "t").extract(paths).frame_count == 45
    assert_shows(url, clips.timeline_of(paths), paths)


def test_concurrent_appends_of_different_chunks_all_succeed(url: str) -> None:
    paths = clips.chunks()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda path: timeline(url).append(path), paths))
    order = [Path(chunk.url.removeprefix("file://")) for chunk in timeline(url).info().chunks]
    assert sorted(order) == paths
    assert_shows(url, clips.timeline_of(order), order)


# Conflicts with other settings, chunks and frames


@pytest.mark.parametrize(
    ("cached", "asked", "said"),
    [
        ({"fps": 5}, {"fps": 10}, "5 fps.*10 fps"),
        ({"fps": 5}, {}, "5 fps.*every frame"),
        ({}, {"every": 3}, "every frame.*every 3 frames"),
        ({}, {"keyframes": True}, "every frame.*keyframes"),
        ({}, {"quality": 60}, "85.*60"),
    ],
    ids=str,
)
def test_different_settings_conflict_and_error_names_both(
    url: str, cached: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    path = clips.chunks()[1]
    timeline(url).extract(path, **cached)
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=rf"timeline t .*{said}.*rebuild"):
        timeline(url).extract(path, **asked)
    assert everything(outside(url)) == before


def test_different_chunks_conflict_and_error_names_both(url: str) -> None:
    one, two, three = clips.chunks()
    timeline(url).extract([one, two])
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=rf"timeline t .*{two.name}.*{three.name}"):
        timeline(url).extract([one, three])
    assert everything(outside(url)) == before


def test_clear_allows_different_settings(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths, fps=5)
    timeline(url).clear()
    timeline(url).extract(paths, every=9, quality=60)
    assert_shows(url, clips.timeline_of(paths)[::9], paths)
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(5)}


def test_clear_allows_different_chunks(url: str) -> None:
    timeline(url).extract(clips.chunks())
    timeline(url).clear()
    timeline(url).extract(clips.chunks()[1:])
    assert_shows(url, clips.timeline_of(clips.chunks()[1:]), clips.chunks()[1:])


@pytest.mark.parametrize("call", ["extract", "append"])
def test_extraction_on_written_timeline_conflicts(url: str, call: str) -> None:
    timeline(url).write([frame(0)])
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=r"timeline t .*clear"):
        getattr(timeline(url), call)(clips.chunks())
    assert everything(outside(url)) == before


def test_write_on_extracted_timeline_conflicts(url: str) -> None:
    timeline(url).extract(clips.chunks()[1])
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match="timeline t "):
        timeline(url).write([frame(100)])
    assert everything(outside(url)) == before


@pytest.mark.parametrize("call", ["extract", "append"])
def test_extraction_next_to_foreign_frames_conflicts(url: str, call: str) -> None:
    outside(url).put(f"{PREFIX}frames/0.jpg", jpeg_by_pillow(1))
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=r"timeline t .*another program"):
        getattr(timeline(url), call)(clips.chunks())
    assert everything(outside(url)) == before


def test_extraction_next_to_foreign_file_succeeds(url: str) -> None:
    outside(url).put(f"{PREFIX}frames/notes.txt", b"labels by hand")
    assert timeline(url).extract(clips.chunks()[1]).frame_count == 10
    assert outside(url).read(f"{PREFIX}frames/notes.txt") == b"labels by hand"


def test_extraction_after_clear_of_written_frames_succeeds(url: str) -> None:
    timeline(url).write([frame(n) for n in range(99)])
    timeline(url).clear()
    timeline(url).extract(clips.chunks())
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(45)}


def test_extraction_after_failed_write_keeps_no_written_frames(url: str) -> None:
    def produce() -> Iterator[Any]:
        yield from (frame(n) for n in range(60))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        timeline(url).write(produce())
    timeline(url).extract(clips.chunks())
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(45)}


def test_extraction_after_failed_one_keeps_none_of_its_frames(url: str) -> None:
    hook = fail_from_nth(StoreFull("no room"), action="put", nth=19, within="/frames/")
    store = HookedStore(FrameCache(url).store, before=hook)
    with pytest.raises(StoreFull):
        Timeline(store, "t").extract(clips.chunks(), workers=1)
    assert not timeline(url).exists
    timeline(url).extract(clips.chunks(), every=9)
    assert_shows(url, clips.timeline_of(clips.chunks())[::9], clips.chunks())
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(5)}


# Chunks that changed


def test_changed_chunk_is_rejected_and_nothing_is_lost(url: str, own: list[Path]) -> None:
    timeline(url).extract(own)
    before = everything(outside(url))
    clips.copy_to(clips.clip(), own[0].parent, own[1].name)
    with pytest.raises(ChunkChanged, match=rf"chunk 1 of timeline t .*{own[1].name}.*rebuild"):
        timeline(url).extract(own)
    assert everything(outside(url)) == before
    assert len(list(timeline(url).frames())) == 45


@pytest.mark.parametrize("kind", ["memory", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_changed_object_is_rejected(
    kind: str, request: pytest.FixtureRequest, local_url: str
) -> None:
    source = str(request.getfixturevalue(f"{kind}_url"))
    data = clips.chunks()[1].read_bytes()
    outside(source).put("c.mp4", data)
    timeline(local_url).extract(f"{source}/c.mp4")
    outside(source).put("c.mp4", data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ChunkChanged, match=r"c\.mp4.*rebuild"):
        timeline(local_url).extract(f"{source}/c.mp4")
    assert len(list(timeline(local_url).frames())) == 10


def test_changed_chunk_is_not_appended_as_new_chunk(url: str, own: list[Path]) -> None:
    timeline(url).extract(own[:1])
    timeline(url).append(own[1])
    before = everything(outside(url))
    clips.copy_to(clips.clip(), own[0].parent, own[1].name)
    with pytest.raises(ChunkChanged, match=own[1].name):
        timeline(url).append(own[1])
    assert everything(outside(url)) == before


def test_rebuild_extracts_changed_chunk(url: str, own: list[Path]) -> None:
    timeline(url).extract(own)
    clips.copy_to(clips.clip(), own[0].parent, own[1].name)
    timeline(url).rebuild()
    assert_shows(url, clips.timeline_of(own), own)
    assert timeline(url).extract(own).chunks_cached == 3


def test_chunk_changed_between_planning_and_decoding_is_rejected(url: str, own: list[Path]) -> None:
    def change(action: str, key: str) -> None:
        if action == "create" and "/timeline/" in key:
            clips.copy_to(clips.clip(), own[0].parent, own[1].name)

    store = HookedStore(FrameCache(url).store, after=change)
    with pytest.raises(ChunkChanged, match=own[1].name):
        Timeline(store, "t").extract(own, workers=1)
    assert 1 not in timeline(url).index.chunk_id
    assert not timeline(url).complete
    assert library_threads() == set()


# Rebuilding, clearing, deleting


@pytest.mark.parametrize(
    ("settings", "sample"),
    [
        ({}, lambda shown: clips.at_rate(shown, Fraction(5))),
        ({"fps": 10}, lambda shown: clips.at_rate(shown, Fraction(10))),
        ({"every": 20}, lambda shown: shown[::20]),
        ({"every": 1}, lambda shown: shown),
        ({"keyframes": True}, lambda shown: [one for one in shown if one.key]),
        ({"quality": 40}, lambda shown: clips.at_rate(shown, Fraction(5))),
    ],
    ids=["as it was", "fps", "every", "every frame", "keyframes", "quality"],
)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["cached", "cleared"])
def test_rebuild_applies_given_settings_and_keeps_the_others(
    url: str,
    settings: dict[str, Any],
    sample: Callable[[Sequence[Shown]], Sequence[Shown]],
    *,
    is_cleared: bool,
) -> None:
    paths = clips.chunks()
    timeline(url).extract(paths, fps=5)
    before = frames_of(outside(url), "t")
    if is_cleared:
        timeline(url).clear()
    report = timeline(url).rebuild(**settings)
    expected = sample(clips.timeline_of(paths))
    assert (report.chunks_extracted, report.frame_count) == (3, len(expected))
    assert_shows(url, expected, paths)
    after = frames_of(outside(url), "t")
    assert set(after) == {f"{n}.jpg" for n in range(len(expected))}
    assert (after == before) == (settings == {})
    assert (sum(map(len, after.values())) < sum(map(len, before.values()))) or settings != {
        "quality": 40
    }


def test_rebuilt_timeline_is_cached_with_its_new_settings(url: str) -> None:
    timeline(url).extract(clips.chunks(), fps=5, quality=70)
    timeline(url).rebuild(every=9)
    report = timeline(url).extract(clips.chunks(), every=9, quality=70)
    assert (report.chunks_extracted, report.chunks_cached) == (0, 3)
    with pytest.raises(SettingsConflict):
        timeline(url).extract(clips.chunks(), fps=5, quality=70)


def test_rebuild_leaves_one_epoch_in_store(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks(), every=9)
    timeline(store_url).rebuild()
    keys = outside(store_url).list(f"{PREFIX}index/")
    assert {key.removeprefix(f"{PREFIX}index/").split("/")[0] for key in keys} == {
        timeline(store_url).info().epoch
    }


def test_rebuild_keeps_overlays(url: str) -> None:
    timeline(url).extract(clips.chunks()[1])
    overlays = timeline(url).overlays(job_id="j", stage="s")
    png = png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)
    overlays.save(3, {"o": png})
    timeline(url).rebuild(every=5)
    assert overlays.load(3) == {"o": png}


def test_rebuild_with_missing_chunk_changes_nothing(url: str, own: list[Path]) -> None:
    timeline(url).extract(own)
    before = everything(outside(url))
    own[2].unlink()
    with pytest.raises(UnreadableChunk, match=own[2].name):
        timeline(url).rebuild()
    assert everything(outside(url)) == before
    assert len(list(timeline(url).frames())) == 45


@pytest.mark.parametrize("settings", [{}, {"fps": 5}, {"quality": 50}], ids=str)
def test_rebuild_without_chunks_in_manifest_raises_not_cached(
    url: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(NotCached, match=r"timeline t .*extract"):
        timeline(url).rebuild(**settings)
    assert outside(url).list() == []
    timeline(url).write([frame(0)])
    with pytest.raises(NotCached, match=r"timeline t .*extract"):
        timeline(url).rebuild(**settings)
    assert len(timeline(url)) == 1


def test_clear_removes_frames_and_index_and_keeps_the_rest(store_url: str) -> None:
    t = timeline(store_url)
    t.extract(clips.chunks(), every=9)
    t.overlays(job_id="j", stage="s").save(
        3, {"o": png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)}
    )
    frames_size_bytes = sum(map(len, frames_of(outside(store_url), "t").values()))
    removed = t.clear()
    assert removed.blobs >= 5
    assert removed.size_bytes >= frames_size_bytes
    kept = outside(store_url).list(PREFIX)
    assert all(key.startswith((f"{PREFIX}timeline/", f"{PREFIX}overlays/")) for key in kept)
    assert f"{PREFIX}overlays/j/s/3_o.png" in kept
    for handle in (t, timeline(store_url)):
        info = handle.info()
        assert (info.exists, info.complete, info.frame_count) == (False, False, 0)
        assert len(info.chunks) == 3
        assert info.frames_described == 5


def test_second_clear_changes_nothing(url: str) -> None:
    timeline(url).extract(clips.chunks()[1])
    timeline(url).clear()
    timeline(url).clear()
    assert timeline(url).rebuild().frame_count == 10


@pytest.mark.every_store
def test_delete_removes_whole_timeline_and_no_other(store_url: str, own: list[Path]) -> None:
    for name in ("t", "t2"):
        timeline(store_url, name).extract(own, every=9)
        timeline(store_url, name).overlays(job_id="j", stage="s").save(
            0, {"o": png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)}
        )
    blobs = everything(outside(store_url))
    removed = timeline(store_url).delete()
    assert removed.blobs >= len([key for key in blobs if key.startswith(PREFIX)])
    left = {key: data for key, data in blobs.items() if not key.startswith(PREFIX)}
    assert everything(outside(store_url)) == left
    assert FrameCache(store_url).timelines() == ["t2"]
    assert [path.read_bytes() for path in own] == [p.read_bytes() for p in clips.chunks()]


def test_deleted_timeline_can_be_extracted_again(url: str) -> None:
    timeline(url).extract(clips.chunks(), fps=5)
    timeline(url).delete()
    timeline(url).delete()
    with pytest.raises(NotCached):
        timeline(url).rebuild()
    timeline(url).extract(clips.chunks()[1:])
    assert_shows(url, clips.timeline_of(clips.chunks()[1:]), clips.chunks()[1:])


# Progress


@pytest.mark.parametrize("workers", [1, 8])
def test_progress_grows_to_its_total(url: str, workers: int) -> None:
    reports: list[Progress] = []
    timeline(url).extract(clips.chunks(), every=2, workers=workers, progress=reports.append)
    done = [one.frames_done for one in reports]
    assert {one.frames_total for one in reports} == {23}
    assert done == sorted(done)
    assert done[-1] == 23
    assert [one.segments_done for one in reports if one.segments_done][-1] == 3
    assert len(reports) == 23 + 3


def test_progress_callback_runs_in_one_thread_at_a_time(url: str) -> None:
    inside, is_serialized = Lock(), list[bool]()

    def progress(_: Progress) -> None:
        is_serialized.append(inside.acquire(blocking=False))
        inside.release()

    timeline(url).extract(clips.chunks(), workers=8, progress=progress)
    assert is_serialized == [True] * (45 + 3)


def test_progress_of_cached_chunks_is_complete(url: str) -> None:
    timeline(url).extract(clips.chunks())
    reports: list[Progress] = []
    timeline(url).extract(clips.chunks(), progress=reports.append)
    assert reports[-1] == Progress(45, 45, segments_done=3, segments_total=3)
    reports.clear()
    timeline(url).append(clips.chunks()[2], progress=reports.append)
    assert reports[-1] == Progress(15, 15, segments_done=1, segments_total=1)
    reports.clear()
    timeline(url).rebuild(every=9, progress=reports.append)
    assert reports[-1] == Progress(5, 5, segments_done=3, segments_total=3)


class StoppedByCallerError(Exception):
    """Error with which a caller's progress callback stops an extraction."""


def test_failing_progress_callback_stops_extraction(url: str) -> None:
    def progress(now: Progress) -> None:
        if now.frames_done == 3:
            raise StoppedByCallerError

    with pytest.raises(StoppedByCallerError):
        timeline(url).extract(clips.chunks(), progress=progress)
    assert library_threads() == set()
    assert not timeline(url).complete
    assert timeline(url).extract(clips.chunks()).frame_count == 45


# A chunk that ends in garbage


@pytest.fixture
def damaged(url: str) -> Timeline:
    """A timeline of one chunk of 45 frames, whose frames from 20 on are garbage."""
    t = timeline(url)
    report = t.extract(clips.ends_in_garbage())
    assert (report.frames_extracted, report.frames_undecodable) == (20, 25)
    assert report.frame_count == 45
    return t


def test_good_frames_before_garbage_are_kept(damaged: Timeline) -> None:
    expected = clips.timeline_of([clips.clip()])
    read = list(damaged.frames())
    assert [f.sequence for f in read] == damaged.sequences() == list(range(20))
    assert [f.timestamp for f in read] == [float(one.start) for one in expected[:20]]
    assert [clips.nearest(f.image, clips.clip()) for f in read] == list(range(20))
    assert damaged.exists
    assert damaged.complete


def test_frames_from_garbage_on_are_undecodable_with_reason(damaged: Timeline, url: str) -> None:
    index = damaged.index
    assert len(damaged) == 45
    assert index.status.tolist() == ["ok"] * 20 + ["undecodable"] * 25
    assert all(index.reason[20:])
    assert not any(index.reason[:20])
    expected = clips.timeline_of([clips.clip()])
    assert index.timestamp.tolist() == [float(one.start) for one in expected]
    assert set(frames_of(outside(url), "t")) == {f"{n}.jpg" for n in range(20)}
    info = damaged.info()
    assert (info.frame_count, info.frames_undecodable) == (45, 25)


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame(30),
        lambda t: t.frame_at(30 / 25),
        lambda t: t.sequence_at(30 / 25),
        lambda t: t.jpeg(30),
        lambda t: t.batch([0, 30]),
        lambda t: list(t.jpegs([0, 30])),
    ],
    ids=["frame", "frame_at", "sequence_at", "jpeg", "batch", "jpegs"],
)
def test_read_of_undecodable_frame_raises_its_reason(
    damaged: Timeline, read: Callable[[Timeline], object]
) -> None:
    with pytest.raises(UndecodableFrame) as raised:
        read(damaged)
    assert "frame 30 of timeline t" in str(raised.value)
    assert str(damaged.index.reason[30]) in str(raised.value)


def test_plain_functions_skip_undecodable_frames(
    damaged: Timeline, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", url)
    assert damaged.exists
    assert cache_exists("t")
    assert [f.sequence for f in load_cached_frames("t")] == list(range(20))
    assert [one["seq"] for one in load_cached_frames_b64("t")] == list(range(20))


def test_repeated_extraction_does_not_retry_garbage(damaged: Timeline, url: str) -> None:
    before = everything(outside(url))
    report = damaged.extract(clips.ends_in_garbage())
    assert (report.chunks_extracted, report.chunks_cached) == (0, 1)
    assert everything(outside(url)) == before


def test_chunk_after_garbage_keeps_its_times(url: str) -> None:
    paths = [clips.ends_in_garbage(), clips.chunks()[1]]
    timeline(url).extract(paths)
    sound = clips.timeline_of([clips.clip(), clips.chunks()[1]])
    assert timeline(url).index.timestamp.tolist() == [float(one.start) for one in sound]
    assert [f.sequence for f in timeline(url).frames()] == [*range(20), *range(45, 55)]


# Failing midway


@pytest.mark.parametrize(
    "error", [StoreFull("no room"), StorePermissionDenied("no"), StoreUnavailable("?")]
)
@pytest.mark.parametrize(("workers", "nth"), [(1, 1), (1, 25), (8, 25)])
def test_store_failure_midway_leaves_no_partial_chunk_visible(
    url: str, error: FrameCacheError, workers: int, nth: int
) -> None:
    hook = fail_from_nth(error, action="put", nth=nth, within="/frames/")
    store = HookedStore(FrameCache(url).store, before=hook)
    with pytest.raises(type(error)) as raised:
        Timeline(store, "t").extract(clips.chunks(), workers=workers)
    assert raised.value is error
    assert library_threads() == set()
    t = timeline(url)
    assert not t.complete
    whole = {0: range(20), 1: range(20, 30), 2: range(30, 45)}
    visible = [f.sequence for f in t.frames()]
    assert visible == [n for chunk_id in sorted(set(t.index.chunk_id)) for n in whole[chunk_id]]
    report = timeline(url).extract(clips.chunks())
    assert report.chunks_cached == len(set(t.index.chunk_id))
    assert report.chunks_extracted == 3 - report.chunks_cached
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())


@pytest.mark.parametrize("within", ["/index/", "/timeline/"])
def test_failed_commit_leaves_its_chunk_invisible(url: str, within: str) -> None:
    hook = fail_from_nth(StorePermissionDenied("no"), action="create", nth=1, within=within)
    store = HookedStore(FrameCache(url).store, before=hook)
    with pytest.raises(StorePermissionDenied):
        Timeline(store, "t").extract(clips.chunks())
    assert not timeline(url).exists
    assert list(timeline(url).frames()) == []
    timeline(url).extract(clips.chunks())
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())


def test_commit_with_lost_response_succeeds(url: str) -> None:
    lost = set[str]()

    def lose_first_answers(action: str, key: str) -> None:
        if action == "create" and key not in lost:
            lost.add(key)
            raise StoreUnavailable("the answer was lost")

    store = HookedStore(FrameCache(url).store, after=lose_first_answers)
    assert Timeline(store, "t").extract(clips.chunks()).chunks_extracted == 3
    assert len(lost) >= 4
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())


def test_frames_of_uncommitted_chunk_are_not_cached(
    url: str,
) -> None:
    hook = fail_from_nth(StorePermissionDenied("no"), action="create", nth=2, within="/index/")
    store = HookedStore(FrameCache(url).store, before=hook)
    with pytest.raises(StorePermissionDenied):
        Timeline(store, "t").extract(clips.chunks(), workers=1)
    t = timeline(url)
    assert t.index.sequence.tolist() == list(range(20))
    assert (t.exists, t.complete) == (True, False)
    assert t.frame_at(19 / 25).sequence == 19
    with pytest.raises(NotCached):
        t.frame(25)
    with pytest.raises(NotCached):
        t.frame_at(25 / 25)
    info = t.info()
    assert (info.chunks_cached, len(info.chunks)) == (1, 3)
    assert (info.frame_count, info.frames_described) == (20, 45)


@pytest.mark.parametrize("call", ["extract", "append"])
def test_missing_second_chunk_stores_nothing_and_can_be_added_later(
    url: str, own: list[Path], call: str
) -> None:
    own[1].unlink()
    with pytest.raises(UnreadableChunk, match=own[1].name):
        getattr(timeline(url), call)(own)
    assert outside(url).list() == []
    assert library_threads() == set()
    clips.copy_to(clips.chunks()[1], own[0].parent)
    getattr(timeline(url), call)(own)
    assert_shows(url, clips.timeline_of(own), own)


def test_append_of_bad_chunk_leaves_timeline_unchanged(url: str, own: list[Path]) -> None:
    timeline(url).extract(own[:2])
    before = everything(outside(url))
    own[2].write_bytes(b"this is no video" * 1000)
    with pytest.raises(UnreadableChunk, match=own[2].name):
        timeline(url).append(own[2])
    assert everything(outside(url)) == before
    assert timeline(url).complete


def test_clear_during_extraction_raises_timeline_cleared(url: str) -> None:
    cleared: list[str] = []

    def clear_once(action: str, key: str) -> None:
        if action == "put" and not cleared:
            cleared.append(key)
            timeline(url).clear()

    store = HookedStore(FrameCache(url).store, after=clear_once)
    with pytest.raises(TimelineCleared, match="timeline t "):
        Timeline(store, "t").extract(clips.chunks())
    assert not timeline(url).exists
    assert library_threads() == set()


def test_stale_reader_of_rebuilt_timeline_raises_timeline_cleared(url: str) -> None:
    timeline(url).extract(clips.chunks(), every=2)
    t = timeline(url)
    assert t.frame(0).sequence == 0
    timeline(url).rebuild(every=3)
    with pytest.raises(TimelineCleared):
        t.frame(5)
    assert clips.nearest(timeline(url).frame(5).image, clips.clip()) == 15


# Chunks that the caller places


def test_chunk_starts_at_given_start_seconds(url: str) -> None:
    paths = clips.chunks()
    starts = [None, Fraction("1.3"), None]
    timeline(url).extract([paths[0], Chunk(str(paths[1]), 1.3), paths[2]])
    assert_shows(url, clips.timeline_of(paths, starts), paths)


def test_first_chunk_may_start_after_zero(url: str) -> None:
    path = clips.chunks()[1]
    timeline(url).extract(Chunk(str(path), start_seconds=100))
    assert_shows(url, clips.timeline_of([path], [Fraction(100)]), [path])


@pytest.mark.parametrize("fps", [5, 0.7])
def test_fps_takes_no_frame_in_a_gap(url: str, fps: float) -> None:
    paths = clips.chunks()[:2]
    timeline(url).extract([paths[0], Chunk(str(paths[1]), 3.33)], fps=fps)
    shown = clips.timeline_of(paths, [None, Fraction("3.33")])
    assert_shows(url, clips.at_rate(shown, Fraction(str(fps))), paths)


@pytest.mark.parametrize("start_seconds", [1.3, 0.9, 2.3, 10 / 3])
def test_frame_at_in_gap_before_placed_chunk_raises_not_cached(
    url: str, start_seconds: float
) -> None:
    paths = clips.chunks()
    t = timeline(url)
    t.extract([paths[0], Chunk(str(paths[1]), start_seconds)])
    assert t.frame(20).timestamp == start_seconds
    assert t.frame_at(start_seconds).sequence == 20
    assert t.frame_at(0.79).sequence == 19
    with pytest.raises(NotCached):
        t.frame_at(0.85)
    with pytest.raises(NotCached):
        t.frame_at(start_seconds - 0.01)


def test_chunk_that_overlaps_previous_chunk_is_rejected(url: str) -> None:
    paths = clips.chunks()
    with pytest.raises(InvalidValue, match=rf"{paths[1].name}.*0\.79.*0\.8"):
        timeline(url).extract([paths[0], Chunk(str(paths[1]), 0.79)])
    assert outside(url).list() == []


def test_chunk_placed_at_end_of_previous_chunk_follows_it(url: str) -> None:
    paths = clips.chunks()
    timeline(url, "placed").extract([paths[0], Chunk(str(paths[1]), 0.8)])
    timeline(url, "followed").extract(paths[:2])
    assert rows(url, "placed") == rows(url, "followed")


def test_different_start_seconds_conflicts_and_error_names_both(url: str) -> None:
    paths = clips.chunks()
    timeline(url).extract([paths[0], Chunk(str(paths[1]), 1.5)])
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=r"chunk 1 of timeline t .*1\.5.*2\.5"):
        timeline(url).extract([paths[0], Chunk(str(paths[1]), 2.5)])
    assert everything(outside(url)) == before


def test_rebuild_keeps_given_start_seconds(url: str) -> None:
    paths = clips.chunks()
    starts = [None, Fraction("1.3"), None]
    timeline(url).extract([paths[0], Chunk(str(paths[1]), 1.3), paths[2]])
    timeline(url).clear()
    timeline(url).rebuild()
    assert_shows(url, clips.timeline_of(paths, starts), paths)


# Stored blobs


def test_index_rows_match_stored_frames(store_url: str) -> None:
    paths = clips.chunks()
    timeline(store_url).extract(paths, every=4)
    stored = frames_of(outside(store_url), "t")
    expected = clips.timeline_of(paths)[::4]
    for n, (row, one) in enumerate(zip(rows(store_url), expected, strict=True)):
        data = stored[f"{n}.jpg"]
        with_hash = imagehash.phash(Pillow.fromarray(pixels_by_pillow(data)))
        assert imagehash.hex_to_hash(row.pop("perceptual_hash")) - with_hash <= 4
        assert row == {
            "sequence": n,
            "chunk_id": one.chunk_id,
            "pts": one.pts,
            "timestamp": float(one.start),
            "duration": float(one.end - one.start),
            "width": clips.WIDTH,
            "height": clips.HEIGHT,
            "key": f"cache/timelines/-/frames/{n}.jpg",
            "offset": 0,
            "size": len(data),
            "crc32c": google_crc32c.value(data),
            "status": "ok",
            "reason": "",
            "quality": 0,
            "picture_since": "",
        }


def test_index_parts_are_plain_parquet_with_provenance(store_url: str) -> None:
    paths = clips.chunks()
    timeline(store_url).extract(paths, every=4)
    blobs = outside(store_url)
    epoch = timeline(store_url).info().epoch
    for chunk_id, chunk in enumerate(timeline(store_url).info().chunks):
        part = blobs.read(f"{PREFIX}index/{epoch}/{chunk_id:06d}-0.parquet")
        table = pq.read_table(pa.BufferReader(part))
        assert set(table["chunk_id"].to_pylist()) == {chunk_id}
        assert table["sequence"].to_pylist() == [
            row["sequence"] for row in rows(store_url) if row["chunk_id"] == chunk_id
        ]
        metadata = b" ".join((table.schema.metadata or {}).values()).decode()
        assert "write_id" in metadata
        for said in (
            str(epoch),
            chunk.etag,
            str(paths[chunk_id].stat().st_size),
            "85",
            framecache.__version__,
            video.ffmpeg_version(),
            "simplejpeg",
        ):
            assert said in metadata


def test_complete_timeline_of_several_chunks_opens_in_three_requests(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks(), every=4)
    store = HookedStore(FrameCache(store_url).store)
    assert len(Timeline(store, "t").index) == 12
    assert len(store.requests) <= 3
    epoch = timeline(store_url).info().epoch
    compacted = [
        key
        for key in outside(store_url).list(f"{PREFIX}index/{epoch}/")
        if "/_timeline-" in key and key.endswith(".compacted")
    ]
    assert len(compacted) == 1
    table = pq.read_table(pa.BufferReader(outside(store_url).read(compacted[0])))
    assert table["sequence"].to_pylist() == list(range(12))


def test_timeline_without_compacted_index_opens(url: str) -> None:
    timeline(url).extract(clips.chunks())
    blobs = outside(url)
    for key in blobs.list(f"{PREFIX}index/"):
        if "/_timeline-" in key:
            blobs.remove(key)
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1 and noise PAR1"])
def test_damaged_compacted_index_falls_back_to_index_parts(url: str, body: bytes) -> None:
    timeline(url).extract(clips.chunks())
    blobs = outside(url)
    *parts, compacted = blobs.list(f"{PREFIX}index/")
    assert "/_timeline-" in compacted
    blobs.put(compacted, body)
    store = HookedStore(FrameCache(url).store)
    assert len(Timeline(store, "t").index) == 45
    fetched = [key for action, key in store.requests if action == "get" and "/index/" in key]
    assert sorted(fetched) == sorted([*parts, compacted, compacted])
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())

    blobs.remove(parts[1])
    for read in (lambda: timeline(url).info(), lambda: timeline(url).frame(0)):
        with pytest.raises(CorruptFrame, match=r"/_timeline-.*framecache verify t --repair"):
            read()
    assert timeline(url).verify(repair=True).ok
    assert_shows(url, clips.timeline_of(clips.chunks()), clips.chunks())


def test_damaged_compacted_index_cleared_during_read_is_not_an_error(url: str) -> None:
    timeline(url).extract(clips.chunks())
    compacted = outside(url).list(f"{PREFIX}index/")[-1]
    outside(url).put(compacted, b"")
    cleared: list[str] = []

    def clear(action: str, key: str) -> None:
        if action == "get" and key == compacted and not cleared:
            cleared.append(key)
            timeline(url).clear()
            outside(url).put(compacted, b"")

    info = Timeline(HookedStore(FrameCache(url).store, before=clear), "t").info()
    assert (info.exists, len(info.chunks), cleared) == (False, 3, [compacted])


def test_manifest_records_chunks_sampling_and_settings(store_url: str, own: list[Path]) -> None:
    timeline(store_url).extract(own, fps="30000/1001", quality=77)
    blobs = outside(store_url)
    versions = blobs.list(f"{PREFIX}timeline/")
    names = [f"{PREFIX}timeline/{n:08d}.json" for n in range(1, len(versions) + 1)]
    assert versions == names
    document = json.loads(blobs.read(versions[-1]))
    assert document["format"] == 1
    assert document["timeline_id"] == "t"
    assert document["version"] == len(versions)
    assert document["epoch"] == timeline(store_url).info().epoch
    assert "30000/1001" in json.dumps(document["sampling"])
    assert document["jpeg"]["quality"] == 77
    assert document["layout"] == "objects"
    whole = clips.timeline_of(own)
    taken = clips.at_rate(whole, Fraction(30000, 1001))
    for chunk_id, (chunk, path) in enumerate(zip(document["chunks"], own, strict=True)):
        sequences = [n for n, one in enumerate(taken) if one.chunk_id == chunk_id]
        assert chunk["chunk_id"] == chunk_id
        assert chunk["url"] == path.as_uri()
        assert chunk["etag"]
        assert chunk["size_bytes"] == path.stat().st_size
        starts = [one.start for one in whole if one.chunk_id == chunk_id]
        assert Fraction(chunk["start"]) == starts[0]
        assert (chunk["first_sequence"], chunk["frame_count"]) == (sequences[0], len(sequences))


def test_info_reports_cached_chunks_frames_and_settings(url: str) -> None:
    timeline(url).extract(clips.chunks(), every=4)
    info = timeline(url).info()
    assert (info.exists, info.complete, info.chunks_cached, len(info.chunks)) == (True, True, 3, 3)
    assert (info.frame_count, info.frames_described, info.frames_undecodable) == (12, 12, 0)
    assert info.size_bytes == sum(map(len, frames_of(outside(url), "t").values()))
    assert (info.width, info.height) == (clips.WIDTH, clips.HEIGHT)
    assert info.duration_seconds == 45 / 25
    assert info.settings is not None
    assert info.settings.jpeg.quality == 85
    assert str(info.settings.sampling) == "every 4 frames"


def test_report_counts_only_the_changes(url: str) -> None:
    first = timeline(url).extract(clips.chunks(), every=4)
    again = timeline(url).extract(clips.chunks(), every=4)
    assert first.seconds > 0
    assert replace(again, seconds=0) == replace(
        first,
        chunks_extracted=0,
        chunks_cached=3,
        segments_extracted=0,
        segments_cached=3,
        frames_extracted=0,
        bytes_stored=0,
        seconds=0,
    )
