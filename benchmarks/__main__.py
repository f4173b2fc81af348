"""Compare framecache with the physical limit and the tools a user would pick instead."""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import inputs as preparing
from benchmarks import report, server
from benchmarks.contract import Inputs
from benchmarks.environments import ENVIRONMENTS, FOLDER, ROOT
from benchmarks.jobs import s3
from benchmarks.jobs.threads import cores
from benchmarks.model import DIRECT, FAR, Task
from benchmarks.results import task_result
from benchmarks.rounds import Stage, run
from benchmarks.tasks import TASKS
from benchmarks.turnaround import launch
from framecache import __version__

MEMORY = Path("/dev/shm")
FILES_BYTES = 8 * 2**30
"""For what a task leaves in files until it ends, and the server in its memory."""


def main() -> int:
    arguments = parse()
    if arguments.render is not None:
        report.render(arguments.render)
        return 0
    tasks = chosen(arguments.tasks)
    if arguments.tiny:
        # Those on the far network do nothing that those on the near one do not.
        tasks = [on_a_fast_network(task) for task in tasks if task.network != FAR]
    if arguments.no_peers:
        tasks = [without_peers(task) for task in tasks]
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    results: dict[str, Any] = {}
    try:
        for results in measure(arguments, tasks):
            path.write_text(json.dumps(results, indent=1))
    except server.ServerMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.markdown([results]))
    print(f"written: {path}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="names, or how they begin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=600, help="frames of the clip")
    parser.add_argument("--clips", type=Path, default=ROOT / ".cache" / "clips")
    parser.add_argument("--tiny", action="store_true", help="one round of a few small frames")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument(
        "--render",
        type=Path,
        nargs="+",
        metavar="RESULTS",
        help="only bring docs/performance.md up to these",
    )
    return parser.parse_args()


def chosen(names: Sequence[str] | None) -> list[Task]:
    if names is None:
        return list(TASKS)
    unknown = [name for name in names if not any(task.name.startswith(name) for task in TASKS)]
    if unknown:
        known = ", ".join(task.name for task in TASKS)
        sys.exit(f"error: there is no task {unknown[0]}; there are {known}")
    return [task for task in TASKS if any(task.name.startswith(name) for name in names)]


def measure(arguments: argparse.Namespace, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """Run the tasks; after each, all that the tasks so far gave, and where and when."""
    began = datetime.now(UTC)
    if arguments.tiny:
        size, rounds = preparing.tiny(), 1
    else:
        size, rounds = preparing.full(arguments.clips, arguments.frames), arguments.rounds
    with (
        server.running() as s3_server,
        tempfile.TemporaryDirectory(prefix="framecache-bench-", dir=folder_of_files()) as folder,
    ):
        inputs = preparing.prepare(s3_server, size, Path(folder))
        stage = Stage(
            server=s3_server,
            client=s3.client(s3_server.endpoint),
            rounds=rounds,
            install=not arguments.tiny,
            tune=not arguments.tiny,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
        jpeg_bytes = statistics.mean(len(jpeg) for jpeg in inputs.read_jpegs())
        results: list[dict[str, Any]] = []
        for task in tasks:
            results.append(perform(stage, task, inputs))
            yield {
                "began": began.isoformat(timespec="seconds"),
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
                "framecache": __version__,
                "machine": machine(),
                "rounds": rounds,
                "frames": size.frames,
                "mean_jpeg_bytes": round(jpeg_bytes),
                "environments": {name: list(pins) for name, pins in ENVIRONMENTS.items()},
                "tasks": results,
            }


def perform(stage: Stage, task: Task, inputs: Inputs) -> dict[str, Any]:
    """Run one task, behind a proxy where it has a network."""
    folder = Path(inputs.folder, task.name)
    folder.mkdir()
    with ExitStack() as stack:
        proxy = None
        here = replace(inputs, folder=str(folder))
        if task.network != DIRECT:
            proxy = stack.enter_context(launch.running(stage.server.address, task.network))
            here = replace(here, endpoint=proxy.endpoint)
        result = task_result(task, run(stage, task, here, proxy))
    if folder.is_relative_to(MEMORY):
        shutil.rmtree(folder)
    return result


def folder_of_files() -> Path | None:
    """Return a folder in memory, if it has space, so that no disk is measured; None: the default.

    ext4 makes files ten times slower than otherwise in the minutes after many went.
    """
    if not MEMORY.is_dir():
        return None
    available = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    free_bytes = min(shutil.disk_usage(MEMORY).free, 1024 * int(available[1]) if available else 0)
    return MEMORY if free_bytes >= FILES_BYTES else None


def on_a_fast_network(task: Task) -> Task:
    """Return the task with latencies that are short enough for a trial."""
    if task.network == DIRECT:
        return task
    return replace(task, network=replace(task.network, median_ms=1.0))


def without_peers(task: Task) -> Task:
    """Return the task with only the limit and framecache."""
    kept = [one for one in task.contestants if one.kind in {"limit", "ours"}]
    return replace(task, contestants=kept)


def machine() -> str:
    """Return the machine it ran on, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    kernel = platform.release().partition("-")[0]
    return (
        f"{cores()} cores ({processor}), {memory:.0f} GiB, Linux {kernel}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
