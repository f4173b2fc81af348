"""Disk cache of fetched frames: bounded, shared by processes, and holding copies only."""

from framecache._read.disk_cache.cache import DiskCache, StoredFrame
from framecache._read.disk_cache.folder import MIN_SIZE_LIMIT_BYTES

__all__ = ["MIN_SIZE_LIMIT_BYTES", "DiskCache", "StoredFrame"]
