"""The place of a frame on its timeline, and its row in the index."""

from dataclasses import dataclass

from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a frame on its timeline, known before its picture is."""

    sequence: int
    chunk_id: int
    pts: int
    timestamp: float
    duration: float


def row_of(slot: Slot, encoded: EncodedFrame, *, key: str, offset: int) -> FrameRow:
    """The row of a frame whose JPEG lies in a blob, from a byte on."""
    return FrameRow(
        sequence=slot.sequence,
        chunk_id=slot.chunk_id,
        pts=slot.pts,
        timestamp=slot.timestamp,
        duration=slot.duration,
        width=encoded.width,
        height=encoded.height,
        key=key,
        offset=offset,
        size=len(encoded.data),
        crc32c=encoded.crc32c,
        perceptual_hash=encoded.perceptual_hash,
        status="ok",
    )
