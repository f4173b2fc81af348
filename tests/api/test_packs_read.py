"""Reading packs: the same frames as in layout objects, by few requests, in bounded memory."""

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from threading import Event
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packed import (
    DAMAGE,
    FRAMES,
    MEGABYTE,
    Ranges,
    damage,
    expected_jpegs,
    extract,
    filled,
    near_and_far,
    noise,
    packed_store,
    sequences,
    timeline,
    values_of,
)

from framecache import CorruptFrame, FrameCache, Timeline, functional
from framecache.model import Color, Layout
from framecache.store import Store, open_store
from framecache.testing import Fault, FaultyStore
from outside import frame, frames_of, outside, wait_for_library_threads
from tars import packs_of


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


# Reading


SEQUENCE: Final = st.integers(0, FRAMES - 1)
LIST: Final = st.lists(SEQUENCE, min_size=1, max_size=60)
SCALE: Final = st.sampled_from([1, 0.5, 0.25, 0.125])
COLOR: Final[st.SearchStrategy[Color]] = st.sampled_from(["rgb", "gray"])
END: Final = st.none() | st.integers(0, FRAMES + 3)
TIME: Final = st.floats(-0.5, 2.5)


@given(start=END, stop=END, step=st.integers(1, 50), scale=SCALE, color=COLOR)
def test_range_reads_the_same_in_both_layouts(
    start: int | None, stop: int | None, step: int, scale: float, color: Color
) -> None:
    expected = values_of(filled("objects").frames(start, stop, step, scale=scale, color=color))
    for _, packed in near_and_far(packed_store()):
        assert values_of(packed.frames(start, stop, step, scale=scale, color=color)) == expected
        assert packed.sequences(start, stop, step) == [one[0] for one in expected]


@given(start=TIME, stop=TIME, step=st.integers(1, 9))
def test_range_of_times_reads_the_same_in_both_layouts(
    start: float, stop: float, step: int
) -> None:
    def read(t: Timeline) -> object:
        frames = t.frames(step=step, start_seconds=start, stop_seconds=stop, scale=0.125)
        return values_of(frames)

    for _, packed in near_and_far(packed_store()):
        assert read(packed) == read(filled("objects"))


@given(wanted=LIST, scale=SCALE, color=COLOR)
def test_list_reads_the_same_in_both_layouts_in_given_order(
    wanted: list[int], scale: float, color: Color
) -> None:
    expected = filled("objects").batch(wanted, scale=scale, color=color)
    for _, packed in near_and_far(packed_store()):
        batch = packed.batch(wanted, scale=scale, color=color)
        assert batch.tobytes() == expected.tobytes()
        assert batch.shape == expected.shape
        assert list(packed.jpegs(wanted)) == [expected_jpegs()[sequence] for sequence in wanted]


@given(sequence=SEQUENCE, seconds=st.floats(0, 1.79), scale=SCALE, color=COLOR)
def test_frame_reads_the_same_in_both_layouts(
    sequence: int, seconds: float, scale: float, color: Color
) -> None:
    one, other = filled("objects"), filled("packs")
    read = [
        (t.frame(sequence, scale=scale, color=color), t.frame_at(seconds)) for t in (one, other)
    ]
    assert values_of(read[0]) == values_of(read[1])
    assert one.sequence_at(seconds) == other.sequence_at(seconds)
    assert other.jpeg(sequence) == expected_jpegs()[sequence]


@pytest.mark.every_store
def test_packs_are_read_from_every_store(store_url: str) -> None:
    extract(store_url)
    t = timeline(store_url)
    wanted = [44, 0, 17, 17, 18, 30, 3]
    assert values_of(t.frames()) == values_of(filled("objects").frames())
    assert list(t.jpegs(range(FRAMES))) == expected_jpegs()
    assert t.batch(wanted).tobytes() == filled("objects").batch(wanted).tobytes()
    assert t.frame_at(1.0).image.tobytes() == filled("objects").frame_at(1.0).image.tobytes()


