"""Reading frames, times, ranges, batches, bytes and the index, and its errors."""

import gc
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from framecache import (
    CorruptFrame,
    Frame,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    NotCached,
    SettingsConflict,
    Timeline,
    TimelineCleared,
)
from framecache.functional import load_cached_frames, load_cached_frames_b64
from framecache.model import Color, Image
from framecache.testing import HookedStore
from outside import (
    frame,
    frames_of,
    jpeg_by_pillow,
    library_threads,
    mean_error,
    outside,
    picture,
    pixels_by_pillow,
    wait_for_library_threads,
)

PREFIX = "cache/timelines/t/"

# Sequences with gaps, and times that are not in step with them.
SECONDS = {0: 0.0, 1: 0.5, 2: 0.75, 5: 2.0, 6: 2.25, 7: 3.0, 20: 3.5, 21: 4.5}


@pytest.fixture
def url(local_url: str) -> str:
    """A store with one timeline, ``t``."""
    fill(local_url)
    return local_url


def fill(url: str, *, first: int = 0, quality: int = 85) -> None:
    """Write the frames of ``SECONDS``; their pictures count from ``first``."""
    frames = [
        frame(n, number=first + n, chunk_id=n // 6, timestamp=seconds)
        for n, seconds in SECONDS.items()
    ]
    timeline(url).write(frames, quality=quality)


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


def numbers(frames: Iterator[Frame]) -> list[int]:
    return [f.sequence for f in frames]


def by_pillow(jpeg: bytes, *, color: str, scale: float) -> npt.NDArray[np.uint8]:
    """A JPEG decoded by Pillow, at a scale that its decoder does itself."""
    with Pillow.open(io.BytesIO(jpeg)) as image:
        mode = "RGB" if color == "rgb" else "L"
        image.draft(mode, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
        assert image.mode == mode
        return np.asarray(image)


# One frame


@pytest.mark.every_store
def test_frame_is_read_by_sequence(store_url: str) -> None:
    fill(store_url)
    stored = frames_of(outside(store_url), "t")
    for n, seconds in SECONDS.items():
        read = timeline(store_url).frame(n)
        assert (read.sequence, read.chunk_id, read.timestamp) == (n, n // 6, seconds)
        assert len(read.perceptual_hash) == 16
        assert mean_error(read.image, pixels_by_pillow(stored[f"{n}.jpg"])) <= 0.5


def test_sequence_may_be_a_numpy_integer(url: str) -> None:
    t = timeline(url)
    assert [t.frame(n).sequence for n in t.index.sequence] == list(SECONDS)


@pytest.mark.parametrize("sequence", [3, 4, 8, 19, 22, 10**6, 10**15 - 1])
def test_missing_sequence_raises_not_cached(url: str, sequence: int) -> None:
    with pytest.raises(NotCached, match=rf"timeline t .* {sequence}.* 8 frames, 0 to 21"):
        timeline(url).frame(sequence)


@pytest.mark.parametrize("sequence", [-1, 1.0, "1", None, float("nan"), 2**63, 10**30])
def test_sequence_of_wrong_type_is_rejected(url: str, sequence: int) -> None:
    with pytest.raises(InvalidValue, match="sequence"):
        timeline(url).frame(sequence)


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame(0),
        lambda t: t.frame_at(0.0),
        lambda t: t.jpeg(0),
        lambda t: t.jpegs([0]),
        lambda t: t.batch([0]),
    ],
    ids=["frame", "frame_at", "jpeg", "jpegs", "batch"],
)
def test_read_of_empty_timeline_raises_not_cached(
    store_url: str, read: Callable[[Timeline], object]
) -> None:
    with pytest.raises(NotCached, match=r"timeline t .*extract") as raised:
        read(timeline(store_url))
    assert isinstance(raised.value, LookupError)
    assert outside(store_url).list() == []


def test_modified_image_does_not_change_later_reads(url: str) -> None:
    t = timeline(url)
    t.frame(0).image[:] = 0
    assert mean_error(t.frame(0).image, picture(0)) <= 3


# By time


@pytest.mark.parametrize(
    ("seconds", "sequence"),
    [
        *((seconds, n) for n, seconds in SECONDS.items()),
        (0.0 - 0.0, 0),
        (0.49, 0),
        (math.nextafter(0.5, 0), 1),
        (0.499998, 0),
        ("0.50", 1),
        ("0:00.5", 1),
        ("0.499", 0),
        (math.nextafter(0.5, 1), 1),
        (1.99, 2),
        (3.49, 7),
        (4.49, 20),
        (5.4, 21),
        (4, 20),
    ],
)
def test_frame_at_returns_frame_on_screen(url: str, seconds: float | str, sequence: int) -> None:
    assert timeline(url).frame_at(seconds).sequence == sequence
    assert timeline(url).sequence_at(seconds) == sequence


@pytest.mark.parametrize("seconds", [-0.001, -5.0, 5.6, 1e9])
def test_frame_at_outside_timeline_raises_not_cached(url: str, seconds: float) -> None:
    with pytest.raises(NotCached, match=r"timeline t .* 0\.000 s to 5\.500 s"):
        timeline(url).frame_at(seconds)


@pytest.mark.parametrize(
    "seconds", [float("nan"), float("inf"), -float("inf"), "x", None, True, b"1"]
)
def test_invalid_time_is_rejected(url: str, seconds: float) -> None:
    with pytest.raises(InvalidValue, match="time"):
        timeline(url).frame_at(seconds)


def test_tolerance_seconds_widens_time_queries(url: str) -> None:
    t = timeline(url)
    assert t.frame_at(0.45, tolerance_seconds=0.1).sequence == 1
    assert t.sequence_at("0.4", tolerance_seconds=0) == 0
    assert t.sequence_at(0.499, tolerance_seconds="0.001") == 1
    assert t.sequences(start_seconds=0.55, tolerance_seconds=0.1, stop=3) == [1, 2]
    assert numbers(t.frames(stop_seconds=0.55, tolerance_seconds=0.1)) == [0]
    for call in (t.frame_at, t.sequence_at):
        with pytest.raises(InvalidValue, match="tolerance_seconds must be a number of"):
            call(1, tolerance_seconds=-1)


# Ranges


@pytest.mark.parametrize("start", [None, 0, 1, 3, 5, 21, 22])
def test_range_of_sequences_follows_python_range(url: str, start: int | None) -> None:
    t = timeline(url)
    for stop in (None, 0, 1, 6, 7, 20, 21, 22, 1000):
        for step in (1, 2, 3, 5):
            wanted = range(start or 0, 22 if stop is None else stop, step)
            expected = [n for n in wanted if n in SECONDS]
            assert numbers(t.frames(start, stop, step)) == expected
            assert t.sequences(start, stop, step) == expected


def test_range_without_start_counts_from_first_frame(local_url: str) -> None:
    timeline(local_url).write([frame(n) for n in range(3, 12)])
    assert numbers(timeline(local_url).frames(step=4)) == [3, 7, 11]


@pytest.mark.parametrize(
    ("start_seconds", "stop_seconds"),
    [(None, 2.0), (0.5, None), (0.5, 2.25), (0.51, 2.26), (2.0, 2.0), (3, 1), (-1, 99), (5, 6)],
)
def test_range_of_times_takes_frames_that_begin_in_it(
    url: str, start_seconds: float | None, stop_seconds: float | None
) -> None:
    low = -math.inf if start_seconds is None else start_seconds
    high = math.inf if stop_seconds is None else stop_seconds
    expected = [n for n, seconds in SECONDS.items() if low <= seconds < high]
    t = timeline(url)
    read = t.frames(start_seconds=start_seconds, stop_seconds=stop_seconds)
    assert numbers(read) == expected
    named = t.sequences(start_seconds=start_seconds, stop_seconds=stop_seconds)
    assert named == expected


def test_range_may_mix_start_time_and_stop_sequence(url: str) -> None:
    assert numbers(timeline(url).frames(start_seconds=0.6, stop=7)) == [2, 5, 6]
    assert numbers(timeline(url).frames(start=2, stop_seconds=3.5)) == [2, 5, 6, 7]


def test_step_from_start_time_counts_from_first_taken_frame(url: str) -> None:
    assert numbers(timeline(url).frames(start_seconds=0.6, step=5)) == [2, 7]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start": 1, "start_seconds": 0.5}, "to start at, not both"),
        ({"stop": 1, "stop_seconds": 0.5}, "to stop at, not both"),
        ({"start": 0, "start_seconds": 0.0}, "to start at, not both"),
        ({"step": 0}, "step .* 0"),
        ({"step": -1}, "step .* -1"),
        ({"step": 1.0}, r"step .* 1\.0"),
        ({"step": None}, "step .* None"),
        ({"start": -1}, "sequence .* -1"),
        ({"stop": -1}, "sequence .* -1"),
        ({"start": 0.5}, r"sequence .* 0\.5"),
        ({"start_seconds": float("nan")}, "time .* nan"),
        ({"stop_seconds": "x"}, "time .* 'x'"),
        ({"scale": 0.3}, r"scale .* 0\.3"),
        ({"scale": 2}, "scale .* 2"),
        ({"scale": 0}, "scale .* 0"),
        ({"scale": "1"}, "scale .* '1'"),
        ({"color": "hsv"}, "color .* 'hsv'"),
        ({"color": "RGB"}, "color .* 'RGB'"),
        ({"color": None}, "color .* None"),
    ],
    ids=str,
)
def test_invalid_range_is_rejected_before_first_frame(
    url: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidValue, match=said):
        timeline(url).frames(**arguments)
    assert library_threads() == set()


