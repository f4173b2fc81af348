"""Writing frames that a program already holds."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import google_crc32c
import numpy as np
import pytest

from framecache import (
    Frame,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    StoreFull,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache.testing import HookedStore, fail_from_nth
from outside import (
    everything,
    frame,
    frames_of,
    library_threads,
    mean_error,
    outside,
    picture,
    pixels_by_pillow,
)


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


def sequences(url: str) -> list[int]:
    return [f.sequence for f in timeline(url).frames()]


@pytest.mark.every_store
def test_written_frames_can_be_read(store_url: str) -> None:
    written = timeline(store_url)
    assert written.write([frame(n) for n in range(3)]) == 3
    for t in (written, timeline(store_url)):
        assert t.exists
        assert t.complete
        assert len(t) == 3
        assert [(f.sequence, f.timestamp) for f in t.frames()] == [(0, 0.0), (1, 0.125), (2, 0.25)]


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_any_iterable_of_frames_is_written(
    url: str, kind: Callable[[list[Frame]], Iterable[Frame]]
) -> None:
    assert timeline(url).write(kind([frame(0), frame(1)])) == 2
    assert sequences(url) == [0, 1]


def test_index_rows_match_stored_frames(store_url: str) -> None:
    timeline(store_url).write([frame(3, chunk_id=2, timestamp=1.5, width=31, height=9), frame(8)])
    stored = frames_of(outside(store_url), "t")
    rows = timeline(store_url).index.to_arrow().to_pylist()
    assert [row["sequence"] for row in rows] == [3, 8]
    row = rows[0]
    data = stored["3.jpg"]
    assert (row["chunk_id"], row["timestamp"], row["width"], row["height"]) == (2, 1.5, 31, 9)
    assert row["key"] == "cache/timelines/t/frames/3.jpg"
    assert (row["offset"], row["size"], row["crc32c"]) == (
        0,
        len(data),
        google_crc32c.value(data),
    )
    assert (row["status"], row["reason"]) == ("ok", "")


def test_frames_written_later_join_earlier_ones(store_url: str) -> None:
    for numbers in ([4, 5], [0, 9], [2]):
        timeline(store_url).write([frame(n) for n in numbers])
    assert sequences(store_url) == [0, 2, 4, 5, 9]
    assert [f.timestamp for f in timeline(store_url).frames()] == [0, 0.25, 0.5, 0.625, 1.125]


def test_many_small_writes_are_all_kept(url: str) -> None:
    writer = timeline(url)
    for n in range(40):
        assert writer.write([frame(n)]) == 1
    assert sequences(url) == list(range(40))
    assert [f.sequence for f in writer.frames()] == list(range(40))


def test_large_batch_from_generator_is_written(url: str) -> None:
    count = 1500
    assert timeline(url).write(frame(n, width=16, height=16) for n in range(count)) == count
    assert len(timeline(url)) == count
    assert len(frames_of(outside(url), "t")) == count
    assert mean_error(timeline(url).frame(1234).image, picture(1234, width=16, height=16)) <= 3


def test_generator_is_consumed_while_frames_are_stored(url: str) -> None:
    # All frames at once would not fit into memory.
    store = HookedStore(FrameCache(url).store)
    put_before_the_last = 0

    def produce() -> Iterator[Frame]:
        nonlocal put_before_the_last
        for n in range(300):
            yield frame(n, width=8, height=8)
        put_before_the_last = sum(
            action == "create" and "/frames/" in key for action, key in store.requests
        )

    Timeline(store, "t").write(produce(), workers=2)
    assert put_before_the_last > 200


def test_one_and_eight_workers_store_same_frames_and_rows(url: str, memory_url: str) -> None:
    timeline(url).write([frame(n) for n in range(30)], workers=1)
    timeline(memory_url).write([frame(n) for n in range(30)], workers=8)
    assert frames_of(outside(url), "t") == frames_of(outside(memory_url), "t")
    one, eight = timeline(url).index.to_arrow(), timeline(memory_url).index.to_arrow()
    assert one.to_pylist() == eight.to_pylist()


def test_images_of_any_strides_are_written_with_same_pixels(url: str) -> None:
    base = picture(3, width=60, height=40)
    images = [base[::-1, ::2], np.asfortranarray(base), base[:, :, ::-1], base[5:30, 7:]]
    for image in images:
        image.flags.writeable = False
    timeline(url).write([Frame(n, 0, n / 2, image) for n, image in enumerate(images)], quality=95)
    for read, image in zip(timeline(url).frames(), images, strict=True):
        assert read.image.shape == image.shape
        assert mean_error(read.image, image) <= 3


def test_frames_of_one_timeline_may_differ_in_size(url: str) -> None:
    timeline(url).write([frame(0, width=20, height=10), frame(1, width=10, height=20)])
    assert [f.image.shape for f in timeline(url).frames()] == [(10, 20, 3), (20, 10, 3)]


def test_write_of_cached_frames_changes_nothing(store_url: str) -> None:
    frames = [frame(n) for n in range(3)]
    assert timeline(store_url).write(frames) == 3
    before = everything(outside(store_url))
    assert timeline(store_url).write(frames) == 3
    assert everything(outside(store_url)) == before


def test_write_of_partly_cached_frames_adds_new_ones(url: str) -> None:
    timeline(url).write([frame(n) for n in (0, 1, 2)])
    assert timeline(url).write([frame(n) for n in (1, 2, 3, 4)]) == 4
    assert sequences(url) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timestamp": 2.0}, r"timestamp \(0\.0; given 2\.0\)"),
        ({"chunk_id": 3}, r"chunk_id \(0; given 3\)"),
        ({"perceptual_hash": "f" * 16}, "perceptual_hash .*given 'f"),
    ],
)
def test_cached_frame_with_different_metadata_conflicts(
    url: str, change: dict[str, Any], said: str
) -> None:
    timeline(url).write([frame(0)])
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=said):
        timeline(url).write([frame(0, **change)])
    assert everything(outside(url)) == before


def test_different_image_under_cached_sequence_conflicts(store_url: str) -> None:
    timeline(store_url).write([frame(0), frame(1)])
    before = everything(outside(store_url))
    with pytest.raises(SettingsConflict, match=r"frame 1 of timeline t .* clear"):
        timeline(store_url).write([frame(1, number=9)])
    assert everything(outside(store_url)) == before


def test_batch_with_one_conflict_leaves_no_frame_visible(url: str) -> None:
    timeline(url).write([frame(0)])
    with pytest.raises(SettingsConflict):
        timeline(url).write([frame(1), frame(2), frame(0, number=9), frame(3)])
    assert sequences(url) == [0]
    assert mean_error(timeline(url).frame(0).image, picture(0)) <= 3


def test_different_quality_conflicts_and_error_names_both(url: str) -> None:
    timeline(url).write([frame(0)], quality=85)
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=r"timeline t .*85.*60.*clear"):
        timeline(url).write([frame(1)], quality=60)
    assert everything(outside(url)) == before


def test_clear_allows_different_quality_and_images(store_url: str) -> None:
    timeline(store_url).write([frame(0), frame(1)], quality=85)
    timeline(store_url).clear()
    assert not timeline(store_url).exists
    assert timeline(store_url).write([frame(0, number=7)], quality=60) == 1
    assert sequences(store_url) == [0]
    assert mean_error(timeline(store_url).frame(0).image, picture(7)) <= 5


def test_quality_is_passed_to_jpeg_encoder(url: str) -> None:
    timeline(url).write([frame(0)], quality=20)
    low = frames_of(outside(url), "t")["0.jpg"]
    timeline(url, "u").write([frame(0)], quality=95)
    high = frames_of(outside(url), "u")["0.jpg"]
    assert len(low) < len(high)
    assert mean_error(pixels_by_pillow(high), picture(0)) <= 1.5


def test_duplicate_sequence_in_one_call_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue, match="sequence 4 was given twice"):
        timeline(url).write([frame(4), frame(5), frame(4)])
    assert not timeline(url).exists


def test_frames_are_visible_only_after_all_are_stored(store_url: str) -> None:
    states: list[tuple[bool, list[int]]] = []

    def produce() -> Iterator[Frame]:
        for n in range(3):
            yield frame(n)
            t = timeline(store_url)
            states.append((t.exists, [f.sequence for f in t.frames()]))

    timeline(store_url).write(produce())
    assert states == [(False, [])] * 3
    assert sequences(store_url) == [0, 1, 2]


def test_cached_frames_stay_visible_during_write(url: str) -> None:
    timeline(url).write([frame(0)])
    states: list[list[int]] = []

    def produce() -> Iterator[Frame]:
        for n in (1, 2):
            yield frame(n)
            states.append(sequences(url))

    timeline(url).write(produce())
    assert states == [[0], [0]]
    assert sequences(url) == [0, 1, 2]


class ProducerError(Exception):
    """Error with which a caller's generator fails."""


