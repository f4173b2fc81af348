"""Processes that use a store and may die, or lose a response, at any request.

Their actions depend on the store alone: random names derive from the name of the process, and
the clock advances at each reading. So a known state of the store need not be tried again.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event
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
    HookedStore,
    WrappingStore,
    possible_faults,
)
from framecache.testing.wrapping import Result

_MOST_REQUESTS: Final = 500
_STALE_AFTER_SECONDS: Final = 3600.0
_READS: Final = frozenset[Action]({"get", "head", "list"})

Work = Callable[[Store], object]


@dataclass(frozen=True)
class Point:
    """Place and kind of a failure."""

    at: int
    """The request, from 1."""
    how: Literal["before", "after"] | Fault
    """A crash, or a fault that the process survives."""


class _Endless(WrappingStore):
    """Store that detects a process that never ends."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._numbers = count(1)

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        if next(self._numbers) > _MOST_REQUESTS:
            raise Violation(f"no end after {_MOST_REQUESTS} requests, the last to {action} {key}")
        return super().perform(action, key, operation)


@dataclass(frozen=True)
class Process:
    """A simulated process."""

    name: str
    looks_until_stale: int = 10
    """Number of its looks at a clock while a lease becomes stale. If 1, its own leases do, too,
    and it has to send heartbeats."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the block as this process."""
        numbers, looks = count(), count()

        def token_hex(size_bytes: int) -> str:
            digest = hashlib.sha256(f"{self.name} {next(numbers)}".encode()).hexdigest()
            return digest[: 2 * size_bytes]

        def monotonic() -> float:
            return next(looks) * _STALE_AFTER_SECONDS / self.looks_until_stale

        with pytest.MonkeyPatch.context() as patch:
            for module in ("_core.manifest", "_layouts.pack_upload"):
                patch.setattr(f"framecache.{module}.secrets", SimpleNamespace(token_hex=token_hex))
            patch.setattr("framecache._index.lease.time", SimpleNamespace(monotonic=monotonic))
            # So long that its heart does not beat: how often would depend on how fast it runs.
            patch.setattr("framecache._index.lease.LEASE_TTL_SECONDS", _STALE_AFTER_SECONDS)
            patch.setattr("framecache._ingest.work_queue._MIN_WAIT_SECONDS", 0.0)
            patch.setattr("framecache._ingest.epochs._POLL_SECONDS", 0.0)
            patch.setattr("framecache._maintain.verify.repair._POLL_SECONDS", 0.0)
            patch.setattr("framecache._maintain.rewriting._POLL_SECONDS", 0.0)
            yield


def run(process: Process, work: Work, store: Store) -> None:
    """Run work without faults.

    Raises:
        Violation: it fails, or does not come to an end.
    """
    try:
        with process.running():
            work(_Endless(store))
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{process.name} fails: {type(error).__name__}: {error}") from error


def run_until(point: Point, process: Process, work: Work, store: Store) -> bool:
    """Run work with a fault at a point; return True if the process reports success.

    Raises:
        Violation: it never came to the point, or survived it with an error of no known type.
    """
    if isinstance(point.how, Fault):
        return _run_with_fault(point, point.how, process, work, store)
    crashing = CrashingStore(store, at=point.at, when=point.how)
    try:
        with process.running():
            work(crashing)
    except Crash:
        return False
    raise Violation(f"{process.name} goes on after it died at request {point.at}")


def points(process: Process, work: Work, store: Store, *, repeats: bool = False) -> list[Point]:
    """Run work without faults, and return every point at which it can fail.

    With ``repeats``, also those at which the same happens as at another one: a process that dies
    before a request, or after one that changes nothing, leaves what the last change left, and a
    read that fails is like one whose response is lost.
    """
    actions: list[Action] = []
    single: list[Action] = []
    hooked = HookedStore(store, before=lambda action, _key: single.append(action))
    with process.running():
        work(FaultyStore(CrashingStore(hooked, at=None), lambda action, _: actions.append(action)))
    crashes = [
        Point(at, when)
        for at, action in enumerate(single, start=1)
        for when in ("before", "after")
        if repeats or at == 1 or (when == "after" and action not in _READS)
    ]
    faults = [
        Point(at, fault)
        for at, action in enumerate(actions, start=1)
        for fault in sorted(possible_faults(action), key=lambda fault: fault.name)
        if repeats or not (action in _READS and fault is Fault.LOSE_RESPONSE)
    ]
    return [*crashes, *faults]


def _run_with_fault(point: Point, fault: Fault, process: Process, work: Work, store: Store) -> bool:
    numbers, struck = count(1), Event()

    def schedule(action: Action, _key: str) -> Fault | None:
        # Threads that read ahead may come in another order than when the points were counted.
        if next(numbers) < point.at or fault not in possible_faults(action) or struck.is_set():
            return None
        struck.set()
        return fault

    try:
        with process.running():
            work(_Endless(FaultyStore(store, schedule)))
        is_done = True
    except FrameCacheError:
        is_done = False
    except Violation:
        raise
    except Exception as error:
        raise Violation(
            f"{process.name} raises {type(error).__name__} at {point}: {error}"
        ) from error
    if not struck.is_set():
        raise Violation(f"{process.name} ends before {point}")
    return is_done
