"""Handling of Ctrl-C, which ends a command within a second whatever it is doing.

Python raises `KeyboardInterrupt` in the main thread: too late if that thread waits in a library,
and without effect if a library suppresses it. So a second thread is notified of the signal and
ends the process, unless the command has ended by itself. No data is lost, because everything is
stored in such a way that the process may be killed at any moment.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Never

from framecache.cli.sentences import to_sentence

EXIT_CODE: Final = 130
_GRACE_SECONDS: Final = 0.7
_REPORT_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.02
# Terminal codes that clear the line of a progress bar, and show the cursor that it hid.
_CLEAR_PROGRESS: Final = b"\r\x1b[2K\x1b[?25h"
_INTERRUPTED: Final = "interrupted"


class _InterruptState:
    is_watched = False
    is_interrupted = False
    message = _INTERRUPTED
    wait_for_work: Callable[[], object] = staticmethod(lambda: None)
    """Function that waits for work that must be completed before the process ends."""
    report_lock = threading.Lock()
    """Acquired, and never released, by the thread that reports the interruption."""


_process: Final = _InterruptState()


def exit_on_interrupt() -> None:
    """Set Ctrl-C to end the process from now on, without an exception."""
    _set_handler(_handle_before_start)


def ignore_at_exit() -> None:
    """Ignore Ctrl-C while the interpreter shuts down, when it runs no handlers any more."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextmanager
def enforce_exit() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the block on Ctrl-C; end the process soon if it continues.

    A process that ignores Ctrl-C, because a shell runs it in the background, keeps ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
    threading.Thread(target=_watch_for_interrupt, args=(received,), daemon=True).start()
    _process.is_watched = True
    _set_handler(_raise_interrupt)
    try:
        yield
    finally:
        exit_on_interrupt()


@contextmanager
def add_interrupt_outcome(outcome: str) -> Iterator[None]:
    """Add the outcome of the work to the message about an interruption in the block.

    Args:
        outcome: clause that follows "interrupted; " in the message.
    """
    before, _process.message = _process.message, f"{_INTERRUPTED}; {outcome}"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_process.message) from None
    finally:
        _process.message = before


@contextmanager
def delay_exit(is_busy: Callable[[], object], *, timeout_seconds: float) -> Iterator[None]:
    """Delay the end of the process until other threads have completed critical work.

    Args:
        is_busy: returns a true value as long as there is such work; called on any thread.
        timeout_seconds: maximum time to wait.
    """

    def finish() -> None:
        until = time.monotonic() + timeout_seconds
        while is_busy() and time.monotonic() < until:
            threading.Event().wait(_POLL_SECONDS)

    before, _process.wait_for_work = _process.wait_for_work, finish
    try:
        yield
    finally:
        finish()
        _process.wait_for_work = before


def is_interrupted() -> bool:
    """Return whether this process received Ctrl-C, even if the exception was suppressed."""
    return _process.is_interrupted


def acquire_reporting() -> None:
    """Acquire the right to report the interruption.

    If another thread has acquired it, wait here until that thread ends the process.
    """
    if _process.is_watched and not _process.report_lock.acquire(blocking=False):
        threading.Event().wait()


def exit_interrupted() -> Never:
    """Report the interruption, and end the process without waiting for its threads."""
    acquire_reporting()
    _write(_process.message)
    os._exit(EXIT_CODE)


def _set_handler(handler: Callable[[int, FrameType | None], Never]) -> None:
    # A shell makes background processes ignore SIGINT.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _raise_interrupt(_number: int, _frame: FrameType | None) -> Never:
    # The process is about to end. Another Ctrl-C could only disturb that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _process.is_interrupted = True
    # Otherwise Python would print errors that the exception causes in destructors and threads.
    sys.unraisablehook = threading.excepthook = _discard
    raise KeyboardInterrupt


def _discard(_: object) -> None: ...


def _handle_before_start(_number: int, _frame: FrameType | None) -> Never:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_interrupted()


def _watch_for_interrupt(received: int) -> None:
    while os.read(received, 1) != bytes([signal.SIGINT]):
        pass
    threading.Event().wait(_GRACE_SECONDS)
    if _process.report_lock.acquire(blocking=False):
        _write(_process.message)
    else:
        threading.Event().wait(_REPORT_SECONDS)
    _process.wait_for_work()
    os._exit(EXIT_CODE)


def _write(message: str) -> None:
    """Write a line to the descriptor of stderr, because another thread may hold its lock."""
    clear = _CLEAR_PROGRESS if os.isatty(2) else b""
    try:
        os.write(2, clear + f"framecache: {to_sentence(message)}\n".encode())
    except OSError:  # stderr is closed
        return
