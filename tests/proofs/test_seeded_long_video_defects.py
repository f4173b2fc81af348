"""Defects inserted into segments, sample tables and layout video, to test that they are found."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from chunk_changes import CHUNK_CHANGES, changed_chunk, put_chunk
from invariants import TIMELINE, alone, forget_chunks, inspect_timeline, require
from operations import LONG, chunks, extract_segments, long_chunk
from operations_video import extract_by_tables, lying_chunk, tables_used
from processes import Process
from test_seeded_defects import CrashProof, Defect, catch_all, sleeping

from framecache import Chunk, ChunkChanged, ExtractReport, FrameCacheError, Timeline
from framecache import _ingest as ingest
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest, Settings
from framecache._index import Snapshot, compact, current_manifest
from framecache._ingest import rolling_compaction, segments
from framecache._ingest.chunk_plan import ChunkPlan, list_frames
from framecache._ingest.extraction_run import ExtractionRun, create_run
from framecache._ingest.open_chunks import list_chunk
from framecache._ingest.resolve import ResolvedManifest, resolve_replan
from framecache._ingest.work_queue import SegmentQueue
from framecache._layouts.packs import Packs
from framecache._media import video
from framecache._media.video.frame_decoder import FrameDecoder
from framecache._media.video.scanning import VideoScan
from framecache.store import BlobMissing, Store
from framecache.store.blob_file import changed_during_read
from framecache.store.remote_chunk import RemoteFile
from framecache.testing import Action, Crash, HookedStore
from proving import Proof

# The checks


def planned_segments_are_kept(store: Store) -> None:
    """A program dies in the second segment, and one whose segments are longer continues."""
    died: list[str] = []

    def die(action: Action, key: str) -> None:
        if died or (action == "create" and "/index/" in key and "s000001-" in key):
            died.append(key)
            raise Crash

    with Process("dying").running(), pytest.raises(Crash):
        extract_segments(HookedStore(store, before=die))
    with Process("other").running():
        Timeline(store, TIMELINE).extract([long_chunk()], workers=1)
    seen = inspect_timeline(store)
    require(seen.frames == LONG, f"of {sorted(LONG)}, {sorted(seen.frames)} are extracted")


def wrong_plan_is_replaced_as_a_whole(store: Store) -> None:
    """Another program commits the later segments before a program finds the tables wrong."""

    def extract_others() -> None:
        manifest = current_manifest(store, TIMELINE)
        assert manifest is not None
        ingest.extract_segments(store, manifest, manifest.segments[1:], workers=1)

    slow = sleeping(store, {"create"}, "/claims/", extract_others)
    with Process("first").running():
        extract_by_tables(slow, hidden=1)
    seen = inspect_timeline(store)
    require(seen.is_complete, f"only {sorted(seen.frames)} are extracted")


def worker_leaves_the_epoch(store: Store) -> None:
    """A program that has only some segments finds the tables wrong."""
    with Process("first").running(), tables_used():
        settings = Settings()
        asked = [Chunk(lying_chunk())]
        plan = ingest.plan(store, TIMELINE, asked, resolve_settings=lambda _: settings)
        with suppress(ChunkChanged):
            ingest.extract_segments(store, plan.manifest, plan.manifest.segments[1:], workers=1)
    after = current_manifest(store, TIMELINE)
    assert after is not None
    require(after.epoch == plan.manifest.epoch, "a worker ended the epoch of the others")


def replaced_chunk_is_refused(store: Store) -> None:
    """A chunk is replaced before it is read, and between two requests."""
    original, other = (Path(path).read_bytes() for path in chunks(2))
    url = put_chunk(f"{store.url}-chunks", original)
    timeline = Timeline(store, TIMELINE)
    timeline.extract(url, layout="video", workers=1)
    expected = alone((url,), "{}", 85)
    for after in range(2):
        for trouble in CHUNK_CHANGES:
            forget_chunks()
            try:
                with changed_chunk(trouble, other, after=after):
                    found = [timeline.jpeg(sequence) for sequence in range(len(timeline))]
            except ChunkChanged:
                continue
            except FrameCacheError as error:
                require(holds=False, otherwise=f"a {trouble.name} chunk gives {error!r}")
            require(found == [*expected.values()], f"a {trouble.name} chunk is read")


def unstored_frames_of_wrong_tables_are_refused(store: Store) -> None:
    """Frames in layout ``video`` are those on screen at their time, or the chunk is refused."""
    with Process("first").running():
        extract_by_tables(store, layout="video")
    require_right_or_refused(store)


def repack_of_wrong_tables_is_refused(store: Store) -> None:
    with Process("first").running():
        extract_by_tables(store, layout="video")
    with suppress(ChunkChanged), Process("other").running(), tables_used():
        Timeline(store, TIMELINE).repack("packs", workers=1)
    require_right_or_refused(store)


def require_right_or_refused(store: Store) -> None:
    """Require that each frame that can be read is right for its time, and others are refused."""
    right = alone((lying_chunk(),), "{}", 85)
    timeline, hidden = Timeline(store, TIMELINE), 3
    for sequence in range(len(timeline)):
        forget_chunks()
        try:
            with tables_used():
                found = timeline.jpeg(sequence)
        except ChunkChanged:
            continue
        except FrameCacheError as error:
            require(holds=False, otherwise=f"frame {sequence} is {type(error).__name__}")
        expected = right[sequence - (sequence > hidden)]
        require(found == expected, f"frame {sequence} is read as another picture")


# The defects


def extract_the_next_segment(patch: pytest.MonkeyPatch) -> None:
    of_segment = ChunkPlan.of_segment

    def shifted(self: ChunkPlan, segment: Segment) -> ChunkPlan:
        following = [one for one in segment.chunk.segments if one.number == segment.number + 1]
        return of_segment(self, following[0] if following else segment)

    patch.setattr(ChunkPlan, "of_segment", shifted)


def divide_again(patch: pytest.MonkeyPatch) -> None:
    """Compute the boundaries when a program begins, by its own limits."""

    def create_divided(
        store: Store,
        resolved: ResolvedManifest,
        *others: Any,  # noqa: ANN401 -- passed on
    ) -> ExtractionRun:
        entries = []
        for entry in resolved.entries:
            scan = resolved.scan_of(entry) or list_chunk(store, entry)
            chosen = np.arange(len(scan.pts))
            starts = segments.find_segment_starts(scan, chosen, segments.LIMITS)
            times = tuple(scan.pts[list(starts[1:])].tolist())
            entries.append(replace(entry, segment_starts=starts, segment_pts=times))
        return create_run(store, replace(resolved, entries=tuple(entries)), *others)

    patch.setattr("framecache._ingest.extraction.create_run", create_divided)


def skip_chunks_with_a_committed_segment(patch: pytest.MonkeyPatch) -> None:
    skip_committed = SegmentQueue._skip_committed  # noqa: SLF001 -- the place of the defect

    def skip_chunks(self: SegmentQueue, wanted: Sequence[Segment]) -> None:
        pending = [*self._pending]
        skip_committed(self, wanted)
        chunk_ids = {one.chunk.chunk_id for one in pending if one not in self._pending}
        for segment in [one for one in self._pending if one.chunk.chunk_id in chunk_ids]:
            self._skip(segment)

    patch.setattr(SegmentQueue, "_skip_committed", skip_chunks)


def compact_as_if_all_were_committed(patch: pytest.MonkeyPatch) -> None:
    """Name parts in a compaction whose rows were not committed when it was made."""

    def compact_all(store: Store, manifest: Manifest, snapshot: Snapshot) -> Manifest:
        return compact(store, manifest, replace(snapshot, missing_parts=()))

    patch.setattr(rolling_compaction, "compact", compact_all)


def ignore_contradictions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(VideoScan, "has_same_frames", lambda *_: True)


def replan_in_the_same_epoch(patch: pytest.MonkeyPatch) -> None:
    def replan_within(store: Store, contradicted: Manifest) -> ResolvedManifest:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(Manifest, "next_epoch", Manifest.next_version)
            return resolve_replan(store, contradicted)

    patch.setattr("framecache._ingest.extraction_run.resolve_replan", replan_within)


def let_workers_replan(patch: pytest.MonkeyPatch) -> None:
    execute = ExtractionRun.execute

    def execute_or_replan(
        self: ExtractionRun, started_at: float, *, max_index_files: int
    ) -> ExtractReport:
        try:
            return execute(self, started_at, max_index_files=max_index_files)
        except video.TablesContradicted:
            resolve_replan(self.store, self.manifest)
            raise

    patch.setattr(ExtractionRun, "execute", execute_or_replan)


def omit_the_etag(patch: pytest.MonkeyPatch) -> None:
    def fetch(self: RemoteFile, begin: int, end: int, *, keep: bool) -> bytes:  # noqa: ARG001
        try:
            return self._store.get_block(self._key, start=begin, length=end - begin).data
        except BlobMissing as error:
            raise changed_during_read(self.url) from error

    patch.setattr(RemoteFile, "_fetch", fetch)


def treat_listed_from_tables_as_certain(patch: pytest.MonkeyPatch) -> None:
    """Read a frame without checks of the tables, or a scan where they may be wrong."""
    begin = FrameDecoder.__init__

    def begin_certain(
        self: FrameDecoder,
        *args: Any,  # noqa: ANN401 -- passed on
        listed_from: str,  # noqa: ARG001
        **named: Any,  # noqa: ANN401 -- passed on
    ) -> None:
        begin(self, *args, **named, listed_from="packets")

    patch.setattr(FrameDecoder, "__init__", begin_certain)


def repack_without_tables(patch: pytest.MonkeyPatch) -> None:
    def list_alone(*args: Any) -> "video.VideoScan":  # noqa: ANN401 -- passed on
        return replace(list_frames(*args), samples=None)

    patch.setattr("framecache._maintain.repack.run.list_frames", list_alone)


def leave_rows_of_unstored_frames(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Packs, "holds_all", lambda *_: True)


SEGMENTS: Final = CrashProof("extract segments")
WRONG_TABLES: Final = CrashProof("extract by wrong tables")

DEFECTS: Final = (
    Defect(
        "a segment is committed with the frames of the next one",
        extract_the_next_segment,
        SEGMENTS,
        "names .* instead of",
    ),
    Defect(
        "segments are divided again by the limits of each program",
        divide_again,
        planned_segments_are_kept,
        "are extracted",
    ),
    Defect(
        "a chunk with a committed segment is cached",
        skip_chunks_with_a_committed_segment,
        SEGMENTS,
        "is done with",
    ),
    Defect(
        "a rolling compaction names parts that are committed after it",
        compact_as_if_all_were_committed,
        SEGMENTS,
        "are visible",
    ),
    Defect(
        "contradicted tables are committed",
        ignore_contradictions,
        WRONG_TABLES,
        "is undecodable|instead of",
    ),
    Defect(
        "a plan from wrong tables is replaced in its own epoch",
        replan_in_the_same_epoch,
        wrong_plan_is_replaced_as_a_whole,
        "is not the planned one",
    ),
    Defect(
        "a worker begins an epoch when tables are wrong",
        let_workers_replan,
        worker_leaves_the_epoch,
        "ended the epoch",
    ),
    Defect(
        "ranges of a chunk are read without its ETag",
        omit_the_etag,
        replaced_chunk_is_refused,
        "chunk is read|chunk gives",
    ),
    Defect(
        "frames of layout video that were listed from tables are read without checks",
        treat_listed_from_tables_as_certain,
        unstored_frames_of_wrong_tables_are_refused,
        "is UndecodableFrame",
    ),
    Defect(
        "a repack of layout video does not check the tables",
        repack_without_tables,
        repack_of_wrong_tables_is_refused,
        "is UndecodableFrame",
    ),
    Defect(
        "a repack leaves rows of frames that are not stored",
        leave_rows_of_unstored_frames,
        CrashProof("repack video into packs"),
        "is None",
    ),
)


def test_every_seeded_defect_of_long_videos_is_detected(proof: Proof) -> None:
    catch_all(DEFECTS, proof)
