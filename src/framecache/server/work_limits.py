"""Concurrency limits per kind of work, so that other requests still find a thread."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Self

from framecache.server.problem_details import too_many_requests
from framecache.server.settings import Limits

_TIMEOUT_SECONDS: Final = 10.0

current_client: Final = ContextVar("current_client", default="")
"""Name of the client whose request is being handled; empty for the service's own work."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Entry in the queue for a slot."""

    client: str


class QueuedConcurrencyLimit:
    """Concurrency limit with a bounded queue, fair between clients.

    If there are four slots or more, one client gets at most three quarters of them. The next
    waiter admitted is one whose client has the fewest slots.
    """

    def __init__(
        self,
        subject: str,
        *,
        max_concurrent: int,
        max_waiting: int,
        max_per_client: int | None = None,
    ) -> None:
        """Create a limit with all slots free.

        Args:
            subject: subject of the messages of refusals, as in "A thumbnail".
            max_concurrent: number of slots.
            max_waiting: number of waiters besides.
            max_per_client: maximum of one client, running and waiting; None for no limit per
                client.
        """
        self._subject = subject
        self._max_concurrent = max_concurrent
        self._max_admitted = max_concurrent + max_waiting
        self._max_per_client = self._max_admitted if max_per_client is None else max_per_client
        self._max_running_per_client = max_concurrent - max_concurrent // 4
        self._changed = threading.Condition()
        self._admitted: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot for the duration of the block.

        Raises:
            ProblemError: too many wait, or no slot became free in time.
        """
        client = current_client.get()
        with self._admit(client) as is_in:
            if not is_in:
                raise too_many_requests(
                    f"{self._subject} is requested too often at the moment: try again."
                )
            if not self._acquire(client, timeout_seconds=_TIMEOUT_SECONDS):
                raise too_many_requests(f"{self._subject} takes too long at the moment: try again.")
            try:
                yield
            finally:
                self._release(client)

    @contextmanager
    def nested_slot(self, client: str) -> Iterator[None]:
        """Hold a slot for part of a request that another limit admitted; wait without limit."""
        self._acquire(client, timeout_seconds=None)
        try:
            yield
        finally:
            self._release(client)

    @contextmanager
    def slot_if_free(self) -> Iterator[bool]:
        """Hold a slot if one is free now, and yield whether it is held."""
        client = current_client.get()
        with self._admit(client) as is_in:
            is_free = is_in and self._acquire(client, timeout_seconds=0)
            try:
                yield is_free
            finally:
                if is_free:
                    self._release(client)

    @contextmanager
    def _admit(self, client: str) -> Iterator[bool]:
        with self._changed:
            is_in = (
                self._admitted.total() < self._max_admitted
                and self._admitted[client] < self._max_per_client
            )
            if is_in:
                self._admitted[client] += 1
        try:
            yield is_in
        finally:
            if is_in:
                with self._changed:
                    _decrement(self._admitted, client)

    def _acquire(self, client: str, *, timeout_seconds: float | None) -> bool:
        """Wait for a slot; return True if one became free in time."""
        mine = _Waiter(client)
        with self._changed:
            self._waiting.append(mine)
            try:
                is_free = self._changed.wait_for(
                    lambda: self._next_waiter() is mine, timeout_seconds
                )
                if is_free:
                    self._running[client] += 1
                return is_free
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()

    def _release(self, client: str) -> None:
        with self._changed:
            _decrement(self._running, client)
            self._changed.notify_all()

    def _next_waiter(self) -> _Waiter | None:
        """Return the next waiter to admit, or None if no slot is free for one."""
        if self._running.total() >= self._max_concurrent:
            return None
        fitting = [
            one for one in self._waiting if self._running[one.client] < self._max_running_per_client
        ]
        return min(fitting, key=lambda one: self._running[one.client], default=None)


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Concurrency limits of one service.

    Together they admit and queue fewer requests than the service has threads.
    """

    decodes: QueuedConcurrencyLimit
    sheets: QueuedConcurrencyLimit
    comparisons: QueuedConcurrencyLimit
    pages: QueuedConcurrencyLimit
    loads: QueuedConcurrencyLimit
    refreshes: QueuedConcurrencyLimit
    """A request that takes a slot here takes one in `loads`, too."""

    @classmethod
    def from_limits(cls, limits: Limits) -> Self:
        """Create the concurrency limits for the given settings."""
        return cls(
            _create_limit("A thumbnail", limits.decodes_at_once, limits.decodes_waiting),
            _create_limit("A sheet", limits.sheets_at_once, limits.sheets_waiting),
            _create_limit("A comparison", limits.comparisons_at_once, limits.comparisons_waiting),
            _create_limit("A page", limits.pages_at_once, limits.pages_waiting),
            QueuedConcurrencyLimit(
                "A timeline",
                max_concurrent=limits.loads_at_once,
                max_waiting=0,
                max_per_client=limits.loads_of_one_client,
            ),
            QueuedConcurrencyLimit(
                "A refresh",
                max_concurrent=limits.refreshes_at_once,
                max_waiting=0,
                max_per_client=limits.refreshes_of_one_client,
            ),
        )


def _create_limit(subject: str, max_concurrent: int, max_waiting: int) -> QueuedConcurrencyLimit:
    """Create a limit that one client alone cannot fill, slots and queue together."""
    most = max_concurrent + max_waiting
    each = max(1, most - max(1, most // 4))
    return QueuedConcurrencyLimit(
        subject, max_concurrent=max_concurrent, max_waiting=max_waiting, max_per_client=each
    )


def _decrement(counts: Counter[str], client: str) -> None:
    counts[client] -= 1
    if not counts[client]:
        del counts[client]