def test_plain_functions_read_and_fill_packs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", url)
    extract(url)
    assert functional.cache_exists("t")
    assert values_of(functional.load_cached_frames("t")) == values_of(filled("objects").frames())
    base64_frames = functional.load_cached_frames_b64("t")
    monkeypatch.setenv("FRAMECACHE_URL", "memory://packs-read-objects")
    assert base64_frames == functional.load_cached_frames_b64("t")
    monkeypatch.setenv("FRAMECACHE_URL", url)
    functional.clear_cache("t")
    assert functional.load_cached_frames("t") == []
    assert packs_of(outside(url), "t") == {}

    timeline(url, "w").write([frame(0)], layout="packs")
    assert functional.cache_frames("w", [frame(1), frame(2)]) == 2
    assert sequences(functional.load_cached_frames("w")) == [0, 1, 2]
    assert frames_of(outside(url), "w") == {}


def test_info_is_the_same_in_both_layouts(url: str) -> None:
    extract(url)
    info, other = timeline(url).info(), filled("objects").info()
    assert info.settings is not None
    assert info.settings.layout == "packs"
    assert info.size_bytes == other.size_bytes == sum(map(len, expected_jpegs()))
    assert (info.frame_count, info.duration_seconds) == (other.frame_count, other.duration_seconds)


# Requests


@cache
def heavy() -> Store:
    """A store with one timeline of 100 packed frames, 11 MB."""
    store = open_store("memory://packs-heavy")
    Timeline(store, "t").write((noise(sequence) for sequence in range(100)), layout="packs")
    return store


