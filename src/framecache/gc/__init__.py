"""Bounding what a cache grows to: what can go, why, and taking it away.

A plan only looks. Carrying it out looks again at whatever may have changed since, right before
it goes, and leaves alone each timeline that did. Every step can be interrupted and repeated.
"""

from framecache.gc.carry_out import GcReport, Skipped
from framecache.gc.plan import LARGEST_SHARE, Eviction, GcPlan, GcProgress, Kept, plan_gc
from framecache.gc.rules import Reason

__all__ = [
    "LARGEST_SHARE",
    "Eviction",
    "GcPlan",
    "GcProgress",
    "GcReport",
    "Kept",
    "Reason",
    "Skipped",
    "plan_gc",
]
