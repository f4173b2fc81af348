"""Debug overlays: named PNGs that a stage of a job drew for one frame."""

from framecache.overlays.conversion import MAX_BYTES, MAX_PIXELS, Overlay
from framecache.overlays.counts import StageCounts, count_jobs, count_stages
from framecache.overlays.listing import OverlayListing
from framecache.overlays.stage import Overlays

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