def test_empty_timeline_has_no_frames(store_url: str) -> None:
    t = timeline(store_url)
    assert numbers(t.frames()) == []
    assert numbers(t.frames(0, 100, 5)) == []
    assert len(t) == 0
    assert bool(t) is True


# Scale and color


@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize("scale", [1, 0.5, 0.25, 0.125])
@pytest.mark.parametrize(("width", "height"), [(160, 120), (33, 17), (1, 1)])
def test_scale_and_color_equal_those_of_libjpeg(
    local_url: str, width: int, height: int, scale: float, color: Color
) -> None:
    timeline(local_url).write([frame(1, width=width, height=height)], quality=95)
    stored = frames_of(outside(local_url), "t")["1.jpg"]
    expected = by_pillow(stored, color=color, scale=scale)
    t = timeline(local_url)
    rows, columns = math.ceil(height * scale), math.ceil(width * scale)
    shape = (rows, columns, 3) if color == "rgb" else (rows, columns)
    for read in (
        t.frame(1, scale=scale, color=color),
        t.frame_at(0.125, scale=scale, color=color),
        *t.frames(scale=scale, color=color),
    ):
        assert read.image.shape == expected.shape == shape
        assert mean_error(read.image, expected) <= 0.5
    batch = t.batch([1], scale=scale, color=color)
    assert batch.shape == (1, *shape)
    assert mean_error(batch[0], expected) <= 0.5