def test_failing_generator_leaves_no_frame_visible(store_url: str) -> None:
    def produce() -> Iterator[Frame]:
        yield from (frame(n) for n in range(20))
        raise ProducerError

    with pytest.raises(ProducerError):
        timeline(store_url).write(produce())
    t = timeline(store_url)
    assert (t.exists, t.complete, len(t), list(t.frames())) == (False, False, 0, [])
    assert library_threads() == set()
    assert timeline(store_url).write([frame(n) for n in range(20)]) == 20
    assert sequences(store_url) == list(range(20))


@pytest.mark.parametrize(
    "error", [StoreFull("no room"), StorePermissionDenied("no"), StoreUnavailable("?")]
)
def test_store_failure_midway_leaves_no_frame_visible(url: str, error: FrameCacheError) -> None:
    timeline(url).write([frame(100)])
    hook = fail_from_nth(error, action="create", nth=6, within="/frames/")
    failing = Timeline(HookedStore(FrameCache(url).store, before=hook), "t")
    with pytest.raises(type(error)) as raised:
        failing.write((frame(n) for n in range(50)), workers=2)
    assert raised.value is error
    assert sequences(url) == [100]
    assert library_threads() == set()
    assert timeline(url).write([frame(n) for n in range(50)]) == 50
    assert sequences(url) == [*range(50), 100]


