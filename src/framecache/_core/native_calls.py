"""Calls into libraries that hold locks of their own, such as Arrow.

A child that is forked during such a call, on any thread, inherits a lock that is never released:
its own first call then waits forever. So a fork waits for the calls of other threads. No module may
make such a call while it is imported: the fork waits for imports, too.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Final, ParamSpec, TypeVar
from weakref import WeakSet

_MAX_WAIT_SECONDS: Final = 10.0
_INTERRUPT_DELAY_SECONDS: Final = 0.1

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Locks:
    """One lock per thread, so that calls never wait for each other; a fork takes all of them."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._registering = threading.RLock()
        self._registered: WeakSet[threading.RLock] = WeakSet()
        self._taken: list[threading.RLock] = []
        self._is_interrupted = False

    def create(self) -> "threading.RLock":
        lock = threading.RLock()
        with self._registering:
            self._registered.add(lock)
        return lock

    def take_all(self) -> None:
        """Wait for the calls under way, up to a limit, and let no other begin."""
        deadline = time.monotonic() + _MAX_WAIT_SECONDS
        try:
            self._take(self._registering, deadline)
            for lock in [*self._registered]:
                self._take(lock, deadline)
        except KeyboardInterrupt:
            # Python would print this error, forget it, and fork.
            self._is_interrupted = True

    def _take(self, lock: "threading.RLock", deadline: float) -> None:
        self._taken.append(lock)  # before, so that an interrupt leaves no lock taken
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._taken.pop()

    def release_all(self) -> None:
        """Release the locks in the parent, and raise an interrupt that came meanwhile."""
        while self._taken:
            with suppress(RuntimeError):  # an interrupt came before it was taken
                self._taken[-1].release()
            self._taken.pop()
        if self._is_interrupted:
            self._is_interrupted = False
            # Not here: Python would print this error and forget it, too.
            # A signal, because it also ends a system call that waits.
            later = threading.Timer(
                _INTERRUPT_DELAY_SECONDS,
                signal.pthread_kill,
                (threading.get_ident(), signal.SIGINT),
            )
            later.daemon = True
            later.start()

    def restart(self) -> None:
        """Forget all locks in the child, where those of other threads would never be released."""
        self._reset()
        _of_thread.lock = self.create()


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
    after_in_child=_locks.restart,
)
