"""Run tasks ahead of a consumer on threads, with results in order and bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

from framecache._core.threads import RequestThreads, result_of

Task = TypeVar("Task")
Result = TypeVar("Result")


def prefetch_map(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    threads: int,
    ahead: int,
    weigh: Callable[[Task], int] = lambda _: 1,
) -> Generator[Result]:
    """Yield the results of ``work`` on each task, in the order of the tasks.

    A task is started only while the results that the consumer has not taken weigh less than
    ``ahead``. If the consumer stops early, tasks that have not started are canceled. The first
    failure is raised at its place in the order.
    """
    pool = RequestThreads(threads, name="framecache-read")
    waiting: deque[tuple[Future[Result], int]] = deque()
    weight = 0
    try:
        for task in tasks:
            waiting.append((pool.submit(work, task), weigh(task)))
            weight += waiting[-1][1]
            while weight >= ahead:
                weight -= waiting[0][1]
                # The result gets no local name: a name would keep alive a result that was taken,
                # and, through the traceback of an error, all results that wait.
                yield result_of(waiting.popleft()[0])
        while waiting:
            yield result_of(waiting.popleft()[0])
    except KeyboardInterrupt:
        pool.abandon()
        raise
    except GeneratorExit:
        # Do not wait: a Ctrl-C may have ended the consumer, and the store may not respond.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
