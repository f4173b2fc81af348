"""Tasks of an extraction, which run in Ray's workers: plan a timeline, extract a chunk, finish."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framecache import _ingest as ingest
from framecache._core.manifest import ChunkEntry, Manifest
from framecache._index import committed_parts
from framecache._media import video
from framecache.model import Chunk, ExtractReport
from framecache.store import Store

if TYPE_CHECKING:
    from framecache._ingest.resolve import SettingsResolver


@dataclass(frozen=True, slots=True)
class PlannedTimeline:
    """Manifest of a timeline, by which its chunks are extracted."""

    manifest: Manifest
    entries: tuple[ChunkEntry, ...]
    """Chunks that were asked for, in their order."""
    pending: tuple[int, ...]
    """Positions in ``entries`` of the chunks that are not committed."""


Plan = tuple["PlannedTimeline | video.VideoScan | None", ...]
"""A planned timeline, and for each of its chunks the scan, or None if the chunk was not scanned."""


def plan_timeline(
    store: Store, timeline_id: str, chunks: list[Chunk], resolve_settings: "SettingsResolver"
) -> Plan:
    """Scan the chunks of a timeline and settle on its manifest; decode nothing."""
    video.require_packages("extraction")
    resolved = ingest.plan(store, timeline_id, chunks, resolve_settings=resolve_settings)
    entries = resolved.entries
    committed: set[str] = set()
    if not resolved.is_new:
        parts = [part for entry in entries for part in entry.parts]
        committed = set(committed_parts(store, resolved.manifest, parts))
    pending = tuple(
        position for position, entry in enumerate(entries) if not committed.issuperset(entry.parts)
    )
    scans = tuple(resolved.scans.get(entry.url) for entry in entries)
    return PlannedTimeline(resolved.manifest, entries, pending), *scans


def extract_chunk(
    store: Store,
    planned: PlannedTimeline,
    position: int,
    scan: "video.VideoScan | None",
    workers: int,
) -> ExtractReport:
    """Extract one chunk of a planned timeline, or wait for the program that is extracting it."""
    entry = planned.entries[position]
    return ingest.extract_entries(
        store,
        planned.manifest,
        [entry],
        workers=workers,
        scans={} if scan is None else {entry.url: scan},
        # Compacting is left to `finish_timeline`.
        max_index_files=len(planned.manifest.parts),
    )


def finish_timeline(store: Store, planned: PlannedTimeline) -> None:
    """Compact the index of a timeline if all of its chunks are committed."""
    ingest.extract_entries(store, planned.manifest, [], workers=1)
