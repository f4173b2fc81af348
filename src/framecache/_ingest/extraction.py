"""Extraction of a timeline: settle on its manifest, then extract the segments that are missing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest, Settings
from framecache._index import ManifestUpdater, update_manifest
from framecache._ingest.extraction_run import create_run, end_previous_epochs
from framecache._ingest.resolve import (
    ResolvedManifest,
    SettingsResolver,
    resolve_append,
    resolve_chunks,
    resolve_extraction,
    resolve_rebuild,
    resolve_replan,
)
from framecache._ingest.work_queue import Elsewhere
from framecache._media import video
from framecache.model import Chunk, ExtractReport, ProgressCallback
from framecache.store import Store

MAX_INDEX_FILES_AFTER_EXTRACT: Final = 1
_MAX_INDEX_FILES: Final = 16
_SMALL_INDEX_FRAMES: Final = 2**16
"""Number of frames up to which an index is small; their rows take about a megabyte."""


def extract(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    resolve_settings: SettingsResolver,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Cache the frames of ``chunks`` as the timeline; skip what is already committed."""
    began = time.monotonic()
    described = resolve_extraction(
        store, timeline_id, resolve_chunks(store, chunks), resolve_settings
    )
    run = create_run(store, described, workers, progress)
    return run.execute_or_replan(began, max_index_files=MAX_INDEX_FILES_AFTER_EXTRACT)


def append(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    settings: Settings,
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Append ``chunks`` to the timeline, with its settings; skip those that it already has.

    ``settings`` apply only if the timeline does not exist yet.
    """
    began = time.monotonic()
    described = resolve_append(store, timeline_id, resolve_chunks(store, chunks), settings)
    run = create_run(store, described, workers, progress)
    most = max_index_files_after_append(described.manifest)
    return run.execute_or_replan(began, max_index_files=most)


def rebuild(
    store: Store,
    timeline_id: str,
    *,
    alter: Callable[[Settings], Settings],
    workers: int,
    progress: ProgressCallback | None = None,
) -> ExtractReport:
    """Extract all chunks of the manifest again, in a new epoch, with altered settings."""
    began = time.monotonic()
    described = resolve_rebuild(store, timeline_id, alter)
    run = create_run(store, described, workers, progress)
    return run.execute_or_replan(began, max_index_files=MAX_INDEX_FILES_AFTER_EXTRACT)


def plan(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    resolve_settings: SettingsResolver,
) -> ResolvedManifest:
    """Return the manifest by which any number of programs may extract ``chunks``; decode nothing.

    They call `extract_segments` for some segments each, and one of them calls it without segments
    once all are committed.
    """
    resolved = resolve_extraction(
        store, timeline_id, resolve_chunks(store, chunks), resolve_settings
    )
    end_previous_epochs(store, resolved)
    return resolved


def replan(
    store: Store,
    contradicted: Manifest,
    *,
    apply_change: ManifestUpdater = update_manifest,
    before_read: Callable[[], None] | None = None,
) -> ResolvedManifest:
    """Return a manifest with the same chunks, planned from all packets, in a new epoch.

    A program calls this if another, which extracts segments of the manifest, has failed with
    `video.TablesContradicted`. ``apply_change`` and ``before_read`` are as for `resolve_append`.
    """
    resolved = resolve_replan(
        store, contradicted, apply_change=apply_change, before_read=before_read
    )
    end_previous_epochs(store, resolved)
    return resolved


def extract_segments(
    store: Store,
    manifest: Manifest,
    segments: Sequence[Segment],
    *,
    workers: int,
    scans: "Mapping[str, video.VideoScan] | None" = None,
    max_index_files: int = MAX_INDEX_FILES_AFTER_EXTRACT,
) -> ExtractReport:
    """Cache some segments of a timeline as its manifest describes them.

    Args:
        store: store that holds the timeline.
        manifest: manifest of the timeline.
        segments: its segments to extract; without any, the index of a complete timeline is
            compacted.
        workers: threads that decode and encode.
        scans: scans of some of the chunks, by URL; the others are scanned.
        max_index_files: number of index files that need not be compacted.

    Raises:
        TablesContradicted: a video contradicts the sample tables by which it was planned.
    """
    entries = {segment.chunk.chunk_id: segment.chunk for segment in segments}
    described = ResolvedManifest(manifest, tuple(entries.values()), scans or {})
    run = replace(create_run(store, described, workers, None), segments=tuple(segments))
    return run.execute(time.monotonic(), max_index_files=max_index_files)


def extract_appended(
    store: Store,
    resolved: ResolvedManifest,
    *,
    workers: int,
    progress: ProgressCallback,
    before_read: Callable[[], None],
    elsewhere: Elsewhere,
) -> None:
    """Cache chunks that `resolve_append` placed, in the order of ``resolved.entries``.

    An error that ``progress`` or ``before_read`` raises ends the extraction; what is committed by
    then stays. With ``elsewhere="skip"``, segments that others are extracting are left to
    them.
    """
    run = replace(
        create_run(store, resolved, workers, progress),
        before_read=before_read,
        elsewhere=elsewhere,
    )
    most = max_index_files_after_append(resolved.manifest)
    run.execute(time.monotonic(), max_index_files=most)


def max_index_files_after_append(manifest: Manifest) -> int:
    """Return the number of index files that an append may leave without a compaction.

    If each small append to a long timeline rewrote all its rows, time and storage would grow with
    the square of its length.
    """
    is_long = manifest.frame_count > _SMALL_INDEX_FRAMES
    return _MAX_INDEX_FILES if is_long else MAX_INDEX_FILES_AFTER_EXTRACT
