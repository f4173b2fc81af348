"""Selections: several ranges, reverse, least change of the hash, and missing frames."""

from collections.abc import Callable
from typing import Any

import clips
import imagehash
import numpy as np
import pytest

from framecache import FrameCache, InvalidValue, NotCached, Timeline, UndecodableFrame
from framecache.model import Layout
from framecache.testing import HookedStore
from outside import frame, frames_of, mean_error, outside, pixels_by_pillow

PREFIX = "cache/timelines/t/"
# Sequences with gaps, and times that are not in step with them.
SECONDS = {0: 0.0, 1: 0.5, 2: 0.75, 5: 2.0, 6: 2.25, 7: 3.0, 20: 3.5, 21: 4.5}
HASHES = [
    "0000000000000000",
    "0000000000000001",
    "0000000000000007",
    "000000000000000f",
    "ffffffffffffffff",
    "fffffffffffffffe",
    "fffffffffffffff0",
    "0000000000000000",
]


@pytest.fixture
def match(memory_url: str) -> Timeline:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.write([frame(n, timestamp=seconds) for n, seconds in SECONDS.items()])
    return timeline


def read(match: Timeline, **selection: Any) -> list[int]:  # noqa: ANN401 -- of frames
    """Return the sequences of ``frames``, which must equal those of ``sequences``."""
    found = [one.sequence for one in match.frames(**selection)]
    assert match.sequences(**selection) == found
    return found


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"ranges": [(0, 2), (6, 21)]}, [0, 1, 6, 7, 20]),
        ({"ranges": [(6, None), (None, 1)]}, [6, 7, 20, 21, 0]),
        ({"ranges": [(0, 3), (1, 6)]}, [0, 1, 2, 1, 2, 5]),
        ({"ranges": [(3, 5), (5, 6)]}, [5]),
        ({"ranges": [(3, 5)]}, []),
        ({"ranges": [(0, 8), (20, 30)], "step": 2}, [0, 2, 6, 20]),
        ({"ranges_seconds": [(0.5, 2), ("3.5", None)]}, [1, 2, 20, 21]),
        ({"ranges_seconds": [(0, "0.76")], "reverse": True}, [2, 1, 0]),
        ({"reverse": True}, [21, 20, 7, 6, 5, 2, 1, 0]),
        ({"reverse": True, "start": 2, "stop": 8}, [7, 6, 5, 2]),
        ({"reverse": True, "start": 1, "step": 2}, [21, 7, 5, 1]),
        ({"reverse": True, "ranges": [(0, 2), (5, 7)]}, [6, 5, 1, 0]),
    ],
)
def test_ranges_are_read_in_given_or_reverse_order(
    match: Timeline, selection: dict[str, Any], expected: list[int]
) -> None:
    assert read(match, **selection) == expected


def test_frames_in_reverse_have_their_own_images(match: Timeline) -> None:
    stored = frames_of(outside(match.snapshot_cache.store.url), "t")
    for one in match.frames(reverse=True):
        assert mean_error(one.image, pixels_by_pillow(stored[f"{one.sequence}.jpg"])) <= 0.5


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_reverse_read_takes_as_many_requests_as_forward_read(
    memory_url: str, layout: Layout
) -> None:
    FrameCache(memory_url).timeline("t").extract(clips.chunks(), layout=layout)
    counts = []
    for reverse in (False, True):
        store = HookedStore(FrameCache(memory_url).store)
        list(Timeline(store, "t").frames(reverse=reverse))
        counts.append(sum(action == "get" for action, _ in store.requests))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"ranges": [(0, 1)], "start": 0}, "not several of them"),
        ({"ranges": [(0, 1)], "ranges_seconds": [(0, 1)]}, "not several of them"),
        ({"ranges": []}, "ranges is empty"),
        ({"ranges_seconds": []}, "ranges_seconds is empty"),
        ({"ranges": (0, 10)}, "ranges must be pairs"),
        ({"ranges": [(0, 10, 2)]}, "ranges must be pairs"),
        ({"ranges": [(-1, 10)]}, "sequence"),
        ({"ranges": [("0:01", "0:02")]}, "sequence"),
        ({"reverse": 1}, "reverse"),
        ({"min_change": 0}, "min_change"),
        ({"min_change": 65}, "min_change"),
        ({"min_change": True}, "min_change"),
        ({"missing": "ignore"}, "missing"),
    ],
)
def test_contradictory_selection_is_rejected_before_any_request(
    memory_url: str, selection: dict[str, Any], message: str
) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    for call in (Timeline(store, "t").frames, Timeline(store, "t").sequences):
        with pytest.raises(InvalidValue, match=message):
            call(**selection)
    assert store.requests == []


