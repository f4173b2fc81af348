"""Descriptions of a timeline, as text and as JSON."""

from collections import Counter
from typing import Any

from framecache._core import sampling
from framecache._core.chunk_entry import ChunkEntry
from framecache._index import Index
from framecache._read.info import TimelineInfo
from framecache.cli.output import format_count


def format_status(info: TimelineInfo) -> str:
    """Return the state as text, with the numbers that explain it."""
    words = {
        "partial": f"partial, {_format_share(info)}",
        "frames_only": "frames only",
        "empty": "no frames",
    }.get(info.state, info.state)
    if info.frames_undecodable:
        words += f", {info.frames_undecodable:,} undecodable"
    return words


def _format_share(info: TimelineInfo) -> str:
    if info.segment_count == len(info.chunks):
        return f"{info.chunks_cached} of {format_count(len(info.chunks), 'chunk')}"
    return f"{info.segments_cached:,} of {format_count(info.segment_count, 'segment')}"


def count_undecodable(index: Index) -> list[tuple[str, int]]:
    """Return why frames have no picture, and the count per reason, the most frequent first."""
    return Counter(str(reason) for reason in index.reason[~index.is_ok]).most_common()


def to_json(info: TimelineInfo) -> dict[str, Any]:
    """Return the entry of a timeline in ``ls --json``."""
    settings = info.settings and {
        "sampling": sampling.to_json(info.settings.sampling),
        "quality": info.settings.jpeg.quality,
        "aspect": info.settings.jpeg.aspect,
        "max_side": info.settings.jpeg.max_side,
        "chroma": info.settings.jpeg.chroma,
        "renditions": info.settings.jpeg.renditions,
        "layout": info.settings.layout,
    }
    return {
        "timeline_id": info.timeline_id,
        "url": info.url,
        "state": info.state,
        "exists": info.exists,
        "complete": info.complete,
        "epoch": info.epoch,
        "version": info.version,
        "settings": settings,
        "chunk_count": len(info.chunks),
        "chunks_cached": info.chunks_cached,
        "segment_count": info.segment_count,
        "segments_cached": info.segments_cached,
        "frame_count": info.frame_count,
        "frames_undecodable": info.frames_undecodable,
        "frames_described": info.frames_described,
        "size_bytes": info.size_bytes,
        "duration_seconds": info.duration_seconds,
        "width": info.width,
        "height": info.height,
        "pixel_aspect_ratio": float(info.pixel_aspect_ratio),
    }


def frame_rate(chunk: ChunkEntry) -> float | None:
    """Return the average number of displayed frames per second; None if they take no time."""
    shown = chunk.end - chunk.sound_seconds - chunk.start
    return float(chunk.source_frame_count / shown) if shown > 0 else None


def chunk_to_json(chunk: ChunkEntry, *, segments_cached: int) -> dict[str, Any]:
    """Return the entry of a chunk in ``info --json``."""
    return {
        "chunk_id": chunk.chunk_id,
        "url": chunk.url,
        "etag": chunk.etag,
        "size_bytes": chunk.size_bytes,
        "start_seconds": float(chunk.start),
        "end_seconds": float(chunk.end),
        "first_sequence": chunk.first_sequence,
        "frame_count": chunk.frame_count,
        "source_frame_count": chunk.source_frame_count,
        "frame_rate": frame_rate(chunk),
        "width": chunk.width,
        "height": chunk.height,
        "sample_aspect_ratio": float(chunk.sample_aspect_ratio),
        "codec": chunk.codec,
        "placement": chunk.placement,
        "clock_gap_seconds": chunk.timing.clock_gap_seconds,
        "times_replaced": chunk.times_replaced,
        "clock_restarts": chunk.clock_restarts,
        "packets_not_displayed": chunk.packets_not_displayed,
        "trim_start": None if chunk.trim_start is None else float(chunk.trim_start),
        "trim_stop": None if chunk.trim_stop is None else float(chunk.trim_stop),
        "segment_count": len(chunk.segment_starts),
        "segments_cached": segments_cached,
        "divisible": chunk.is_divisible,
        "cached": segments_cached == len(chunk.segment_starts),
    }


def undecodable_to_json(index: Index) -> list[dict[str, Any]]:
    """Return the counts of frames without a picture as JSON."""
    return [{"reason": reason, "frames": frames} for reason, frames in count_undecodable(index)]
