"""Doing work ahead of a consumer, on threads, in order, in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    threads: int,
    ahead: int,
    weigh: Callable[[Task], int] = lambda _: 1,
) -> Generator[Result]:
    """The results of ``work`` on each task, in the order of the tasks.

    Results that the consumer has not taken weigh less than ``ahead`` before another task is begun.
    When it stops early, what has not begun is cancelled. The first failure is raised in its place
    in the order.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="framecache-read") as pool:
        waiting: deque[tuple[Future[Result], int]] = deque()
        weight = 0
        try:
            for task in tasks:
                waiting.append((pool.submit(work, task), weigh(task)))
                weight += waiting[-1][1]
                while weight >= ahead:
                    weight -= waiting[0][1]
                    # No name for it: one would keep a result that was taken, and all that wait
                    # once it is an error, which knows this frame.
                    yield waiting.popleft()[0].result()
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
