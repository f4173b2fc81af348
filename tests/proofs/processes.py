"""Processes that do something to a store and may die, or lose an answer, at any request of it.

What they do follows from the store alone: they draw their random names from their own name, and
find that whatever others claimed is stale. So a state of the store that came up before need not
be tried again.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Final, Literal

import pytest
from invariants import Violation

from framecache import FrameCacheError
from framecache.store import Store
from framecache.testing import (
    Action,
    Crash,
    CrashingStore,
    Fault,
    FaultyStore,
    WrappingStore,
    faults_of,
)
from framecache.testing.wrapping import Result

_MOST_REQUESTS: Final = 500
_LONG_SECONDS: Final = 3600.0

Work = Callable[[Store], object]


@dataclass(frozen=True)
class Point:
    """Where and how something goes wrong."""

    at: int
    """The request, from 1."""
    how: Literal["before", "after"] | Fault
    """A crash, or a fault that the process survives."""


class _Endless(WrappingStore):
    """Tells a process that does not come to an end."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._numbers = count(1)

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        if next(self._numbers) > _MOST_REQUESTS:
            raise Violation(f"no end after {_MOST_REQUESTS} requests, the last to {action} {key}")
        return super().perform(action, key, operation)


@contextmanager
def process(name: str) -> Iterator[None]:
    """Within, the process of this name runs, long after every other one died."""
    numbers, clock = count(), count()

    def token_hex(size_bytes: int) -> str:
        digest = hashlib.sha256(f"{name} {next(numbers)}".encode()).hexdigest()
        return digest[: 2 * size_bytes]

    def monotonic() -> float:
        return 2 * _LONG_SECONDS * next(clock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("framecache.manifest.secrets", SimpleNamespace(token_hex=token_hex))
        # It gives no sign of life, whose number would depend on how fast it runs.
        patch.setattr("framecache.claims.STALE_AFTER_SECONDS", _LONG_SECONDS)
        patch.setattr("framecache.claims.time", SimpleNamespace(monotonic=monotonic))
        yield


def run(name: str, work: Work, store: Store) -> None:
    """Do something where nothing goes wrong.

    Raises:
        Violation: it fails, or does not come to an end.
    """
    try:
        with process(name):
            work(_Endless(store))
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{name} fails: {type(error).__name__}: {error}") from error


def run_until(point: Point, name: str, work: Work, store: Store) -> bool:
    """Do something that goes wrong at a point; returns whether the process says it is done.

    Raises:
        Violation: it never came to the point, or survived it with an error of no known type.
    """
    if isinstance(point.how, Fault):
        return _run_with_fault(point, point.how, name, work, store)
    crashing = CrashingStore(store, at=point.at, when=point.how)
    try:
        with process(name):
            work(crashing)
    except Crash:
        return False
    raise Violation(f"{name} goes on after it died at request {point.at}")


def points(name: str, work: Work, store: Store) -> list[Point]:
    """Every way in which something can go wrong; does it, without anything going wrong."""
    actions: list[Action] = []
    crashing = CrashingStore(store, at=None)
    with process(name):
        work(FaultyStore(crashing, lambda action, _key: actions.append(action)))
    crashes = [
        Point(at, when) for at in range(1, crashing.requests + 1) for when in ("before", "after")
    ]
    faults = [
        Point(at, fault)
        for at, action in enumerate(actions, start=1)
        for fault in sorted(faults_of(action), key=lambda fault: fault.name)
    ]
    return [*crashes, *faults]


def _run_with_fault(point: Point, fault: Fault, name: str, work: Work, store: Store) -> bool:
    numbers = count(1)

    def schedule(_action: Action, _key: str) -> Fault | None:
        return fault if next(numbers) == point.at else None

    try:
        with process(name):
            work(_Endless(FaultyStore(store, schedule)))
        is_done = True
    except FrameCacheError:
        is_done = False
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{name} raises {type(error).__name__} at {point}") from error
    met = next(numbers) - 1
    if met < point.at:
        raise Violation(f"{name} ends after {met} requests, before {point}")
    return is_done
