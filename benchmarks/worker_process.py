"""The other end of a contestant's process."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Timer
from typing import IO, Any, Final, cast

from benchmarks.contract import Inputs
from benchmarks.environments import MAIN, ROOT, WITH_MAIN, Environment
from benchmarks.server import environment

PATIENCE_SECONDS: Final = 900
GOODBYE_SECONDS: Final = 20


class Failed(Exception):
    """A contestant cannot continue; the message is one line."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A contestant's process under way."""

    process: subprocess.Popen[str]
    log: IO[str]

    def ask(self, **request: object) -> dict[str, Any]:
        """Have it do something.

        Raises:
            Failed: it broke down, or took too long.
        """
        patience = Timer(PATIENCE_SECONDS, self.process.kill)
        patience.start()
        try:
            print(json.dumps(request), file=cast("IO[str]", self.process.stdin), flush=True)
            answer = cast("IO[str]", self.process.stdout).readline()
        except BrokenPipeError:
            answer = ""
        finally:
            patience.cancel()
        if not answer:
            raise Failed(self._last_words())
        result: dict[str, Any] = json.loads(answer)
        return result

    def _last_words(self) -> str:
        status = self.process.wait()
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        return lines[-1] if lines else f"it ended with status {status} and said nothing"


@contextmanager
def started(job: str, inputs: Inputs, where: Environment) -> Iterator[Worker]:
    """Start a process for a job, until the block ends."""
    variables = environment(inputs.endpoint)
    # framecache is found as this program finds it; other environments see the benchmark only.
    ours = variables.get("PYTHONPATH", "") if where.name in {MAIN, *WITH_MAIN} else ""
    variables["PYTHONPATH"] = f"{ROOT}:{ours}".rstrip(":")
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [where.python, "-m", "benchmarks.worker", job, inputs.to_json()],
            cwd=inputs.folder,
            env=variables,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            yield Worker(process, log)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            cast("IO[str]", pipe).close()
    try:
        process.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
