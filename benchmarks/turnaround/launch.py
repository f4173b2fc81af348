"""Starting the proxy in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from benchmarks.turnaround.pace import Network

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy under way."""

    endpoint: str
    process: subprocess.Popen[str]

    def reseed(self, seed: int) -> None:
        """Have the turnarounds of a sequence come again, from its beginning."""
        print(seed, file=cast("IO[str]", self.process.stdin), flush=True)
        cast("IO[str]", self.process.stdout).readline()


@contextmanager
def running(server: str, network: Network) -> Iterator[RunningProxy]:
    """Run a proxy in front of the server at ``host:port``, until the block ends."""
    command = [sys.executable, "-m", "benchmarks.turnaround", server]
    command += ["--median-ms", str(network.median_ms), "--sigma", str(network.sigma)]
    command += ["--megabytes-per-second", str(network.megabytes_per_second)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            port = int(cast("IO[str]", process.stdout).readline())
            yield RunningProxy(f"http://127.0.0.1:{port}", process)
        finally:
            cast("IO[str]", process.stdin).close()
            process.wait(10)
