"""Forecasts of an extraction, without changes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import clips
import pytest

from framecache import (
    ChunkChanged,
    ExtractPlan,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    Timeline,
    UnreadableChunk,
)
from framecache.model import Layout
from framecache.testing import Action, HookedStore
from media import real_clip

HARMLESS = {"get", "head", "list"}
LAYOUTS: list[Layout] = ["objects", "packs"]


class Wrote(Exception):
    """A request that changes something."""


def looking(url: str) -> Timeline:
    """Return a timeline of a store that raises an error on every change."""

    def before(action: Action, key: str) -> None:
        if action not in HARMLESS:
            raise Wrote(action, key)

    return Timeline(HookedStore(FrameCache(url).store, before=before), "t")


def test_plan_stores_nothing_and_creates_no_folder(local_url: str) -> None:
    plan = FrameCache(local_url).timeline("t").plan_extract(clips.chunks())
    assert plan.frames_to_extract == 45
    assert not Path(local_url).exists()


def test_plan_changes_nothing_in_any_state_of_timeline(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    looking(store_url).plan_extract(clips.chunks())
    timeline.extract(clips.chunks()[:2])
    looking(store_url).plan_extract(clips.chunks())
    looking(store_url).plan_append(clips.chunks()[2])
    timeline.clear()
    looking(store_url).plan_extract(clips.chunks(), every=5)


@pytest.mark.parametrize("sampled", [{}, {"fps": 5}, {"every": 7}, {"keyframes": True}], ids=str)
def test_plan_matches_frames_and_chunks_of_extraction(
    sampled: dict[str, int], memory_url: str
) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    plan = timeline.plan_extract(clips.chunks(), **sampled)  # type: ignore[arg-type]
    report = timeline.extract(clips.chunks(), **sampled)  # type: ignore[arg-type]

    chunks = timeline.info().chunks
    assert (plan.frame_count, plan.frames_to_extract) == (report.frame_count, report.frame_count)
    assert plan.settings == timeline.info().settings
    assert [
        (chunk.chunk_id, chunk.url, chunk.frame_count, chunk.duration_seconds, chunk.width)
        for chunk in plan.chunks
    ] == [
        (one.chunk_id, one.url, one.frame_count, float(one.end - one.start), one.width)
        for one in chunks
    ]


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
@pytest.mark.parametrize("renditions", [(), (320, 160)], ids=str)
@pytest.mark.parametrize("quality", [50, 85])
def test_planned_bytes_of_real_footage_are_within_ten_percent(
    name: str, quality: int, renditions: tuple[int, ...], memory_url: str
) -> None:
    cache = FrameCache(memory_url)
    timeline = cache.timeline("t")
    plan = timeline.plan_extract(
        real_clip(name), quality=quality, every=5, renditions=renditions, layout="objects"
    )
    timeline.extract(
        real_clip(name), quality=quality, every=5, renditions=renditions, layout="objects"
    )
    [chunk] = plan.chunks
    planned = (chunk.jpeg_bytes, chunk.rendition_bytes)
    stored = (stored_bytes(cache, "frames"), stored_bytes(cache, "renditions"))
    assert planned == pytest.approx(stored, rel=0.1)
    assert plan.bytes_to_store == sum(planned)


def stored_bytes(cache: FrameCache, folder: str) -> int:
    return sum(blob.size_bytes for blob in cache.store.list(f"cache/timelines/t/{folder}/"))


@pytest.mark.parametrize("renditions", [(), (48, 16)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_plan_of_cached_timeline_is_exact(
    layout: Layout, renditions: tuple[int, ...], memory_url: str
) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(clips.chunks(), layout=layout, renditions=renditions)
    index = timeline.index

    plan = timeline.plan_extract(clips.chunks())

    assert plan.settings.layout == layout
    assert (plan.frames_to_extract, plan.bytes_to_store) == (0, 0)
    assert sum(chunk.jpeg_bytes for chunk in plan.chunks) == index.size.sum()
    in_renditions = sum(int(index.of_renditions(side).size.sum()) for side in renditions)
    assert sum(chunk.rendition_bytes for chunk in plan.chunks) == in_renditions
    assert [(chunk.is_cached, chunk.frames_sampled) for chunk in plan.chunks] == [(True, 0)] * 3
    assert plan.requests.puts == 0
    assert plan.footprints[layout] == timeline.footprint()


def test_only_missing_chunks_are_sampled(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.chunks())
    lose_part(cache, 1)
    plan = cache.timeline("t").plan_extract(clips.chunks())
    assert [chunk.is_cached for chunk in plan.chunks] == [True, True, True]
    cache.store.delete([compacted(cache)])
    plan = cache.timeline("t").plan_extract(clips.chunks())
    assert [chunk.is_cached for chunk in plan.chunks] == [True, False, True]
    assert [chunk.frames_sampled > 0 for chunk in plan.chunks] == [False, True, False]
    assert plan.frames_to_extract == 10


def lose_part(cache: FrameCache, chunk_id: int) -> None:
    parts = [blob.key for blob in cache.store.list("cache/timelines/t/index")]
    cache.store.delete([key for key in parts if f"/{chunk_id:06d}-" in key])


def compacted(cache: FrameCache) -> str:
    keys = [blob.key for blob in cache.store.list("cache/timelines/t/index")]
    return next(key for key in keys if "/_timeline-" in key)


def conflict_of_settings(timeline: Timeline, _: Path) -> Sequence[Path]:
    timeline.extract(clips.chunks(), fps=3)
    return clips.chunks()


def conflict_of_chunks(timeline: Timeline, _: Path) -> Sequence[Path]:
    timeline.extract(clips.chunks()[1:])
    return clips.chunks()


def changed_chunk(timeline: Timeline, folder: Path) -> Sequence[Path]:
    chunk = clips.copy_to(clips.clip(), folder)
    timeline.extract(chunk)
    clips.grow(chunk, to_bytes=chunk.stat().st_size + 64)
    return [chunk]


def missing_chunk(_: Timeline, folder: Path) -> Sequence[Path]:
    return [folder / "nowhere.mp4"]


def no_video(_: Timeline, folder: Path) -> Sequence[Path]:
    (folder / "text.mp4").write_text("no video")
    return [folder / "text.mp4"]


def nothing(_: Timeline, __: Path) -> Sequence[Path]:
    return []


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (conflict_of_settings, SettingsConflict),
        (conflict_of_chunks, SettingsConflict),
        (changed_chunk, ChunkChanged),
        (missing_chunk, UnreadableChunk),
        (no_video, UnreadableChunk),
        (nothing, InvalidValue),
    ],
)
def test_plan_raises_same_error_as_extraction(
    prepare: Callable[[Timeline, Path], Sequence[Path]],
    expected: type[FrameCacheError],
    memory_url: str,
    tmp_path: Path,
) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    chunks = prepare(timeline, tmp_path)
    with pytest.raises(expected) as planned:
        looking(memory_url).plan_extract(chunks)
    with pytest.raises(expected) as raised:
        timeline.extract(chunks)
    assert str(planned.value) == str(raised.value)


def test_plan_is_immutable(memory_url: str) -> None:
    plan = FrameCache(memory_url).timeline("t").plan_extract(clips.clip())
    assert isinstance(plan, ExtractPlan)
    with pytest.raises(AttributeError):
        plan.bytes_to_store = 0  # type: ignore[misc]
