"""Index of one chunk in layout ``video``: rows of frames that are not stored."""

from typing import Any

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, PartBuilder
from framecache._ingest.chunk_frames import chunk_provenance
from framecache._ingest.chunk_plan import ChunkPlan
from framecache._media.video import description
from framecache._media.video.scanning import VideoScan
from framecache._read.on_demand.open_chunks import DESCRIPTION_KEY
from framecache.store import BlobFile


def index_rows(manifest: Manifest, entry: ChunkEntry, planned: ChunkPlan) -> PartBuilder:
    """Return rows of the planned frames; what decoding would tell is unknown."""
    part = PartBuilder()
    width, height = entry.frame_size(manifest.settings.jpeg)
    frames = zip(
        planned.sequences.tolist(),
        planned.pts.tolist(),
        planned.timestamps,
        planned.durations,
        strict=True,
    )
    for sequence, pts, timestamp, duration in frames:
        part.add(
            FrameRow(
                sequence=sequence,
                chunk_id=entry.chunk_id,
                pts=pts,
                timestamp=timestamp,
                duration=duration,
                width=width,
                height=height,
                key="",
                offset=0,
                size=0,
                crc32c=0,
                perceptual_hash="",
                status="unknown",
            )
        )
    return part


def describe_provenance(file: BlobFile, entry: ChunkEntry, scan: VideoScan) -> dict[str, Any]:
    """Return an index part's metadata with what reading single frames needs to know of a chunk.

    Raises:
        UnreadableChunk: the chunk cannot be opened any more.
    """
    described = description.describe_opening(file, scan=scan, name=entry.url)
    return chunk_provenance(entry) | {DESCRIPTION_KEY: description.to_document(described)}
