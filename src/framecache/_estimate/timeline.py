"""Footprint of a timeline in its own layout or in another one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.manifest import Compaction, Manifest, Settings, first_manifest
from framecache._estimate import requests
from framecache._estimate.storage import estimate_storage, measure_storage, sizes_of_parts
from framecache._index import Snapshot
from framecache._layouts import LAYOUTS
from framecache._layouts.storage_stats import PartSizes, Sizes, StorageStats
from framecache.errors import InvalidValue
from framecache.model import UNINDEXED_LAYOUT, Layout, Requests

_ONE_FRAME: Final[Sizes] = np.ones(1, np.int64)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Storage and requests that the cached frames of a timeline take in a layout.

    Requests are those to an S3 store while no other program works on the timeline.
    """

    layout: Layout
    frame_count: int
    """Number of frames with a picture."""
    blobs: int
    """Number of blobs that hold frames or renditions: JPEGs or packs."""
    stored_bytes: int
    """Total size of these blobs. The index takes some tens of bytes per frame in addition."""
    read_bytes: int
    """Bytes transferred when every frame is read once, whole and in order."""
    fill: Requests | None
    """Requests to extract the cached chunks once, or to write the frames in one call; None if
    another program stored them."""
    read_all: Requests
    """Requests to open the timeline and read every frame once, whole and in order."""
    read_one: Requests
    """Requests to open the timeline and read one frame; each further frame takes one GET. In
    layout ``video`` those to the chunks are not counted."""


def timeline_footprint(snapshot: Snapshot, layout: Layout | None) -> Footprint:
    """Return the footprint of the cached frames in a layout; None for their current layout."""
    manifest = snapshot.manifest
    parts = _jpeg_sizes(snapshot)
    if manifest is None:
        return _create_footprint(
            UNINDEXED_LAYOUT, snapshot, measure_storage(snapshot.index), fill=None
        )
    own = manifest.settings.layout
    settings = replace(manifest.settings, layout=layout or own)
    fill = _fill_requests(manifest, settings, _cached_segments(snapshot), parts)
    if settings.layout == own:
        return _create_footprint(own, snapshot, measure_storage(snapshot.index), fill=fill)
    if snapshot.index.is_decoded_on_demand.any():
        raise InvalidValue(
            f"the frames of timeline {manifest.timeline_id} are not stored, so the sizes of their "
            f"JPEGs are not known: plan an extraction of its chunks to estimate them"
        )
    moved = replace(snapshot, manifest=_with_new_layout(snapshot, manifest))
    storage = estimate_storage(settings.layout, parts, are_written=not manifest.chunks)
    return _create_footprint(settings.layout, moved, storage, fill=fill)


def extraction_footprint(
    timeline_id: str, settings: Settings, chunks: tuple[ChunkEntry, ...], parts: Sequence[PartSizes]
) -> Footprint:
    """Return the footprint of chunks extracted in one call, with the JPEG sizes of each segment."""
    manifest = first_manifest(timeline_id, settings, chunks=chunks)
    storage = estimate_storage(settings.layout, parts, are_written=False)
    opening = Requests(lists=1, gets=2)
    return _sum_footprint(
        settings.layout,
        storage,
        opening + requests.count_access_log_requests(has_chunks=True),
        fill=_fill_requests(manifest, settings, manifest.segments, parts),
    )


def _cached_segments(snapshot: Snapshot) -> tuple[Segment, ...]:
    segments = snapshot.manifest.segments if snapshot.manifest else ()
    missing = set(snapshot.missing_parts)
    return tuple(segment for segment in segments if segment.part not in missing)


def _jpeg_sizes(snapshot: Snapshot) -> list[PartSizes]:
    """Return the JPEG sizes by committed segment, or together for frames a program wrote."""
    index = snapshot.index
    segments = _cached_segments(snapshot)
    if not segments:
        last = int(index.sequence[-1]) if len(index) else 0
        return sizes_of_parts(index, [(0, last + 1)])
    return sizes_of_parts(index, [(one.first_sequence, one.stop_sequence) for one in segments])


def _fill_requests(
    manifest: Manifest,
    settings: Settings,
    segments: tuple[Segment, ...],
    parts: Sequence[PartSizes],
) -> Requests:
    are_written = not manifest.chunks
    frame_puts = estimate_storage(settings.layout, parts, are_written=are_written).puts
    if are_written:
        return requests.count_write_requests(frame_puts=frame_puts)
    chunks = tuple({one.chunk.chunk_id: one.chunk for one in segments}.values())
    return requests.count_extraction_requests(
        segments,
        current=None,
        next_manifest=first_manifest(manifest.timeline_id, settings, chunks=chunks),
        committed=(),
        frame_puts=frame_puts,
        max_index_files=1,
    )


def _with_new_layout(snapshot: Snapshot, manifest: Manifest) -> Manifest:
    """Return the manifest after a change of layout, which compacts a complete timeline."""
    compaction = None if snapshot.missing_parts else Compaction(0, manifest.parts)
    return replace(manifest, compaction=compaction)


def _create_footprint(
    layout: Layout, snapshot: Snapshot, storage: StorageStats, *, fill: Requests | None
) -> Footprint:
    has_chunks = bool(snapshot.manifest and snapshot.manifest.chunks)
    opening = requests.count_open_requests(snapshot) + requests.count_access_log_requests(
        has_chunks=has_chunks
    )
    return _sum_footprint(layout, storage, opening, fill=fill)


def _sum_footprint(
    layout: Layout, storage: StorageStats, opening: Requests, *, fill: Requests | None
) -> Footprint:
    return Footprint(
        layout=layout,
        frame_count=storage.frame_count,
        blobs=storage.blobs,
        stored_bytes=storage.stored_bytes,
        read_bytes=storage.read_bytes,
        fill=fill,
        read_all=opening + Requests(gets=storage.gets),
        read_one=opening + Requests(gets=LAYOUTS[layout].estimate(_ONE_FRAME).gets),
    )
