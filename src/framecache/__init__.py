"""Extract the frames of a video timeline once, keep them in your own storage, read anywhere."""

from framecache._version import __version__
from framecache.cache import FrameCache
from framecache.errors import (
    BadChunk,
    ChunkChanged,
    Cleared,
    CorruptFrame,
    FrameCacheError,
    InvalidId,
    InvalidValue,
    LocalCacheWarning,
    NotCached,
    SettingsConflict,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    StoreWarning,
    UndecodableFrame,
)
from framecache.index import Index
from framecache.info import TimelineInfo
from framecache.model import Chunk, ExtractReport, Frame, Progress
from framecache.overlays import Overlays
from framecache.repack import RepackReport
from framecache.timeline import Timeline
from framecache.verify import Finding, VerifyReport

__all__ = [
    "BadChunk",
    "Chunk",
    "ChunkChanged",
    "Cleared",
    "CorruptFrame",
    "ExtractReport",
    "Finding",
    "Frame",
    "FrameCache",
    "FrameCacheError",
    "Index",
    "InvalidId",
    "InvalidValue",
    "LocalCacheWarning",
    "NotCached",
    "Overlays",
    "Progress",
    "RepackReport",
    "SettingsConflict",
    "StoreDenied",
    "StoreFull",
    "StoreUnavailable",
    "StoreWarning",
    "Timeline",
    "TimelineInfo",
    "UndecodableFrame",
    "VerifyReport",
    "__version__",
]