# Iterating


def test_frames_are_in_order_when_first_one_arrives_last(url: str) -> None:
    others = Event()

    def first_waits_for_another(action: str, key: str) -> None:
        if action == "get" and key.endswith("frames/0.jpg"):
            others.wait(5)
        elif action == "get" and "/frames/" in key:
            others.set()

    store = HookedStore(FrameCache(url).store, before=first_waits_for_another)
    assert numbers(Timeline(store, "t").frames()) == list(SECONDS)


def test_slow_response_of_remote_store_blocks_few_frames(s3_url: str) -> None:
    timeline(s3_url).write(frame(n, width=8, height=8) for n in range(200))
    arrived, enough = set[str](), Event()

    def first_waits_for_most(action: str, key: str) -> None:
        if action != "get" or "/frames/" not in key:
            return
        if key.endswith("frames/0.jpg"):
            assert enough.wait(60)
        arrived.add(key)
        if len(arrived) >= 150:
            enough.set()

    store = HookedStore(FrameCache(s3_url).store, before=first_waits_for_most)
    assert numbers(Timeline(store, "t").frames()) == list(range(200))


def test_prefetch_of_frames_is_bounded(local_url: str) -> None:
    timeline(local_url).write(frame(n, width=8, height=8) for n in range(500))
    store = HookedStore(FrameCache(local_url).store)
    frames = iter(Timeline(store, "t").frames())
    next(frames)
    assert sum("/frames/" in key for _, key in store.requests) < 400
    assert numbers(frames) == list(range(1, 500))


