"""Footprint of a timeline: bytes in its store, and requests to fill and read it."""

from framecache._estimate.extraction import ExtractPlan, PlannedChunk, plan_extraction
from framecache._estimate.timeline import Footprint, timeline_footprint

__all__ = [
    "ExtractPlan",
    "Footprint",
    "PlannedChunk",
    "plan_extraction",
    "timeline_footprint",
]
