"""Doing work ahead of a consumer, on threads, in order, in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, threads: int, ahead: int
) -> Generator[Result]:
    """The results of ``work`` on each task, in the order of the tasks.

    At most ``ahead`` results exist that the consumer has not taken. When it stops early, what
    has not begun is cancelled. The first failure is raised in its place in the order.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="framecache-read") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