def test_second_iteration_gives_same_frames(url: str) -> None:
    t = timeline(url)
    assert numbers(t.frames()) == numbers(t.frames()) == list(SECONDS)


def test_several_iterators_may_run_concurrently(url: str) -> None:
    t = timeline(url)
    pairs = list(zip(t.frames(), t.frames(start=1), strict=False))
    assert [(a.sequence, b.sequence) for a, b in pairs] == list(
        zip(list(SECONDS), list(SECONDS)[1:], strict=False)
    )


@pytest.mark.parametrize("what", ["frames", "jpegs"])
def test_iterator_closed_early_leaves_no_threads(local_url: str, what: str) -> None:
    timeline(local_url).write(frame(n) for n in range(100))
    t = timeline(local_url)
    items: Iterator[object] = t.frames() if what == "frames" else t.jpegs(range(100))
    for item in items:
        assert item is not None
        break
    assert library_threads()
    del items
    gc.collect()
    wait_for_library_threads()


def test_exhausted_iterator_leaves_no_threads(url: str) -> None:
    frames = timeline(url).frames()
    assert numbers(frames) == list(SECONDS)
    assert library_threads() == set()


def test_unstarted_iterator_starts_no_threads(url: str) -> None:
    frames = timeline(url).frames()
    assert library_threads() == set()
    del frames


# Batches and bytes


def test_batch_has_images_in_given_order(store_url: str) -> None:
    fill(store_url)
    wanted = [7, 0, 20, 0]
    batch = timeline(store_url).batch(wanted)
    assert batch.shape == (4, 32, 48, 3)
    assert batch.dtype == np.uint8
    for image, n in zip(batch, wanted, strict=True):
        assert mean_error(image, picture(n)) <= 3


@pytest.mark.parametrize(
    ("color", "shape"), [("rgb", (2, 32, 48, 3)), ("gray", (2, 32, 48))], ids=["rgb", "gray"]
)
def test_batch_is_written_to_out_array(
    store_url: str, color: Color, shape: tuple[int, ...]
) -> None:
    fill(store_url)
    t = timeline(store_url)
    larger = np.zeros((4, *shape[1:]), np.uint8)
    place = larger[1:3]
    assert t.batch([5, 1], color=color, out=place) is place
    assert np.array_equal(larger[1:3], t.batch([5, 1], color=color))
    assert not larger[[0, 3]].any()


def test_batches_reuse_memory_only_after_previous_batch_is_released(url: str) -> None:
    t = timeline(url)
    first = t.batch([0, 1])
    where, pixels, row = first.ctypes.data, first.copy(), first[0]
    del first
    second = t.batch([2, 5])
    assert second.ctypes.data != where
    assert np.array_equal(row, pixels[0])
    del row
    others = [np.empty_like(second) for _ in range(4)]  # receive recycled memory
    third = t.batch([6, 7])
    assert third.ctypes.data == where
    assert where not in [other.ctypes.data for other in others]
    assert np.array_equal(second, timeline(url).batch([2, 5]))
    assert np.array_equal(third, timeline(url).batch([6, 7]))


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 32, 48, 3), np.uint8),
        np.zeros((2, 32, 48), np.uint8),
        np.zeros((2, 32, 48, 3), np.int8),
        np.zeros((2, 32, 96, 3), np.uint8)[:, :, ::2],
        np.zeros((2, 32, 48, 3), np.uint8, order="F"),
        np.frombuffer(bytes(2 * 32 * 48 * 3), np.uint8).reshape(2, 32, 48, 3),
        [[0]],
    ],
    ids=["length", "color", "type", "gaps", "order", "read-only", "list"],
)
def test_batch_with_unsuitable_out_array_is_rejected(url: str, out: Image) -> None:
    before = np.array(out)
    with pytest.raises(InvalidValue, match=r"out must be .* of shape \(2, 32, 48, 3\), not "):
        timeline(url).batch([0, 1], out=out)
    assert np.array_equal(out, before)
    assert library_threads() == set()


@pytest.mark.parametrize("sequences", [(0, 5), range(3), iter([1, 2]), np.array([5, 6]), {1}])
def test_batch_accepts_any_iterable_of_sequences(url: str, sequences: Iterable[int]) -> None:
    assert timeline(url).batch(sequences).shape[1:] == (32, 48, 3)