def test_failed_commit_leaves_no_frame_visible(url: str) -> None:
    hook = fail_from_nth(StorePermissionDenied("no"), action="create", nth=1, within="/index/")
    with pytest.raises(StorePermissionDenied):
        Timeline(HookedStore(FrameCache(url).store, before=hook), "t").write([frame(0)])
    assert not timeline(url).exists
    assert list(timeline(url).frames()) == []


@pytest.mark.parametrize("within", ["/timeline/", "/index/"])
def test_commit_with_lost_response_succeeds(url: str, within: str) -> None:
    lost = set[str]()

    def lose_the_first_answer(action: str, key: str) -> None:
        if action == "create" and within in key and key not in lost:
            lost.add(key)
            raise StoreUnavailable("the answer was lost")

    store = HookedStore(FrameCache(url).store, after=lose_the_first_answer)
    assert Timeline(store, "t").write([frame(0), frame(1)]) == 2
    assert lost
    assert sequences(url) == [0, 1]


def test_clear_during_write_raises_timeline_cleared(store_url: str) -> None:
    timeline(store_url).write([frame(100)])

    def produce() -> Iterator[Frame]:
        yield frame(0)
        timeline(store_url).clear()
        yield frame(1)

    with pytest.raises(TimelineCleared, match="timeline t "):
        timeline(store_url).write(produce())
    assert not timeline(store_url).exists


