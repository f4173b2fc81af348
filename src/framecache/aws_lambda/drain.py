"""Appending the pending chunks of one timeline, in the order of their numbers.

The manifest is the only state: the numbers in the URLs of its chunks show what was appended. A
version that appends chunks is created only as the next one after the version for which they were
chosen, so two invocations never place chunks in different orders. Clocks decide only when a missing
chunk is given up, never the order: see docs/design/0011-append-by-events.md.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import (
    ManifestChange,
    ManifestUpdater,
    committed_parts,
    current_manifest,
    update_manifest,
)
from framecache._index.lease import LEASE_TTL_SECONDS
from framecache._ingest.resolve import ResolvedManifest, resolve_append, resolve_chunks
from framecache._ingest.work_queue import Elsewhere
from framecache._media import video
from framecache.aws_lambda import pending
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.aws_lambda.deadline import Deadline
from framecache.aws_lambda.pending import PendingBlob, number_conflict
from framecache.aws_lambda.replanning import delete_marks, list_uncommitted, replan
from framecache.aws_lambda.reports import TimelineReport
from framecache.aws_lambda.settings import LambdaSettings
from framecache.errors import (
    ChunkChanged,
    FrameCacheError,
    InvalidValue,
    LateChunk,
    OutOfTime,
    TimelineCleared,
    UnreadableChunk,
)
from framecache.model import Chunk, Progress
from framecache.store import Store

_MAX_CHUNKS_PER_VERSION: Final = 64
"""Maximum number of chunks that one version of a manifest adds.

