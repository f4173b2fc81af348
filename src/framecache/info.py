"""What is known of a timeline without reading a frame."""

from dataclasses import dataclass
from fractions import Fraction

from framecache.index import Snapshot
from framecache.manifest import ChunkEntry, Settings
from framecache.reader import telling_decimals


@dataclass(frozen=True, slots=True)
class TimelineInfo:
    """What is known of a timeline without reading a frame."""

    timeline_id: str
    url: str
    """The store it lies in."""
    exists: bool
    """Whether any frame is cached."""
    complete: bool
    """Whether every described chunk is."""
    epoch: str | None
    """None when nothing is described: there is nothing, or another program's frames."""
    version: int | None
    settings: Settings | None
    chunks: tuple[ChunkEntry, ...]
    chunks_cached: int
    frame_count: int
    """Cached frames, undecodable ones included."""
    frames_undecodable: int
    frames_described: int
    """Frames that the described chunks give once all are cached; 0 for written frames."""
    size_bytes: int
    """Of the cached JPEGs."""
    duration_seconds: float
    """From 0.0 to the end of the last cached frame, or of the last described chunk."""
    width: int
    """Of the first frame, pixels; 0 when unknown."""
    height: int
    pixel_aspect_ratio: Fraction
    """Width by height of a pixel of the first chunk's frames, as they are stored."""


def timeline_info(timeline_id: str, url: str, snapshot: Snapshot) -> TimelineInfo:
    """Sum a snapshot up."""
    index, description = snapshot.index, snapshot.description
    chunks = description.chunks if description else ()
    ends = [float(chunks[-1].end)] if chunks else []
    if len(index):
        ends.append(float(index.timestamp[-1] + index.duration[-1]))
    missing = set(snapshot.missing_parts)
    return TimelineInfo(
        timeline_id=timeline_id,
        url=url,
        exists=snapshot.exists,
        complete=snapshot.is_complete,
        epoch=description.epoch if description else None,
        version=description.version if description else None,
        settings=description.settings if description else None,
        chunks=chunks,
        chunks_cached=sum(chunk.part not in missing for chunk in chunks),
        frame_count=len(index),
        frames_undecodable=int((~index.is_ok).sum()),
        frames_described=description.frame_count if description else 0,
        size_bytes=int(index.size.sum()),
        duration_seconds=max(ends, default=0.0),
        width=int(index.width[0]) if len(index) else 0,
        height=int(index.height[0]) if len(index) else 0,
        pixel_aspect_ratio=(
            chunks[0].pixel_aspect_ratio(description.settings.jpeg.aspect)
            if description and chunks
            else Fraction(1)
        ),
    )


def extent(snapshot: Snapshot) -> str:
    """What a timeline has, in words that follow an error."""
    index = snapshot.index
    if not len(index):
        chunks = snapshot.description.chunks if snapshot.description else ()
        return f"nothing of it is cached; {'rebuild' if chunks else 'extract'} it first"
    end = timeline_info("", "", snapshot).duration_seconds
    return (
        f"it has {len(index)} frames, {index.sequence[0]} to {index.sequence[-1]}, "
        f"{index.timestamp[0]:.{telling_decimals(index, 0)}f} s to {end:.3f} s"
    )