def test_batch_without_sequences_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue, match="batch"):
        timeline(url).batch([])


def test_batch_with_missing_sequence_raises_not_cached(url: str) -> None:
    with pytest.raises(NotCached, match="no frame 3"):
        timeline(url).batch([0, 1, 3])


def test_batch_of_frames_of_two_sizes_is_rejected(local_url: str) -> None:
    timeline(local_url).write([frame(0), frame(1), frame(2, width=20, height=10)])
    with pytest.raises(InvalidValue, match="frames 0 and 2 differ in size"):
        timeline(local_url).batch([0, 1, 2])
    wait_for_library_threads()


def test_jpegs_are_the_stored_bytes(store_url: str) -> None:
    fill(store_url)
    stored = frames_of(outside(store_url), "t")
    t = timeline(store_url)
    assert t.jpeg(7) == stored["7.jpg"]
    assert list(t.jpegs([21, 0, 5, 0])) == [stored[f"{n}.jpg"] for n in (21, 0, 5, 0)]
    assert list(t.jpegs([])) == []


def test_jpegs_with_missing_sequence_raise_before_first_frame(url: str) -> None:
    with pytest.raises(NotCached, match="no frame 3"):
        timeline(url).jpegs([0, 3])


# Index and information


def test_index_has_columns_of_contract_as_read_only_arrays(url: str) -> None:
    columns = (
        "sequence, chunk_id, pts, timestamp, duration, width, height, key, offset, size, crc32c, "
        "perceptual_hash, status"
    )
    index = timeline(url).index
    table = index.to_arrow().to_pydict()
    assert list(table)[:13] == columns.split(", ")
    for name in columns.split(", "):
        column = getattr(index, name)
        assert isinstance(column, np.ndarray)
        assert column.tolist() == table[name]
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]


def test_index_rows_match_written_frames(store_url: str) -> None:
    fill(store_url)
    stored = frames_of(outside(store_url), "t")
    index = timeline(store_url).index
    assert index.sequence.tolist() == list(SECONDS)
    assert index.timestamp.tolist() == list(SECONDS.values())
    assert index.chunk_id.tolist() == [n // 6 for n in SECONDS]
    assert index.size.tolist() == [len(stored[f"{n}.jpg"]) for n in SECONDS]
    crcs = index.to_arrow()["crc32c"].to_pylist()
    assert crcs == [google_crc32c.value(stored[f"{n}.jpg"]) for n in SECONDS]
    assert index.duration.tolist() == [0.5, 0.25, 1.25, 0.25, 0.75, 0.5, 1.0, 1.0]


def test_length_counts_frames(url: str) -> None:
    assert len(timeline(url)) == len(timeline(url).index) == 8


def test_info_reports_cached_frames(store_url: str) -> None:
    fill(store_url)
    info = timeline(store_url).info()
    assert (info.timeline_id, info.exists, info.complete) == ("t", True, True)
    assert info.url == FrameCache(store_url).url
    assert (info.frame_count, info.frames_undecodable, info.frames_described) == (8, 0, 0)
    assert info.size_bytes == sum(map(len, frames_of(outside(store_url), "t").values()))
    assert (info.width, info.height) == (48, 32)
    assert info.duration_seconds == 5.5
    assert info.chunks == ()
    assert info.settings is not None
    assert info.settings.jpeg.quality == 85


def test_info_of_an_empty_timeline_is_empty(store_url: str) -> None:
    t = timeline(store_url)
    info = t.info()
    assert (t.exists, t.complete) == (False, False)
    assert (info.exists, info.complete, info.epoch, info.version) == (False, False, None, None)
    assert (info.frame_count, info.size_bytes, info.duration_seconds) == (0, 0, 0.0)
    assert (info.width, info.height, info.settings, info.chunks) == (0, 0, None, ())


def test_queries_of_missing_timeline_create_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    t = timeline(str(folder))
    assert not t.exists
    assert numbers(t.frames()) == []
    assert FrameCache(folder).timelines() == []
    assert outside(str(folder)).list() == []


# Requests


def test_open_timeline_reads_take_one_request_per_frame_and_no_list(url: str) -> None:
    store = HookedStore(FrameCache(url).store)
    t = Timeline(store, "t")
    t.frame(0)
    assert sum(action == "list" for action, _ in store.requests) <= 1
    opened = len(store.requests)
    t.frame(5)
    t.frame_at(2.0)
    numbers(t.frames())
    t.batch([0, 1])
    list(t.jpegs([0, 1, 2]))
    requests = store.requests[opened:]
    looks = [key for action, key in requests if action == "head"]
    assert looks == [f"{PREFIX}timeline/00000003.json"]  # frames() checks for more frames
    gets = [key for action, key in requests if action == "get"]
    # ... and whether the existing ones are current.
    assert gets.count(f"{PREFIX}timeline/00000002.json") == 1
    frames = [key for key in gets if key.startswith(f"{PREFIX}frames/")]
    assert len(frames) == len(requests) - 2 == 1 + 1 + 8 + 2 + 3


def test_timeline_handle_makes_no_request(url: str) -> None:
    store = HookedStore(FrameCache(url).store)
    t = Timeline(store, "t")
    t.overlays(job_id="j", stage="s")
    assert repr(t)
    assert store.requests == []


# Damage


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _other(data: bytes) -> bytes:
    """Another valid JPEG of the same length."""
    jpeg = jpeg_by_pillow(77)[: len(data) - 2]
    return jpeg + b"\0" * (len(data) - len(jpeg))


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "a bit flipped": _flip,
    "cut short": lambda data: data[:-1],
    "cut to half": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "grown": lambda data: data + b"\0",
    "replaced by a JPEG of the same length": _other,
    "replaced by another JPEG": lambda _: jpeg_by_pillow(200),
    "removed": lambda _: None,
}


