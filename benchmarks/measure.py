"""Interleaved rounds: on a shared machine only ratios within one round mean something."""

import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SEED = 7


@dataclass(frozen=True)
class Contender:
    """One way of doing a task."""

    name: str
    run: Callable[[], int]
    """Does the work once; returns the number of frames."""


@dataclass(frozen=True)
class Result:
    """What the rounds of one contender gave."""

    name: str
    frames: int
    seconds: list[float]
    cpu_seconds: list[float]

    @property
    def frames_per_second(self) -> float:
        return self.frames / statistics.median(self.seconds)

    @property
    def cpu_ms_per_frame(self) -> float:
        return 1000 * statistics.median(self.cpu_seconds) / self.frames

    def speed_of(self, other: "Result") -> float:
        """This contender's speed as a multiple of the other's: the median over the rounds."""
        return statistics.median(
            theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True)
        )


def interleave(contenders: Sequence[Contender], *, rounds: int) -> dict[str, Result]:
    """Run every contender once a round, in an order that changes, after one warm-up round."""
    order = random.Random(SEED)
    results = {c.name: Result(c.name, 0, [], []) for c in contenders}
    for round_ in range(rounds + 1):
        for contender in order.sample(list(contenders), len(contenders)):
            wall, cpu = time.perf_counter(), _cpu_seconds()
            frames = contender.run()
            wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
            if round_:
                known = results[contender.name]
                results[contender.name] = Result(
                    contender.name, frames, [*known.seconds, wall], [*known.cpu_seconds, cpu]
                )
    return results


def cores() -> int:
    return len(os.sched_getaffinity(0))


def _cpu_seconds() -> float:
    """Of this process and of the children it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