Each invocation begins with one, and doubles the number, because all of them are scanned before any
is placed: an invocation that runs out of time has then placed some.
"""
_MAX_WAIT_ELSEWHERE_SECONDS: Final = 1.5 * LEASE_TTL_SECONDS
"""Time in which the lease of a program that died is seen to be stale."""
_log: Final = logging.getLogger("framecache.aws_lambda")


class _ManifestMoved(Exception):
    """Raised when another invocation has appended chunks since these were chosen."""


class _HeldElsewhere(Exception):
    """Raised when another program that is alive extracts segments of a chunk."""


@dataclass(frozen=True, slots=True)
class _State:
    """Pending chunks of a timeline, and the chunks in its manifest."""

    manifest: Manifest | None
    pending: Mapping[int, PendingBlob]
    replanned: AbstractSet[str]
    """Epochs that were planned again, and whose chunks may not all be cached."""
    placed: Mapping[int, ChunkEntry]
    """Chunks of the manifest by number; those whose URLs do not match the pattern have none."""
    last: int
    """Highest of these numbers; one below the first number if there are none."""


class TimelineDrain:
    """Work of one invocation on one timeline."""

    def __init__(
        self,
        store: Store,
        timeline_id: str,
        settings: LambdaSettings,
        deadline: Deadline,
        *,
        own: Mapping[int, ArrivedChunk],
        elsewhere: Elsewhere,
        workers: int,
    ) -> None:
        """Prepare the work; no request is made.

        Args:
            store: store of the cache.
            timeline_id: the timeline.
            settings: settings of the function.
            deadline: time at which to stop.
            own: chunks in the event of this invocation, by number. If another invocation extracts
                segments of these, this one extracts the others, and waits until all are cached.
            elsewhere: treatment of segments of all other chunks that other invocations extract.
                ``"wait"`` waits until their leases would be stale.
            workers: threads that decode and encode.
        """
        self._store = store
        self._timeline_id = timeline_id
        self._settings = settings
        self._deadline = deadline
        self._own = own
        self._elsewhere = elsewhere
        self._workers = workers
        self._appended: set[int] = set()
        self._skipped: list[range] = []
        self._late: set[int] = set()
        self._failures: dict[int, FrameCacheError] = {}

    def run(self) -> TimelineReport:
        """Append and extract what can be, until that is done or the time is over."""
        out_of_time: OutOfTime | None = None
        try:
            self._append_runnable()
            self._extract_placed()
        except OutOfTime as error:
            out_of_time = error
        state = self._read_state()
        self._give_up_failed(state)
        self._check_own(state, out_of_time)
        return TimelineReport(
            self._timeline_id,
            appended=tuple(sorted(self._appended)),
            skipped=tuple(self._skipped),
            late=tuple(sorted(self._late)),
            waiting=sum(number > state.last for number in state.pending),
            failures=self._failures,
        )

    def _read_state(self) -> _State:
        # Listed first: a chunk that is appended in between is then in the manifest, not missing.
        found = pending.list_pending(self._store, self._timeline_id)
        manifest = current_manifest(self._store, self._timeline_id)
        placed = self._chunks_by_number(manifest)
        return _State(manifest, found.chunks, found.replanned, placed, self._last_number(placed))

    def _chunks_by_number(self, manifest: Manifest | None) -> dict[int, ChunkEntry]:
        entries = manifest.chunks if manifest is not None else ()
        return {
            number: entry for entry in entries if (number := self._number_of(entry.url)) is not None
        }

    def _number_of(self, url: str) -> int | None:
        found = self._settings.pattern.parse(url)
        return found.number if found and found.timeline_id == self._timeline_id else None

    def _last_number(self, placed: Mapping[int, ChunkEntry]) -> int:
        return max(placed, default=self._settings.first_number - 1)

    def _append_runnable(self) -> None:
        """Place pending chunks and extract them, until the next one is missing."""
        most = 1
        while True:
            self._deadline.check()
            state = self._read_state()
            self._record_late(state)
            numbers, skipped = self._choose_next(state)
            if not numbers:
                return
            try:
                chunks = self._read_chunks(state, numbers[:most])
                resolved = self._place(chunks, after=state.last)
            except _ManifestMoved:
                continue
            except UnreadableChunk as error:
                if len(chunks) == 1:
                    self._failures[chunks[0].number] = error
                most = 1  # to find out which of them it is
                continue
            most = min(2 * most, _MAX_CHUNKS_PER_VERSION)
            self._skipped += [skipped] if skipped else []
            self._extract(resolved)

    def _choose_next(self, state: _State) -> tuple[list[int], range]:
        """Return the numbers to place next, and the missing ones before them that are skipped."""
        waiting = [
            number
            for number in state.pending
            if number > state.last and number not in self._failures
        ]
        missing = range(state.last + 1, waiting[0] if waiting else 0)
        if missing and not self._has_waited(state.pending[number] for number in waiting):
            return [], range(0)
        if missing:
            _log.warning(
                "timeline %s: skips the missing chunks %d to %d: chunk %d or a later one has "
                "waited %s s",
                *(self._timeline_id, missing.start, missing.stop - 1, missing.stop),
                self._settings.max_wait_seconds,
            )
        return _consecutive(waiting), missing

    def _has_waited(self, blobs: Iterable[PendingBlob]) -> bool:
        """Return whether one of some chunks has been pending for `max_wait_seconds`.

        Both times are of blobs in the same store, by its clock.
        """
        oldest = min(blob.modified_at for blob in blobs)
        waited = pending.store_time(self._store) - oldest
        return waited.total_seconds() >= self._settings.max_wait_seconds

    def _read_chunks(self, state: _State, numbers: Sequence[int]) -> list[ArrivedChunk]:
        """Return the pending chunks with these numbers, up to one that cannot be used.

        Raises:
            _ManifestMoved: the first of them is no longer pending, or cannot be used.
        """
        chunks: list[ArrivedChunk] = []
        for number in numbers:
            url = pending.read_url(self._store, state.pending[number])
            if url is not None and self._number_of(url) != number:
                self._failures[number] = InvalidValue(
                    f"{state.pending[number].key} names {url}, which does not match "
                    f"{self._settings.chunks}: restore that setting, or delete this blob"
                )
            if url is None or number in self._failures:
                break
            chunks.append(ArrivedChunk(url, self._timeline_id, number))
        if not chunks:
            raise _ManifestMoved
        return chunks

    def _place(self, chunks: Sequence[ArrivedChunk], *, after: int) -> ResolvedManifest:
        """Add chunks to the manifest, if ``after`` is still the highest number in it.

        Raises:
            _ManifestMoved: it is not.
            UnreadableChunk: one of the chunks cannot be read; the manifest is unchanged.
        """

        def update(store: Store, timeline_id: str, change: ManifestChange) -> Manifest:
            def change_if_unmoved(current: Manifest | None) -> Manifest:
                if self._last_number(self._chunks_by_number(current)) != after:
                    raise _ManifestMoved
                return change(current)

            return update_manifest(store, timeline_id, change_if_unmoved)

        return self._resolve(chunks, update)

    def _resolve(
        self,
        chunks: Sequence[ArrivedChunk],
        apply_change: ManifestUpdater,
    ) -> ResolvedManifest:
        return resolve_append(
            self._store,
            self._timeline_id,
            resolve_chunks(self._store, [Chunk(chunk.url) for chunk in chunks]),
            self._settings.extraction,
            apply_change=apply_change,
            before_read=self._deadline.check,
        )

    def _extract(self, resolved: ResolvedManifest) -> None:
        """Extract chunks that were just placed; errors are left to `_extract_placed`."""
        own = [entry for entry in resolved.entries if self._is_own(entry)]
        others = [entry for entry in resolved.entries if not self._is_own(entry)]
        try:
            with suppress(UnreadableChunk):
                self._run_extraction(resolved, own, elsewhere="wait")
                self._run_extraction(resolved, others, elsewhere="skip")
        finally:
            self._settle(resolved.manifest, resolved.entries)

    def _extract_placed(self) -> None:
        """Extract chunks that the manifest already has, those of the event first.

        These are the pending ones, and all chunks of an epoch that was planned again. If one
        contradicts its sample tables, all chunks are planned again, as `extract` does. The new plan
        uses no tables, so this happens once.
        """
        while self._extract_uncommitted():
            pass

    def _extract_uncommitted(self) -> bool:
        """Return True if there is a new plan, by which all chunks are to be extracted."""
        state = self._read_state()
        self._record_late(state)
        delete_marks(self._store, self._timeline_id, state.manifest, state.replanned)
        if state.manifest is None:
            return False
        resolved = ResolvedManifest(state.manifest, (), {})
        for entry in self._find_uncommitted(state, state.manifest):
            self._deadline.check()
            elsewhere = "wait" if self._is_own(entry) else self._elsewhere
            try:
                with suppress(_HeldElsewhere):
                    self._run_extraction(resolved, [entry], elsewhere=elsewhere)
            except video.TablesContradicted:
                if self._replan(state.manifest, entry):
                    return True
            except UnreadableChunk as error:
                self._record_failure(entry, error)
            finally:
                self._settle(state.manifest, [entry])
        if state.manifest.epoch in state.replanned:
            delete_marks(self._store, self._timeline_id, state.manifest, state.replanned)
        return False

    def _find_uncommitted(self, state: _State, manifest: Manifest) -> list[ChunkEntry]:
        """Return the chunks to extract, those of the event first."""
        entries = [entry for number, entry in state.placed.items() if number in state.pending]
        uncommitted = self._settle(manifest, entries)
        if manifest.epoch in state.replanned:
            others = [entry for entry in manifest.chunks if entry not in entries]
            uncommitted += list_uncommitted(self._store, manifest, others)
        return sorted(uncommitted, key=lambda entry: not self._is_own(entry))

    def _replan(self, contradicted: Manifest, entry: ChunkEntry) -> bool:
        """Plan all chunks again; return True unless one of them cannot be read."""
        try:
            replan(self._store, contradicted, entry, before_read=self._deadline.check)
        except UnreadableChunk as error:
            self._record_failure(entry, error)
            return False
        return True

    def _record_failure(self, entry: ChunkEntry, error: FrameCacheError) -> None:
        number = self._number_of(entry.url)
        if number is not None:
            self._failures[number] = error
        else:
            _log.error("timeline %s: %s is not extracted: %s", self._timeline_id, entry.url, error)

    def _run_extraction(
        self, resolved: ResolvedManifest, entries: Sequence[ChunkEntry], *, elsewhere: Elsewhere
    ) -> None:
        if not entries:
            return
        are_own = all(self._is_own(entry) for entry in entries)
        ingest.extract_appended(
            self._store,
            replace(resolved, entries=tuple(entries)),
            workers=self._workers,
            progress=self._deadline.check if are_own else self._create_bounded_wait(),
            before_read=self._deadline.check,
            elsewhere=elsewhere,
        )

    def _create_bounded_wait(self) -> Callable[[Progress], None]:
        """Return a callback that ends the wait for a program that is alive."""
        waiting_since: list[float] = []

        def check(progress: Progress) -> None:
            self._deadline.check()
            if not progress.chunks_elsewhere:
                waiting_since.clear()
                return
            now = time.monotonic()
            waiting_since[:] = waiting_since or [now]
            if now - waiting_since[0] >= _MAX_WAIT_ELSEWHERE_SECONDS:
                raise _HeldElsewhere

        return check

    def _settle(self, manifest: Manifest, entries: Sequence[ChunkEntry]) -> list[ChunkEntry]:
        """Delete the pending blobs of committed chunks; return the other chunks."""
        parts = [part for entry in entries for part in entry.parts]
        committed = committed_parts(self._store, manifest, parts)
        done = {
            number
            for entry in entries
            if committed.issuperset(entry.parts)
            and (number := self._number_of(entry.url)) is not None
        }
        self._store.delete(
            keys.pending_chunk(self._timeline_id, number=number) for number in sorted(done)
        )
        self._appended |= done
        return [entry for entry in entries if not committed.issuperset(entry.parts)]

    def _record_late(self, state: _State) -> None:
        """Report pending chunks that come before one that was appended."""
        for number, blob in state.pending.items():
            if number <= state.last and number not in state.placed:
                self._failures.setdefault(number, self._late_error(number, state.last))
                self._report(blob, self._failures[number])

    def _give_up_failed(self, state: _State) -> None:
        """Report pending chunks that cannot be appended and have been pending for too long."""
        for number, error in self._failures.items():
            blob = state.pending.get(number)
            if blob is not None and self._has_waited([blob]):
                self._report(blob, error)

    def _report(self, blob: PendingBlob, error: FrameCacheError) -> None:
        url = pending.read_url(self._store, blob)
        if url is None:
            return  # another invocation has reported it
        _log.warning(
            "timeline %s: chunk %d is not appended: %s", self._timeline_id, blob.number, error
        )
        pending.record_late(self._store, ArrivedChunk(url, self._timeline_id, blob.number), error)
        self._late.add(blob.number)

    def _late_error(self, number: int, last: int) -> LateChunk:
        return LateChunk(
            f"chunk {number} of timeline {self._timeline_id} arrived after chunk {last} was "
            f"appended, because it was missing for more than {self._settings.max_wait_seconds} s: "
            "leave it out, or extract all chunks again into another timeline"
        )

    def _check_own(self, state: _State, out_of_time: OutOfTime | None) -> None:
        """Note an error for each chunk of the event that is neither cached nor waiting."""
        if state.manifest is not None and not self._own.keys().isdisjoint(state.placed):
            parts = [
                part
                for number, entry in state.placed.items()
                if number in self._own
                for part in entry.parts
            ]
            committed = committed_parts(self._store, state.manifest, parts)
        else:
            committed = set()
        for number, chunk in self._own.items():
            if number in self._failures:
                continue
            error = self._check_chunk(state, chunk, committed, out_of_time)
            if error is not None:
                self._failures[number] = error

    def _check_chunk(
        self,
        state: _State,
        chunk: ArrivedChunk,
        committed: AbstractSet[str],
        out_of_time: OutOfTime | None,
    ) -> FrameCacheError | None:
        """Return the error for a chunk of the event; None if it is cached, or waits."""
        entry = state.placed.get(chunk.number)
        if entry is not None and entry.url != chunk.url:
            return number_conflict(chunk, entry.url)
        if entry is not None and committed >= set(entry.parts):
            return self._find_change(state, chunk)
        if entry is not None:
            changed = TimelineCleared(
                f"timeline {self._timeline_id} was changed by another program while chunk "
                f"{chunk.number} was extracted: send its event again"
            )
            return _with_progress(out_of_time, chunk, entry, committed) if out_of_time else changed
        if chunk.number <= state.last:
            return self._late_error(chunk.number, state.last)
        if chunk.number not in state.pending:
            return UnreadableChunk(
                f"{chunk.url} could not be appended, as another invocation has reported: correct "
                "the video, or leave it out"
            )
        later = (number for number in state.pending if number > state.last)
        return out_of_time if chunk.number in _consecutive([state.last, *later]) else None

    def _find_change(self, state: _State, chunk: ArrivedChunk) -> FrameCacheError | None:
        """Return the error if a cached chunk is no longer the video that was extracted."""

        def keep_manifest(store: Store, timeline_id: str, change: ManifestChange) -> Manifest:  # noqa: ARG001 -- as `update_manifest`
            return change(state.manifest)

        try:
            self._resolve([chunk], keep_manifest)
        except (ChunkChanged, OutOfTime) as error:
            return error
        return None

    def _is_own(self, entry: ChunkEntry) -> bool:
        return self._number_of(entry.url) in self._own


def _with_progress(
    error: OutOfTime, chunk: ArrivedChunk, entry: ChunkEntry, committed: AbstractSet[str]
) -> OutOfTime:
    """Return the error for a chunk that is not finished, with the number of its segments."""
    total = len(entry.parts)
    if total == 1:
        return error
    done = len(committed & set(entry.parts))
    return OutOfTime(f"{done} of {total} segments of chunk {chunk.number} are cached: {error}")


def _consecutive(numbers: Iterable[int]) -> list[int]:
    """Return the first of ascending numbers, and those that follow it without a gap."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            break
        run.append(number)
    return run
