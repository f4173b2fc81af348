"""Writing frames under cached sequences: which are replaced, and which are kept."""

import io
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import clips
import google_crc32c
import numpy as np
import pyarrow.parquet as pq
import pytest

from framecache import (
    CorruptFrame,
    Frame,
    FrameCache,
    InvalidValue,
    SettingsConflict,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    WriteReport,
)
from framecache._index import parquet
from framecache._index.table import Index
from framecache.model import Layout, OnConflict
from framecache.store import Store
from framecache.testing import Crash, HookedStore, fail_from_nth
from outside import (
    everything,
    frame,
    frames_of,
    jpeg_by_pillow,
    mean_error,
    outside,
    picture,
    pixels_by_pillow,
)
from tars import jpegs_in, members_of, packs_of

LAYOUTS: list[Layout] = ["objects", "packs"]


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


def timeline(url: str) -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline("t")


def shows(image: np.ndarray, number: int) -> bool:
    expected = picture(number)
    return image.shape == expected.shape and mean_error(image, expected) <= 3


def counts(report: WriteReport) -> tuple[int, int, int, int, int]:
    return int(report), report.stored, report.replaced, report.kept, report.unchanged


def private_blobs(url: str) -> list[str]:
    return outside(url).list("cache/timelines/t/packs/")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.every_store
def test_replaced_frame_has_image_and_metadata_of_new_one(store_url: str, layout: Layout) -> None:
    timeline(store_url).write([frame(n) for n in range(3)], layout=layout)
    new = frame(
        1, number=9, width=20, height=10, timestamp=7.5, chunk_id=4, perceptual_hash="f" * 16
    )
    report = timeline(store_url).write([new], on_conflict="replace", quality=60)
    assert counts(report) == (1, 0, 1, 0, 0)
    read = timeline(store_url).frame(1)
    assert mean_error(read.image, picture(9, width=20, height=10)) <= 5
    assert (read.timestamp, read.chunk_id, read.perceptual_hash) == (7.5, 4, "f" * 16)
    assert [shows(timeline(store_url).frame(n).image, n) for n in (0, 2)] == [True, True]
    assert len(timeline(store_url)) == 3
    assert timeline(store_url).verify(deep=True).ok


def test_replaced_frame_is_stored_only_under_its_public_key(store_url: str) -> None:
    timeline(store_url).write([frame(0), frame(1)])
    timeline(store_url).write([frame(1, number=9)], on_conflict="replace")
    stored = frames_of(outside(store_url), "t")
    assert sorted(stored) == ["0.jpg", "1.jpg"]
    assert shows(pixels_by_pillow(stored["1.jpg"]), 9)
    [row] = [row for row in timeline(store_url).index.to_arrow().to_pylist() if row["sequence"]]
    assert row["key"] == "cache/timelines/t/frames/1.jpg"
    assert (row["offset"], row["crc32c"]) == (0, google_crc32c.value(stored["1.jpg"]))
    assert private_blobs(store_url) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "change", [{"timestamp": 9.5}, {"chunk_id": 7}, {"perceptual_hash": "a" * 64}]
)
def test_metadata_of_same_image_is_replaced(
    url: str, layout: Layout, change: dict[str, Any]
) -> None:
    timeline(url).write([frame(0)], layout=layout)
    report = timeline(url).write([frame(0, **change)], on_conflict="replace")
    assert counts(report) == (1, 0, 1, 0, 0)
    [(name, value)] = change.items()
    read = timeline(url).frame(0)
    assert getattr(read, name) == value
    assert shows(read.image, 0)


@pytest.mark.parametrize(
    ("given", "numbers", "durations"),
    [
        pytest.param([0, 1, 2, 3], {0: 7, 3: 8}, [1, 1, 1, 1], id="a batch of which some changed"),
        pytest.param([3], {3: 8}, [1, 1, 1, 1], id="the last"),
        pytest.param([1], {1: 8}, [1, 1, 1, 1], id="one in the middle"),
        pytest.param([4], {}, [1, 1, 1, 1, 1], id="one after the last"),
        pytest.param([3, 5], {}, [1, 1, 1, 1, 2], id="one after a gap"),
    ],
)
@pytest.mark.parametrize("on_conflict", ["replace", "keep"])
def test_frame_duration_lasts_until_next_frame_of_timeline(
    url: str,
    given: list[int],
    numbers: dict[int, int],
    durations: list[float],
    on_conflict: OnConflict,
) -> None:
    timeline(url).write([frame(n, timestamp=float(n)) for n in range(4)])
    timeline(url).write(
        [frame(n, timestamp=float(n), number=numbers.get(n)) for n in given],
        on_conflict=on_conflict,
    )
    assert timeline(url).index.duration.tolist() == durations


