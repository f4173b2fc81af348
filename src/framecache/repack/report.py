"""What a change of layout did."""

from dataclasses import dataclass

from framecache.model import Layout


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a change of layout did."""

    timeline_id: str
    layout: Layout
    """The one that the timeline has now."""
    frames_moved: int
    parts_moved: int
    bytes_moved: int
    """Bytes of JPEG."""
    blobs_removed: int
    """Frames or packs of the layout before."""
    seconds: float
    """Wall time of the call."""
