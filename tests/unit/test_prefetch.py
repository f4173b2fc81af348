"""Prefetching: in order, bounded, and without references to returned results."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._read.prefetch import prefetch_map


class Result:
    """Object that can be watched."""


@contextmanager
def without_collector() -> Iterator[None]:
    """Disable the collector, so that only reference counting frees objects."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@given(
    weights=st.lists(st.integers(0, 30), max_size=60),
    threads=st.integers(1, 4),
    ahead=st.integers(1, 40),
)
def test_results_are_ordered_and_read_ahead_is_bounded(
    weights: list[int], threads: int, ahead: int
) -> None:
    def tasks() -> Iterator[int]:
        for number in range(len(weights)):
            assert sum(weights[taken:number]) < ahead
            yield number

    taken = 0
    results = prefetch_map(
        lambda task: task, tasks(), threads=threads, ahead=ahead, weigh=weights.__getitem__
    )
    for result in results:
        assert result == taken
        taken += 1
    assert taken == len(weights)


def test_taken_result_is_released() -> None:
    made: list[weakref.ref[Result]] = []
    begun = [Event() for _ in range(10)]

    def work(number: int) -> Result:
        begun[number].set()
        made.append(weakref.ref(result := Result()))
        return result

    taken = 0
    with without_collector():
        for result in prefetch_map(work, range(9), threads=1, ahead=3):
            del result
            # The only thread releases this result before it begins the next task.
            assert taken == 8 or begun[taken + 1].wait(60)
            assert taken == 8 or made[taken]() is None
            taken += 1
    assert taken == 9


def test_failure_releases_waiting_results() -> None:
    made: list[weakref.ref[Result]] = []

    def work(number: int) -> Result:
        if number == 2:
            raise ValueError("the test's")
        made.append(weakref.ref(result := Result()))
        return result

    def go_through_all() -> None:
        for result in prefetch_map(work, range(20), threads=1, ahead=8):
            del result

    with without_collector():
        with pytest.raises(ValueError, match="the test's"):
            go_through_all()
        assert len(made) > 2
        assert [one for one in made if one() is not None] == []
