"""Tasks of an extraction, which run in Ray's workers: plan a timeline, extract segments, finish."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from framecache import _ingest as ingest
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import committed_parts
from framecache._media import video
from framecache.errors import ChunkChanged, UnreadableChunk
from framecache.model import Chunk, ExtractReport
from framecache.store import Store

if TYPE_CHECKING:
    from framecache._ingest.resolve import ResolvedManifest, SettingsResolver

_CONCURRENT_LISTINGS: Final = 8


@dataclass(frozen=True, slots=True)
class PlannedTimeline:
    """Manifest of a timeline, by which its segments are extracted."""

    manifest: Manifest
    entries: tuple[ChunkEntry, ...]
    """Chunks to extract, in their order."""
    missing: tuple[tuple[int, ...], ...]
    """Numbers of the segments of each of these chunks that are not committed, ascending."""


Plan = tuple["PlannedTimeline | video.VideoScan | None", ...]
"""A planned timeline, and for each of its chunks the scan, or None if it is left to the task."""


def plan_timeline(
    store: Store, timeline_id: str, chunks: list[Chunk], resolve_settings: "SettingsResolver"
) -> Plan:
    """Scan the chunks of a timeline and settle on its manifest; decode nothing."""
    video.require_packages("extraction")
    resolved = ingest.plan(store, timeline_id, chunks, resolve_settings=resolve_settings)
    return _to_plan(store, resolved, resolved.entries)


def replan_timeline(store: Store, contradicted: PlannedTimeline) -> Plan:
    """Plan a timeline again from all packets, because a video contradicts its sample tables.

    All chunks of its manifest are then extracted again, whether they were asked for or not.
    """
    resolved = ingest.replan(store, contradicted.manifest)
    return _to_plan(store, resolved, resolved.entries[: len(contradicted.manifest.chunks)])


def extract_segments(
    store: Store,
    planned: PlannedTimeline,
    position: int,
    numbers: tuple[int, ...],
    scan: "video.VideoScan | None",
    workers: int,
) -> ExtractReport:
    """Extract some segments of one chunk, or wait for the programs that are extracting them."""
    entry = planned.entries[position]
    segments = entry.segments
    return ingest.extract_segments(
        store,
        planned.manifest,
        [segments[number] for number in numbers],
        workers=workers,
        scans={} if scan is None else {entry.url: scan},
        # The last compaction is left to `finish_timeline`.
        max_index_files=len(planned.manifest.parts),
    )


def finish_timeline(store: Store, planned: PlannedTimeline) -> None:
    """Compact the index of a timeline if all of its segments are committed."""
    ingest.extract_segments(store, planned.manifest, [], workers=1)


def _to_plan(store: Store, resolved: "ResolvedManifest", entries: tuple[ChunkEntry, ...]) -> Plan:
    committed: set[str] = set()
    if not resolved.is_new:
        parts = [part for entry in entries for part in entry.parts]
        committed = set(committed_parts(store, resolved.manifest, parts))
    missing = tuple(
        tuple(one.number for one in entry.segments if one.part not in committed)
        for entry in entries
    )
    scans = {entry.chunk_id: resolved.scan_of(entry) for entry in entries}
    # A chunk with one missing segment is listed by the task that extracts it.
    unlisted = [
        entry
        for entry, numbers in zip(entries, missing, strict=True)
        if len(numbers) > 1 and scans[entry.chunk_id] is None
    ]
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as pool:
        found = pool.map(partial(_list_frames, store), unlisted)
        scans |= {entry.chunk_id: scan for entry, scan in zip(unlisted, found, strict=True)}
    planned = PlannedTimeline(resolved.manifest, entries, missing)
    return planned, *(scans[entry.chunk_id] for entry in entries)


def _list_frames(store: Store, entry: ChunkEntry) -> "video.VideoScan | None":
    """List the frames of a chunk; return None if its tasks are to report what is wrong with it."""
    try:
        return ingest.list_chunk(store, entry)
    except (ChunkChanged, UnreadableChunk):
        return None