def most_requests(t: Timeline, wanted: Iterable[int]) -> int:
    size_bytes = sum(int(t.index.size[sequence]) for sequence in wanted)
    return -(-size_bytes // MEGABYTE) + 2


@pytest.mark.parametrize(
    "read",
    [
        lambda t, wanted: list(t.frames(wanted.start, wanted.stop)),
        lambda t, wanted: list(t.frames(stop=wanted.stop, start_seconds=wanted.start / 8)),
        lambda t, wanted: t.batch(wanted),
        lambda t, wanted: list(t.jpegs(wanted)),
    ],
    ids=["frames", "times", "batch", "jpegs"],
)
@pytest.mark.parametrize("wanted", [range(100), range(31, 44), range(5, 7), range(99, 100)])
def test_adjacent_frames_are_read_by_coalesced_ranges(
    read: Callable[[Timeline, range], object], wanted: range
) -> None:
    for ranges, t in near_and_far(heavy()):
        t.frame(0)
        opened = len(ranges.requests)
        ranges.ranges.clear()
        read(t, wanted)
        made = [action for action, key in ranges.requests[opened:] if "/packs/" in key]
        assert 1 <= len(made) == len(ranges.ranges) <= most_requests(t, wanted)
        assert max(length for _, _, length in ranges.ranges) <= 2 * MEGABYTE
        assert "list" not in [action for action, _ in ranges.requests[opened:]]


def test_batch_of_shuffled_repeated_sequences_coalesces_ranges() -> None:
    wanted = np.random.default_rng(3).integers(0, 100, 200).tolist()
    for ranges, t in near_and_far(heavy()):
        batch = t.batch(wanted, scale=0.125, color="gray")
        assert len(ranges.ranges) <= most_requests(t, range(100))
        for image, sequence in zip(batch, wanted, strict=True):
            assert image.tobytes() == t.frame(sequence, scale=0.125, color="gray").image.tobytes()


def test_repeated_sequences_share_one_buffer() -> None:
    for _, t in near_and_far(heavy()):
        assert len({id(data) for data in [*t.jpegs([3] * 50 + [4] * 50)]}) == 2


@pytest.mark.parametrize("wanted", [range(99, -1, -1), np.random.default_rng(4).permutation(100)])
def test_jpegs_in_any_order_coalesce_ranges(wanted: Iterable[int]) -> None:
    for ranges, t in near_and_far(heavy()):
        expected = dict(enumerate(t.jpegs(range(100))))
        ranges.ranges.clear()
        assert list(t.jpegs(wanted)) == [expected[sequence] for sequence in wanted]
        assert len(ranges.ranges) <= most_requests(t, range(100))


def test_frames_written_in_any_order_are_read_by_coalesced_ranges(store: Store) -> None:
    order = np.random.default_rng(5).permutation(60).tolist()
    Timeline(store, "t").write((noise(sequence) for sequence in order), layout="packs")
    for ranges, t in near_and_far(store):
        assert sequences(t.frames(scale=0.125)) == list(range(60))
        assert len(ranges.ranges) <= most_requests(t, range(60))


def test_distant_frames_are_fetched_without_bytes_between() -> None:
    for ranges, t in near_and_far(heavy()):
        wanted = range(0, 100, 10)
        assert sequences(t.frames(step=10, scale=0.125)) == list(wanted)
        fetched = sum(length for _, _, length in ranges.ranges)
        assert fetched == sum(int(t.index.size[sequence]) for sequence in wanted)


def test_frame_takes_one_request_after_three_to_open(url: str) -> None:
    extract(url)
    for ranges, t in near_and_far(FrameCache(url).store):
        t.frame(20)
        requests = [action for action, key in ranges.requests if not key.endswith("/used")]
        assert requests == ["list", "get", "get", "get"]
        read: Callable[[Timeline], object]
        for read in (lambda t: t.frame(21), lambda t: t.frame_at(0.9), lambda t: t.jpeg(3)):
            before = len(ranges.requests)
            read(t)
            assert [action for action, _ in ranges.requests[before:]] == ["get"]
        assert len(ranges.ranges) == 4


def test_range_never_crosses_pack_boundary(url: str) -> None:
    extract(url)
    sizes = {key: len(pack) for key, pack in packs_of(outside(url), "t").items()}
    for ranges, t in near_and_far(FrameCache(url).store):
        assert values_of(t.frames()) == values_of(filled("objects").frames())
        assert all(start + length <= sizes[key] for key, start, length in ranges.ranges)
        assert len(ranges.ranges) == 3


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_jpegs_are_returned_without_decoding(
    monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    filled(layout)
    monkeypatch.setattr("framecache._media.jpeg.decode", refuse)
    for _, t in near_and_far(open_store(f"memory://packs-read-{layout}")):
        assert list(t.jpegs(range(FRAMES))) == expected_jpegs()
        assert t.jpeg(3) == expected_jpegs()[3]
        # Pictures are decoded by the function that this test watches.
        with pytest.raises(AssertionError, match="decoded"):
            t.frame(3)


@pytest.mark.parametrize("read", [lambda t: t.frames(), lambda t: t.jpegs(range(100))])
def test_closed_iterator_stops_fetching(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Timeline], Iterator[object]]
) -> None:
    monkeypatch.setattr("framecache._read.read._MAX_FETCHED_BYTES", 4 * MEGABYTE)
    monkeypatch.setattr("framecache._read.read.cpu_count", lambda: 2)
    for ranges, t in near_and_far(heavy()):
        items = read(t)
        next(items)
        del items
        gc.collect()
        wait_for_library_threads()
        assert sum(length for _, _, length in ranges.ranges) < 9 * MEGABYTE


@pytest.mark.parametrize("read", [lambda t: t.frames(), lambda t: t.jpegs(range(100))])
def test_prefetched_bytes_are_bounded(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Timeline], Iterator[object]]
) -> None:
    monkeypatch.setattr("framecache._read.read._MAX_FETCHED_BYTES", 4 * MEGABYTE)
    monkeypatch.setattr("framecache._read.read.cpu_count", lambda: 2)
    for ranges, t in near_and_far(heavy()):
        sizes = t.index.size.tolist()
        taken = most = 0
        for size_bytes, _ in zip(sizes, read(t), strict=True):
            fetched = sum(length for _, _, length in ranges.ranges)
            most = max(most, fetched - taken)
            taken += size_bytes
        # In addition to prefetched ranges: the current range, and decoded pictures.
        assert most < 4 * MEGABYTE + 2 * MEGABYTE + 20 * max(sizes)


class FirstWaits(Ranges):
    """Remote-looking store whose first range arrives after others were requested."""

    def __init__(self, inner: Store, others: int) -> None:
        super().__init__(inner, is_remote=True)
        self._others = others
        self._places = count()
        self._enough = Event()

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        if key.endswith(".json"):
            return super().get_range(key, start=start, length=length)
        place = next(self._places)
        if place == self._others:
            self._enough.set()
        assert place or self._enough.wait(60)
        return super().get_range(key, start=start, length=length)


