"""How many requests do the same kind of work, so that the others still find a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

from framecache.http.problems import too_many
from framecache.http.settings import Limits

_WAIT_SECONDS: Final = 10.0


class Gate:
    """Lets so many work at a time, and so many wait for it."""

    def __init__(self, what: str, *, at_once: int, waiting: int) -> None:
        """Let nobody in yet.

        Args:
            what: they do, for those who are refused: "Making pictures".
            at_once: how many work.
            waiting: how many wait besides.
        """
        self._what = what
        self._places = threading.BoundedSemaphore(at_once)
        self._queue = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Work as one of them.

        Raises:
            Refusal: too many wait, or it takes too long.
        """
        if not self._queue.acquire(blocking=False):
            raise too_many(f"{self._what} is asked for too often now: try again.")
        try:
            if not self._places.acquire(timeout=_WAIT_SECONDS):
                raise too_many(f"{self._what} takes too long now: try again.")
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._queue.release()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Do a part of the work of a request that was let in elsewhere, however long it waits."""
        with self._places:
            yield

    @contextmanager
    def entered_if_free(self) -> Iterator[bool]:
        """Work as one of them if nobody has to be waited for; gives whether."""
        if not self._queue.acquire(blocking=False):
            yield False
            return
        try:
            is_free = self._places.acquire(blocking=False)
            try:
                yield is_free
            finally:
                if is_free:
                    self._places.release()
        finally:
            self._queue.release()


@dataclass(frozen=True, slots=True)
class Gates:
    """Those of one service. Fewer requests than it has threads are behind them or wait there."""

    decodes: Gate
    sheets: Gate
    compares: Gate
    pages: Gate
    looks: Gate
    refreshes: Gate
    """Whoever passes it passes the one for looks, too."""

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """Gates as wide as the limits say."""
        return cls(
            Gate("A thumbnail", at_once=limits.decodes_at_once, waiting=limits.decodes_waiting),
            Gate("A sheet", at_once=limits.sheets_at_once, waiting=limits.sheets_waiting),
            Gate("A comparison", at_once=limits.compares_at_once, waiting=limits.compares_waiting),
            Gate("A page", at_once=limits.pages_at_once, waiting=limits.pages_waiting),
            Gate("A timeline", at_once=limits.looks_at_once, waiting=0),
            Gate("A refresh", at_once=limits.refreshes_at_once, waiting=0),
        )
