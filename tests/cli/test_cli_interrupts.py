"""Ctrl-C ends any command soon, with one line and exit code 130, and is never lost."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import DEADLINE_SECONDS

LINE = "framecache: Interrupted."
# It reports when framecache handles Ctrl-C; before, the interpreter does.
_PROGRAM = """
import sys
from framecache.cli import interrupts, main
interrupts.exit_on_interrupt()
print("started", flush=True)
sys.exit(main())
"""


def started(program: str, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start a program, and wait until it reports that it has started."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def interrupted(process: subprocess.Popen[str], *, within_seconds: float = DEADLINE_SECONDS) -> str:
    """Return the output on stderr of a command that ended as an interrupted one does."""
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=within_seconds)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    return errors


_SWALLOWED = """
import time
from framecache.cli import interrupts
with interrupts.enforce_exit():
    try:
        print("started", flush=True)
        time.sleep(100)
    finally:
        time.sleep(100)
"""
_IN_A_DESTRUCTOR = """
import time
from framecache.cli import interrupts
class Slow:
    def __del__(self):
        print("started", flush=True)
        time.sleep(100)
with interrupts.enforce_exit():
    Slow()
    time.sleep(100)
"""
_A_THREAD_CONTINUES = """
import sys, threading, time
from framecache.cli import app, interrupts, main
threading.Thread(target=time.sleep, args=(100,)).start()
@app.app.command()
def wait():
    print("started", flush=True)
    time.sleep(100)
sys.argv = ["framecache", "wait"]
sys.exit(main())
"""

_A_THREAD_FINISHES = """
import os, threading, time
from framecache.cli import interrupts
def finish():
    while not interrupts.is_interrupted():
        time.sleep(0.01)
    time.sleep(2)
    os.write(2, b"finished\\n")
work = threading.Thread(target=finish, daemon=True)
work.start()
try:
    with interrupts.enforce_exit(), interrupts.delay_exit(work.is_alive, timeout_seconds=100):
        try:
            print("started", flush=True)
            time.sleep(100)
        finally:
            time.sleep(SWALLOWED)
except KeyboardInterrupt:
    interrupts.exit_interrupted()
"""


@pytest.mark.parametrize("swallowed_seconds", [0, 100])
def test_ctrl_c_waits_for_threads_to_finish(swallowed_seconds: int) -> None:
    program = _A_THREAD_FINISHES.replace("SWALLOWED", str(swallowed_seconds))
    assert "finished\n" in interrupted(started(program))


@pytest.mark.parametrize(
    "program",
    [_SWALLOWED, _IN_A_DESTRUCTOR, _A_THREAD_CONTINUES],
    ids=["swallowed", "in a destructor", "a thread goes on"],
)
def test_ctrl_c_ends_a_process_that_would_continue(program: str) -> None:
    assert interrupted(started(program)) == f"{LINE}\n"


def test_ctrl_c_during_interpreter_shutdown_is_ignored() -> None:
    program = """
import os, signal
from framecache.cli import interrupts
interrupts.exit_on_interrupt()
interrupts.ignore_at_exit()
class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):
        kill(process, number)
late = Late()
print("started", flush=True)
"""
    process = started(program)
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, errors) == (0, "")


def test_ctrl_c_does_not_wait_for_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
        }
        process = started(_PROGRAM, "ls", "--cache", "s3://bucket", **environment)
        with server.accept()[0]:
            # A request is given up after 20 s, and then sent again.
            assert interrupted(process, within_seconds=15) == f"{LINE}\n"


def test_background_command_ignores_ctrl_c(local_url: str) -> None:
    program = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{_PROGRAM}"
    process = started(program, "ls", "--cache", local_url)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0


# Ctrl-C arrives while arro3 loads the C interface of numpy.
_DURING_LOADING = """
import signal
import numpy.lib
load = numpy.lib.NumpyVersion.__init__
def interrupted(self, *arguments):
    loads.append(arguments)
    signal.raise_signal(signal.SIGINT)
    load(self, *arguments)
loads = []
numpy.lib.NumpyVersion.__init__ = interrupted
try:
    from framecache._index.lazy_arrow import arrow
    arrow.Array.from_numpy(numpy.zeros(1)).to_numpy()
except KeyboardInterrupt:
    print(len(loads), "interrupted")
"""


def test_interrupt_while_numpy_is_loaded_by_arrow_is_an_ordinary_one() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _DURING_LOADING], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("1 interrupted\n", "")
