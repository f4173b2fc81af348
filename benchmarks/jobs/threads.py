"""Threads that work ahead of a consumer, in order, for jobs that bring no such thing."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Task], Result], tasks: Iterable[Task], pool: ThreadPoolExecutor, *, ahead: int
) -> Iterator[Result]:
    """Yield the results of ``work``, in the order of the tasks; at most ``ahead`` wait."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def cores() -> int:
    return len(os.sched_getaffinity(0))
