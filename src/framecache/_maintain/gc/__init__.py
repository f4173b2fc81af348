"""Garbage collection: find what can be deleted and why, and delete it.

Planning only reads. Executing a plan checks again, right before each deletion, what may have
changed since, and skips every timeline that did. Every step can be interrupted and repeated.
"""

from framecache._maintain.gc.execute import GcReport, SkippedTimeline
from framecache._maintain.gc.plan import (
    DEFAULT_MAX_SHARE,
    Eviction,
    GcPlan,
    GcProgress,
    KeptTimeline,
    plan_gc,
)
from framecache._maintain.gc.rules import Reason

__all__ = [
    "DEFAULT_MAX_SHARE",
    "Eviction",
    "GcPlan",
    "GcProgress",
    "GcReport",
    "KeptTimeline",
    "Reason",
    "SkippedTimeline",
    "plan_gc",
]
