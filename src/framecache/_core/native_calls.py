"""Calls into libraries that hold locks of their own, such as Arrow's memory pool.

A child that is forked during such a call, on any thread, inherits a lock that is never released:
its own first call then waits forever. So a fork waits for the calls of other threads.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar
from weakref import WeakSet

_MAX_WAIT_SECONDS: Final = 10.0

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Locks:
    """One lock per thread, so that calls never wait for each other; a fork takes all of them."""

    def __init__(self) -> None:
        self._registering = threading.Lock()
        self._registered: WeakSet[threading.RLock] = WeakSet()
        self._taken: list[threading.RLock] = []

    def create(self) -> "threading.RLock":
        lock = threading.RLock()
        with self._registering:
            self._registered.add(lock)
        return lock

    def take_all(self) -> None:
        """Wait for the calls under way, up to a limit, and let no other begin."""
        self._registering.acquire()
        deadline = time.monotonic() + _MAX_WAIT_SECONDS
        for lock in [*self._registered]:
            if lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                self._taken.append(lock)

    def release_all(self) -> None:
        """Release the locks: in the parent and, as the forking thread lives on in it, the child."""
        while self._taken:
            self._taken.pop().release()
        self._registering.release()


class _ThreadLock(threading.local):
    def __init__(self) -> None:
        self.lock = _locks.create()


_locks: Final = _Locks()
_of_thread: Final = _ThreadLock()


def native_call(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function that calls such a library, and returns soon, to finish before a fork."""

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with _of_thread.lock:
            return function(*args, **kwargs)

    return call


os.register_at_fork(
    before=_locks.take_all,
    after_in_parent=_locks.release_all,
    after_in_child=_locks.release_all,
)
