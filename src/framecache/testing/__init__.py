"""For programs that bring their own store, and for framecache's own tests. Needs pytest."""

from framecache.testing.store import StoreConformance

__all__ = ["StoreConformance"]
