"""What the documents say, made from snapshots."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import numpy as np
import numpy.typing as npt

from framecache.http import schema
from framecache.http.known import version_of
from framecache.index import FrameRow, Index, Snapshot
from framecache.info import TimelineInfo, timeline_info
from framecache.manifest import ChunkEntry

_POSTER_WIDTH: Final = 320
_POSTER_PLACE: Final = 10
"""The poster is the first picture after a tenth of the frames: many videos begin in black."""
_HASH_BITS: Final = 64
_HASH_DIGITS: Final = 16


def summary(timeline_id: str, snapshot: Snapshot) -> schema.Summary:
    """What a list says of a timeline."""
    return _summary(timeline_info(timeline_id, "", snapshot), timeline_id, snapshot)


def _summary(info: TimelineInfo, timeline_id: str, snapshot: Snapshot) -> schema.Summary:
    return schema.Summary(
        timeline_id=timeline_id,
        state=_state(info),
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
        poster=_poster(timeline_id, snapshot),
        problem=None,
    )


def unreadable(timeline_id: str, problem: str) -> schema.Summary:
    """What a list says of a timeline that cannot be opened."""
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
    """All that is known of a timeline without reading a frame."""
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
        first_sequence=int(index.sequence[0]) if some else None,
        last_sequence=int(index.sequence[-1]) if some else None,
        start_seconds=float(index.timestamp[0]) if some else None,
        stop_seconds=info.duration_seconds if some else None,
        chunks=_chunks(snapshot),
        jobs=jobs,
        sprites=sprites,
    )


def frame(row: FrameRow, position: int) -> schema.FrameDetail:
    """What the index knows of a frame."""
    return schema.FrameDetail(
        sequence=row.sequence,
        position=position,
        timestamp=row.timestamp,
        duration_seconds=row.duration,
        chunk_id=row.chunk_id,
        width=row.width,
        height=row.height,
        size_bytes=row.size,
        perceptual_hash=row.perceptual_hash,
        status=row.status,
        reason=row.reason,
    )


def overview(index: Index, buckets: int) -> schema.Overview:
    """A timeline in few columns."""
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
        undecodable=_reduced(np.add, (~index.is_ok).astype(np.int64), starts),
        gap=_reduced(np.logical_or, sequence - before > 1, starts),
        change=_changes(index, starts),
    )


def _changes(index: Index, starts: npt.NDArray[np.int64]) -> list[float | None]:
    greatest = _reduced(np.fmax, _distances(index.perceptual_hash), starts)
    return [None if np.isnan(value) else value for value in greatest]


def _distances(hashes: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Of each hash and the one before it, 0 to 1; NaN where either is unknown."""
    texts = [str(text) for text in hashes]
    known = np.array([len(text) == _HASH_DIGITS for text in texts], np.bool_)
    digits = "".join(text if len(text) == _HASH_DIGITS else "0" * _HASH_DIGITS for text in texts)
    values = np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
    distances = np.full(len(values), np.nan)
    differing = np.bitwise_xor(values[1:], values[:-1]).view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(differing, axis=1).sum(axis=1) / _HASH_BITS
    distances[1:] = np.where(known[1:] & known[:-1], bits, np.nan)
    return distances


def _reduced(operation: np.ufunc, values: npt.NDArray[Any], starts: npt.NDArray[Any]) -> list[Any]:
    reduced: list[Any] = operation.reduceat(values, starts).tolist() if len(starts) else []
    return reduced


def _state(info: TimelineInfo) -> schema.State:
    if not info.exists:
        # Clearing makes another version; the first one can only wait for its frames.
        return "partial" if info.version == 1 else "cleared"
    return "complete" if info.complete else "partial"


def _poster(timeline_id: str, snapshot: Snapshot) -> str | None:
    with_picture = np.flatnonzero(snapshot.index.is_ok)
    if not len(with_picture):
        return None
    position = with_picture[len(with_picture) // _POSTER_PLACE]
    query = urlencode({"width": _POSTER_WIDTH, "v": version_of(snapshot)})
    sequence = int(snapshot.index.sequence[position])
    return f"api/timelines/{quote(timeline_id, safe='')}/frames/{sequence}.jpg?{query}"


def _chunks(snapshot: Snapshot) -> list[schema.ChunkDetail]:
    chunks: Sequence[ChunkEntry] = snapshot.description.chunks if snapshot.description else ()
    aspect = snapshot.description.settings.jpeg.aspect if snapshot.description else "stored"
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
            cached=chunk.part not in missing,
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
