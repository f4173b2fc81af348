"""A contestant's process, in the contestant's own environment.

Reads one JSON object a line and answers each with one: ``{"open": settings}`` sets the job up,
``{"check": name}`` goes through the work and reports a summary of every frame, and
``{"run": name}`` measures it: seconds, CPU seconds, figures.
"""

import gc
import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from benchmarks.contract import Image, Inputs, Job, Pass, signature

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    inputs = Inputs.from_json(sys.argv[2])
    requests, answers = channel()
    make = getattr(importlib.import_module(f"benchmarks.jobs.{module}"), function)
    job = Job(lambda _: None)
    for line in requests:
        match json.loads(line):
            case {"open": settings}:
                job = make(inputs, **settings)
                result: dict[str, Any] = {}
            case {"check": name}:
                result = check(job, name)
            case {"run": name}:
                result = measured(job, name)
        print(json.dumps(result), file=answers, flush=True)


def channel() -> tuple[TextIO, TextIO]:
    """Return standard input and output; output of libraries goes to standard error instead."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin, answers


def check(job: Job, name: str) -> dict[str, Any]:
    """Go through the work once, unmeasured; it also warms everything up."""
    seen: dict[int, list[int]] = {}

    def take(sequence: int, image: Image | None) -> None:
        if image is not None:
            seen[sequence] = signature(image)

    this = Pass(name, take)
    job.work(this)
    if job.show is not None:
        job.show(this)
    return {"seen": seen}


def measured(job: Job, name: str) -> dict[str, Any]:
    moments: list[float] = []
    this = Pass(name, lambda _sequence, _image: moments.append(time.perf_counter()))
    gc.collect()
    cpu, began = cpu_seconds(), time.perf_counter()
    figures = job.work(this)
    seconds = time.perf_counter() - began
    cpu = cpu_seconds() - cpu
    gaps = [later - earlier for earlier, later in zip([began, *moments], moments, strict=False)]
    own = {"p50_ms": 1000 * statistics.median(gaps)} if gaps else {}
    return {
        "frames": len(moments),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "figures": own | dict(figures or {}),
    }


def cpu_seconds() -> float:
    """Return the CPU time of this process, its finished children, and those still running."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return own + sum(ticks(process) for process in descendants(os.getpid())) / TICKS_PER_SECOND


def descendants(process: int) -> Iterator[int]:
    with suppress(FileNotFoundError):  # it may end meanwhile
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def ticks(process: int) -> int:
    """User and system time of a process and of those that it waited for."""
    with suppress(FileNotFoundError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15])
    return 0


if __name__ == "__main__":
    main()