# Least change


def changed_by_imagehash(hashes: list[str], least: int) -> list[int]:
    """Return the positions of the hashes that differ enough from the last one kept."""
    kept: list[int] = []
    for place, text in enumerate(hashes):
        if (
            not kept
            or imagehash.hex_to_hash(text) - imagehash.hex_to_hash(hashes[kept[-1]]) >= least
        ):
            kept.append(place)
    return kept


@pytest.mark.parametrize("least", [1, 2, 3, 4, 32, 60, 61, 64])
def test_min_change_compares_with_last_yielded_frame(memory_url: str, least: int) -> None:
    match = FrameCache(memory_url).timeline("t")
    match.write(frame(n, perceptual_hash=text) for n, text in enumerate(HASHES))
    assert read(match, min_change=least) == changed_by_imagehash(HASHES, least)
    backward = changed_by_imagehash(HASHES[::-1], least)
    assert read(match, min_change=least, reverse=True) == [7 - place for place in backward]


@pytest.mark.parametrize("least", [1, 4, 10])
def test_min_change_selects_same_frames_as_imagehash(memory_url: str, least: int) -> None:
    match = FrameCache(memory_url).timeline("t")
    match.extract(clips.clip())
    expected = changed_by_imagehash(match.index.perceptual_hash.tolist(), least)
    assert read(match, min_change=least) == expected
    assert least == 1 or 1 < len(expected) < len(match)


def test_frame_without_comparable_hash_and_next_one_are_yielded(memory_url: str) -> None:
    match = FrameCache(memory_url).timeline("t")
    texts = ["0" * 16, "0" * 16, "unknown", "0" * 16, "0" * 16, "a" * 8, " 0" * 8, "0" * 16]
    match.write(frame(n, perceptual_hash=text) for n, text in enumerate(texts))
    assert read(match, min_change=1) == [0, 2, 3, 5, 6, 7]


def test_unchanged_frames_are_not_fetched(memory_url: str) -> None:
    match = FrameCache(memory_url).timeline("t")
    match.write(frame(n, perceptual_hash=text) for n, text in enumerate(HASHES))
    store = HookedStore(match.snapshot_cache.store)
    list(Timeline(store, "t").frames(min_change=60))
    fetched = [key for action, key in store.requests if action == "get" and "/frames/" in key]
    assert sorted(fetched) == [f"{PREFIX}frames/{n}.jpg" for n in (0, 4, 7)]


# Missing frames


@pytest.mark.parametrize(
    ("selection", "sequence"),
    [
        ({}, 3),
        ({"stop": 4}, 3),
        ({"start": 5}, 8),
        ({"start": 20, "stop": 23}, 22),
        ({"start": 1, "step": 2}, 3),
        ({"start": 30, "stop": 31}, 30),
        ({"ranges": [(0, 2), (2, 5)]}, 3),
        ({"start_seconds": 0.5}, 3),
        ({"ranges_seconds": [(2, 3.1), (3.5, None), (0, 2.1)]}, 3),
    ],
)
def test_first_missing_frame_raises_before_any_frame_is_read(
    match: Timeline, selection: dict[str, Any], sequence: int
) -> None:
    store = HookedStore(match.snapshot_cache.store)
    timeline = Timeline(store, "t")
    for call in (timeline.frames, timeline.sequences):
        with pytest.raises(NotCached, match=rf"no frame {sequence}: "):
            list(call(**selection, missing="raise"))
    assert not [key for _, key in store.requests if "/frames/" in key and key.endswith(".jpg")]


