"""Many connections on one thread: generators that say what they wait for.

asyncio costs several times as much for each wait, and has no ``splice``.
"""

import heapq
import itertools
import select
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readable:
    """Wait until something can be read."""

    descriptor: int


@dataclass(frozen=True, slots=True)
class Writable:
    """Wait until something can be written."""

    descriptor: int


@dataclass(frozen=True, slots=True)
class At:
    """Wait until this time of ``time.monotonic``."""

    seconds: float


Wait = Readable | Writable | At
Step = Generator[Wait, None, None]


@dataclass(eq=False, slots=True)
class Task:
    """A generator under way, and what to do when it ends, however it does."""

    steps: Step
    at_end: Callable[[], None]
    is_over: bool = False

    def cancel(self) -> None:
        """Never run it again."""
        self.is_over = True


class Loop:
    """Runs tasks. A file descriptor has one waiting task at most: duplicate it for two."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, Task] = {}
        self._known: set[int] = set()
        self._timers: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._is_running = True

    def start(self, steps: Step, *, at_end: Callable[[], None] = lambda: None) -> Task:
        """Run a generator up to its first wait; the rest comes in :meth:`run`."""
        task = Task(steps, at_end)
        self._advance(task)
        return task

    def forget(self, descriptor: int) -> None:
        """Forget a file descriptor that is about to be closed."""
        self._waiting.pop(descriptor, None)
        if descriptor in self._known:
            self._known.remove(descriptor)
            self._epoll.unregister(descriptor)

    def stop(self) -> None:
        """Return from :meth:`run` when the current task waits."""
        self._is_running = False

    def run(self) -> None:
        """Run tasks until one of them calls :meth:`stop`."""
        while self._is_running:
            for descriptor in self._ready():
                task = self._waiting.pop(descriptor, None)
                if task is not None:
                    self._advance(task)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._advance(heapq.heappop(self._timers)[2])

    def _ready(self) -> list[int]:
        timeout = None
        if self._timers:
            timeout = max(0.0, self._timers[0][0] - time.monotonic())
            # epoll counts in whole milliseconds, too coarse for a turnaround of 30.
            select.select([self._epoll], [], [], timeout)
            timeout = 0.0
        return [descriptor for descriptor, _ in self._epoll.poll(timeout)]

    def _advance(self, task: Task) -> None:
        if task.is_over:
            return
        try:
            wait = next(task.steps)
        except (StopIteration, OSError):
            task.is_over = True
            task.at_end()
            return
        match wait:
            case At(seconds):
                heapq.heappush(self._timers, (seconds, next(self._numbers), task))
            case Readable(descriptor):
                self._watch(descriptor, select.EPOLLIN | select.EPOLLRDHUP, task)
            case Writable(descriptor):
                self._watch(descriptor, select.EPOLLOUT, task)

    def _watch(self, descriptor: int, events: int, task: Task) -> None:
        self._waiting[descriptor] = task
        if descriptor in self._known:
            self._epoll.modify(descriptor, events | select.EPOLLONESHOT)
        else:
            self._known.add(descriptor)
            self._epoll.register(descriptor, events | select.EPOLLONESHOT)