def test_frame_written_between_two_lasts_until_the_second(url: str) -> None:
    timeline(url).write([frame(n, timestamp=float(n)) for n in (0, 2)])
    timeline(url).write([frame(n, timestamp=float(n)) for n in range(3)], on_conflict="keep")
    assert timeline(url).index.duration[1] == 1.0


def test_frame_replaced_with_another_time_lasts_until_the_next(url: str) -> None:
    timeline(url).write([frame(n, timestamp=float(n)) for n in range(4)])
    timeline(url).write([frame(1, timestamp=1.5)], on_conflict="replace")
    assert timeline(url).index.duration.tolist() == [1, 0.5, 1, 1]


def test_write_with_replace_keeps_quality_per_row(url: str) -> None:
    timeline(url).write([frame(0), frame(1)], quality=90)
    timeline(url).write([frame(1), frame(2)], on_conflict="replace", quality=30)
    assert timeline(url).index.quality.tolist() == [90, 30, 30]
    stored = frames_of(outside(url), "t")
    assert len(stored["1.jpg"]) < len(stored["0.jpg"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_with_replace_of_same_frames_changes_nothing(url: str, layout: Layout) -> None:
    frames = [frame(0), frame(1)]
    timeline(url).write(frames, layout=layout)
    before = everything(outside(url))
    report = timeline(url).write(frames, on_conflict="replace")
    assert counts(report) == (2, 0, 0, 0, 2)
    assert everything(outside(url)) == before


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [2, 3])
def test_last_of_equal_sequences_in_one_call_counts_once(
    url: str, layout: Layout, count: int
) -> None:
    timeline(url).write([frame(5)], layout=layout)
    given = [frame(n, number=10 + i) for i in range(count) for n in (4, 5)]
    report = timeline(url).write(given, on_conflict="replace")
    assert counts(report) == (2, 1, 1, 0, 0)
    for n in (4, 5):
        assert shows(timeline(url).frame(n).image, 10 + count - 1)
    assert timeline(url).verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_with_keep_leaves_cached_frames_and_counts_them(
    store_url: str, layout: Layout
) -> None:
    timeline(store_url).write([frame(0), frame(1)], layout=layout)
    report = timeline(store_url).write(
        [frame(n, number=n + 20) for n in (1, 2, 3)], on_conflict="keep", quality=50
    )
    assert counts(report) == (3, 2, 0, 1, 0)
    assert [f.sequence for f in timeline(store_url).frames()] == [0, 1, 2, 3]
    assert shows(timeline(store_url).frame(1).image, 1)
    assert mean_error(timeline(store_url).frame(2).image, picture(22)) <= 5


@pytest.mark.parametrize("value", ["", "overwrite", None, True, 1])
def test_unknown_on_conflict_is_rejected(url: str, value: OnConflict) -> None:
    with pytest.raises(InvalidValue, match="on_conflict"):
        timeline(url).write([frame(0)], on_conflict=value)
    assert outside(url).list() == []


@pytest.mark.parametrize("on_conflict", ["raise", "keep"])
def test_duplicate_sequence_is_rejected_unless_replacing(url: str, on_conflict: OnConflict) -> None:
    with pytest.raises(InvalidValue, match="sequence 4 was given twice"):
        timeline(url).write([frame(4), frame(5), frame(4)], on_conflict=on_conflict)
    assert not timeline(url).exists


@pytest.mark.parametrize("name", ["", "x", "A" * 16, "0" * 255, "ü" * 256, "a\nb"])
def test_any_hash_up_to_256_characters_is_kept(url: str, name: str) -> None:
    timeline(url).write([frame(0, perceptual_hash=name), frame(1, perceptual_hash="f" * 16)])
    [first, second] = timeline(url).frames()
    assert first.perceptual_hash == name or not name
    assert second.perceptual_hash == "f" * 16


@pytest.mark.parametrize("name", ["a" * 257, "\ud800", 17, None, b"aa"])
def test_invalid_hash_is_rejected(url: str, name: str) -> None:
    with pytest.raises(InvalidValue, match="perceptual_hash"):
        timeline(url).write([frame(0, perceptual_hash=name)])


@pytest.mark.parametrize("on_conflict", ["replace", "keep"])
def test_foreign_frames_are_adopted(store_url: str, on_conflict: OnConflict) -> None:
    blobs = outside(store_url)
    for n in (0, 1, 5):
        blobs.put(f"cache/timelines/t/frames/{n}.jpg", jpeg_by_pillow(n))
    theirs = frames_of(blobs, "t")
    timeline(store_url).write(
        [frame(1, number=9, timestamp=3.0), frame(2)], on_conflict=on_conflict
    )
    read = list(timeline(store_url).frames())
    assert [f.sequence for f in read] == [0, 1, 2, 5]
    assert [(f.chunk_id, f.timestamp, f.perceptual_hash) for f in (read[0], read[3])] == [
        (0, 0.0, "")
    ] * 2
    is_replaced = on_conflict == "replace"
    assert shows(read[1].image, 9 if is_replaced else 1)
    stored = frames_of(blobs, "t")
    assert (stored["0.jpg"], stored["5.jpg"]) == (theirs["0.jpg"], theirs["5.jpg"])
    assert (stored["1.jpg"] == theirs["1.jpg"]) is not is_replaced
    assert timeline(store_url).verify(deep=True).ok


def test_reader_of_replaced_frame_resolves_its_time_again(url: str) -> None:
    timeline(url).write([frame(0), frame(5, timestamp=5.0)], layout="objects")
    reader = timeline(url)
    assert reader.frame_at(3.0).sequence == 0
    timeline(url).write([frame(0, number=7), frame(1, timestamp=1.0)], on_conflict="replace")
    found = reader.frame_at(3.0)
    assert (found.sequence, found.timestamp) == (1, 1.0)
    assert shows(found.image, 1)


def with_frames_of_another_program(url: str) -> Store:
    """Return a store with frames 1 and 4 that no manifest names."""
    store = FrameCache(url).store
    for n in (1, 4):
        store.put(f"cache/timelines/t/frames/{n}.jpg", jpeg_by_pillow(n))
    return store


@pytest.mark.parametrize("on_conflict", ["replace", "keep"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_that_adopts_frames_during_clear_leaves_no_row_without_frame(
    memory_url: str, layout: Layout, on_conflict: OnConflict
) -> None:
    store = with_frames_of_another_program(memory_url)
    writes: list[WriteReport] = []

    def write_once(action: str, key: str) -> None:
        if action == "delete" and key.endswith("/frames/1.jpg") and not writes:
            write = Timeline(store, "t").write
            writes.append(write([frame(1, number=9)], layout=layout, on_conflict=on_conflict))

    Timeline(HookedStore(store, before=write_once), "t").clear()
    assert len(writes) == 1
    left = Timeline(store, "t")
    assert left.sequences() == []
    assert left.verify(deep=True).ok
    left.write([frame(4)], layout=layout)
    assert Timeline(store, "t").sequences() == [4]


@pytest.mark.parametrize("on_conflict", ["replace", "keep"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_clear_during_write_that_adopts_frames_leaves_no_row_without_frame(
    memory_url: str, layout: Layout, on_conflict: OnConflict
) -> None:
    store = with_frames_of_another_program(memory_url)
    clears: list[object] = []

    def clear_once(action: str, key: str) -> None:
        if action == "create" and "/timeline/" in key and not clears:
            clears.append(Timeline(store, "t").clear())

    frames = [frame(1, number=9)]
    hooked = Timeline(HookedStore(store, before=clear_once), "t")
    hooked.write(frames, layout=layout, on_conflict=on_conflict)
    assert len(clears) == 1
    left = Timeline(store, "t")
    assert left.sequences() == [1]
    assert left.verify(deep=True).ok


@pytest.mark.parametrize("on_conflict", ["raise", "replace", "keep"])
def test_adopted_frame_lost_after_interrupted_write_is_missing(
    memory_url: str, on_conflict: OnConflict
) -> None:
    store = with_frames_of_another_program(memory_url)
    interrupted = HookedStore(
        store,
        before=fail_from_nth(StoreUnavailable("away"), action="create", nth=1, within="/claims/"),
    )
    with pytest.raises(StoreUnavailable):
        Timeline(interrupted, "t").write([frame(5)], on_conflict="keep")
    assert Timeline(store, "t").sequences() == [1, 4]
    store.delete(["cache/timelines/t/frames/4.jpg"])
    Timeline(store, "t").write([frame(6)], on_conflict=on_conflict)
    assert Timeline(store, "t").sequences() == [1, 4, 6]
    assert Timeline(store, "t").verify().counts["missing"] == 1


@pytest.mark.parametrize("step", [Timeline.clear, Timeline.delete])
@pytest.mark.parametrize("action", ["get", "list"])
def test_write_raises_when_epoch_ends_after_manifest_names_adopted_frames(
    memory_url: str, step: Callable[[Timeline], object], action: str
) -> None:
    store = with_frames_of_another_program(memory_url)
    room = {"get": "/index/", "list": "/frames"}[action]
    ended: list[object] = []

    def end_once(now: str, key: str) -> None:
        is_named = any(store.list("cache/timelines/t/timeline"))
        if now == action and room in key and is_named and not ended:
            ended.append(step(Timeline(store, "t")))

    hooked = Timeline(HookedStore(store, before=end_once), "t")
    with pytest.raises(TimelineCleared):
        hooked.write([frame(1, number=9)], on_conflict="replace")
    assert len(ended) == 1
    assert Timeline(store, "t").sequences() == []
    assert not list(store.list("cache/timelines/t/frames"))


def test_frame_overwritten_by_another_program_is_corrupt_until_replaced(
    store_url: str,
) -> None:
    timeline(store_url).write([frame(0), frame(1)])
    outside(store_url).put("cache/timelines/t/frames/1.jpg", jpeg_by_pillow(7))
    with pytest.raises(CorruptFrame, match=r"frames/1\.jpg"):
        timeline(store_url).frame(1)
    timeline(store_url).write([frame(1)], on_conflict="replace")
    assert shows(timeline(store_url).frame(1).image, 1)
    assert shows(pixels_by_pillow(frames_of(outside(store_url), "t")["1.jpg"]), 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frame_replaced_many_times_is_the_last_one(url: str, layout: Layout) -> None:
    timeline(url).write([frame(0), frame(1)], layout=layout)
    for number in range(2, 40):
        timeline(url).write([frame(1, number=number)], on_conflict="replace")
    assert shows(timeline(url).frame(1).image, 39)
    assert shows(timeline(url).frame(0).image, 0)
    assert timeline(url).verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_open_reader_of_replaced_frame_gets_a_whole_image(store_url: str, layout: Layout) -> None:
    timeline(store_url).write([frame(n) for n in range(4)], layout=layout)
    handle = timeline(store_url)
    handle.frame(0)
    for round_ in range(3):
        timeline(store_url).write(
            [frame(n, number=n + 10 * round_ + 10) for n in (1, 2)], on_conflict="replace"
        )
        for n in (1, 2):
            image = handle.frame(n).image
            assert shows(image, n + 10 * round_ + 10) or (layout == "packs" and shows(image, n))


def test_open_reader_of_replaced_frame_gets_matching_metadata(
    store_url: str,
) -> None:
    timeline(store_url).write([frame(0), frame(1, timestamp=2.0), frame(2, timestamp=4.0)])
    handles = [timeline(store_url) for _ in range(4)]
    for handle in handles:
        handle.frame(0)
    larger = frame(1, number=9, timestamp=3.5, width=64, height=48)
    timeline(store_url).write([larger], on_conflict="replace")
    one = handles[0].frame(1)
    assert (one.timestamp, one.image.shape) == (3.5, (48, 64, 3))
    assert one.perceptual_hash == timeline(store_url).frame(1).perceptual_hash
    assert shows(handles[1].frame_at(3.0).image, 0), "at that time frame 1 is no longer on screen"
    assert handles[2].frame_at(3.75).image.shape == (48, 64, 3)
    rows = [(item.sequence, item.timestamp) for item in handles[3].frames()]
    assert rows == [(0, 0.0), (1, 3.5), (2, 4.0)]


@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_repack_keeps_replaced_frames(url: str, layout: Layout, target: Layout) -> None:
    timeline(url).write([frame(n) for n in range(4)], layout=layout, quality=90)
    timeline(url).write([frame(2, number=9)], on_conflict="replace", quality=80)
    before = timeline(url).index.to_arrow().select(["sequence", "crc32c", "quality"])
    since = timeline(url).index.picture_since.tolist()
    for step in (target, "packs", "objects"):
        timeline(url).repack(step)
        index = timeline(url).index
        assert index.to_arrow().select(["sequence", "crc32c", "quality"]).equals(before)
        assert index.picture_since.tolist() == since == ["", "", "w000001", ""]
        assert timeline(url).verify(deep=True).ok
    assert shows(timeline(url).frame(2).image, 9)


def test_repack_moves_no_replaced_frame(url: str) -> None:
    """The public name of the frame holds the picture that replaced it."""
    timeline(url).write([frame(0), frame(1)])
    timeline(url).write([frame(0, number=9)], on_conflict="replace")
    timeline(url).write([replace(frame(1), timestamp=7.5)], on_conflict="replace")
    assert timeline(url).repack("packs").frames_moved == 2
    packs = packs_of(outside(url), "t")
    members = [name for pack in packs.values() for name in members_of(pack)]
    assert sorted(name for name in members if name.endswith(".jpg")) == ["0.jpg", "1.jpg"]
    assert shows(pixels_by_pillow(jpegs_in(packs)[0]), 9)


def test_write_on_extracted_timeline_conflicts(url: str) -> None:
    timeline(url).extract(clips.chunks(), every=8)
    before = everything(outside(url))
    for on_conflict in ("raise", "replace", "keep"):
        with pytest.raises(SettingsConflict, match="extracted from chunks"):
            timeline(url).write([frame(0)], on_conflict=on_conflict)
    assert everything(outside(url)) == before


@pytest.mark.parametrize(
    "finish",
    [
        lambda url: timeline(url).write([frame(0)], on_conflict="replace"),
        lambda url: timeline(url).verify(repair=True),
        lambda url: FrameCache(url).plan_gc(grace_seconds=0).execute(max_share=1),
        lambda url: timeline(url).repack("objects"),
    ],
    ids=["write", "verify", "gc", "repack"],
)
def test_interrupted_replacement_is_completed_later(
    url: str, finish: Callable[[str], object]
) -> None:
    timeline(url).write([frame(0), frame(1)])
    hook = fail_from_nth(StoreUnavailable("no"), action="put", nth=1, within="/frames/")
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(FrameCache(url).store, before=hook), "t").write(
            [frame(1, number=9)], on_conflict="replace"
        )
    assert shows(timeline(url).frame(1).image, 9)
    assert private_blobs(url)
    finish(url)
    assert shows(timeline(url).frame(1).image, 9)
    assert shows(pixels_by_pillow(frames_of(outside(url), "t")["1.jpg"]), 9)
    assert private_blobs(url) == []
    assert timeline(url).verify(deep=True).ok


def die_during_relocation(url: str) -> None:
    """Replace frame 1, and end without another request, as a killed program does."""
    is_dead: list[bool] = []

    def die(action: str, key: str) -> None:
        if is_dead or (action == "put" and "/frames/" in key):
            is_dead.append(True)
            raise Crash

    with pytest.raises(Crash):
        Timeline(HookedStore(FrameCache(url).store, before=die), "t").write(
            [frame(1, number=9)], on_conflict="replace"
        )


def test_write_does_not_wait_for_program_killed_during_relocation(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline(url).write([frame(0), frame(1)])
    die_during_relocation(url)
    sleeps: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleeps.append)
    monkeypatch.setattr("framecache._ingest.relocation.time", clock)
    for given in (frame(0, number=7), frame(5), frame(1, number=8)):
        timeline(url).write([given], on_conflict="replace")
        assert sleeps == []
    assert [shows(timeline(url).frame(n).image, m) for n, m in ((0, 7), (1, 8), (5, 5))] == 3 * [
        True
    ]


def test_frame_replaced_at_end_of_relocation_is_relocated_by_that_program(url: str) -> None:
    timeline(url).write([frame(0), frame(1)])
    is_done: list[bool] = []

    def replace_before_release(action: str, key: str) -> None:
        if action == "delete" and "/moving" in key and not is_done:
            is_done.append(True)
            timeline(url).write([frame(1, number=8)], on_conflict="replace")

    store = HookedStore(FrameCache(url).store, before=replace_before_release)
    Timeline(store, "t").write([frame(1, number=9)], on_conflict="replace")
    assert is_done
    assert shows(pixels_by_pillow(frames_of(outside(url), "t")["1.jpg"]), 8)
    assert private_blobs(url) == []


def write_during_another(
    url: str, first: list[Frame], second: list[Frame], on_conflict: OnConflict
) -> WriteReport:
    """Write frames, and run another program's whole write before this one commits."""
    done: list[int] = []

    def write_second(action: str, key: str) -> None:
        if action == "create" and "/index/" in key and not done:
            done.append(1)
            timeline(url).write(second, on_conflict="replace")

    store = HookedStore(FrameCache(url).store, before=write_second)
    return Timeline(store, "t").write(first, on_conflict=on_conflict)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_later_manifest_wins_between_concurrent_replacements(url: str, layout: Layout) -> None:
    timeline(url).write([frame(n) for n in range(3)], layout=layout)
    write_during_another(
        url,
        [frame(n, number=n + 10) for n in (0, 1, 7)],
        [frame(n, number=n + 20) for n in (1, 2, 7)],
        "replace",
    )
    numbers = {0: 10, 1: 11, 2: 22, 7: 17}
    for n, number in numbers.items():
        assert shows(timeline(url).frame(n).image, number), n
    if layout == "objects":
        stored = frames_of(outside(url), "t")
        for n, number in numbers.items():
            assert shows(pixels_by_pillow(stored[f"{n}.jpg"]), number), n
    assert timeline(url).verify(deep=True).ok


def test_write_with_keep_leaves_frame_cached_meanwhile(url: str) -> None:
    report = write_during_another(url, [frame(0), frame(1)], [frame(1, number=21)], "keep")
    assert counts(report) == (2, 1, 0, 1, 0)
    assert shows(timeline(url).frame(1).image, 21)
    assert shows(pixels_by_pillow(frames_of(outside(url), "t")["1.jpg"]), 21)


@pytest.mark.parametrize("within", ["/claims/", "/frames/", "/index/", "/timeline/"])
@pytest.mark.parametrize("nth", [1, 2])
def test_delete_during_replacement_leaves_no_frames(url: str, within: str, nth: int) -> None:
    """Frames stored afterwards would look like another program's."""
    timeline(url).write([frame(0), frame(1)])
    requests: list[str] = []

    def delete_before(action: str, key: str) -> None:
        if action in ("create", "put") and within in key:
            requests.append(key)
            if len(requests) == nth:
                timeline(url).delete()

    store = HookedStore(FrameCache(url).store, before=delete_before)
    with suppress(TimelineCleared):
        Timeline(store, "t").write([frame(1, number=9), frame(5)], on_conflict="replace")
    assert len(requests) >= nth
    assert frames_of(outside(url), "t") == {} or timeline(url).info().epoch is not None


def test_index_part_of_earlier_version_is_read() -> None:

    table = Index.from_listing([(3, "k", 5)]).to_arrow().drop_columns(["quality", "picture_since"])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    index = Index.decode(parquet.add_checksum(sink.getvalue()), key="k")
    assert index.row(0).quality == 0
    assert index.row(0).picture_since == ""
    assert index.to_arrow().column_names[-2:] == ["quality", "picture_since"]
