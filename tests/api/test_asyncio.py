"""Reading from asyncio: the same frames, immediate errors, and cancellation without leaks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import clips
import pytest

from coroutines import run_coroutine
from framecache import FrameCache, InvalidValue, NotCached, Timeline
from framecache.store import open_store
from framecache.testing import Action, HookedStore
from outside import (
    frames_of,
    library_threads,
    mean_error,
    outside,
    pixels_by_pillow,
    wait_for_library_threads,
    wait_until,
)


@pytest.fixture
def url(memory_url: str) -> str:
    FrameCache(memory_url).timeline("t").extract(clips.chunks())
    return memory_url


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_coroutine(work(), debug=True)


@pytest.mark.every_store
def test_async_reads_return_the_stored_frames(store_url: str) -> None:
    match = FrameCache(store_url).timeline("t")
    match.extract(clips.chunks())
    stored = frames_of(outside(store_url), "t")

    async def work() -> None:
        frame = await match.aframe(12)
        assert mean_error(frame.image, pixels_by_pillow(stored["12.jpg"])) <= 0.5
        assert (await match.aframe_at(0.5)).sequence == 12
        assert await match.ajpeg(7) == stored["7.jpg"]
        batch = await match.abatch([1, 5, 99], missing="skip", color="gray")
        assert batch.shape == (2, clips.HEIGHT, clips.WIDTH)
        numbers = [one.sequence async for one in match.aframes(5, 30, 5, reverse=True)]
        assert numbers == [25, 20, 15, 10, 5]

    run(work)


def test_many_concurrent_reads_use_few_threads(url: str) -> None:
    match = FrameCache(url).timeline("t")

    async def work() -> None:
        frames = await asyncio.gather(*(match.aframe(n % 45) for n in range(200)))
        assert [one.sequence for one in frames] == [n % 45 for n in range(200)]

    known = threading.active_count()
    run(work)
    assert threading.active_count() <= known + 32


def test_async_reads_raise_the_errors_of_sync_reads(url: str) -> None:
    match = FrameCache(url).timeline("t")
    with pytest.raises(InvalidValue, match="step"):
        match.aframes(step=0)
    with pytest.raises(InvalidValue, match="timeout_seconds needs follow"):
        match.aframes(timeout_seconds=1)
    with pytest.raises(InvalidValue, match="scale"):
        match.aframes(scale=3)

    async def work() -> None:
        with pytest.raises(NotCached, match="no frame 45"):
            await match.aframe(45)
        with pytest.raises(NotCached, match="no frame 45"):
            await anext(match.aframes(stop=46, missing="raise"))

    run(work)


class HeldStore:
    """A store whose reading of one frame waits until the test opens it."""

    def __init__(self, url: str, sequence: int) -> None:
        self._name = f"/frames/{sequence}.jpg"
        self.is_reached = threading.Event()
        self.open = threading.Event()
        self.match = Timeline(HookedStore(open_store(url), before=self._wait), "t")

    def _wait(self, action: Action, key: str) -> None:
        if action == "get" and key.endswith(self._name):
            self.is_reached.set()
            assert self.open.wait(60)


def test_other_tasks_run_while_a_frame_is_read(url: str) -> None:
    held_store = HeldStore(url, 7)

    async def work() -> None:
        reading = asyncio.create_task(held_store.match.aframe(7))
        await asyncio.to_thread(held_store.is_reached.wait, 60)
        assert not reading.done()
        held_store.open.set()
        assert (await reading).sequence == 7

    run(work)


@pytest.mark.parametrize("is_iterating", [False, True])
def test_canceled_task_ends_before_its_request_and_leaves_no_thread(
    url: str, *, is_iterating: bool
) -> None:
    held_store = HeldStore(url, 7)

    async def iterate() -> None:
        async for _ in held_store.match.aframes(7, 9):
            pytest.fail("a frame came although its request had not ended")

    async def work() -> None:
        reading = asyncio.create_task(iterate() if is_iterating else held_store.match.ajpeg(7))
        await asyncio.to_thread(held_store.is_reached.wait, 60)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not held_store.open.is_set()

    run(work)
    held_store.open.set()
    wait_for_library_threads()


def test_canceled_follow_ends_its_thread(url: str) -> None:
    match = FrameCache(url).timeline("t")
    sequences: list[int] = []
    has_all = threading.Event()

    async def follow() -> None:
        async for one in match.aframes(40, follow=True):
            sequences.extend([one.sequence])
            if len(sequences) == 5:
                has_all.set()

    async def work() -> None:
        following = asyncio.create_task(follow())
        await asyncio.to_thread(has_all.wait, 60)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    run(work)
    wait_for_library_threads()
    assert sequences == list(range(40, 45))


def test_aclose_after_early_break_leaves_no_thread(url: str) -> None:
    match = FrameCache(url).timeline("t")

    async def work() -> None:
        frames = match.aframes()
        async for one in frames:
            assert one.sequence == 0
            break
        await frames.aclose()

    run(work)
    wait_until(lambda: not library_threads())


def test_prefetch_is_bounded_while_consumer_is_idle(memory_url: str) -> None:
    FrameCache(memory_url).timeline("t").extract(clips.clip(frames=150))
    store = HookedStore(open_store(memory_url))

    async def work() -> None:
        frames = Timeline(store, "t").aframes()
        await anext(frames)
        read = [key for _, key in store.requests if "/frames/" in key]
        assert len(read) < 100
        await frames.aclose()

    run(work)
    wait_for_library_threads()