def damage(url: str, sequence: int, how: str) -> str:
    """Damage a frame directly in the store; return its key."""
    key = f"{PREFIX}frames/{sequence}.jpg"
    data = DAMAGE[how](outside(url).read(key))
    if data is None:
        outside(url).remove(key)
    else:
        outside(url).put(key, data)
    return key


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_frame_error_names_key_and_remedy(url: str, how: str) -> None:
    key = damage(url, 5, how)
    with pytest.raises(CorruptFrame) as raised:
        timeline(url).frame(5)
    assert key in str(raised.value)
    assert "write the frame again" in str(raised.value)


@pytest.mark.parametrize("how", ["a bit flipped", "removed"])
@pytest.mark.every_store
def test_damaged_frame_raises_corrupt_frame_in_every_store(store_url: str, how: str) -> None:
    fill(store_url)
    key = damage(store_url, 5, how)
    with pytest.raises(CorruptFrame) as raised:
        timeline(store_url).frame(5)
    assert key in str(raised.value)
    assert mean_error(timeline(store_url).frame(6).image, picture(6)) <= 3


@pytest.mark.parametrize("how", ["a bit flipped", "removed"])
@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame(5),
        lambda t: t.frame_at(2.0),
        lambda t: t.jpeg(5),
        lambda t: list(t.jpegs([0, 5])),
        lambda t: t.batch([0, 1, 5]),
        lambda t: list(t.frames()),
    ],
    ids=["frame", "frame_at", "jpeg", "jpegs", "batch", "frames"],
)
def test_every_read_method_raises_corrupt_frame_on_damage(
    url: str, read: Callable[[Timeline], object], how: str
) -> None:
    damage(url, 5, how)
    with pytest.raises(CorruptFrame, match=r"frames/5\.jpg"):
        read(timeline(url))
    wait_for_library_threads()


