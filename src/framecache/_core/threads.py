"""Threads for read-only requests, which are abandoned on Ctrl-C, and for checks.

`concurrent.futures` waits for its threads when a pool ends, and again when the process ends: if a
store does not respond, until the request's deadline. And Python can interrupt a thread that waits
for another thread, but not one that waits in native code.
"""

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar

_MAX_WAIT_SECONDS: Final = 0.5

Parameters = ParamSpec("Parameters")
Task = TypeVar("Task")
Result = TypeVar("Result")


class PerProcess(Generic[Result]):
    """Value that a forked child makes again, such as a lock.

    At the fork, a thread that does not exist in the child may have held the parent's.
    """

    value: Result

    def __init__(self, make: Callable[[], Result]) -> None:
        """Make the value; create instances at import only, as they are never freed."""
        self._make = make
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.value = self._make()


@dataclass(slots=True)
class _Task:
    future: "Future[Any]"
    call: "partial[Any]"

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            self.future.set_exception(error)
            # The error's traceback refers to this frame, which would keep the task's arguments
            # alive.
            del self
        else:
            self.future.set_result(result)


class RequestThreads(Executor):
    """Pool of threads, used by one thread. On Ctrl-C it ends at once, without waiting."""

    def __init__(self, max_workers: int, *, name: str) -> None:
        """Create the pool; threads are started as calls are submitted.

        Args:
            max_workers: maximum number of threads.
            name: prefix of the threads' names.
        """
        self._most = max_workers
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> "Future[Result]":
        """Schedule a call on a thread of the pool."""
        future: Future[Result] = Future()
        self._tasks.put(_Task(future, partial(fn, *args, **kwargs)))
        if len(self._threads) < self._most:
            name = f"{self._name}_{len(self._threads)}"
            # A daemon, because Python waits for all other threads before it exits.
            thread = threading.Thread(target=self._run_tasks, name=name, daemon=True)
            self._threads.append(thread)
            _running[thread] = self
            thread.start()
        return future

    def imap(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Submit ``work`` for all tasks at once, and yield the results in the tasks' order."""
        futures = deque([self.submit(work, task) for task in tasks])
        try:
            while futures:
                yield result_of(futures.popleft())
        finally:
            for future in futures:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base class has it so
        """Stop the threads after the submitted calls; see `Executor.shutdown`."""
        if cancel_futures:
            with suppress(Empty):
                while True:
                    if (task := self._tasks.get_nowait()) is not None:
                        task.future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def abandon(self) -> None:
        """Cancel pending calls, and wait neither here nor at process exit for running ones."""
        self.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            _running.pop(thread, None)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Shut down like other pools, but abandon the calls on Ctrl-C."""
        if isinstance(error, KeyboardInterrupt):
            self.abandon()
        else:
            self.shutdown()

    def _run_tasks(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()
            del task  # it refers to the result
        _running.pop(threading.current_thread(), None)


_running: Final[dict[threading.Thread, RequestThreads]] = {}
"""Threads to wait for at process exit: one that returned later would find no interpreter."""


def result_of(future: "Future[Result]") -> Result:
    """Wait for the result of a call in a way that Ctrl-C can interrupt.

    A signal that arrives just before Python starts to wait is noticed at the next timeout.
    """
    try:
        while not future.done():
            with suppress(TimeoutError):
                return future.result(_MAX_WAIT_SECONDS)
        return future.result()
    finally:
        del future  # it may hold an error, whose traceback refers to this frame


class _MainThread:
    requests: RequestThreads | None = None
    """Pool that makes the main thread's requests."""


_main: Final = _MainThread()


def run_interruptible(call: Callable[[], Result]) -> Result:
    """Run a call that waits in native code, in a way that Ctrl-C can interrupt.

    Python raises `KeyboardInterrupt` only in the main thread, so other threads run the call
    directly.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    if _main.requests is None:
        _main.requests = RequestThreads(1, name="framecache-request")
    try:
        return result_of(_main.requests.submit(call))
    except KeyboardInterrupt:
        requests, _main.requests = _main.requests, None
        if requests is not None:
            requests.abandon()
        raise


def _join_at_exit() -> None:
    """Wait for the threads at process exit, unless Ctrl-C caused it."""
    is_interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for pool in set(_running.values()):
        pool.shutdown(wait=False, cancel_futures=True)
    if not is_interrupted:
        for thread in tuple(_running):
            thread.join()


def _reset_after_fork() -> None:
    """Reset the state in a forked process, which has none of its parent's threads."""
    _main.requests = None
    _running.clear()


atexit.register(_join_at_exit)
os.register_at_fork(after_in_child=_reset_after_fork)


class BackgroundCheck:
    """Check that runs on its own thread, so that the caller does not wait for the store.

    A context manager. An error that a check raises is raised by the next call or at the end of the
    context, unless the context ends with another error.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        """Initialize without running the check.

        Args:
            check: raises if the work is no longer valid.
        """
        self._check = check
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-check")
        self._pending: Future[None] | None = None

    def __call__(self) -> None:
        """Wait for the previous check, raise its error if it failed, and start another."""
        self._wait()
        self._pending = self._thread.submit(self._check)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._thread.shutdown()
        if error is None:
            self._wait()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
