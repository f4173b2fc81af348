"""Stores that workers in other processes use: they log each request to a file, and can die."""

import os
import signal
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import NamedTuple, TypeVar

import ray

from framecache import FrameCache
from framecache._index import lease
from framecache._ingest import segments
from framecache.store import Store
from framecache.testing import Action, WrappingStore

Result = TypeVar("Result")
SHORT_TTL_SECONDS = 1.0
_POLL_SECONDS = 0.02
_MAX_WAIT_SECONDS = 60.0
_MODERATE_TTL_SECONDS = 5.0
"""Time that a live program on a busy machine does not take to renew its lease."""


class Logged(NamedTuple):
    """A request that a process made."""

    process: int
    action: str
    key: str


class LoggedStore(WrappingStore):
    """Store that appends a line to a file for each request, from any process."""

    def __init__(self, inner: Store, log: Path) -> None:
        super().__init__(inner)
        self.log = log

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, and log it if it succeeded."""
        result = operation()
        with self.log.open("a") as file:  # one write of a short line is atomic
            file.write(f"{os.getpid()} {action} {key}\n")
        return result

    def requests(self) -> list[Logged]:
        """All requests so far, of all processes."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        split = [line.split(" ", 2) for line in lines]
        return [Logged(int(process), action, key) for process, action, key in split]


class DyingStore(LoggedStore):
    """Store of whose processes one dies, or waits to be killed, after its third frame.

    Workers take over its leases after a second.
    """

    def __init__(self, inner: Store, log: Path, *, on_node: str | None = None) -> None:
        """Choose what dies.

        Args:
            inner: the store that makes the requests.
            log: file of the requests.
            on_node: id of the node whose first process waits to be killed with it; None: the first
                process that stores a third frame kills itself.
        """
        super().__init__(inner, log)
        self.on_node = on_node

    @property
    def marker(self) -> Path:
        """File that exists once a process has died, or waits."""
        return self.log.with_suffix(".died")

    def wait_for_marker(self) -> None:
        """Wait until the chosen process has died, or waits to be killed."""
        while not self.marker.exists():
            Event().wait(_POLL_SECONDS)

    def __setstate__(self, state: dict[str, object]) -> None:
        """Arrive in a worker."""
        vars(self).update(state)
        lease.LEASE_TTL_SECONDS = SHORT_TTL_SECONDS

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, then die if it is the one."""
        result = super().perform(action, key, operation)
        if self.is_time_to_die(action, key):
            if not self._is_chosen():
                # Else these processes could extract all chunks before one starts on that node.
                self.wait_for_marker()
                return result
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                return result
            if self.on_node is None:
                os.kill(os.getpid(), signal.SIGKILL)
            Event().wait()
        return result

    def is_time_to_die(self, action: Action, key: str) -> bool:
        """Return True after the request at which the chosen process dies."""
        return action == "put" and key.endswith("2.jpg")

    def _is_chosen(self) -> bool:
        return self.on_node in (None, ray.get_runtime_context().get_node_id())


def plan_short_segments() -> None:
    """Have this process plan segments of a second."""
    segments.LIMITS = segments.SegmentLimits(seconds=Fraction(1), min_frames=10)


class SharedStore(LoggedStore):
    """Store with short segments that commits the first one only once two nodes have one."""

    @property
    def nodes(self) -> Path:
        """Folder with a file for each node that has extracted a segment."""
        return self.log.with_suffix(".nodes")

    def __setstate__(self, state: dict[str, object]) -> None:
        """Arrive in a worker."""
        vars(self).update(state)
        plan_short_segments()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, after those of the other node have begun."""
        if action == "create" and key.endswith(".parquet"):
            self.nodes.mkdir(exist_ok=True)
            (self.nodes / ray.get_runtime_context().get_node_id()).touch()
            until = time.monotonic() + _MAX_WAIT_SECONDS
            while len([*self.nodes.iterdir()]) < 2:
                assert time.monotonic() < until, "one node extracts alone"
                Event().wait(_POLL_SECONDS)
        return super().perform(action, key, operation)


class DyingInSegmentStore(DyingStore):
    """Store with short segments, of whose processes one dies in the second segment of a task."""

    commits = 0
    """Segments that the task has committed; each task has a store of its own."""

    def __setstate__(self, state: dict[str, object]) -> None:
        """Arrive in a worker."""
        vars(self).update(state)
        plan_short_segments()
        lease.LEASE_TTL_SECONDS = _MODERATE_TTL_SECONDS

    def is_time_to_die(self, action: Action, key: str) -> bool:
        """Return True after the second frame of the second segment of a task."""
        self.commits += action == "create" and key.endswith(".parquet")
        return self.commits == 1 and super().is_time_to_die(action, key)


def cache_in(folder: Path, store: Callable[[Store, Path], LoggedStore] = LoggedStore) -> FrameCache:
    """A cache in a folder, whose requests are logged next to it."""
    cache = FrameCache(folder / "store")
    cache._store = store(cache.store, folder / "requests.log")  # noqa: SLF001 -- caches take no stores
    return cache
