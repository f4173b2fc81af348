"""Ctrl-C at random moments of real commands ends each within a second, with one line."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from framecache import FrameCache
from media import made, make_clip
from proving import Proof

LINE = "framecache: Interrupted"
SECONDS = 1.0
_DEADLINE_SECONDS = 120
# It reports when the command begins; before, the interpreter starts.
_PROGRAM = """
import os, sys
from framecache.cli import main
os.write(1, b"b")
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the time after its start within which it may be interrupted."""

    words: Sequence[str]
    starts: float = 1.2
    """The latest moment, as a multiple of the time that the shortest command takes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    done_code: int = 0
    """Exit code if it is not interrupted."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Outcome of a command after its Ctrl-C."""

    code: int
    errors: str
    seconds: float
    """Without the time in which any process of this machine waited for a processor."""


def test_interrupted_command_ends_within_a_second(tmp_path: Path, proof: Proof) -> None:
    clip = made("interrupted.mp4", _make_clip)
    cache = str(tmp_path / "cache")
    FrameCache(cache).timeline("walk").extract(clip)
    seconds = _shortest_seconds(cache)
    moments = random.Random(300)
    number = proof.size(short=30, long=300)
    interrupted, done, slowest = 0, 0, 0.0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for attempt in range(number):
            every = _commands(tmp_path, cache, clip, attempt, port=silent.getsockname()[1])
            command = every[attempt % len(every)]
            after_seconds = moments.uniform(0, command.starts * seconds)
            ended = _interrupted(command, after_seconds)
            if ended is None:
                done += 1
                continue
            shown = f"{command.words} after {after_seconds:.3f} s: {ended}"
            assert ended.seconds <= SECONDS, shown
            assert "Traceback" not in ended.errors, shown
            if ended.code == command.done_code:  # it was done at that very moment
                done += 1
                continue
            assert ended.code == 130, shown
            said = [line for line in ended.errors.splitlines() if not _is_of_service(line)]
            assert len(said) == 1, shown
            assert said[0].startswith(LINE), shown
            interrupted += 1
            slowest = max(slowest, ended.seconds)
    proof.found(
        moments=number, interrupted=interrupted, done_before=done, slowest=f"{slowest:.2f} s"
    )
    assert interrupted >= number / 2


def _make_clip(path: Path) -> None:
    make_clip(path, codec="mpeg4", size=(640, 480), frames=600, extra=["-q:v", "8"])


def _commands(
    folder: Path, cache: str, clip: Path, attempt: int, *, port: int
) -> Sequence[Command]:
    """Every command that reads or writes, each of which finds what the others have left."""
    at = ["--cache", cache]
    layout = "packs" if attempt % 2 else "objects"
    exported = str(folder / f"exported-{attempt}")
    unreachable = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }
    return (
        Command(["extract", f"t{attempt}", str(clip), *at], starts=2.5),
        Command(["get", "walk", "7", "-o", str(folder / f"{attempt}.jpg"), *at]),
        Command(["ls", "--cache", "s3://silent"], starts=2.5, environment=unreachable, done_code=7),
        Command(["export", "walk", exported, *at], starts=2),
        Command(["ls", *at]),
        Command(["serve", "--port", "0", *at], starts=3),
        Command(["info", "walk", *at]),
        Command(["verify", "walk", "--deep", *at], starts=2.5),
        Command(["repack", "walk", "--layout", layout, *at], starts=1.5),
        Command(["gc", *at]),
        Command(["doctor", *at]),
        Command(["--version"], starts=1),
        Command(["extract", "--help"], starts=1),
    )


def _shortest_seconds(cache: str) -> float:
    """Return the duration of a command that has little to do."""
    began = time.monotonic()
    command = [sys.executable, "-c", _PROGRAM, "ls", "--cache", cache]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def _interrupted(command: Command, after_seconds: float) -> Ended | None:
    """Interrupt a command after some time; return None if it had ended before."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *command.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | command.environment,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"b"
        time.sleep(after_seconds)
        if process.poll() is not None:
            return None
        stalled, began = _stalled_seconds(), time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=_DEADLINE_SECONDS)
        seconds = time.monotonic() - began - (_stalled_seconds() - stalled)
        return Ended(process.returncode, errors.decode(), seconds)
    finally:
        process.kill()
        process.communicate()


def _stalled_seconds() -> float:
    """For how long, so far, some process had to wait for a processor that others used."""
    try:
        pressure = Path("/proc/pressure/cpu").read_text()
    except OSError:  # a kernel that does not count it
        return 0.0
    return int(pressure.partition("total=")[2].split()[0]) / 1e6


def _is_of_service(line: str) -> bool:
    """Return True if a line is one that ``serve`` writes as it runs."""
    return line.startswith(("{", "framecache: Serving"))
