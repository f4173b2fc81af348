"""Debug overlays: named PNGs that a stage of a job drew for one frame."""

from framecache._overlays.conversion import MAX_BYTES, MAX_PIXELS, Overlay
from framecache._overlays.counts import StageCounts, count_jobs, count_stages
from framecache._overlays.listing import OverlayListing
from framecache._overlays.stage import Overlays

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Overlay",
    "OverlayListing",
    "Overlays",
    "StageCounts",
    "count_jobs",
    "count_stages",
]
