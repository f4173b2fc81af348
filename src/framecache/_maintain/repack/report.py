"""Summary of a change of layout."""

from dataclasses import dataclass

from framecache.model import Layout


@dataclass(frozen=True, slots=True)
class RepackReport:
    """Summary of a change of layout."""

    timeline_id: str
    layout: Layout
    """Layout of the timeline after the call."""
    frames_moved: int
    parts_moved: int
    bytes_moved: int
    """Bytes of JPEG."""
    blobs_removed: int
    """Number of frames or packs of the previous layout that were removed."""
    seconds: float
    """Wall time of the call, in seconds."""
