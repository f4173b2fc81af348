"""The S3 server that everything runs against: Ceph on loopback."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.environments import ROOT
from benchmarks.worker import TICKS_PER_SECOND, ticks

SCRIPT: Final = ROOT / "scripts" / "ceph-rgw.sh"
START_ATTEMPTS: Final = 3
SERVER_PORTS: Final = range(20_000, 32_000)
ACCESS: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "testsecret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class ServerMissing(Exception):
    """There is no S3 server to run against."""


@dataclass(frozen=True, slots=True)
class Server:
    """A Ceph gateway and what stands behind it."""

    address: str
    """Host and port."""
    processes: tuple[int, ...]

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}"

    def cpu_seconds(self) -> float:
        return sum(ticks(process) for process in self.processes) / TICKS_PER_SECOND


@contextmanager
def running() -> Iterator[Server]:
    """Start a cluster that keeps everything in memory, until the block ends."""
    if shutil.which("radosgw") is None:
        raise ServerMissing("radosgw is not installed: run scripts/install-test-tools.sh")
    with tempfile.TemporaryDirectory(prefix="framecache-bench-ceph-") as folder:
        port = start_cluster(folder)
        try:
            processes = tuple(int(path.read_text()) for path in Path(folder).glob("*.pid"))
            yield Server(f"127.0.0.1:{port}", processes)
        finally:
            subprocess.run([str(SCRIPT), "stop", folder], check=True)


def environment(endpoint: str) -> dict[str, str]:
    """Variables by which AWS clients reach the server at an endpoint, and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | ACCESS | {"AWS_ENDPOINT_URL": endpoint}


def start_cluster(folder: str) -> int:
    """Start Ceph in an empty folder; returns the port of its gateway.

    Another program may take a port between the look and the start: then others are tried.
    """
    for _ in range(START_ATTEMPTS):
        port, monitor_port = free_ports(2)
        start = [str(SCRIPT), "start", folder, str(port), str(monitor_port)]
        started = subprocess.run(
            start, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if started.returncode == 0:
            return port
    raise ServerMissing(f"Ceph did not start: {started.stderr.strip()[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, none of those that the system gives to clients."""
    found: list[int] = []
    for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found
