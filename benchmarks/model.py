"""Tasks, the contestants in them, what is aimed at, and what a run found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from benchmarks.contract import Settings
from benchmarks.environments import MAIN
from benchmarks.turnaround.pace import Network

Kind = Literal["limit", "ours", "plain", "peer"]

DIRECT: Final = Network()
NEAR: Final = Network(median_ms=30.0, sigma=0.4, megabytes_per_second=80.0)
FAR: Final = Network(median_ms=60.0, sigma=0.9, megabytes_per_second=80.0)


@dataclass(frozen=True, slots=True)
class Preparation:
    """A job that stores what others read; done once a run."""

    job: str
    environment: str = MAIN


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way of doing a task."""

    name: str
    kind: Kind
    job: str
    """``module:function`` in ``benchmarks.jobs``."""
    variants: Sequence[Settings] = ({},)
    """Settings to try before the rounds; the fastest takes part in them."""
    environment: str = MAIN
    after: Preparation | None = None
    """Data that must be stored before."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure of ours, or its ratio to the best of others, and what it is to be."""

    text: str
    at_least: float | None = None
    at_most: float | None = None
    measure: str = "seconds"
    against: tuple[str, ...] = ()
    """Contestants, of whom the best counts: ``at_least`` bounds how many times ours theirs is,
    ``at_most`` how many times theirs ours is. None: the figure is our own."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work that every contestant does, on one network."""

    name: str
    title: str
    contestants: Sequence[Contestant]
    """The first that is ours is what the aims are for."""
    aims: Sequence[Aim] = ()
    network: Network = DIRECT
    tolerance: float | None = 1.0
    """By how much mean colors of a field may differ from the first contestant's, of 255; None
    where contestants rightly choose different pictures."""
    columns: Mapping[str, str] = field(default_factory=lambda: {"cpu_ms": "CPU ms a frame"})
    """Figures to show, and their headings."""
    shows_rates: bool = True
    """True if frames per second are a figure of this task."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One pass of one contestant."""

    frames: int
    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    proxy_cpu_seconds: float
    figures: Mapping[str, float]


@dataclass(slots=True)
class Entry:
    """Results of one contestant in one task of a run."""

    contestant: Contestant
    settings: Settings = field(default_factory=dict)
    trials: list[tuple[Settings, float]] = field(default_factory=list)
    """Seconds of the settings that were tried."""
    rounds: list[Measured] = field(default_factory=list)
    failure: str = ""
    """Reason for which it took no part, or not to the end, in one line."""
