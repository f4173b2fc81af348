"""Threads for requests are joined at exit, except after a Ctrl-C."""

import subprocess
import sys
import threading

import pytest

from framecache._core.threads import RequestThreads, run_interruptible

_DEADLINE_SECONDS = 60
_PROGRAM = """
import os, threading
from framecache._core.threads import RequestThreads, run_interruptible
begun = threading.Event()
def work(seconds):
    begun.set()
    threading.Event().wait(seconds)
    os.write(1, b"done")
pool = RequestThreads(2, name="test")
"""


def output(program: str) -> bytes:
    """Return the output of a program until it has ended."""
    command = [sys.executable, "-c", _PROGRAM + program]
    return subprocess.run(
        command, check=False, capture_output=True, timeout=_DEADLINE_SECONDS
    ).stdout


def test_calls_run_on_at_most_the_given_number_of_threads() -> None:
    both = threading.Barrier(2)

    def work(number: int) -> tuple[int, str]:
        both.wait(_DEADLINE_SECONDS)
        return number, threading.current_thread().name

    with RequestThreads(2, name="test") as pool:
        results = [*pool.imap(work, range(20))]
    assert [number for number, _ in results] == [*range(20)]
    assert {name for _, name in results} == {"test_0", "test_1"}


def test_error_of_a_call_is_raised() -> None:
    with RequestThreads(1, name="test") as pool, pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    with pytest.raises(ZeroDivisionError):
        run_interruptible(lambda: 1 / 0)


def test_pending_call_can_be_cancelled() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(_DEADLINE_SECONDS)

    pool = RequestThreads(1, name="test")
    first, second = pool.submit(work), pool.submit(work)
    assert begun.wait(_DEADLINE_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    goes_on.set()
    assert first.result(_DEADLINE_SECONDS) is None


def test_process_exit_waits_for_running_calls_only() -> None:
    """A call that returns from a library after the exit cannot continue in Python."""
    assert output("pool.submit(int); pool.submit(work, 0.2); begun.wait()") == b"done"


def test_process_exit_after_ctrl_c_waits_for_no_call() -> None:
    assert output("pool.submit(work, 600); begun.wait(); raise KeyboardInterrupt") == b""


def test_interrupted_call_is_abandoned() -> None:
    """The signal may arrive just before Python begins to wait."""
    program = """
import signal
def interrupt():
    begun.wait()
    os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt).start()
try:
    run_interruptible(lambda: work(600))
except KeyboardInterrupt:
    print(run_interruptible(lambda: "the next"))
"""
    assert output(program) == b"the next\n"
