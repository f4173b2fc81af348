"""Verification: compare the index with the store and the chunks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import chain
from typing import Final

from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.manifest import Manifest
from framecache._index import (
    FrameRow,
    Index,
    current_manifest,
    ensure_current,
    live_rows,
    load_snapshot,
)
from framecache._layouts.ranges import coalesce_ranges
from framecache._maintain.verify.index_files import IndexFiles, read_index_files
from framecache._maintain.verify.manifest_recovery import check_manifest
from framecache._maintain.verify.repair import Repair, not_restorable
from framecache._maintain.verify.report import (
    DAMAGE_KINDS,
    Finding,
    FindingCallback,
    FindingCollector,
    VerifyReport,
)
from framecache._maintain.verify.source_check import (
    Difference,
    check_sources,
    compare_samples,
    select_samples,
)
from framecache._maintain.verify.stored_frames import (
    CheckResult,
    PictureCheck,
    accept_undecoded,
    compare_range,
    compare_unindexed,
    make_decode_check,
)
from framecache._maintain.verify.unreferenced import find_unreferenced
from framecache._read.prefetch import prefetch_map
from framecache.errors import CorruptFrame, NotCached, UnreadableChunk
from framecache.model import Progress, ProgressCallback
from framecache.store import Store, is_remote

_REMOTE_REQUESTS: Final = 16
_ROW_BATCH_SIZE: Final = 1024

CompareRows = Callable[[Sequence[FrameRow]], list[CheckResult]]
"""Function that compares frames of one range with their rows."""


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
    """Compare a timeline's index with its store and its chunks, and optionally repair it.

    Raises:
        NotCached: the store holds nothing of the timeline.
        TimelineCleared: another program cleared it meanwhile.
    """
    findings = FindingCollector(on_finding)
    try:
        manifest = current_manifest(store, timeline_id)
    except CorruptFrame:
        if not check_manifest(store, timeline_id, findings, repair=repair, workers=workers):
            return findings.report(timeline_id)
        manifest = current_manifest(store, timeline_id)
    if manifest is None:
        snapshot = load_snapshot(store, timeline_id)
        if not snapshot.exists:
            raise NotCached(
                f"timeline {timeline_id} is not in {store.display_name}: extract it first"
            )
        manifest, listed = snapshot.manifest, snapshot.index
    if repair and manifest is not None and manifest.written_parts:
        # Finish an interrupted replacement. If the index is damaged, the repair reports it in more
        # detail.
        with suppress(CorruptFrame):
            ingest.relocate(store, timeline_id, workers=workers)
        manifest = current_manifest(store, timeline_id) or manifest
    run = _Verification(store, timeline_id, findings, progress, deep=deep, workers=workers)
    if manifest is None:
        run.check_unindexed(listed)
    else:
        run.check_indexed(manifest, repair=repair)
    return findings.report(timeline_id)


class _Verification:
    """One verification of one timeline."""

    def __init__(
        self,
        store: Store,
        timeline_id: str,
        findings: FindingCollector,
        progress: ProgressCallback | None,
        *,
        deep: bool,
        workers: int,
    ) -> None:
        self._store = store
        self._timeline_id = timeline_id
        self._findings = findings
        self._deep = deep
        self._workers = workers
        self._picture_check = make_decode_check(workers) if deep else accept_undecoded
        self._requests = max(workers, _REMOTE_REQUESTS if is_remote(store) else 1)
        self._steps = _StepProgress(progress)

    def check_unindexed(self, unindexed: Index) -> None:
        """Check frames of another program, which have no index: only decoding can find damage."""
        if not self._deep:
            self._findings.add_ok(len(unindexed))
            return
        self._steps.start(len(unindexed))
        compare_each = partial(_compare_unindexed_rows, self._store, self._picture_check)
        for finding in self._find_faults(unindexed, compare_each, {}):
            self._findings.add(finding)

    def check_indexed(self, manifest: Manifest, *, repair: bool) -> None:
        """Check a timeline that has a manifest, and repair it if requested."""
        files = read_index_files(self._store, manifest)
        self._findings.chunks_not_cached = len({one.chunk.chunk_id for one in files.not_cached})
        for finding in find_unreferenced(self._store, files):
            self._findings.add(finding)
        sources = {finding.chunk_id: finding for finding in check_sources(self._store, manifest)}
        for finding in sources.values():
            self._findings.add(finding)
        with self._start_repair(files, sources) if repair else nullcontext() as mender:
            rows = self._check_index(files, mender)
            samples = self._select_samples(manifest, rows, sources)
            frames, sampled = (sum(map(len, one.values())) for one in (rows, samples))
            renditions = sum(map(_count_renditions, rows.values()))
            self._steps.start(frames + sampled + renditions)
            for entry in manifest.chunks:
                known = [segment for segment in entry.segments if segment.part in rows]
                differences = self._compare_samples(
                    manifest, entry, samples.get(entry.chunk_id, ())
                )
                for segment in known:
                    part = rows[segment.part]
                    self._check_segment(manifest, segment, part, mender, differences)
                    self._check_renditions(manifest, segment.part, segment, part, mender)
                self._findings.chunks_checked += len(known) == len(entry.segments)
            written = {part: rows[part] for part in manifest.written_parts if part in rows}
            current = Index.merged([*written.values()])
            self._check_imported(current)
            for name, part in written.items():
                live = live_rows(part, current)
                self._check_renditions(manifest, name, None, live, mender)
        ensure_current(self._store, manifest)

    def _start_repair(self, files: IndexFiles, sources: Mapping[int | None, Finding]) -> Repair:
        comparing = partial(
            self._compare_rows, partial(compare_range, self._store, self._picture_check)
        )
        return Repair(self._store, files, sources, compare=comparing, workers=self._workers)

    def _check_index(self, files: IndexFiles, repair: Repair | None) -> Mapping[str, Index]:
        """Report broken index files; return the rows of every part, where known."""
        rows, findings = (files.rows, files.findings) if repair is None else repair.repair_index()
        for finding in findings:
            self._findings.add(finding)
        return rows

    def _check_segment(
        self,
        manifest: Manifest,
        segment: Segment,
        rows: Index,
        repair: Repair | None,
        differences: Mapping[int, Difference],
    ) -> None:
        bad: list[Finding] = []
        for finding in self._find_faults(
            rows, partial(compare_range, self._store, self._picture_check), differences
        ):
            if finding.kind in DAMAGE_KINDS and not bad:
                # If the timeline was cleared meanwhile, its frames are not missing.
                ensure_current(self._store, manifest)
            if finding.kind in DAMAGE_KINDS and repair is not None:
                bad.append(finding)
            else:
                self._findings.add(finding)
        if repair is not None and bad:
            for finding in repair.repair_frames(segment, rows, bad):
                self._findings.add(finding)

    def _select_samples(
        self,
        manifest: Manifest,
        rows: Mapping[str, Index],
        sources: Mapping[int | None, Finding],
    ) -> Mapping[int, Sequence[FrameRow]]:
        """Return the frames, by chunk, that are to be compared with the pictures of the videos."""
        if not self._deep:
            return {}
        known = {
            entry.chunk_id: [rows[part] for part in entry.parts if part in rows]
            for entry in manifest.chunks
            if entry.chunk_id not in sources
        }
        return {
            chunk_id: select_samples(Index.merged(parts))
            for chunk_id, parts in known.items()
            if parts
        }

    def _compare_samples(
        self, manifest: Manifest, entry: ChunkEntry, rows: Sequence[FrameRow]
    ) -> Mapping[int, Difference]:
        if not rows:
            return {}
        before = self._steps.done
        try:
            return compare_samples(
                self._store,
                manifest,
                entry,
                rows,
                threads=self._workers,
                on_sample=self._steps.advance,
            )
        except UnreadableChunk as error:
            self._findings.add(
                Finding("source_changed", entry.url, None, entry.chunk_id, str(error))
            )
            return {}
        finally:
            self._steps.advance(before + len(rows) - self._steps.done)

    def _check_imported(self, rows: Index) -> None:
        for finding in self._find_faults(
            rows, partial(compare_range, self._store, self._picture_check), {}
        ):
            is_damage = finding.kind in DAMAGE_KINDS
            self._findings.add(not_restorable(finding) if is_damage else finding)

    def _check_renditions(
        self,
        manifest: Manifest,
        part: str,
        segment: Segment | None,
        rows: Index,
        repair: Repair | None,
    ) -> None:
        """Compare the renditions of a part with its rows, and repair them if requested."""
        bad: dict[int, list[Finding]] = {}
        for side in rows.rendition_sides:
            found = [*self._find_rendition_faults(rows.of_renditions(side), side)]
            if found:
                # If the timeline was cleared meanwhile, they are not missing.
                ensure_current(self._store, manifest)
                bad[side] = found
        findings: Iterable[Finding] = chain.from_iterable(bad.values())
        if repair is not None and bad:
            findings = repair.repair_renditions(part, segment, rows, bad)
        for finding in findings:
            self._findings.add(finding)

    def _find_rendition_faults(self, rows: Index, side: int) -> Iterator[Finding]:
        compare = partial(compare_range, self._store, self._picture_check)
        for verdict in self._compare_rows(compare, _iter_rows(rows)):
            row = verdict.row
            if verdict.kind != "ok":
                detail = f"rendition {side} of the frame: {verdict.detail}"
                yield Finding(verdict.kind, row.key, row.sequence, row.chunk_id, detail)
            self._findings.renditions_checked += 1
            self._findings.bytes_read += verdict.bytes_read
            self._steps.advance()

    def _find_faults(
        self,
        rows: Index,
        compare: CompareRows,
        differences: Mapping[int, Difference],
    ) -> Iterator[Finding]:
        """Compare frames, several concurrently; yield those that are not ok, in order."""
        for verdict in self._compare_rows(compare, _iter_rows(rows)):
            row, kind, detail = verdict.row, verdict.kind, verdict.detail
            difference = differences.get(row.sequence)
            if difference is not None and kind not in DAMAGE_KINDS:
                kind, detail = difference.kind, difference.detail
            if kind == "ok":
                self._findings.add_ok(1)
            else:
                key = row.key or keys.frame(self._timeline_id, row.sequence)
                yield Finding(kind, key, row.sequence, row.chunk_id, detail)
            self._findings.frames_checked += 1
            self._findings.bytes_read += verdict.bytes_read
            self._steps.advance()

    def _compare_rows(
        self, compare: CompareRows, rows: Iterable[FrameRow]
    ) -> Iterator[CheckResult]:
        ranges = prefetch_map(
            compare, coalesce_ranges(rows), threads=self._requests, ahead=2 * self._requests
        )
        return chain.from_iterable(ranges)


class _StepProgress:
    """Progress of a verification: one step per frame, and one per frame decoded again."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress = progress
        self._total = 0
        self.done = 0

    def start(self, total: int) -> None:
        """Set the total number of steps, before the first."""
        self._total = total

    def advance(self, steps: int = 1) -> None:
        """Count completed steps."""
        self.done += steps
        if self._progress is not None and steps:
            self._progress(Progress(self.done, self._total))


def _compare_unindexed_rows(
    store: Store, check: PictureCheck, rows: Sequence[FrameRow]
) -> list[CheckResult]:
    return [compare_unindexed(store, check, row) for row in rows]


def _count_renditions(rows: Index) -> int:
    return sum(int(rows.has_rendition(side).sum()) for side in rows.rendition_sides)


def _iter_rows(rows: Index) -> Iterator[FrameRow]:
    for begin in range(0, len(rows), _ROW_BATCH_SIZE):
        yield from rows.rows(range(begin, min(begin + _ROW_BATCH_SIZE, len(rows))))
