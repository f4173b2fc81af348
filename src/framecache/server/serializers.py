"""Serializers from snapshots to the JSON documents of :mod:`framecache.server.schema`."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import numpy as np
import numpy.typing as npt

from framecache._core.chunk_entry import ChunkEntry
from framecache._index import FrameRow, Index, Snapshot, aggregates_of
from framecache._read.hash_distance import HASH_BITS, Hashes
from framecache._read.info import TimelineInfo, timeline_info
from framecache.server import schema
from framecache.server.timeline_cache import version_of

_POSTER_WIDTH: Final = 320
_POSTER_DIVISOR: Final = 10
"""The poster is the first picture after 1/10 of the frames, because many videos begin black."""


def summary(timeline_id: str, snapshot: Snapshot) -> schema.Summary:
    """Return a timeline's entry in a list."""
    return _summary(timeline_info(timeline_id, "", snapshot), timeline_id, snapshot)


def _summary(info: TimelineInfo, timeline_id: str, snapshot: Snapshot) -> schema.Summary:
    return schema.Summary(
        timeline_id=timeline_id,
        state=info.state,
        frame_count=max(info.frames_described, info.frame_count),
        cached_count=info.frame_count,
        undecodable_count=info.frames_undecodable,
        duration_seconds=info.duration_seconds,
        size_bytes=info.size_bytes,
        width=info.width,
        height=info.height,
        layout=info.settings.layout if info.settings else None,
        chunk_count=len(info.chunks),
        chunks_cached=info.chunks_cached,
        segment_count=info.segment_count,
        segments_cached=info.segments_cached,
        poster=_poster(timeline_id, snapshot),
        problem=None,
    )


def unreadable_summary(timeline_id: str, problem: str) -> schema.Summary:
    """Return the entry in a list of a timeline that cannot be opened."""
    return schema.Summary(
        timeline_id=timeline_id,
        state="unreadable",
        frame_count=0,
        cached_count=0,
        undecodable_count=0,
        duration_seconds=0.0,
        size_bytes=0,
        width=0,
        height=0,
        layout=None,
        chunk_count=0,
        chunks_cached=0,
        segment_count=0,
        segments_cached=0,
        poster=None,
        problem=problem,
    )


def detail(
    timeline_id: str,
    snapshot: Snapshot,
    *,
    jobs: schema.Jobs,
    sprites: schema.SpriteSize | None,
) -> schema.Detail:
    """Return everything known about a timeline without reading a frame."""
    info = timeline_info(timeline_id, "", snapshot)
    index = snapshot.index
    some = len(index) > 0
    return schema.Detail(
        **_summary(info, timeline_id, snapshot).model_dump(),
        version=version_of(snapshot),
        epoch=info.epoch,
        sampling=str(info.settings.sampling) if info.settings else None,
        quality=info.settings.jpeg.quality if info.settings else None,
        aspect=info.settings.jpeg.aspect if info.settings else None,
        max_side=info.settings.jpeg.max_side if info.settings else None,
        chroma=info.settings.jpeg.chroma if info.settings else None,
        renditions=list(info.settings.jpeg.renditions) if info.settings else [],
        first_sequence=int(index.sequence[0]) if some else None,
        last_sequence=int(index.sequence[-1]) if some else None,
        start_seconds=float(index.timestamp[0]) if some else None,
        stop_seconds=info.duration_seconds if some else None,
        chunks=_chunks(snapshot),
        jobs=jobs,
        sprites=sprites,
    )


def frame(row: FrameRow, position: int) -> schema.FrameDetail:
    """Return the index row of a frame as a document."""
    return schema.FrameDetail(
        sequence=row.sequence,
        position=position,
        timestamp=row.timestamp,
        duration_seconds=row.duration,
        chunk_id=row.chunk_id,
        width=row.width,
        height=row.height,
        size_bytes=None if row.is_decoded_on_demand else row.size,
        perceptual_hash=row.perceptual_hash,
        status=row.status,
        reason=row.reason,
    )


