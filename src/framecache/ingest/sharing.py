"""Sharing the chunks of a timeline between all who extract it, here and elsewhere."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from framecache import keys
from framecache.claims import Claims
from framecache.index import committed_parts
from framecache.manifest import ChunkEntry, Description
from framecache.store import Store

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 1.0


class ChunkQueue:
    """Hands out the chunks that nobody else is extracting, until all are committed.

    Safe to share between threads; one of them looks into the store, the others wait for it.
    """

    def __init__(
        self,
        store: Store,
        description: Description,
        entries: Sequence[ChunkEntry],
        claims: Claims,
        *,
        on_cached: Callable[[ChunkEntry], None],
        on_waiting: Callable[[int], None],
    ) -> None:
        """Take all chunks for missing; nothing is looked up yet.

        Args:
            store: where the timeline lies.
            description: what it is.
            entries: the chunks to have committed.
            claims: those of this run.
            on_cached: told of each chunk that turns out to be committed, by whomever.
            on_waiting: told, now and then, how many chunks others are extracting, while they
                are all that is left.
        """
        self._store = store
        self._description = description
        self._claims = claims
        self._on_cached = on_cached
        self._on_waiting = on_waiting
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pending = deque(entries)

    def pass_over_committed(self) -> None:
        """Look which chunks are missing, and who else is at work; before any is handed out.

        Each is looked at when it is handed out, too: this spares asking for them one after the
        other where many are there.
        """
        self._pass_over_committed(list(self._pending))
        if self._pending:
            self._claims.look()

    def __iter__(self) -> Iterator[ChunkEntry]:
        """The chunks that are this run's to extract, each claimed when it is given out.

        Several threads iterate at once, and each chunk goes to one of them.
        """
        while (entry := self._next()) is not None:
            yield entry

    def give_back(self, entry: ChunkEntry) -> None:
        """Have a chunk, which another took over, waited for."""
        with self._lock:
            self._pending.append(entry)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopped.set()

    def _next(self) -> ChunkEntry | None:
        with self._lock:
            wait_seconds = _FIRST_WAIT_SECONDS
            while self._pending and not self._stopped.is_set():
                if (entry := self._claimed()) is not None:
                    return entry
                if not self._pending:
                    break
                self._on_waiting(len(self._pending))
                self._stopped.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
                self._look()
        return None

    def _claimed(self) -> ChunkEntry | None:
        for entry in list(self._pending):
            if not self._claims.take(entry.part):
                continue
            # It may have been committed, and its claim taken back, since it was looked at.
            if entry.part in committed_parts(self._store, self._description, [entry.part]):
                self._claims.release(entry.part)
                self._pass_over(entry)
                continue
            self._pending.remove(entry)
            return entry
        return None

    def _look(self) -> None:
        """One LIST for each of claims and parts, however many there are of them."""
        self._claims.look()
        prefix = keys.epoch_prefix(self._description.timeline_id, self._description.epoch)
        listed = {blob.key for blob in self._store.list(prefix)}
        # A listing is a hint; what counts is that the part itself is there.
        self._pass_over_committed(
            [entry for entry in self._pending if self._description.index_key(entry.part) in listed]
        )

    def _pass_over_committed(self, entries: Sequence[ChunkEntry]) -> None:
        parts = [entry.part for entry in entries]
        committed = committed_parts(self._store, self._description, parts)
        for entry in entries:
            if entry.part in committed:
                self._pass_over(entry)

    def _pass_over(self, entry: ChunkEntry) -> None:
        self._pending.remove(entry)
        self._on_cached(entry)
