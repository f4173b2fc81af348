"""What an extraction would do and take, told before it is begun."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from framecache.footprint import requests
from framecache.footprint.frames import Sizes, lying_as
from framecache.footprint.timeline import Footprint, first_footprint
from framecache.manifest import ChunkEntry, Settings
from framecache.model import Layout, Requests

if TYPE_CHECKING:
    # It brings FFmpeg along, which whoever only asks for a footprint need not load.
    from framecache.ingest import Foreseen


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """What an extraction would find of one chunk."""

    chunk_id: int
    url: str
    is_cached: bool
    """Whether it is committed already, and would be left alone."""
    frame_count: int
    """Frames of the timeline that it gives, undecodable ones included."""
    duration_seconds: float
    width: int
    """Of its first frame, pixels."""
    height: int
    jpeg_bytes: int
    """As stored when it is cached; else about, from the frames that were sampled."""
    frames_sampled: int
    """Frames of the chunk that were decoded and encoded to tell ``jpeg_bytes``."""
    samples_undecodable: int
    """Those of them that the decoder could not produce."""


@dataclass(frozen=True, slots=True)
class ExtractPlan:
    """What an extraction would do; nothing was stored or claimed to tell it."""

    timeline_id: str
    url: str
    """The store."""
    settings: Settings
    """Those that would count."""
    chunks: tuple[PlannedChunk, ...]
    """The chunks that were asked for."""
    bytes_to_store: int
    """Of new frames, in the layout of the settings: about."""
    requests: Requests
    """To do it now."""
    footprints: Mapping[Layout, Footprint]
    """Of all these chunks in each layout, as if they were extracted at once: about."""

    @property
    def frames_to_extract(self) -> int:
        """Frames of the chunks that are not cached."""
        return sum(chunk.frame_count for chunk in self.chunks if not chunk.is_cached)

    @property
    def frame_count(self) -> int:
        """Frames of all these chunks."""
        return sum(chunk.frame_count for chunk in self.chunks)


def extract_plan(url: str, foreseen: "Foreseen") -> ExtractPlan:
    """Sum up what an extraction found out before it stored anything."""
    description, entries = foreseen.described.description, foreseen.described.entries
    missing = set(foreseen.snapshot.missing_parts)
    sizes = {entry.part: _sizes(foreseen, entry) for entry in entries}
    new = lying_as(
        description.settings.layout, [sizes[one.part] for one in entries if one.part in missing]
    )
    return ExtractPlan(
        timeline_id=description.timeline_id,
        url=url,
        settings=description.settings,
        chunks=tuple(_planned(foreseen, entry, sizes[entry.part]) for entry in entries),
        bytes_to_store=new.stored_bytes,
        requests=requests.of_extracting(
            entries,
            current=foreseen.current,
            following=description,
            committed=set(description.parts) - missing,
            frame_puts=new.puts,
            most_index_files=foreseen.most_index_files,
        ),
        footprints={
            layout: first_footprint(
                description.timeline_id,
                replace(description.settings, layout=layout),
                entries,
                [sizes[entry.part] for entry in entries],
            )
            for layout in get_args(Layout)
        },
    )


def _sizes(foreseen: "Foreseen", entry: ChunkEntry) -> Sizes:
    """Bytes of the chunk's JPEGs: as they are committed, else all as large as the samples' mean."""
    samples = foreseen.samples.get(entry.part)
    if samples is None:
        index = foreseen.snapshot.index
        stored: Sizes = index.size[(index.chunk_id == entry.chunk_id) & index.is_ok]
        return stored
    mean = round(sum(samples) / max(1, len(samples)))
    return np.full(entry.frame_count if mean else 0, mean, np.int64)


def _planned(foreseen: "Foreseen", entry: ChunkEntry, sizes: Sizes) -> PlannedChunk:
    samples = foreseen.samples.get(entry.part, ())
    return PlannedChunk(
        chunk_id=entry.chunk_id,
        url=entry.url,
        is_cached=entry.part not in foreseen.samples,
        frame_count=entry.frame_count,
        duration_seconds=float(entry.end - entry.start),
        width=entry.frame_width(foreseen.described.description.settings.jpeg.aspect),
        height=entry.height,
        jpeg_bytes=int(sizes.sum()),
        frames_sampled=len(samples),
        samples_undecodable=samples.count(0),
    )