def test_delete_during_write_raises_timeline_cleared(url: str) -> None:
    timeline(url).write([frame(100)])

    def produce() -> Iterator[Frame]:
        yield frame(0)
        timeline(url).delete()
        yield frame(1)

    with pytest.raises(TimelineCleared, match="timeline t "):
        timeline(url).write(produce())
    assert not timeline(url).exists


@pytest.mark.every_store
def test_concurrent_writes_all_succeed(store_url: str) -> None:
    def write(part: int) -> int:
        return timeline(store_url).write([frame(n) for n in range(part * 3, part * 3 + 3)])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [3, 3, 3, 3]
    assert sequences(store_url) == list(range(12))


def test_concurrent_writes_of_same_frames_all_succeed(store_url: str) -> None:
    def write(_: int) -> int:
        return timeline(store_url).write([frame(n) for n in range(5)])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [5, 5, 5, 5]
    assert sequences(store_url) == list(range(5))


def test_write_overtaken_by_another_program_succeeds(url: str) -> None:
    def write_first(action: str, key: str) -> None:
        if (action, key) == ("list", "cache/timelines/t/frames/"):
            timeline(url).write([frame(0)])

    store = HookedStore(FrameCache(url).store, before=write_first)
    assert Timeline(store, "t").write([frame(1)]) == 1
    assert sequences(url) == [0, 1]


def test_handle_may_write_from_several_threads(url: str) -> None:
    shared = timeline(url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: shared.write([frame(n)]), range(8)))
    assert [f.sequence for f in shared.frames()] == list(range(8))


def test_concurrent_write_of_same_sequence_keeps_first_frame(url: str) -> None:
    stored = Event()

    def signal_stored(action: str, key: str) -> None:
        if action in {"create", "put"} and key.endswith("/0.jpg"):
            stored.set()

    def produce() -> Iterator[Frame]:
        yield frame(0, number=1)
        assert stored.wait(30)
        timeline(url).write([frame(0, number=2)])

    with pytest.raises(SettingsConflict):
        Timeline(HookedStore(FrameCache(url).store, after=signal_stored), "t").write(produce())
    assert mean_error(timeline(url).frame(0).image, picture(2)) <= 3


def _altered(**changes: Any) -> Frame:  # noqa: ANN401 - of any type: that is the point
    values: dict[str, Any] = {"sequence": 1, "chunk_id": 0, "timestamp": 0.5, "image": picture(1)}
    return Frame(**values | changes)


