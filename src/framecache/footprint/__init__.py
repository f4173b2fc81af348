"""What a timeline takes: bytes in its store, and requests to fill and to read it."""

from framecache.footprint.extraction import ExtractPlan, PlannedChunk, extract_plan
from framecache.footprint.timeline import Footprint, timeline_footprint

__all__ = [
    "ExtractPlan",
    "Footprint",
    "PlannedChunk",
    "extract_plan",
    "timeline_footprint",
]