@pytest.mark.parametrize(
    "selection",
    [
        {"stop": 3},
        {"start": 5, "stop": 8},
        {"start": 0, "stop": 6, "step": 5},
        {"start": 20},
        {"start_seconds": 2, "stop_seconds": 3.5},
        {"ranges": [(0, 3), (5, 8), (20, 22)]},
        {"start": 3, "stop": 3},
        {"stop_seconds": 0},
    ],
)
def test_range_without_gaps_is_read_with_missing_raise(
    match: Timeline, selection: dict[str, Any]
) -> None:
    assert read(match, **selection, missing="raise") == read(match, **selection)


def test_frames_of_uncached_chunk_are_missing(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    paths = clips.chunks()  # 20, 10 and 15 frames at 25 per second
    match = cache.timeline("t")
    match.extract(paths)
    [last] = [key for key in outside(memory_url).list() if "/index/" in key and "000002-0" in key]
    [compaction] = [key for key in outside(memory_url).list() if key.endswith(".compacted")]
    for key in (last, compaction):
        outside(memory_url).remove(key)
    match = cache.timeline("t")
    assert read(match, stop=30, missing="raise") == list(range(30))
    assert read(match, stop_seconds=1.2, missing="raise") == list(range(30))
    for selection in ({}, {"start": 25}, {"start_seconds": 1.0}, {"start": 30, "stop": 31}):
        with pytest.raises(NotCached, match="no frame 30: "):
            list(match.frames(**selection, missing="raise"))
    with pytest.raises(NotCached, match="no frame 40: "):
        list(match.frames(40, 41, missing="raise"))


def undecodable(url: str) -> tuple[Timeline, list[int]]:
    """A timeline with frames that cannot be decoded, and their sequences."""
    match = FrameCache(url).timeline("t")
    match.extract(clips.ends_in_garbage())
    bad = np.flatnonzero(match.index.status == "undecodable").tolist()
    assert 0 < len(bad) < len(match)
    return match, bad


def test_undecodable_frame_raises_or_is_skipped(memory_url: str) -> None:
    match, bad = undecodable(memory_url)
    assert read(match) == [n for n in range(len(match)) if n not in bad]
    with pytest.raises(UndecodableFrame, match=f"frame {bad[0]} "):
        list(match.frames(missing="raise"))


READS: dict[str, Callable[..., int]] = {
    "batch": lambda match, wanted, **options: len(match.batch(wanted, **options)),
    "jpegs": lambda match, wanted, **options: len(list(match.jpegs(wanted, **options))),
}


@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_missing_frames_are_skipped_only_with_missing_skip(
    memory_url: str, call: Callable[..., int]
) -> None:
    match, bad = undecodable(memory_url)
    wanted = [3, 10**6, 0, bad[0], 3]
    assert match.available(wanted) == [3, 0, 3]
    assert call(match, wanted, missing="skip") == 3
    with pytest.raises(NotCached, match="no frame 1000000"):
        call(match, wanted)
    with pytest.raises(UndecodableFrame):
        call(match, [0, bad[0]], missing="raise")
    with pytest.raises(InvalidValue, match="missing"):
        call(match, [0], missing="ignore")


def test_batch_without_missing_frames_keeps_given_order(match: Timeline) -> None:
    batch = match.batch([20, 3, 5], missing="skip")
    for image, sequence in zip(batch, [20, 5], strict=True):
        assert (image == match.frame(sequence).image).all()


def test_batch_of_only_missing_frames_raises_not_cached(match: Timeline) -> None:
    with pytest.raises(NotCached, match="no frame 3: "):
        match.batch([3, 4], missing="skip")
    with pytest.raises(InvalidValue, match="at least one frame"):
        match.batch([], missing="skip")
    assert list(match.jpegs([3, 4], missing="skip")) == []