@pytest.mark.parametrize(("step", "others"), [(1, 6), (2, 49)])
def test_many_ranges_are_fetched_concurrently(
    monkeypatch: pytest.MonkeyPatch, step: int, others: int
) -> None:
    monkeypatch.setattr("framecache._layouts.ranges._FREE_GAP_BYTES", 0)  # a range a frame
    monkeypatch.setattr("framecache._layouts.ranges._MAX_GAP_BYTES", 0)
    wanted = range(0, 100, step)
    jpegs = Timeline(FirstWaits(heavy(), others), "t").jpegs(wanted)
    assert list(jpegs) == list(Timeline(heavy(), "t").jpegs(wanted))


# Damage


@pytest.mark.parametrize("fault", [Fault.TRUNCATE, Fault.FLIP_BIT])
@pytest.mark.parametrize("is_remote", [False, True])
def test_range_damaged_in_transit_is_fetched_again(fault: Fault, *, is_remote: bool) -> None:
    struck = set[str]()

    def once_a_pack(action: str, key: str) -> Fault | None:
        if action != "get" or "/packs/" not in key or key in struck:
            return None
        struck.add(key)
        return fault

    for seed in range(5):
        struck.clear()
        faulty = FaultyStore(packed_store(), once_a_pack, seed=seed)
        t = Timeline(Ranges(faulty, is_remote=is_remote), "t")
        assert values_of(t.frames()) == values_of(filled("objects").frames())
        struck.clear()
        assert list(t.jpegs(range(FRAMES))) == expected_jpegs()
        struck.clear()
        assert t.batch(range(FRAMES)).shape[0] == FRAMES
        assert len(struck) == 3


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_frame_error_names_pack_and_repair_command(url: str, how: str) -> None:
    extract(url)
    key = damage(url, 25, how)
    for _, t in near_and_far(FrameCache(url).store):
        read: Callable[[Timeline], object]
        for read in (
            lambda t: t.frame(25),
            lambda t: t.frame_at(1.0),
            lambda t: t.jpeg(25),
            lambda t: list(t.jpegs(range(20, 30))),
            lambda t: list(t.frames()),
            lambda t: t.batch([44, 25, 1]),
        ):
            with pytest.raises(CorruptFrame, match="framecache verify t --repair") as raised:
                read(t)
            assert key in str(raised.value)
        assert sequences(t.frames(0, 20)) == list(range(20))
        wait_for_library_threads()


@pytest.mark.parametrize("how", ["a bit flipped", "cut within the frame", "lost"])
@pytest.mark.every_store
def test_damaged_pack_raises_corrupt_frame_in_every_store(store_url: str, how: str) -> None:
    extract(store_url)
    damage(store_url, 25, how)
    t = timeline(store_url)
    frames = t.frames()
    before = [next(frames).sequence for _ in range(20 if how == "lost" else 25)]
    assert before == list(range(len(before)))
    with pytest.raises(CorruptFrame, match=r"frame 2[05] "):
        next(frames)
    assert list(t.jpegs(range(30, 45))) == expected_jpegs()[30:]


def test_flipped_bit_corrupts_one_frame_only(url: str) -> None:
    extract(url)
    damage(url, 25, "a bit flipped")
    for _, t in near_and_far(FrameCache(url).store):
        others = [sequence for sequence in range(FRAMES) if sequence != 25]
        assert list(t.jpegs(others)) == [expected_jpegs()[sequence] for sequence in others]


def test_lost_pack_raises_after_few_requests(url: str) -> None:
    extract(url)
    damage(url, 0, "lost")
    for ranges, t in near_and_far(FrameCache(url).store):
        assert len(t) == FRAMES
        opened = len(ranges.requests)
        with pytest.raises(CorruptFrame, match="frame 0 "):
            list(t.jpegs(range(20)))
        # The range, the frame twice, and the manifest twice, once at opening.
        assert len(ranges.requests) - opened <= 10