def test_plain_functions_raise_corrupt_frame_on_damage(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", url)
    damage(url, 5, "a bit flipped")
    for load in (load_cached_frames, load_cached_frames_b64):
        with pytest.raises(CorruptFrame) as raised:
            load("t")
        wait_for_library_threads()
        del raised  # while a program holds the error, the threads have ended already


def test_frames_before_damaged_one_are_yielded(url: str) -> None:
    damage(url, 5, "cut short")
    frames = timeline(url).frames()
    assert [next(frames).sequence for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CorruptFrame):
        next(frames)


def test_restored_frame_can_be_read(url: str) -> None:
    key = f"{PREFIX}frames/5.jpg"
    data = outside(url).read(key)
    t = timeline(url)
    damage(url, 5, "removed")
    with pytest.raises(CorruptFrame):
        t.frame(5)
    outside(url).put(key, data)
    assert t.frame(5).sequence == 5


@pytest.mark.parametrize("how", ["a bit flipped", "cut to half", "emptied"])
def test_damaged_index_error_names_its_key(url: str, how: str) -> None:
    blobs = outside(url)
    [key] = blobs.list(f"{PREFIX}index/")
    damaged = DAMAGE[how](blobs.read(key))
    assert damaged is not None
    blobs.put(key, damaged)
    # A flipped bit of file metadata may have no effect; the rows are then correct.
    try:
        read = timeline(url).index
    except CorruptFrame as error:
        assert key in str(error)  # noqa: PT017 - either is right
        assert "rebuild" in str(error)  # noqa: PT017
    else:
        assert how == "a bit flipped"
        assert read.sequence.tolist() == list(SECONDS)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff\xfe"])
def test_corrupt_manifest_error_names_its_key(url: str, content: bytes) -> None:
    key = outside(url).list(f"{PREFIX}timeline/")[-1]
    outside(url).put(key, content)
    with pytest.raises(CorruptFrame) as raised:
        timeline(url).info()
    assert key in str(raised.value)


def test_manifest_of_newer_format_asks_for_upgrade(url: str) -> None:
    blobs = outside(url)
    key = blobs.list(f"{PREFIX}timeline/")[-1]
    document = json.loads(blobs.read(key)) | {"format": 99}
    del document["crc32c"]
    checksum = google_crc32c.value(json.dumps(document, indent=1).encode())
    document["crc32c"] = f"{checksum:08x}"
    blobs.put(key, json.dumps(document, indent=1).encode())
    with pytest.raises(SettingsConflict, match=r"99.*upgrade"):
        timeline(url).frame(0)


# Other programs at work


def _clear(url: str) -> None:
    timeline(url).clear()


def _delete(url: str) -> None:
    timeline(url).delete()


def _clear_and_write(url: str) -> None:
    timeline(url).clear()
    fill(url, first=100)


def _delete_and_write(url: str) -> None:
    timeline(url).delete()
    fill(url, first=100)


CLEARING = pytest.mark.parametrize(
    "clear", [_clear, _delete, _clear_and_write, _delete_and_write], ids=lambda f: f.__name__[1:]
)


@CLEARING
def test_read_of_cleared_timeline_raises_timeline_cleared(
    store_url: str, clear: Callable[[str], None]
) -> None:
    fill(store_url)
    t = timeline(store_url)
    assert t.frame(0).sequence == 0
    clear(store_url)
    with pytest.raises(TimelineCleared, match="timeline t "):
        t.frame(5)


@CLEARING
def test_clear_during_iteration_raises_timeline_cleared(
    local_url: str, clear: Callable[[str], None]
) -> None:
    timeline(local_url).write([frame(n) for n in range(200)])
    frames = timeline(local_url).frames()
    first = next(frames)
    assert mean_error(first.image, picture(0)) <= 3
    clear(local_url)
    read = [first]
    with pytest.raises(TimelineCleared, match="timeline t "):
        read.extend(frames)
    for one in read:
        assert mean_error(one.image, picture(one.sequence)) <= 3
    wait_for_library_threads()


@CLEARING
@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame_at(2.0),
        lambda t: t.jpeg(5),
        lambda t: list(t.jpegs([0, 5])),
        lambda t: t.batch([0, 1, 5]),
    ],
    ids=["frame_at", "jpeg", "jpegs", "batch"],
)
def test_every_read_method_raises_timeline_cleared_after_clear(
    url: str, clear: Callable[[str], None], read: Callable[[Timeline], object]
) -> None:
    t = timeline(url)
    assert len(t) == 8
    clear(url)
    with pytest.raises(TimelineCleared):
        read(t)


