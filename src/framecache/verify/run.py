"""Verification: what the index says, compared with what the store and the chunks hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import chain
from typing import Final

from framecache import ingest, keys
from framecache.errors import BadChunk, CorruptFrame, NotCached
from framecache.index import FrameRow, Index, current_description, ensure_current, find
from framecache.manifest import ChunkEntry, Description
from framecache.model import Progress, ProgressCallback
from framecache.reader.pipeline import ordered
from framecache.reader.ranges import ranges_of
from framecache.store import Store, is_remote
from framecache.verify.index_files import IndexFiles, read_index_files
from framecache.verify.listing import find_unnamed
from framecache.verify.lost import check_lost
from framecache.verify.repair import Repair, not_from_chunk
from framecache.verify.report import DAMAGE, Finding, FindingCallback, Findings, VerifyReport
from framecache.verify.sources import Difference, sample_differences, source_findings
from framecache.verify.stored_frames import (
    Look,
    Verdict,
    compare_listed,
    compare_range,
    decoding,
    trust,
)

_REMOTE_REQUESTS: Final = 16
_ROWS_AT_ONCE: Final = 1024

Comparing = Callable[[Sequence[FrameRow]], list[Verdict]]
"""Compares frames that one range holds."""


def verify(
    store: Store,
    timeline_id: str,
    *,
    deep: bool,
    repair: bool,
    workers: int,
    progress: ProgressCallback | None = None,
    on_finding: FindingCallback | None = None,
) -> VerifyReport:
    """Compare a timeline's index with its store and its chunks, and put right what can be.

    Raises:
        NotCached: nothing of the timeline is there.
        Cleared: another program cleared it meanwhile.
    """
    findings = Findings(on_finding)
    try:
        description = current_description(store, timeline_id)
    except CorruptFrame:
        if not check_lost(store, timeline_id, findings, repair=repair, workers=workers):
            return findings.report(timeline_id)
        description = current_description(store, timeline_id)
    if description is None:
        snapshot = find(store, timeline_id)
        if not snapshot.exists:
            raise NotCached(
                f"nothing of timeline {timeline_id} is in {store.url}: extract it first"
            )
        description, listed = snapshot.description, snapshot.index
    if repair and description is not None and description.written_parts:
        # What a replacement that stopped has left. Of a damaged index, repairing tells more.
        with suppress(CorruptFrame):
            ingest.settle(store, timeline_id, workers=workers)
        description = current_description(store, timeline_id) or description
    run = _Run(store, timeline_id, findings, progress, deep=deep, workers=workers)
    if description is None:
        run.check_listed(listed)
    else:
        run.check_described(description, repair=repair)
    return findings.report(timeline_id)


class _Run:
    """One verification of one timeline."""

    def __init__(
        self,
        store: Store,
        timeline_id: str,
        findings: Findings,
        progress: ProgressCallback | None,
        *,
        deep: bool,
        workers: int,
    ) -> None:
        self._store = store
        self._timeline_id = timeline_id
        self._findings = findings
        self._progress = progress
        self._deep = deep
        self._workers = workers
        self._look = decoding(workers) if deep else trust
        self._requests = max(workers, _REMOTE_REQUESTS if is_remote(store) else 1)
        self._frames_total = 0

    def check_listed(self, listed: Index) -> None:
        """Check the frames of another program; unless they are decoded, nothing can be told."""
        if not self._deep:
            self._findings.add_ok(len(listed))
            return
        self._frames_total = len(listed)
        compare_each = partial(_listed_one_by_one, self._store, self._look)
        for finding in self._found(listed, compare_each, {}):
            self._findings.add(finding)

    def check_described(self, description: Description, *, repair: bool) -> None:
        """Check a timeline that framecache described, and put right what can be if asked to."""
        files = read_index_files(self._store, description)
        self._findings.chunks_not_cached = len(files.not_cached)
        for finding in find_unnamed(self._store, files):
            self._findings.add(finding)
        sources = {finding.chunk_id: finding for finding in source_findings(description)}
        for finding in sources.values():
            self._findings.add(finding)
        with self._repair(files, sources) if repair else nullcontext() as mender:
            rows = self._check_index(files, mender)
            self._frames_total = sum(map(len, rows.values()))
            for entry in description.chunks:
                if entry.part in rows:
                    has_source = entry.chunk_id not in sources
                    self._check_chunk(
                        description, entry, rows[entry.part], mender, has_source=has_source
                    )
            written = [rows[part] for part in description.written_parts if part in rows]
            self._check_written(Index.merged(written))
        ensure_current(self._store, description)

    def _repair(self, files: IndexFiles, sources: Mapping[int | None, Finding]) -> Repair:
        comparing = partial(self._verdicts, partial(compare_range, self._store, self._look))
        return Repair(self._store, files, sources, compare=comparing, workers=self._workers)

    def _check_index(self, files: IndexFiles, mender: Repair | None) -> Mapping[str, Index]:
        """Tell of broken index files; returns the rows of every part, where known."""
        rows, findings = (files.rows, files.findings) if mender is None else mender.index()
        for finding in findings:
            self._findings.add(finding)
        return rows

    def _check_chunk(
        self,
        description: Description,
        entry: ChunkEntry,
        rows: Index,
        mender: Repair | None,
        *,
        has_source: bool,
    ) -> None:
        differences = self._sample(description, entry, rows) if self._deep and has_source else {}
        bad: list[Finding] = []
        for finding in self._found(
            rows, partial(compare_range, self._store, self._look), differences
        ):
            if finding.kind in DAMAGE and not bad:
                # Frames of a timeline that was cleared meanwhile are gone, and not missing.
                ensure_current(self._store, description)
            if finding.kind in DAMAGE and mender is not None:
                bad.append(finding)
            else:
                self._findings.add(finding)
        if mender is not None and bad:
            for finding in mender.frames(entry, rows, bad):
                self._findings.add(finding)
        self._findings.chunks_checked += 1

    def _sample(
        self, description: Description, entry: ChunkEntry, rows: Index
    ) -> Mapping[int, Difference]:
        try:
            return sample_differences(self._store, description, entry, rows, threads=self._workers)
        except BadChunk as error:
            self._findings.add(
                Finding("source_changed", entry.url, None, entry.chunk_id, str(error))
            )
            return {}

    def _check_written(self, rows: Index) -> None:
        for finding in self._found(rows, partial(compare_range, self._store, self._look), {}):
            is_damage = finding.kind in DAMAGE
            self._findings.add(not_from_chunk(finding) if is_damage else finding)

    def _found(
        self,
        rows: Index,
        comparing: Comparing,
        differences: Mapping[int, Difference],
    ) -> Iterator[Finding]:
        """Compare frames, several at once; gives out those that are not ok, in order."""
        for verdict in self._verdicts(comparing, _each(rows)):
            row, kind, detail = verdict.row, verdict.kind, verdict.detail
            difference = differences.get(row.sequence)
            if difference is not None and kind not in DAMAGE:
                kind, detail = difference.kind, difference.detail
            if kind == "ok":
                self._findings.add_ok(1)
            else:
                key = row.key or keys.frame(self._timeline_id, row.sequence)
                yield Finding(kind, key, row.sequence, row.chunk_id, detail)
            self._findings.frames_checked += 1
            self._findings.bytes_read += verdict.bytes_read
            if self._progress is not None:
                self._progress(Progress(self._findings.frames_checked, self._frames_total))

    def _verdicts(self, comparing: Comparing, rows: Iterable[FrameRow]) -> Iterator[Verdict]:
        ranges = ordered(
            comparing, ranges_of(rows), threads=self._requests, ahead=2 * self._requests
        )
        return chain.from_iterable(ranges)


def _listed_one_by_one(store: Store, look: Look, rows: Sequence[FrameRow]) -> list[Verdict]:
    return [compare_listed(store, look, row) for row in rows]


def _each(rows: Index) -> Iterator[FrameRow]:
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        yield from rows.rows(range(begin, min(begin + _ROWS_AT_ONCE, len(rows))))
