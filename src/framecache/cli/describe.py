"""What there is to say of a timeline, in words and as JSON."""

from collections import Counter
from typing import Any, Literal

from framecache import sampling
from framecache.cli.show import count
from framecache.index import Index
from framecache.info import TimelineInfo
from framecache.manifest import ChunkEntry

State = Literal["complete", "filling", "cleared", "frames_only", "empty"]
"""``frames_only``: another program stored them; ``empty``: no frames, at most overlays."""


def state_of(info: TimelineInfo) -> State:
    """Which state a timeline is in."""
    if info.epoch is None:
        return "frames_only" if info.exists else "empty"
    if info.exists:
        return "complete" if info.complete else "filling"
    # Clearing makes another version; the first one can only wait for its frames.
    return "filling" if info.version == 1 else "cleared"


def state_in_words(info: TimelineInfo) -> str:
    """The state, with the numbers that explain it."""
    state = state_of(info)
    words = {
        "filling": f"filling, {info.chunks_cached} of {count(len(info.chunks), 'chunk')}",
        "frames_only": "frames only",
        "empty": "no frames",
    }.get(state, state)
    if info.frames_undecodable:
        words += f", {info.frames_undecodable:,} undecodable"
    return words


def undecodable(index: Index) -> list[tuple[str, int]]:
    """Why frames have no picture, and how many for each reason, the most frequent first."""
    return Counter(str(reason) for reason in index.reason[~index.is_ok]).most_common()


def to_json(info: TimelineInfo) -> dict[str, Any]:
    """What ``ls --json`` says of a timeline."""
    settings = info.settings and {
        "sampling": sampling.to_json(info.settings.sampling),
        "quality": info.settings.jpeg.quality,
        "aspect": info.settings.jpeg.aspect,
        "layout": info.settings.layout,
    }
    return {
        "timeline_id": info.timeline_id,
        "url": info.url,
        "state": state_of(info),
        "exists": info.exists,
        "complete": info.complete,
        "epoch": info.epoch,
        "version": info.version,
        "settings": settings,
        "chunk_count": len(info.chunks),
        "chunks_cached": info.chunks_cached,
        "frame_count": info.frame_count,
        "frames_undecodable": info.frames_undecodable,
        "frames_described": info.frames_described,
        "size_bytes": info.size_bytes,
        "duration_seconds": info.duration_seconds,
        "width": info.width,
        "height": info.height,
        "pixel_aspect_ratio": float(info.pixel_aspect_ratio),
    }


def chunk_to_json(chunk: ChunkEntry, *, is_cached: bool) -> dict[str, Any]:
    """What ``info --json`` says of a chunk."""
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
        "width": chunk.width,
        "height": chunk.height,
        "sample_aspect_ratio": float(chunk.sample_aspect_ratio),
        "codec": chunk.codec,
        "placement": chunk.placement,
        "clock_gap_seconds": chunk.timing.clock_gap_seconds,
        "times_replaced": chunk.times_replaced,
        "clock_restarts": chunk.clock_restarts,
        "packets_not_displayed": chunk.packets_not_displayed,
        "cached": is_cached,
    }


def undecodable_to_json(index: Index) -> list[dict[str, Any]]:
    """What JSON documents say of frames without a picture."""
    return [{"reason": reason, "frames": frames} for reason, frames in undecodable(index)]