def test_frames_of_write_in_progress_are_not_taken_for_foreign_ones(
    local_url: str,
) -> None:
    def produce() -> Iterator[Frame]:
        yield from (frame(n) for n in range(20))
        raise ZeroDivisionError

    def store_frames(action: str, key: str) -> None:
        if (action, key) == ("list", f"{PREFIX}frames/"):
            with pytest.raises(ZeroDivisionError):
                timeline(local_url).write(produce())

    t = Timeline(HookedStore(FrameCache(local_url).store, before=store_frames), "t")
    assert (t.exists, t.complete, len(t), numbers(t.frames())) == (False, False, 0, [])


def test_handle_that_raised_timeline_cleared_reads_new_frames(url: str) -> None:
    t = timeline(url)
    t.frame(0)
    _clear_and_write(url)
    with pytest.raises(TimelineCleared):
        t.frame(5)
    assert mean_error(t.frame(5).image, picture(105)) <= 3


def test_handle_queried_after_clear_reads_new_frames(url: str) -> None:
    t = timeline(url)
    t.frame(0)
    _clear_and_write(url)
    assert t.exists
    assert mean_error(t.frame(5).image, picture(105)) <= 3


def test_handle_sees_its_own_clear(url: str) -> None:
    t = timeline(url)
    t.frame(0)
    t.clear()
    assert (t.exists, len(t), numbers(t.frames())) == (False, 0, [])
    with pytest.raises(NotCached):
        t.frame(0)


def test_handle_sees_its_own_writes(url: str) -> None:
    t = timeline(url)
    assert len(t) == 8
    t.write([frame(50, timestamp=9.0)])
    assert len(t) == 9
    assert numbers(t.frames())[-1] == 50


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame(5).sequence,
        lambda t: t.frame_at(2.0).sequence,
        lambda t: numbers(t.frames(5, 6))[0],
        lambda t: len(t.batch([0, 1, 2, 5, 6])),
        lambda t: len(list(t.jpegs([0, 1, 2, 5, 6]))),
    ],
    ids=["frame", "frame_at", "frames", "batch", "jpegs"],
)
@pytest.mark.parametrize("looked", [False, True], ids=["unused", "that found nothing"])
def test_handle_created_before_frames_reads_them(
    local_url: str, read: Callable[[Timeline], int], *, looked: bool
) -> None:
    t = timeline(local_url)
    if looked:
        assert numbers(t.frames()) == []
        assert len(t) == 0
    fill(local_url)
    assert read(t) == 5


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.frame(40).sequence,
        lambda t: t.frame_at(6.0).sequence,
        lambda t: numbers(t.frames(30, 50))[0],
        lambda t: 39 + len(t.batch([40])),
        lambda t: 39 + len(list(t.jpegs([40]))),
    ],
    ids=["frame", "frame_at", "frames", "batch", "jpegs"],
)
def test_handle_reads_frames_added_later(url: str, read: Callable[[Timeline], int]) -> None:
    t = timeline(url)
    assert numbers(t.frames())[-1] == 21
    timeline(url).write([frame(40, timestamp=6.0)])
    assert read(t) == 40


def test_threads_may_share_a_handle_for_reads(store_url: str) -> None:
    fill(store_url)
    t = timeline(store_url)
    together = Barrier(6)

    def read(thread: int) -> list[float]:
        together.wait()
        errors = [mean_error(f.image, picture(f.sequence)) for f in t.frames()]
        errors += [mean_error(t.frame(n).image, picture(n)) for n in SECONDS]
        wanted = list(SECONDS)[thread:]
        return errors + [
            mean_error(image, picture(n)) for image, n in zip(t.batch(wanted), wanted, strict=True)
        ]

    with ThreadPoolExecutor(6) as pool:
        assert max(max(errors) for errors in pool.map(read, range(6))) <= 3


def test_threads_may_share_a_handle_for_queries_and_reads(url: str) -> None:
    t = timeline(url)

    def look(_: int) -> bool:
        return t.exists and t.complete and t.info().frame_count == 8

    def read(_: int) -> bool:
        return numbers(t.frames()) == list(SECONDS) and t.frame(7).sequence == 7

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, range(20)))
        assert all(pool.map(read, range(20)))


def test_every_error_derives_from_frame_cache_error(url: str) -> None:
    for error in (TimelineCleared, CorruptFrame, InvalidValue, NotCached, SettingsConflict):
        assert issubclass(error, FrameCacheError)
    with pytest.raises(FrameCacheError):
        timeline(url).frame(3)
