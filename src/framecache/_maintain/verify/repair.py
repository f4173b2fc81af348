"""Repair of what is missing, truncated or corrupt; nothing else is changed.

A bad frame is extracted from its chunk again. Its bytes are stored first. If they are not those
that its row names, the next generation of its index part is committed, and then a manifest that
names it. So a repair can stop at any point and be repeated.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest
from framecache._core.optional_imports import require_opencv
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    commit_repair,
    compact,
    current_manifest,
    ensure_current,
    fetch_blob,
    lease,
    load_snapshot_at,
    update_manifest,
)
from framecache._index.lease import LeaseManager
from framecache._ingest.chunk_frames import (
    chunk_provenance,
    max_picture_bytes,
    open_chunk,
    store_frames,
)
from framecache._ingest.chunk_plan import list_frames, plan_chunk
from framecache._ingest.renditions import (
    remade_renditions,
    sides_from_jpeg_in,
    with_renditions,
)
from framecache._layouts import layout_of
from framecache._layouts.encoding import frame_position
from framecache._maintain.verify.index_files import IndexFiles
from framecache._maintain.verify.report import Finding
from framecache._maintain.verify.stored_frames import LINK_OUTSIDE_ROOT, CheckResult
from framecache._read.frame_source import read_stored_jpeg
from framecache._version import __version__
from framecache.errors import CorruptFrame, TimelineCleared, UnreadableChunk
from framecache.store import BlobMissing, BlobOutsideRoot, Store

_POLL_SECONDS: Final = 1.0
_MAX_LEASE_TIMEOUTS: Final = 2
"""Number of lease timeouts to wait for a lease that does not expire."""

_IMPORTED_FRAME_REMEDY: Final = "a program wrote it: have it write the frame again"
_IMPORTED_PART_REMEDY: Final = (
    "a program wrote its frames: clear the timeline, and have them written again"
)


class NotRepairable(Exception):
    """Reason why something cannot be repaired, and what to do about it."""


class Repair:
    """Repairs of one timeline in one run.

    A context manager that compacts the index at the end.
    """

    def __init__(
        self,
        store: Store,
        files: IndexFiles,
        sources: Mapping[int | None, Finding],
        *,
        compare: Callable[[Iterable[FrameRow]], Iterator[CheckResult]],
        workers: int,
    ) -> None:
        """Prepare the repairs; nothing is written yet.

        Args:
            store: the store that holds the timeline.
            files: the index files as they were read.
            sources: findings about the chunks' videos, by chunk.
            compare: compares stored frames with their rows.
            workers: the number of threads that decode and encode.
        """
        self._store = store
        self._files = files
        self._sources = sources
        self._compare = compare
        self._workers = workers
        self._manifest = files.manifest
        self._leases = LeaseManager(store, files.manifest)
        self._is_index_intact = True
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        """Metadata of the parts of chunks whose frames are not stored."""
        self._outside_root: set[int] = set()
        """Frames whose path leads through a link out of the store, where nothing may be stored."""

    def __enter__(self) -> Self:
        self._leases.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is None:
                self._compact()
        finally:
            self._leases.__exit__(kind, error, traceback)

    def repair_index(self) -> tuple[Mapping[str, Index], list[Finding]]:
        """Repair the index; return the rows of every part, and the findings with their outcomes."""
        segments = {one.part: one for one in self._files.manifest.segments}
        rows = dict(self._files.rows)
        findings: list[Finding] = []
        for part, finding in self._files.broken_parts.items():
            try:
                rows[part] = self._restore_part(part, segments.get(part))
            except NotRepairable as reason:
                self._is_index_intact = False
                findings.append(not_repaired(finding, str(reason)))
            else:
                findings.append(replace(finding, repaired=True))
        if self._files.broken_compaction is not None:
            self._drop_compaction()
            findings.append(replace(self._files.broken_compaction, repaired=True))
        return {part: rows[part] for part in self._files.manifest.parts if part in rows}, findings

    def repair_frames(
        self, segment: Segment, rows: Index, bad: Sequence[Finding]
    ) -> Iterator[Finding]:
        """Store the bad frames of a segment again; yield the outcome for each."""
        wanted = {finding.sequence for finding in bad if finding.sequence is not None}
        try:
            stored = self._restore_frames(segment, rows, wanted)
        except NotRepairable as reason:
            yield from (not_repaired(finding, str(reason)) for finding in bad)
            return
        verdicts: dict[int | None, CheckResult] = {
            verdict.row.sequence: verdict for verdict in self._compare(stored)
        }
        for finding in bad:
            verdict = verdicts.get(finding.sequence)
            if finding.sequence in self._outside_root:
                yield not_repaired(finding, "then repair again")
            elif verdict is None:
                yield not_repaired(finding, "it cannot be decoded any more: rebuild the timeline")
            elif verdict.kind != "ok":
                yield not_repaired(finding, f"stored again, {verdict.detail}: check the store")
            else:
                yield replace(finding, repaired=True)

    def repair_renditions(
        self,
        part: str,
        segment: Segment | None,
        rows: Index,
        bad: Mapping[int, Sequence[Finding]],
    ) -> Iterator[Finding]:
        """Make bad renditions of a part again from what their rows name; yield each outcome.

        Those that were made from the planes of a video that is gone are made from the JPEG.

        Args:
            part: the part.
            segment: its segment; None if a program wrote its frames.
            rows: its rows.
            bad: findings about renditions, by size.
        """
        sides: dict[int, set[int]] = {}
        for side, findings in bad.items():
            for finding in findings:
                assert finding.sequence is not None
                sides.setdefault(finding.sequence, set()).add(side)
        has_video = segment is not None and segment.chunk.chunk_id not in self._sources
        from_planes = {
            sequence
            for sequence, own in sides.items()
            if has_video
            and any(
                one.max_side in own and one.origin == "planes"
                for one in _row(rows, sequence).renditions
            )
        }
        made: list[FrameRow] = []
        reason = "its frame is damaged, too: verify again"
        try:
            if from_planes and segment is not None:
                made += self._restore_frames(segment, rows, from_planes)
            others = {one: own for one, own in sides.items() if one not in from_planes}
            if others:
                made += self._remake_renditions(part, rows, others)
        except NotRepairable as error:
            reason = str(error)
        stored = _build_index(made)
        for side, findings in bad.items():
            verdicts: dict[int | None, CheckResult] = {
                verdict.row.sequence: verdict
                for verdict in self._compare(_all_rows(stored.of_renditions(side)))
            }
            for finding in findings:
                verdict = verdicts.get(finding.sequence)
                if verdict is None:
                    yield not_repaired(finding, reason)
                elif verdict.kind != "ok":
                    yield not_repaired(finding, f"stored again, {verdict.detail}: check the store")
                else:
                    yield replace(finding, repaired=True)

    def _remake_renditions(
        self, part: str, rows: Index, sides: Mapping[int, Collection[int]]
    ) -> list[FrameRow]:
        """Make renditions of stored frames again from their JPEGs; return the frames' rows."""
        require_opencv(needed_by="renditions")
        layout, settings = layout_of(self._manifest), self._manifest.settings.jpeg
        with self._hold_lease(part):
            others = self._current_rows(part)
            known = rows if others is None else others
            self._require_intact_index()
            before: dict[int, FrameRow] = {}
            with (
                layout.create_encoders(self._store, workers=self._workers) as encoders,
                layout.create_rendition_storage(
                    self._store, self._manifest, part, encoders
                ) as storage,
            ):
                for sequence in sorted(sides):
                    row = _row(known, sequence)
                    [verdict] = self._compare([row])
                    if verdict.kind != "ok":
                        continue
                    before[sequence] = row
                    data = read_stored_jpeg(self._store, row)
                    storage.add(
                        frame_position(row),
                        partial(remade_renditions, row, data, sides[sequence], settings),
                    )
                try:
                    stored = storage.finish()
                except BlobOutsideRoot as error:
                    raise NotRepairable(f"{error}: remove the link") from error
                self._require_lease(part)
            made = [with_renditions(row, stored[row.sequence]) for row in before.values()]
            if made != [*before.values()]:
                merged = Index.merged([known, _build_index(made)])
                about = {**known.provenance, "framecache": __version__}
                self._commit(part, merged, about, compaction=None)
        return made

    def _restore_frames(
        self, segment: Segment, rows: Index, wanted: Collection[int]
    ) -> list[FrameRow]:
        """Store some frames again and commit their rows; return the rows that have a picture."""
        with self._hold_lease(segment.part):
            others = self._current_rows(segment.part)
            known = rows if others is None else others
            if not layout_of(self._manifest).has_public_keys:
                self._require_intact_index()  # rows of a new pack always differ
            made = [
                row
                for row in self._extract_frames(segment, wanted, known).rows
                if row.status == "ok" and row.sequence not in self._outside_root
            ]
            positions = [known.position(row.sequence) for row in made]
            before = known.rows([position for position in positions if position is not None])
            if made != before:
                merged = Index.merged([known, _build_index(made)])
                self._commit_changed_rows(segment, merged)
        return made

    def _restore_part(self, part: str, segment: Segment | None) -> Index:
        """Commit a part again whose file is damaged or missing; return its rows."""
        rows = self._files.rows.get(part)
        if rows is None and segment is None:
            raise NotRepairable(_IMPORTED_PART_REMEDY)
        with self._hold_lease(part):
            if (others := self._current_rows(part)) is not None:
                return others
            if rows is not None:
                self._commit(part, rows, {"framecache": __version__})
                return rows
            assert segment is not None
            self._require_intact_index()
            everything = range(segment.first_sequence, segment.stop_sequence)
            made = self._extract_frames(segment, everything, Index.empty()).build()
            if self._outside_root.intersection(everything):
                raise NotRepairable(f"frame {min(self._outside_root)} in it: {LINK_OUTSIDE_ROOT}")
            self._commit_changed_rows(segment, made)
            return made

    def _extract_frames(
        self, segment: Segment, wanted: Collection[int], known: Index
    ) -> PartBuilder:
        """Decode some frames of a segment and store them; return when all are acknowledged.

        Their renditions have the origins that they have in ``known``.
        """
        entry = segment.chunk
        if (source := self._sources.get(entry.chunk_id)) is not None:
            raise NotRepairable(_source_remedy(source))
        threads = max(1, self._workers // 2)
        layout = layout_of(self._manifest)
        if not layout.stores_frames:
            return self._index_frames(segment)
        try:
            with (
                open_chunk(self._store, entry) as file,
                layout.create_encoders(
                    self._store,
                    workers=self._workers,
                    picture_bytes=max_picture_bytes(entry),
                ) as encoders,
                layout.create_storage(
                    self._store, self._manifest, segment.part, encoders, put=self._put_frame
                ) as storage,
            ):
                scan = list_frames(file, entry)
                planned = plan_chunk(entry, scan, self._manifest.settings.sampling)
                part = store_frames(
                    file,
                    self._manifest,
                    entry,
                    planned.select(wanted),
                    storage,
                    threads=threads,
                    check=partial(self._require_lease, segment.part),
                    sides_from_jpeg=partial(sides_from_jpeg_in, known),
                )
                self._require_lease(segment.part)
        except UnreadableChunk as error:
            raise NotRepairable(str(error)) from error
        return part

    def _index_frames(self, segment: Segment) -> PartBuilder:
        """Return the rows of a segment in a layout that stores no frames."""
        from framecache._ingest import chunk_index  # noqa: PLC0415 -- needs PyAV

        entry = segment.chunk
        try:
            with open_chunk(self._store, entry) as file:
                scan = list_frames(file, entry)
                about = chunk_index.describe_provenance(file, entry, scan)
            planned = plan_chunk(entry, scan, self._manifest.settings.sampling)
        except UnreadableChunk as error:
            raise NotRepairable(str(error)) from error
        self._require_lease(segment.part)
        self._descriptions[segment.part] = about
        planned = planned.of_segment(segment)
        return chunk_index.index_rows(self._manifest, entry, planned)

    def _put_frame(self, key: str, jpeg: bytes) -> None:
        try:
            self._store.put(key, jpeg)
        except BlobOutsideRoot:
            timeline_id = self._manifest.timeline_id
            sequence = keys.parse_frame(timeline_id, key)
            if sequence is None:
                rendition = keys.parse_rendition(timeline_id, key)
                sequence = rendition and rendition[1]
            assert sequence is not None
            self._outside_root.add(sequence)

    def _commit_changed_rows(self, segment: Segment, rows: Index) -> None:
        """Commit rows that differ from those of the compaction, which is no longer used then."""
        self._require_intact_index()
        about = self._descriptions.get(segment.part) or chunk_provenance(segment.chunk)
        self._commit(segment.part, rows, about, compaction=None)

    def _require_intact_index(self) -> None:
        if self._files.broken_compaction is None and not self._is_index_intact:
            raise NotRepairable("repair the index part first that only the compacted index records")

    def _commit(
        self,
        part: str,
        rows: Index,
        provenance: Mapping[str, Any],
        **changes: Any,  # noqa: ANN401 -- of a description
    ) -> None:
        """Make rows the current ones of a part, unless the part was changed meanwhile."""
        before = self._manifest.generations.get(part, 0)
        generation = commit_repair(self._store, self._manifest, part, rows, provenance=provenance)

        def change(current: Manifest | None) -> Manifest:
            latest = self._require_epoch(current)
            if latest.generations.get(part, 0) != before:
                return latest
            generations = {**latest.generations, part: generation}
            return latest.next_version(generations=generations, **changes)

        self._manifest = update_manifest(self._store, self._manifest.timeline_id, change)
        if self._manifest.generations.get(part) != generation:
            raise NotRepairable("another program repaired it at the same time: verify again")

    @contextmanager
    def _hold_lease(self, part: str) -> Iterator[None]:
        """Hold the lease on a part; waits for a lease whose owner may have died."""
        deadline = time.monotonic() + _MAX_LEASE_TIMEOUTS * lease.LEASE_TTL_SECONDS
        self._leases.refresh()
        while not self._leases.acquire(part):
            if time.monotonic() > deadline:
                raise NotRepairable("another program is working on it: verify again later")
            time.sleep(_POLL_SECONDS)
            self._leases.refresh()
        try:
            yield
        finally:
            self._leases.release(part)

    def _require_lease(self, part: str) -> None:
        """Raise if the timeline or the lease was lost, so that newer data is not overwritten."""
        ensure_current(self._store, self._manifest)
        if not self._leases.is_held(part):
            raise NotRepairable("another program took over this repair: verify again later")

    def _current_rows(self, part: str) -> Index | None:
        """Return the rows of a part that was repaired since the index was read, else None."""
        timeline_id = self._manifest.timeline_id
        self._manifest = self._require_epoch(current_manifest(self._store, timeline_id))
        key = self._manifest.index_key(part)
        if key == self._files.manifest.index_key(part):
            return None
        try:
            return fetch_blob(self._store, key, Index.decode)
        except (BlobMissing, CorruptFrame) as error:
            raise NotRepairable("its last repair is damaged, too: verify again") from error

    def _require_epoch(self, current: Manifest | None) -> Manifest:
        if current is None or current.epoch != self._manifest.epoch:
            raise TimelineCleared(
                f"timeline {self._manifest.timeline_id} in {self._store.display_name} was "
                "cleared, rebuilt or deleted by another program while it was repaired: start again"
            )
        return current

    def _drop_compaction(self) -> None:
        """Commit a manifest without a compaction, unless there is another compaction already."""
        dropped = self._files.manifest.compaction

        def change(current: Manifest | None) -> Manifest:
            latest = self._require_epoch(current)
            return latest.next_version(compaction=None) if latest.compaction == dropped else latest

        self._manifest = update_manifest(self._store, self._manifest.timeline_id, change)

    def _compact(self) -> None:
        """Compact the current parts if the previous compaction was dropped."""
        had = self._files.manifest.compaction is not None
        if not had or self._manifest.compaction is not None or not self._is_index_intact:
            return
        self._leases.refresh()
        if not self._leases.acquire(keys.COMPACTION):
            return
        timeline_id = self._manifest.timeline_id
        latest = self._require_epoch(current_manifest(self._store, timeline_id))
        snapshot = load_snapshot_at(self._store, latest)
        if latest.compaction is None and snapshot.exists:
            compact(self._store, latest, snapshot)


def not_repaired(finding: Finding, reason: str) -> Finding:
    """Return a finding that remains, with the reason and the remedy."""
    return replace(finding, detail=f"{finding.detail}; {reason}")


def not_restorable(finding: Finding) -> Finding:
    """Return a finding about a frame that no chunk can restore."""
    return not_repaired(finding, _IMPORTED_FRAME_REMEDY)


def _source_remedy(source: Finding) -> str:
    if source.kind == "source_missing":
        return f"its video {source.key} is missing: restore it, or clear the timeline"
    return f"its video {source.key} changed: restore the old one, or rebuild the timeline"


def _row(rows: Index, sequence: int) -> FrameRow:
    position = rows.position(sequence)
    assert position is not None
    return rows.row(position)


def _all_rows(rows: Index) -> list[FrameRow]:
    return rows.rows(range(len(rows)))


def _build_index(rows: Sequence[FrameRow]) -> Index:
    part = PartBuilder()
    for row in rows:
        part.add(row)
    return part.build()
