"""The command line for tests, in this process or in a separate one."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from framecache.cli.app import main
from media import made, make_clip

DEADLINE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    output: bytes
    """Bytes of standard output."""
    errors: str
    """Text of standard error."""

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def document(self) -> dict[str, Any]:
        """Return the only JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.output)
        return document

    def succeeded(self) -> Self:
        assert (self.code, self.errors) == (0, "")
        return self

    def failed(self, code: int) -> str:
        """Return the only line of a failure."""
        assert self.code == code, self.errors
        assert "Traceback" not in self.errors
        assert self.errors.startswith("framecache: ")
        assert self.errors.count("\n") == 1
        assert self.errors.endswith("\n")
        assert self.errors[:-1].isprintable()
        return self.errors.removeprefix("framecache: ").removesuffix("\n")


def run(*arguments: str | Path) -> Outcome:
    """Run a command in this process, without a terminal."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    errors = io.StringIO()
    terminal, sys.stdin = sys.stdin, io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
    finally:
        sys.stdin = terminal
    output.flush()
    buffer = output.buffer
    assert isinstance(buffer, io.BytesIO)
    return Outcome(code, buffer.getvalue(), errors.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """Return the arguments that start the command line in a separate process."""
    return [sys.executable, "-m", "framecache", *(str(argument) for argument in arguments)]


def spawn(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Start a command in a separate process, with pipes."""
    finished = subprocess.run(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=os.environ | (env or {}),
        timeout=DEADLINE_SECONDS,
    )
    return Outcome(finished.returncode, finished.stdout, finished.stderr.decode())


class Terminal:
    """Command in a separate process, on a terminal of 100 columns."""

    def __init__(
        self, arguments: Sequence[str | Path], *, output: int | None = None, cwd: Path | None = None
    ) -> None:
        """Start it; ``output`` takes the place of the terminal as its stdout."""
        self._own, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command(*arguments),
            stdin=theirs,
            stdout=theirs if output is None else output,
            stderr=theirs,
            cwd=cwd,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        self._seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._own)

    @property
    def shown(self) -> str:
        """Output that was read so far."""
        return self._seen.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Read until the output contains a string."""
        while text not in self.shown:
            block = self._read()
            assert block, f"it ended without {text!r}: {self.shown}"

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._own, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the output of the terminal."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_SECONDS), self._seen.decode(errors="replace")

    def _read(self) -> bytes:
        ready, _, _ = select.select([self._own], [], [], DEADLINE_SECONDS)
        assert ready, f"nothing came after {self._seen.decode(errors='replace')!r}"
        block = b""
        # Linux returns EIO when the last process on the terminal has ended.
        with suppress(OSError):
            block = os.read(self._own, 1 << 16)
        self._seen += block
        return block


def clip(*, rate: str = "25") -> Path:
    """50 frames of 160×120, 2 s at 25 a second, with keyframes at 0 and 25."""
    name = f"cli-{rate.replace('/', 'over')}.mp4"
    return made(name, lambda path: make_clip(path, rate=rate, extra=["-g", "25"]))


def other_clip() -> Path:
    """25 frames, 1 s."""
    return made("cli-other.mp4", lambda path: make_clip(path, frames=25))


def long_clip() -> Path:
    """Return a clip that is long enough to interrupt its extraction."""

    def make(path: Path) -> None:
        make_clip(path, codec="mpeg4", size=(640, 480), frames=1500, extra=["-q:v", "8"])

    return made("cli-long.mp4", make)
