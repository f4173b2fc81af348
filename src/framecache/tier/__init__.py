"""Fetched frames on local disk: bounded, shared by processes, and only ever a copy."""

from framecache.tier.folder import SMALLEST_LIMIT_BYTES
from framecache.tier.frames import FrameTier, StoredFrame

__all__ = ["SMALLEST_LIMIT_BYTES", "FrameTier", "StoredFrame"]
