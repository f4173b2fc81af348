"""Plan of an extraction: its work and footprint, estimated before it starts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.manifest import Settings
from framecache._estimate import requests
from framecache._estimate.storage import estimate_storage, sizes_of_parts
from framecache._estimate.timeline import Footprint, extraction_footprint
from framecache._layouts.storage_stats import PartSizes, Sizes
from framecache.model import Layout, Requests

if TYPE_CHECKING:
    # Importing it loads FFmpeg, which callers that only need a footprint should not have to load.
    from framecache._ingest import Forecast


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """Plan for one chunk of an extraction."""

    chunk_id: int
    url: str
    is_cached: bool
    """True if the chunk is already cached, so that it would not be extracted."""
    frame_count: int
    """Number of frames that it contributes to the timeline, including undecodable ones."""
    frames_to_extract: int
    """Number of its frames in segments that are not cached."""
    segment_count: int
    """Number of segments, each of which is extracted and committed on its own."""
    segments_to_extract: int
    """Number of segments that are not cached."""
    duration_seconds: float
    width: int
    """Width in pixels with which its first frame is stored."""
    height: int
    video_bytes: int
    """Size of its file or object."""
    jpeg_bytes: int
    """Total size of its frames: exact if it is cached, otherwise estimated from sampled frames."""
    rendition_bytes: int
    """Total size of their renditions, found in the same way."""
    frames_sampled: int
    """Number of frames that were decoded and encoded to estimate the sizes."""
    samples_undecodable: int
    """Number of sampled frames that could not be decoded."""


@dataclass(frozen=True, slots=True)
class ExtractPlan:
    """Plan of an extraction. Making it stores nothing and takes no lease."""

    timeline_id: str
    url: str
    """URL of the store."""
    settings: Settings
    """Settings that would apply."""
    chunks: tuple[PlannedChunk, ...]
    """The requested chunks."""
    bytes_to_store: int
    """Estimated size of the new frames and renditions in the layout of ``settings``."""
    requests: Requests
    """Requests for extracting now."""
    footprints: Mapping[Layout, Footprint]
    """Estimated footprint of all these chunks by layout, as if extracted in one call."""

    @property
    def frames_to_extract(self) -> int:
        """Number of frames in the segments that are not cached."""
        return sum(chunk.frames_to_extract for chunk in self.chunks)

    @property
    def frame_count(self) -> int:
        """Number of frames in all these chunks."""
        return sum(chunk.frame_count for chunk in self.chunks)


def plan_extraction(url: str, forecast: "Forecast") -> ExtractPlan:
    """Create a plan from what an extraction determined before it stored anything."""
    description, entries = forecast.resolved.manifest, forecast.resolved.entries
    missing = set(forecast.snapshot.missing_parts)
    segments = [segment for entry in entries for segment in entry.segments]
    sizes = _jpeg_sizes(forecast, segments, missing)
    new = estimate_storage(
        description.settings.layout,
        [sizes[one.part] for one in segments if one.part in missing],
        are_written=False,
    )
    return ExtractPlan(
        timeline_id=description.timeline_id,
        url=url,
        settings=description.settings,
        chunks=tuple(_plan_chunk(forecast, entry, sizes, missing) for entry in entries),
        bytes_to_store=new.stored_bytes,
        requests=requests.count_extraction_requests(
            segments,
            current=forecast.existing_manifest,
            next_manifest=description,
            committed=set(description.parts) - missing,
            frame_puts=new.puts,
            max_index_files=forecast.max_index_files,
        ),
        footprints={
            layout: extraction_footprint(
                description.timeline_id,
                replace(description.settings, layout=layout),
                entries,
                [sizes[segment.part] for segment in segments],
            )
            for layout in get_args(Layout)
        },
    )


def _jpeg_sizes(
    forecast: "Forecast", segments: Sequence[Segment], missing: Collection[str]
) -> dict[str, PartSizes]:
    """Return the sizes of each segment's JPEGs by part: as committed, or else as sampled."""
    committed = [one for one in segments if one.part not in missing]
    bounds = [(one.first_sequence, one.stop_sequence) for one in committed]
    found = sizes_of_parts(forecast.snapshot.index, bounds)
    return {
        **{one.part: sizes for one, sizes in zip(committed, found, strict=True)},
        **{one.part: _sampled_sizes(forecast, one) for one in segments if one.part in missing},
    }


def _sampled_sizes(forecast: "Forecast", segment: Segment) -> PartSizes:
    """Return the sizes of a segment's JPEGs: the samples' mean for each."""
    samples = forecast.samples[segment.chunk.chunk_id]
    renditions = (
        _mean_sizes([one.rendition_bytes.get(side, 0) for one in samples], segment.frame_count)
        for side in forecast.resolved.manifest.settings.jpeg.renditions
    )
    frames = _mean_sizes([one.frame_bytes for one in samples], segment.frame_count)
    return PartSizes(frames, tuple(renditions))


def _mean_sizes(sampled_bytes: Sequence[int], count: int) -> Sizes:
    mean = round(sum(sampled_bytes) / max(1, len(sampled_bytes)))
    return np.full(count if mean else 0, mean, np.int64)


def _plan_chunk(
    forecast: "Forecast",
    entry: ChunkEntry,
    sizes: Mapping[str, PartSizes],
    missing: Collection[str],
) -> PlannedChunk:
    samples = forecast.samples.get(entry.chunk_id, ())
    new = [segment for segment in entry.segments if segment.part in missing]
    width, height = entry.frame_size(forecast.resolved.manifest.settings.jpeg)
    return PlannedChunk(
        chunk_id=entry.chunk_id,
        url=entry.url,
        is_cached=not new,
        frame_count=entry.frame_count,
        frames_to_extract=sum(segment.frame_count for segment in new),
        segment_count=len(entry.segment_starts),
        segments_to_extract=len(new),
        duration_seconds=float(entry.end - entry.start),
        width=width,
        height=height,
        video_bytes=entry.size_bytes,
        jpeg_bytes=sum(int(sizes[part].frames.sum()) for part in entry.parts),
        rendition_bytes=sum(
            int(of_size.sum()) for part in entry.parts for of_size in sizes[part].renditions
        ),
        frames_sampled=len(samples),
        samples_undecodable=sum(not one.frame_bytes for one in samples),
    )
