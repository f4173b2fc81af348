"""Reuse of the memory of arrays: never while another object refers to it."""

import gc
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from framecache._read.array_pool import ArrayPool
from framecache.model import Image

SHAPE = (4, 6, 3)


def address(array: Image) -> int:
    return int(array.__array_interface__["data"][0])


def test_pool_array_is_a_writable_contiguous_ndarray() -> None:
    array = ArrayPool(max_buffers=1).array(SHAPE)
    assert type(array) is np.ndarray
    assert array.shape == SHAPE
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_memory_is_reused_after_the_array_is_freed() -> None:
    pool = ArrayPool(max_buffers=1)
    first = pool.array(SHAPE)
    where = address(first)
    del first
    others = [np.empty(SHAPE, np.uint8) for _ in range(8)]  # receive recycled memory
    assert address(pool.array(SHAPE)) == where
    assert where not in map(address, others)


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[1:, :, 0],
        lambda array: array.reshape(-1)[3:].view(np.int8),
        lambda array: array.T[::-1],
        memoryview,
        lambda array: np.frombuffer(memoryview(array), np.uint8),
        lambda array: np.asarray(array)[None],
        lambda array: array.view(np.recarray),
    ],
)
def test_memory_is_not_reused_while_a_view_exists(view: object) -> None:
    assert callable(view)
    pool = ArrayPool(max_buffers=4)
    array = pool.array(SHAPE)
    array[:] = 7
    memory = view(array)
    del array
    gc.collect(1)  # not of all older objects of the tests, which takes seconds
    for _ in range(3):
        pool.array(SHAPE)[:] = 9
    assert set(bytes(memory)) == {7}


def test_pool_keeps_at_most_max_buffers() -> None:
    pool = ArrayPool(max_buffers=2)
    arrays = [pool.array(SHAPE) for _ in range(5)]
    places = {address(array) for array in arrays}
    arrays.clear()
    again = [pool.array(SHAPE) for _ in range(2)]
    assert {address(array) for array in again} <= places
    free = pool._state.free  # noqa: SLF001 -- what is kept has no other sign
    assert free is not None
    assert len(free) == 0


def test_large_array_is_not_kept_and_frees_kept_buffers() -> None:
    pool = ArrayPool(max_buffers=1, largest_bytes=72)
    kept = pool.array(SHAPE)
    free = pool._state.free  # noqa: SLF001 -- what is kept has no other sign
    assert free is not None
    del kept
    assert len(free) == 1
    large = pool.array((73,))
    assert len(free) == 0
    del large
    assert len(free) == 0


def test_array_that_outlives_its_pool_stays_valid() -> None:
    pool = ArrayPool(max_buffers=4)
    arrays = [pool.array(SHAPE) for _ in range(4)]
    kept = arrays.pop()
    arrays.clear()
    pool.close()
    assert pool._state.free is None  # noqa: SLF001 -- what is kept has no other sign
    kept[:] = 7
    assert (kept == 7).all()
    del kept
    assert pool.array(SHAPE).shape == SHAPE


def test_threads_never_share_memory() -> None:
    pool = ArrayPool(max_buffers=8)

    def use(seed: int) -> None:
        choose = random.Random(seed)
        held: list[tuple[Image, int]] = []
        for _ in range(300):
            array, value = pool.array(SHAPE), choose.randrange(256)
            array[:] = value
            held.append((array, value))
            if len(held) > choose.randrange(1, 6):
                held.pop(choose.randrange(len(held)))
            assert all((one == expected).all() for one, expected in held)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
