"""What the index knows of one frame."""

from dataclasses import dataclass

from framecache.model import Status


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What the index knows of one frame."""

    sequence: int
    chunk_id: int
    timestamp: float
    """Seconds on the timeline."""
    duration: float
    """Seconds it stays on screen in its video; 0.0 when unknown."""
    width: int
    height: int
    key: str
    """Where its JPEG lies in the store; empty when undecodable."""
    offset: int
    """Where in that blob the JPEG begins."""
    size: int
    """Bytes of the JPEG."""
    crc32c: int
    perceptual_hash: str
    status: Status
    pts: int = 0
    """In the time base of its video."""
    reason: str = ""
    """Why there is no picture; empty when there is one."""
    quality: int = 0
    """JPEG quality that a program asked for; 0: that of the timeline, or unknown."""
    picture_since: str = ""
    """The written part that put this picture in the place of another; empty: it is the first."""
