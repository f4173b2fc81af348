"""Position of a frame on its timeline, and its row in the index."""

from dataclasses import dataclass

from framecache._index import FrameRow
from framecache._ingest.encoded_jpeg import EncodedJpeg


@dataclass(frozen=True, slots=True)
class FramePosition:
    """Position of a frame on its timeline, known before the picture is decoded."""

    sequence: int
    chunk_id: int
    pts: int
    timestamp: float
    duration: float


def build_row(
    frame_position: FramePosition, encoded: EncodedJpeg, *, key: str, offset: int
) -> FrameRow:
    """Return the index row of a frame whose JPEG starts at byte ``offset`` of the blob ``key``."""
    return FrameRow(
        sequence=frame_position.sequence,
        chunk_id=frame_position.chunk_id,
        pts=frame_position.pts,
        timestamp=frame_position.timestamp,
        duration=frame_position.duration,
        width=encoded.width,
        height=encoded.height,
        key=key,
        offset=offset,
        size=len(encoded.data),
        crc32c=encoded.crc32c,
        perceptual_hash=encoded.perceptual_hash,
        status="ok",
    )