def overview(index: Index, buckets: int) -> schema.Overview:
    """Return a summary of a timeline in at most `buckets` runs of consecutive rows."""
    count = len(index)
    bucket_size = max(1, -(-count // buckets))
    starts = np.arange(0, count, bucket_size)
    if not count:
        starts = np.empty(0, np.int64)
    sequence = index.sequence
    before = np.concatenate([[-1], sequence[:-1]]) if count else sequence
    return schema.Overview(
        count=count,
        bucket_size=bucket_size,
        first_sequence=sequence[starts].tolist(),
        timestamp=index.timestamp[starts].tolist(),
        chunk_id=index.chunk_id[starts].tolist(),
        undecodable=_reduce_buckets(np.add, (~index.is_ok).astype(np.int64), starts),
        gap=_reduce_buckets(np.logical_or, sequence - before > 1, starts),
        change=_changes(index, starts),
    )


def _changes(index: Index, starts: npt.NDArray[np.int64]) -> list[float | None]:
    """Return the greatest distance of hashes in each bucket, 0 to 1; None if none is known."""
    changes = np.full(len(index), np.nan)
    bits = Hashes.of_rows(index, np.arange(len(index))).distances_to_previous()
    changes[1:] = np.where(bits < 0, np.nan, bits / HASH_BITS)
    greatest = _reduce_buckets(np.fmax, changes, starts)
    return [None if np.isnan(value) else value for value in greatest]


def _reduce_buckets(
    operation: np.ufunc, values: npt.NDArray[Any], starts: npt.NDArray[Any]
) -> list[Any]:
    reduced: list[Any] = operation.reduceat(values, starts).tolist() if len(starts) else []
    return reduced


def _poster(timeline_id: str, snapshot: Snapshot) -> str | None:
    sequence = _poster_sequence(snapshot.index)
    if sequence is None:
        return None
    query = urlencode({"width": _POSTER_WIDTH, "v": version_of(snapshot)})
    return f"api/v1/timelines/{quote(timeline_id, safe='')}/frames/{sequence}.jpg?{query}"


def _poster_sequence(index: Index) -> int | None:
    """Return the frame that is the poster, without decoding the index if no picture is missing."""
    sums = aggregates_of(index)
    if sums.frame_count and sums.is_gapless:
        return sums.first_sequence + sums.frame_count // _POSTER_DIVISOR
    with_picture = np.flatnonzero(index.is_ok)
    if not len(with_picture):
        return None
    return int(index.sequence[with_picture[len(with_picture) // _POSTER_DIVISOR]])


def _chunks(snapshot: Snapshot) -> list[schema.ChunkDetail]:
    chunks: Sequence[ChunkEntry] = snapshot.manifest.chunks if snapshot.manifest else ()
    aspect = snapshot.manifest.settings.jpeg.aspect if snapshot.manifest else "stored"
    missing = set(snapshot.missing_parts)
    lacking = snapshot.index.chunk_id[~snapshot.index.is_ok]
    return [
        schema.ChunkDetail(
            chunk_id=chunk.chunk_id,
            name=unquote(chunk.url.rpartition("/")[2]),
            start_seconds=float(chunk.start),
            duration_seconds=float(chunk.end - chunk.start),
            first_sequence=chunk.first_sequence,
            frame_count=chunk.frame_count,
            cached=chunk.is_cached(missing),
            segment_count=len(chunk.segment_starts),
            segments_cached=sum(part not in missing for part in chunk.parts),
            pixel_aspect_ratio=float(chunk.pixel_aspect_ratio(aspect)),
            undecodable_count=int((lacking == chunk.chunk_id).sum()),
            placement=chunk.placement,
            clock_gap_seconds=chunk.timing.clock_gap_seconds,
            times_replaced=chunk.times_replaced,
            clock_restarts=chunk.clock_restarts,
            packets_not_displayed=chunk.packets_not_displayed,
        )
        for chunk in chunks
    ]
