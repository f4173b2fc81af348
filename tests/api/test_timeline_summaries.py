"""Timeline summaries, made without an index file, equal those of the opened index."""

import random
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import clips
import numpy as np
import pytest

from framecache import Frame, FrameCache, FrameCacheError, Timeline
from framecache._core import keys
from framecache._index import Index, load_snapshot
from framecache._index.blobs import Decode
from framecache._read.info import timeline_info
from framecache.server import serializers
from framecache.store import Store
from framecache.testing import HookedStore
from proving import Proof

_NUMBERS = count()
_STEPS: Final = 14
_IMAGES: Final = np.random.default_rng(1).integers(0, 256, (9, 16, 24, 3), np.uint8)


def summary(store: Store, decode: Decode[Index]) -> object:
    """Return the summary of a timeline in the service and ``ls``, or its error."""
    try:
        snapshot = load_snapshot(store, "t", decode=decode)
        return timeline_info("t", "", snapshot), serializers.summary("t", snapshot)
    except FrameCacheError as error:
        return type(error), str(error)


def assert_equal_summaries(store: Store) -> None:
    assert summary(store, Index.decode_lazy) == summary(store, Index.decode)


@pytest.fixture
def cache() -> FrameCache:
    return FrameCache(f"memory://listed-{next(_NUMBERS)}")


def _chunks(choose: random.Random) -> list[Any]:
    return clips.chunks()[: choose.randint(1, 3)]


def _write(timeline: Timeline, choose: random.Random) -> object:
    sequences = choose.sample(range(choose.choice([12, 40])), choose.randint(1, 8))
    frames = [Frame(n, 0, n / 25, choose.choice(_IMAGES)) for n in sorted(sequences)]
    return timeline.write(frames, on_conflict=choose.choice(["replace", "replace", "keep"]))


def _write_often(timeline: Timeline, choose: random.Random) -> None:
    """Enough for a compaction, and some more."""
    for _ in range(choose.randint(14, 20)):
        _write(timeline, choose)


def _damage(cache: FrameCache, choose: random.Random) -> None:
    store, room = cache.store, choose.choice(["index/", "index/", "timeline/", ""])
    found = sorted(blob.key for blob in store.list(keys.timeline_prefix("t") + room))
    if not found:
        return
    key = choose.choice(found)
    body = bytearray(store.get(key))
    way = choose.choice(["gone", "shorter", "flipped"])
    if way == "gone":
        store.delete([key])
    elif way == "shorter" or not body:
        store.put(key, bytes(body[: len(body) // 2]))
    else:
        body[choose.randrange(len(body))] ^= 1 << choose.randrange(8)
        store.put(key, bytes(body))


_STEP: Final[Mapping[str, Callable[[Timeline, random.Random], object]]] = {
    "extract": lambda timeline, choose: timeline.extract(_chunks(choose)),
    "append": lambda timeline, choose: timeline.append(choose.choice(clips.chunks())),
    "write": _write,
    "write often": _write_often,
    "repack": lambda timeline, choose: timeline.repack(choose.choice(["packs", "objects"])),
    "rebuild": lambda timeline, choose: timeline.rebuild(quality=choose.randint(30, 90)),
    "clear": lambda timeline, _: timeline.clear(),
    "delete": lambda timeline, _: timeline.delete(),
    "repair": lambda timeline, _: timeline.verify(repair=True),
}
_DAMAGE: Final = "damage"
_OFTEN: Final = ("append", "write", "repack", "repair", "repair", *[_DAMAGE] * 3)


@pytest.mark.parametrize("begin", ["extract", "write", "write often"])
def test_summary_equals_that_of_decoded_index(begin: str, proof: Proof) -> None:
    # Many writes at the beginning make each later step slower, and try no other steps.
    timelines = proof.size(short=2 if begin == "write often" else 4, long=100)
    for seed in range(timelines):
        _check_summaries_of_random_steps(begin, random.Random(f"{begin} {seed}"))
    proof.found(timelines=timelines, steps=timelines * (1 + _STEPS))


def _check_summaries_of_random_steps(begin: str, choose: random.Random) -> None:
    cache = FrameCache(f"memory://listed-{next(_NUMBERS)}")
    for step in [begin, *choose.choices([*_STEP, *_OFTEN], k=_STEPS)]:
        try:
            if step == _DAMAGE:
                _damage(cache, choose)
            else:
                _STEP[step](cache.timeline("t"), choose)
        except FrameCacheError:
            pass  # not possible in this state of the timeline
        assert_equal_summaries(cache.store)


@pytest.mark.parametrize("chunks", [1, 3])
def test_summary_opens_no_index_file(
    cache: FrameCache, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.timeline("t").extract(clips.chunks()[:chunks])
    expected = summary(cache.store, Index.decode)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("an index file was opened")

    monkeypatch.setattr("framecache._index.parquet._open_parquet", opened)
    assert summary(cache.store, Index.decode_lazy) == expected


def test_summary_changes_after_replacement(cache: FrameCache) -> None:
    timeline = cache.timeline("t")
    timeline.write([Frame(n, 0, n / 25, _IMAGES[0]) for n in range(4)])
    before = summary(cache.store, Index.decode_lazy)
    timeline.write([Frame(1, 0, 1 / 25, np.zeros((16, 24, 3), np.uint8))], on_conflict="replace")
    after = summary(cache.store, Index.decode_lazy)
    assert after == summary(cache.store, Index.decode) != before


def test_summary_of_timeline_cleared_during_read_is_read_again(cache: FrameCache) -> None:
    cache.timeline("t").extract(clips.chunks())
    is_cleared: list[str] = []

    def clear(action: str, key: str) -> None:
        if action == "get" and "/index/" in key and not is_cleared:
            is_cleared.append(key)
            cache.timeline("t").clear()

    snapshot = load_snapshot(HookedStore(cache.store, before=clear), "t", decode=Index.decode_lazy)
    assert is_cleared
    assert not snapshot.exists
