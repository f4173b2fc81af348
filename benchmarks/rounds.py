"""Running a task: each contestant in a process of its own, in turns."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from types_boto3_s3 import S3Client

from benchmarks import environments
from benchmarks.contract import Inputs
from benchmarks.jobs import s3
from benchmarks.model import Entry, Measured, Preparation, Task
from benchmarks.server import Server
from benchmarks.turnaround.launch import RunningProxy
from benchmarks.worker import TICKS_PER_SECOND, ticks
from benchmarks.worker_process import Failed, Worker, started

ORDER_SEED: Final = 7

Seen = Mapping[str, list[int]]
"""Pictures of the frames of a pass, by sequence."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Settings that the tasks of a run share."""

    server: Server
    client: S3Client
    """Client of the server itself."""
    rounds: int
    install: bool
    """True if missing environments of peers are made."""
    tune: bool
    """True if all variants of a contestant are tried, not only the first."""
    tell: Callable[[str], None]
    """Called with what is being done."""
    prepared: dict[Preparation, str] = field(default_factory=dict)
    """Data that was stored already, and the reason if it was not."""


@dataclass(slots=True)
class _Contest:
    """A task under way."""

    stage: Stage
    task: Task
    inputs: Inputs
    proxy: RunningProxy | None
    passes: int = 0

    def new_pass(self) -> str:
        self.passes += 1
        return f"{self.task.name}-{self.passes}"


def run(stage: Stage, task: Task, inputs: Inputs, proxy: RunningProxy | None) -> list[Entry]:
    """Try what each contestant can, compare what they deliver, then measure them in turns."""
    contest = _Contest(stage, task, inputs, proxy)
    entries = [Entry(contestant) for contestant in task.contestants]
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        expected: Seen = {}
        for entry in entries:
            name = entry.contestant.name
            stage.tell(f"{task.name}: {name}")
            try:
                workers[name] = _ready(contest, entry, stack)
                seen = _tuned(contest, entry, workers[name])
                _compare(task, seen, expected)
                expected = expected or seen
            except Failed as failure:
                entry.failure = str(failure)
        for number, entry in _turns(entries, stage.rounds):
            stage.tell(f"{task.name}, round {number + 1}: {entry.contestant.name}")
            try:
                result = _measured(contest, workers[entry.contestant.name], seed=number + 1)
                entry.rounds.append(result)
            except Failed as failure:
                entry.failure = str(failure)
    return entries


def _ready(contest: _Contest, entry: Entry, stack: ExitStack) -> Worker:
    contestant = entry.contestant
    if contestant.after is not None:
        _prepare(contest, contestant.after)
    where = environments.find(contestant.environment, install=contest.stage.install)
    if where.failure:
        raise Failed(where.failure)
    return stack.enter_context(started(contestant.job, contest.inputs, where))


def _prepare(contest: _Contest, preparation: Preparation) -> None:
    prepared = contest.stage.prepared
    if preparation not in prepared:
        prepared[preparation] = _prepared(contest, preparation)
    if prepared[preparation]:
        raise Failed(prepared[preparation])


def _prepared(contest: _Contest, preparation: Preparation) -> str:
    where = environments.find(preparation.environment, install=contest.stage.install)
    if where.failure:
        return where.failure
    inputs = replace(contest.inputs, endpoint=contest.inputs.server)  # in no need of a proxy
    with started(preparation.job, inputs, where) as worker:
        try:
            worker.ask(open={})
            worker.ask(check="prepare")
        except Failed as failure:
            return str(failure)
    return ""


def _tuned(contest: _Contest, entry: Entry, worker: Worker) -> Seen:
    """Open the contestant with the fastest of its settings; what its frames look like."""
    variants = entry.contestant.variants[: None if contest.stage.tune else 1]
    seen: Seen = {}
    for settings in variants:
        worker.ask(open=settings)
        seen = _checked(contest, worker)
        if len(variants) > 1:
            entry.trials.append((settings, _measured(contest, worker, seed=0).seconds))
    entry.settings = variants[0]
    if entry.trials:
        entry.settings = min(entry.trials, key=lambda trial: trial[1])[0]
        worker.ask(open=entry.settings)
        seen = _checked(contest, worker)
    return seen


def _checked(contest: _Contest, worker: Worker) -> Seen:
    name = contest.new_pass()
    seen: Seen = worker.ask(check=name)["seen"]
    _clean_up(contest, name)
    return seen


def _measured(contest: _Contest, worker: Worker, *, seed: int) -> Measured:
    if contest.proxy is not None:
        contest.proxy.reseed(seed)  # everyone meets the same turnarounds
    name = contest.new_pass()
    proxy = contest.proxy.process.pid if contest.proxy else None
    server_cpu = contest.stage.server.cpu_seconds()
    proxy_ticks = ticks(proxy) if proxy else 0
    result = worker.ask(run=name)
    measured = Measured(
        frames=result["frames"],
        seconds=result["seconds"],
        cpu_seconds=result["cpu_seconds"],
        server_cpu_seconds=contest.stage.server.cpu_seconds() - server_cpu,
        proxy_cpu_seconds=((ticks(proxy) if proxy else 0) - proxy_ticks) / TICKS_PER_SECOND,
        figures=result["figures"],
    )
    _clean_up(contest, name)
    return measured


def _clean_up(contest: _Contest, name: str) -> None:
    """Remove objects, which the server keeps in memory. Files stay until the end of the task."""
    s3.remove(contest.stage.client, contest.inputs.bucket, f"out/{name}/")


def _compare(task: Task, seen: Seen, expected: Seen) -> None:
    """Refuse a contestant whose frames are not those of the first that showed any."""
    if task.tolerance is None or not expected:
        return
    if seen.keys() != expected.keys():
        raise Failed(f"it delivered {len(seen)} frames, not the {len(expected)} wanted")
    for sequence, looks in expected.items():
        pairs = zip(looks, seen[sequence], strict=True)
        difference = max(abs(one - other) for one, other in pairs)
        if difference > task.tolerance:
            raise Failed(f"its frame {sequence} differs by {difference} of 255")


def _turns(entries: list[Entry], rounds: int) -> Iterator[tuple[int, Entry]]:
    """Everyone who has not failed, once a round, in an order that changes."""
    order = random.Random(ORDER_SEED)
    for number in range(rounds):
        for entry in order.sample(entries, len(entries)):
            if not entry.failure:
                yield number, entry
