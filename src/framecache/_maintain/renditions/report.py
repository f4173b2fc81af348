"""Summary of adding renditions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenditionsReport:
    """Summary of adding renditions."""

    timeline_id: str
    renditions: tuple[int, ...]
    """Sizes of the renditions that the timeline has now, largest first."""
    frames_changed: int
    """Number of frames to which a rendition was added."""
    renditions_stored: int
    bytes_stored: int
    """Bytes of JPEG."""
    seconds: float
    """Wall time of the call, in seconds."""