IMAGE = picture(1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (_altered(image=IMAGE.astype(np.float32)), "float32"),
        (_altered(image=IMAGE.astype(np.uint16)), "uint16"),
        (_altered(image=IMAGE > 3), "bool"),
        (_altered(image=IMAGE[:, :, 0]), r"\(32, 48\)"),
        (_altered(image=IMAGE[:, :, :2]), r"\(32, 48, 2\)"),
        (_altered(image=np.dstack([IMAGE, IMAGE[:, :, :1]])), r"\(32, 48, 4\)"),
        (_altered(image=IMAGE[None]), r"\(1, 32, 48, 3\)"),
        (_altered(image=IMAGE[:0]), "48x0"),
        (_altered(image=IMAGE[:, :0]), "0x32"),
        (_altered(image=np.zeros((1, 65501, 3), np.uint8)), "65501"),
        (_altered(image=IMAGE.tolist()), "list"),
        (_altered(image=None), "NoneType"),
        (_altered(sequence=-1), "sequence .* -1"),
        (_altered(sequence=1.0), r"sequence .* 1\.0"),
        (_altered(sequence="1"), "sequence .* '1'"),
        (_altered(sequence=None), "sequence .* None"),
        (_altered(sequence=True), "sequence .* True"),
        (_altered(sequence=10**18), "sequence .* 10000"),
        (_altered(timestamp=float("nan")), "frame 1 .* nan"),
        (_altered(timestamp=float("inf")), "frame 1 .* inf"),
        (_altered(timestamp="0.5"), "frame 1 .* '0.5'"),
        (_altered(timestamp=None), "frame 1 .* None"),
        (_altered(chunk_id=-1), "chunk_id .*-1"),
        (_altered(chunk_id=2**31), "chunk_id .*2147483648"),
        (_altered(chunk_id=0.0), r"chunk_id .*0\.0"),
        (_altered(chunk_id=None), "chunk_id .*None"),
        (_altered(perceptual_hash=17), "perceptual_hash .*17"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_invalid_frame_is_rejected(url: str, bad: Frame, said: str) -> None:
    timeline(url).write([frame(0)])
    before = everything(outside(url))
    with pytest.raises(InvalidValue, match=said):
        timeline(url).write([bad])
    assert everything(outside(url)) == before
    assert library_threads() == set()


def test_invalid_image_error_names_its_sequence(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"\b7\b"):
        timeline(url).write([frame(6), _altered(sequence=7, image=IMAGE > 0)])
    assert not timeline(url).exists


def test_valid_frames_with_an_invalid_one_stay_invisible(store_url: str) -> None:
    with pytest.raises(InvalidValue):
        timeline(store_url).write([frame(0), frame(1), _altered(sequence=2, image=IMAGE[:0])])
    assert not timeline(store_url).exists
    assert sequences(store_url) == []
    assert timeline(store_url).write([frame(0, number=5)]) == 1
    assert mean_error(timeline(store_url).frame(0).image, picture(5)) <= 3


@pytest.mark.parametrize("items", [[IMAGE], [None], [(0, 0, 0.0, IMAGE)]])
def test_objects_that_are_not_frames_are_rejected(url: str, items: Iterable[Frame]) -> None:
    with pytest.raises(InvalidValue, match="Frame"):
        timeline(url).write(items)
    assert not timeline(url).exists


@pytest.mark.parametrize("quality", [0, 101, -1, 85.0, "85", None, True, 10**9])
def test_invalid_quality_is_rejected(url: str, quality: int) -> None:
    with pytest.raises(InvalidValue, match=r"quality .* 1 to 100"):
        timeline(url).write([frame(0)], quality=quality)
    assert outside(url).list() == []


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_invalid_number_of_workers_is_rejected(url: str, workers: int) -> None:
    with pytest.raises(InvalidValue, match="workers"):
        timeline(url).write([frame(0)], workers=workers)
    assert outside(url).list() == []


@pytest.mark.parametrize("quality", [1, 100])
def test_lowest_and_highest_quality_are_accepted(url: str, quality: int) -> None:
    assert timeline(url).write([frame(0)], quality=quality) == 1
    assert timeline(url).frame(0).image.shape == (32, 48, 3)


def test_numpy_numbers_are_accepted(url: str) -> None:
    given = _altered(sequence=np.int64(5), chunk_id=np.int32(2), timestamp=np.float64(1.5))
    assert timeline(url).write([given]) == 1
    read = timeline(url).frame(5)
    assert (read.sequence, read.chunk_id, read.timestamp) == (5, 2, 1.5)


def test_negative_and_huge_timestamps_are_kept(url: str) -> None:
    timeline(url).write([frame(0, timestamp=-2.5), frame(1, timestamp=1e9)])
    assert [f.timestamp for f in timeline(url).frames()] == [-2.5, 1e9]


def test_write_creates_only_blobs_of_the_contract(url: str) -> None:
    timeline(url).write([frame(0), frame(12)])
    allowed = ("frames/", "timeline/", "index/")
    names = [key.removeprefix("cache/timelines/t/") for key in outside(url).list()]
    names.remove("cache/create-if-absent")
    assert all(name.startswith(allowed) for name in names)
    assert [name for name in names if name.startswith("frames/")] == [
        "frames/0.jpg",
        "frames/12.jpg",
    ]
