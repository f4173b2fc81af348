"""Overlays of many frames: saved, loaded, listed and counted."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache import FrameCache, OverlayListing, Overlays, StageCounts, StoreUnavailable, Timeline
from framecache.testing import Action, HookedStore, fail_from_nth
from outside import everything, outside, png_by_pillow, wait_for_library_threads

PREFIX = "cache/timelines/t/overlays/j/s/"
MANY = {n: {"a": png_by_pillow(n), "b_c": png_by_pillow(n + 1)} for n in range(40)}


def drawn(url: str, *, job_id: str = "j", stage: str = "s") -> Overlays:
    return FrameCache(url).timeline("t").overlays(job_id=job_id, stage=stage)


@pytest.mark.every_store
def test_many_overlays_are_saved_and_loaded_in_requested_order(store_url: str) -> None:
    drawn(store_url).save_many(MANY)
    assert everything(outside(store_url)) == {
        f"{PREFIX}{sequence}_{name}.png": png
        for sequence, overlays in MANY.items()
        for name, png in overlays.items()
    }
    order = [39, 0, 7, 100, 7, 12]
    assert list(drawn(store_url).load_many(order)) == [(n, MANY.get(n, {})) for n in order]
    assert dict(drawn(store_url).load_many(range(40))) == MANY


@given(
    saved=st.dictionaries(st.integers(0, 30), st.sets(st.sampled_from("abc")), max_size=10),
    asked=st.lists(st.integers(0, 40), max_size=20),
)
def test_loaded_overlays_equal_saved_overlays(saved: dict[int, set[str]], asked: list[int]) -> None:
    overlays = drawn("memory://many-property")
    overlays.clear()
    frames = {n: {name: png_by_pillow(n, width=2) for name in names} for n, names in saved.items()}
    overlays.save_many(frames)
    assert list(overlays.load_many(asked)) == [(n, frames.get(n, {})) for n in asked]
    assert overlays.listing().sequence == tuple(sorted(n for n in saved if saved[n]))


def test_many_overlays_are_requested_concurrently(memory_url: str) -> None:
    together = Barrier(4)

    def before(action: Action, _: str) -> None:
        if action in {"put", "get"}:
            together.wait(timeout=30)

    overlays = Timeline(HookedStore(FrameCache(memory_url).store, before=before), "t").overlays(
        job_id="j", stage="s"
    )
    overlays.save_many({n: {"a": png_by_pillow(n)} for n in range(4)})
    assert len(list(overlays.load_many(range(4)))) == 4


def test_load_many_prefetches_a_bounded_number(memory_url: str) -> None:
    drawn(memory_url).save_many({n: {"a": png_by_pillow(n)} for n in range(200)})
    store = HookedStore(FrameCache(memory_url).store)
    loaded = Timeline(store, "t").overlays(job_id="j", stage="s").load_many(range(200))
    next(loaded)
    assert sum(action == "get" for action, _ in store.requests) <= 40
    loaded.close()  # type: ignore[attr-defined]
    wait_for_library_threads()


def test_load_many_of_no_frames_makes_no_request(memory_url: str) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    assert list(Timeline(store, "t").overlays(job_id="j", stage="s").load_many([])) == []
    assert store.requests == []


def test_overlay_removed_after_listing_is_skipped(memory_url: str) -> None:
    drawn(memory_url).save_many({1: {"a": png_by_pillow(1), "b": png_by_pillow(2)}})
    keys_to_remove, lock = [f"{PREFIX}1_b.png"], Lock()

    def after(action: Action, _: str) -> None:
        with lock:
            if action == "list" and keys_to_remove:
                outside(memory_url).remove(keys_to_remove.pop())

    store = HookedStore(FrameCache(memory_url).store, after=after)
    loaded = Timeline(store, "t").overlays(job_id="j", stage="s").load_many([1])
    assert list(loaded) == [(1, {"a": png_by_pillow(1)})]


def test_store_failure_during_load_many_is_an_error(memory_url: str) -> None:
    drawn(memory_url).save_many(MANY)
    hook = fail_from_nth(StoreUnavailable("away"), action="get", nth=20, within="/overlays/")
    loaded = (
        Timeline(HookedStore(FrameCache(memory_url).store, before=hook), "t")
        .overlays(job_id="j", stage="s")
        .load_many(range(40))
    )
    with pytest.raises(StoreUnavailable):
        list(loaded)


def test_one_overlay_is_loaded_and_removed_by_name(store_url: str) -> None:
    overlays = drawn(store_url)
    overlays.save_many(MANY)
    assert overlays.load_one(3, "b_c") == png_by_pillow(4)
    overlays.remove_one(3, "b_c")
    overlays.remove_one(3, "b_c")
    assert overlays.load_one(3, "b_c") is None
    assert overlays.load(3) == {"a": png_by_pillow(3)}
    assert (overlays.remove(5), overlays.remove(5)) == (2, 0)
    assert overlays.frames() == [n for n in range(40) if n != 5]


def test_listing_of_frames_and_names_reads_no_overlay(store_url: str) -> None:
    drawn(store_url).save_many({2: {"b": png_by_pillow(1), "a": png_by_pillow(1)}})
    drawn(store_url).save_many({10: {"a": png_by_pillow(1)}})
    outside(store_url).put(f"{PREFIX}deeper/3_a.png", b"")
    outside(store_url).put(f"{PREFIX}notes.txt", b"")
    store = HookedStore(FrameCache(store_url).store)
    overlays = Timeline(store, "t").overlays(job_id="j", stage="s")
    assert overlays.listing() == OverlayListing((2, 10), (("a", "b"), ("a",)), (False, False))
    assert [action for action, _ in store.requests] == ["list", "list"]


def test_stage_counts_by_frame_and_name_read_no_overlay(store_url: str) -> None:
    drawn(store_url, job_id="b", stage="z").save_many(
        {1: {"x": png_by_pillow(1), "y": png_by_pillow(1)}, 2: {"x": png_by_pillow(1)}}
    )
    drawn(store_url, job_id="b", stage="a").save(4, {"x": png_by_pillow(1)})
    drawn(store_url, job_id="a", stage="s").save(4, {"x": png_by_pillow(1)})
    store = HookedStore(FrameCache(store_url).store)
    stages = Timeline(store, "t").stages()
    size = len(png_by_pillow(1))
    one = StageCounts(1, {"x": 1}, 0, size)
    three = StageCounts(2, {"x": 2, "y": 1}, 0, 3 * size)
    assert stages == {"a": {"s": one}, "b": {"a": one, "z": three}}
    assert (list(stages), list(stages["b"])) == (["a", "b"], ["a", "z"])
    assert [action for action, _ in store.requests] == ["list", "list"]
    assert FrameCache(store_url).timeline("t2").stages() == {}


def test_threads_may_save_many_to_one_stage(store_url: str) -> None:
    shared = drawn(store_url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shared.save_many, [{n: MANY[n]} for n in MANY]))
    assert dict(shared.load_many(range(40))) == MANY
