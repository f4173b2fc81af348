"""Staleness of overlays: exactly those older than their frames, on every store."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import clips
import pytest

from framecache import Frame, FrameCache, StageCounts, Timeline
from framecache._maintain.gc import plan_gc
from framecache.store import BlobInfo, Store
from framecache.testing import Action, HookedStore, WrappingStore
from outside import frame, jpeg_by_pillow, outside, png_by_pillow

PNG = png_by_pillow(1, width=96, height=64)
SMALL = png_by_pillow(1, width=48, height=32)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
Step = Callable[[Timeline], object]
Result = TypeVar("Result")


class Clock(WrappingStore):
    """Store whose clock advances by an hour after each step of a test."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.hours = 0
        self._stored_at: dict[str, int] = {}
        """Hours that the clock showed when a blob was stored."""

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        result = super().perform(action, key, operation)
        if action in {"put", "create"}:
            self._stored_at[key] = self.hours
        return result

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for blob in super().list(prefix):
            hours = self._stored_at.get(blob.key, 0)
            yield replace(blob, modified_at=LONG_AGO + timedelta(hours=hours))


def extract(timeline: Timeline) -> None:
    timeline.extract(clips.chunks(), every=4)


def draw(timeline: Timeline) -> None:
    timeline.overlays(job_id="j", stage="s").save_many({1: {"a": PNG, "b": PNG}, 5: {"a": PNG}})


def damage(timeline: Timeline) -> None:
    """Remove a frame, and an index file that names it."""
    store = timeline.overlays(job_id="j", stage="s")._store  # noqa: SLF001 -- of the test's own
    [part] = [
        blob.key
        for blob in store.list("cache/timelines/t/index/")
        if blob.key.endswith("000001-0.parquet")
    ]
    store.delete(["cache/timelines/t/frames/5.jpg", part])


def repair(timeline: Timeline) -> None:
    assert timeline.verify(repair=True).ok


def collect(timeline: Timeline) -> None:
    """Remove all unreferenced blobs, as if all were old enough."""
    store = timeline.overlays(job_id="j", stage="s")._store  # noqa: SLF001 -- of the test's own
    plan_gc(store, timelines=None, grace_seconds=0, max_bytes=None, max_age_seconds=None).execute(
        max_share=1
    )


def rebuild(timeline: Timeline) -> None:
    timeline.rebuild()


def after(url: str, *steps: Step) -> list[int]:
    """Return the overlays that are stale after some steps, an hour apart."""
    clock = Clock(FrameCache(url).store)
    for step in steps:
        step(Timeline(clock, "t"))
        clock.hours += 1
    return Timeline(clock, "t").overlays(job_id="j", stage="s").stale()


@pytest.mark.every_store
def test_overlays_older_than_rebuild_are_stale_and_newer_ones_are_not(store_url: str) -> None:
    def draw_again(timeline: Timeline) -> None:
        timeline.overlays(job_id="j", stage="s").save_many({5: {"a": PNG}, 6: {"a": PNG}})

    assert after(store_url, extract, draw, rebuild) == [1, 5]
    outside(store_url).make_empty()
    assert after(store_url, extract, draw, rebuild, draw_again) == [1]


def append(timeline: Timeline) -> None:
    timeline.append(clips.clip())


@pytest.mark.parametrize(
    "steps",
    [
        (extract, draw),
        (extract, draw, append),
        (extract, draw, extract),
        (extract, draw, damage, repair),
        (extract, draw, damage, repair, collect),
        (extract, draw, lambda timeline: timeline.repack("packs")),
        (extract, draw, lambda timeline: timeline.repack("packs"), collect),
        (
            *(extract, draw, lambda timeline: timeline.repack("packs"), collect),
            *(lambda timeline: timeline.repack("objects"), collect, append, collect),
        ),
        (extract, draw, Timeline.clear),
        (draw,),
    ],
    ids=[
        "nothing",
        "append",
        "extract again",
        "repair",
        "repair and gc",
        "repack",
        "repack and gc",
        "much",
        "clear",
        "no frames",
    ],
)
def test_steps_that_keep_frames_leave_overlays_current(
    memory_url: str, steps: tuple[Step, ...]
) -> None:
    assert after(memory_url, *steps) == []


@pytest.mark.parametrize(
    "steps",
    [
        (extract, draw, Timeline.clear, extract),
        (extract, draw, lambda timeline: timeline.rebuild(fps=5)),
        (extract, draw, rebuild, append, lambda timeline: timeline.repack("packs"), collect),
        (extract, draw, rebuild, damage, repair, collect),
        (draw, extract),
    ],
    ids=["clear and extract", "other settings", "rebuild and repack", "rebuild and repair", "late"],
)
def test_steps_that_replace_frames_make_older_overlays_stale(
    memory_url: str, steps: tuple[Step, ...]
) -> None:
    assert after(memory_url, *steps) == [1, 5]


