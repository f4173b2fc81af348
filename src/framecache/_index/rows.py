"""Row of the index: the metadata of one frame."""

from dataclasses import dataclass

from framecache.model import RenditionOrigin, Status


@dataclass(frozen=True, slots=True)
class Rendition:
    """Smaller copy of a frame that is stored with it."""

    max_side: int
    """Maximum width and height; the longer side is scaled to it."""
    key: str
    """Key of the blob with its JPEG."""
    offset: int
    """Byte offset of the JPEG in that blob."""
    size: int
    """Size of the JPEG in bytes."""
    crc32c: int
    origin: RenditionOrigin
    """Source from which it was made, and is made again if it is damaged."""


@dataclass(frozen=True, slots=True)
class FrameRow:
    """Row of the index: the metadata of one frame."""

    sequence: int
    chunk_id: int
    timestamp: float
    """Seconds on the timeline."""
    duration: float
    """Seconds it stays on screen in its video; 0.0 if unknown."""
    width: int
    height: int
    key: str
    """Key of the blob with its JPEG; empty if there is none."""
    offset: int
    """Byte offset of the JPEG in that blob."""
    size: int
    """Size of the JPEG in bytes; 0 if there is none."""
    crc32c: int
    perceptual_hash: str
    status: Status
    pts: int = 0
    """Presentation timestamp in the time base of its video."""
    reason: str = ""
    """Reason why there is no picture; empty if there is one."""
    quality: int = 0
    """JPEG quality that a program requested; 0: that of the timeline, or unknown."""
    picture_since: str = ""
    """Written part in which this picture replaced another; empty: it is the first."""
    renditions: tuple[Rendition, ...] = ()
    """Renditions of the frame, largest first."""

    @property
    def stored_bytes(self) -> int:
        """Size of its JPEG and its renditions."""
        return self.size + sum(one.size for one in self.renditions)

    @property
    def is_decoded_on_demand(self) -> bool:
        """True if no JPEG of the frame is stored, so that reading it decodes its chunk."""
        return self.status == "unknown"
