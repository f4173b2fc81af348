"""A frame on its way into the store: its position, its JPEG, and its row in the index."""

from dataclasses import dataclass

import google_crc32c

from framecache._index import FrameRow


@dataclass(frozen=True, slots=True)
class FramePosition:
    """Position of a frame on its timeline, known before the picture is decoded."""

    sequence: int
    chunk_id: int
    pts: int
    timestamp: float
    duration: float


@dataclass(frozen=True, slots=True, eq=False)
class EncodedJpeg:
    """JPEG of a frame, and its values in the index."""

    data: bytes
    width: int
    height: int
    crc32c: int
    perceptual_hash: str

    def is_same_jpeg(self, data: bytes) -> bool:
        """Return whether `data` is this JPEG, by its CRC-32C."""
        crc32c: int = google_crc32c.value(data)
        return crc32c == self.crc32c


def identity(encoded: EncodedJpeg) -> EncodedJpeg:
    """Return the encoded frame unchanged, where a function is required."""
    return encoded


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