def test_frames_written_again_after_clear_make_older_overlays_stale(memory_url: str) -> None:
    def write(frames: list[Frame]) -> Step:
        return lambda timeline: timeline.write(frames)

    def draw_small(timeline: Timeline) -> None:
        timeline.overlays(job_id="j", stage="s").save(0, {"a": SMALL})

    first = write([frame(0), frame(1)])
    assert after(memory_url, first, draw_small, write([frame(2)])) == []
    outside(memory_url).make_empty()
    assert after(memory_url, first, draw_small, Timeline.clear, first) == [0]


def replace_picture(timeline: Timeline) -> None:
    timeline.write([frame(1, number=9)], on_conflict="replace")


def replace_time(timeline: Timeline) -> None:
    timeline.write([frame(1, timestamp=9.0)], on_conflict="replace")


def replace_time_of_new(timeline: Timeline) -> None:
    timeline.write([frame(1, number=9, timestamp=9.0)], on_conflict="replace")


def write_two(timeline: Timeline) -> None:
    timeline.write([frame(1), frame(5)])


def pack(timeline: Timeline) -> None:
    timeline.repack("packs")


@pytest.mark.parametrize(
    ("steps", "stale"),
    [
        ((write_two, draw, replace_picture), [1]),
        ((write_two, draw, replace_picture, draw), []),
        ((write_two, draw, replace_time), []),
        ((write_two, draw, replace_picture, replace_time_of_new), [1]),
        ((write_two, replace_picture, draw, replace_time_of_new), []),
        ((write_two, draw, replace_picture, collect, collect), [1]),
        ((write_two, replace_picture, draw, collect, pack, collect, collect), []),
        ((write_two, draw, replace_picture, repair, pack, collect), [1]),
        ((write_two, draw, pack, replace_picture, collect), [1]),
        ((write_two, draw, replace_picture, Timeline.clear, write_two), [1, 5]),
    ],
    ids=[
        "replaced",
        "drawn again",
        "another time",
        "picture, then time",
        "drawn on the new one",
        "gc",
        "repacked",
        "repaired and repacked",
        "in a pack",
        "cleared",
    ],
)
def test_overlays_older_than_replaced_frame_are_stale(
    store_url: str, steps: tuple[Step, ...], stale: list[int]
) -> None:
    assert after(store_url, *steps) == stale
    [counted] = FrameCache(store_url).timeline("t").stages()["j"].values()
    assert counted.frame_count == 2


def test_overlays_on_foreign_frames_are_never_stale(store_url: str) -> None:
    def put(timeline: Timeline) -> None:
        outside(store_url).put(f"cache/timelines/{timeline.timeline_id}/frames/1.jpg", JPEG)

    assert after(store_url, put, draw, put) == []


JPEG = jpeg_by_pillow(1)


def test_overlays_of_same_second_as_rebuild_are_not_stale(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    extract(timeline)
    draw(timeline)
    timeline.rebuild()
    for path in Path(local_url).rglob("*"):
        is_part = path.suffix == ".parquet"
        if path.is_file():
            second = 1_700_000_000 * 10**9
            os.utime(path, ns=(second, second + (999_999_999 if is_part else 0)))
    assert timeline.overlays(job_id="j", stage="s").stale() == []
    for path in Path(local_url).rglob("1_b.png"):
        os.utime(path, ns=(0, 1_699_999_999 * 10**9))
    assert timeline.overlays(job_id="j", stage="s").stale() == [1]


def test_stale_check_takes_one_more_list(memory_url: str) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    extract(timeline)
    draw(timeline)
    store = HookedStore(FrameCache(memory_url).store)
    listing = Timeline(store, "t").overlays(job_id="j", stage="s").listing()
    assert (listing.sequence, listing.stale) == ((1, 5), (False, False))
    assert sorted(store.requests) == [
        ("list", "cache/timelines/t/index/"),
        ("list", "cache/timelines/t/overlays/j/s/"),
    ]


def test_stage_counts_include_frames_with_stale_overlays(memory_url: str) -> None:
    clock = Clock(FrameCache(memory_url).store)
    for step in (extract, draw, rebuild):
        step(Timeline(clock, "t"))
        clock.hours += 1
    Timeline(clock, "t").overlays(job_id="j", stage="s").save(7, {"a": PNG})
    counts = StageCounts(3, {"a": 3, "b": 1}, 2, 4 * len(PNG))
    assert Timeline(clock, "t").stages() == {"j": {"s": counts}}
