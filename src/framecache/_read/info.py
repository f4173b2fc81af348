"""Metadata of a timeline, available without reading a frame."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Settings
from framecache._index import Snapshot, aggregates_of
from framecache._read import count_timestamp_decimals

TimelineState = Literal["complete", "partial", "cleared", "frames_only", "empty"]
"""State of a timeline.

``frames_only``: another program stored the frames. ``empty``: no frames, at most overlays.
"""


@dataclass(frozen=True, slots=True)
class TimelineInfo:
    """Metadata of a timeline, available without reading a frame."""

    timeline_id: str
    url: str
    """URL of its store."""
    exists: bool
    """True if any frame is cached."""
    complete: bool
    """True if any frame is cached, and every chunk of the manifest is."""
    epoch: str | None
    """None without a manifest: nothing is cached, or only frames of another program."""
    version: int | None
    settings: Settings | None
    chunks: tuple[ChunkEntry, ...]
    chunks_cached: int
    """Chunks of which all segments are committed."""
    segment_count: int
    """Segments of the chunks of the manifest."""
    segments_cached: int
    """Committed segments; their frames can be read."""
    frame_count: int
    """Cached frames, undecodable ones included."""
    frames_undecodable: int
    frames_described: int
    """Frames of the manifest's chunks once all are cached; 0 for frames that programs wrote."""
    size_bytes: int
    """Total size of the cached JPEGs."""
    duration_seconds: float
    """Seconds from 0.0 to the end of the last cached frame or of the manifest's last chunk."""
    width: int
    """Width of the first frame in pixels; 0 if unknown."""
    height: int
    pixel_aspect_ratio: Fraction
    """Pixel width divided by pixel height, for the first chunk's frames as stored."""

    @property
    def state(self) -> TimelineState:
        """State of the timeline, in one word."""
        if self.epoch is None:
            return "frames_only" if self.exists else "empty"
        if self.exists:
            return "complete" if self.complete else "partial"
        # Clearing creates another version; a first version without frames is being extracted.
        return "partial" if self.version == 1 else "cleared"


def timeline_info(timeline_id: str, url: str, snapshot: Snapshot) -> TimelineInfo:
    """Summarize a snapshot."""
    sums, manifest = aggregates_of(snapshot.index), snapshot.manifest
    chunks = manifest.chunks if manifest else ()
    ends = [float(chunks[-1].end)] if chunks else []
    if sums.frame_count:
        ends.append(sums.end_seconds)
    missing = set(snapshot.missing_parts)
    return TimelineInfo(
        timeline_id=timeline_id,
        url=url,
        exists=snapshot.exists,
        complete=snapshot.is_complete,
        epoch=manifest.epoch if manifest else None,
        version=manifest.version if manifest else None,
        settings=manifest.settings if manifest else None,
        chunks=chunks,
        chunks_cached=sum(chunk.is_cached(missing) for chunk in chunks),
        segment_count=sum(len(chunk.segment_starts) for chunk in chunks),
        segments_cached=sum(part not in missing for chunk in chunks for part in chunk.parts),
        frame_count=sums.frame_count,
        frames_undecodable=sums.undecodable_count,
        frames_described=manifest.frame_count if manifest else 0,
        size_bytes=sums.size_bytes,
        duration_seconds=max(ends, default=0.0),
        width=sums.width,
        height=sums.height,
        pixel_aspect_ratio=(
            chunks[0].pixel_aspect_ratio(manifest.settings.jpeg.aspect)
            if manifest and chunks
            else Fraction(1)
        ),
    )


def describe_extent(snapshot: Snapshot) -> str:
    """Return a clause for error messages that says which frames a timeline has."""
    index = snapshot.index
    if not len(index):
        chunks = snapshot.manifest.chunks if snapshot.manifest else ()
        return f"nothing is cached; {'rebuild' if chunks else 'extract'} it first"
    end = timeline_info("", "", snapshot).duration_seconds
    return (
        f"it has {len(index)} frames, {index.sequence[0]} to {index.sequence[-1]}, "
        f"{index.timestamp[0]:.{count_timestamp_decimals(index, 0)}f} s to {end:.3f} s"
    )
