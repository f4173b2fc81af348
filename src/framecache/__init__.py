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
from framecache.footprint import ExtractPlan, Footprint, PlannedChunk
from framecache.index import Index
from framecache.info import TimelineInfo
from framecache.model import (
    Chunk,
    ChunkTiming,
    ExtractReport,
    Frame,
    Progress,
    Requests,
    WriteReport,
)
from framecache.overlays import OverlayListing, Overlays, StageCounts
from framecache.prices import S3_STANDARD, Prices
from framecache.repack import RepackReport
from framecache.sprites import SpriteMap, Sprites, SpriteSheet
from framecache.timeline import Timeline
from framecache.verify import Finding, VerifyReport

__all__ = [
    "S3_STANDARD",
    "BadChunk",
    "Chunk",
    "ChunkChanged",
    "ChunkTiming",
    "Cleared",
    "CorruptFrame",
    "ExtractPlan",
    "ExtractReport",
    "Finding",
    "Footprint",
    "Frame",
    "FrameCache",
    "FrameCacheError",
    "Index",
    "InvalidId",
    "InvalidValue",
    "LocalCacheWarning",
    "NotCached",
    "OverlayListing",
    "Overlays",
    "PlannedChunk",
    "Prices",
    "Progress",
    "RepackReport",
    "Requests",
    "SettingsConflict",
    "SpriteMap",
    "SpriteSheet",
    "Sprites",
    "StageCounts",
    "StoreDenied",
    "StoreFull",
    "StoreUnavailable",
    "StoreWarning",
    "Timeline",
    "TimelineInfo",
    "UndecodableFrame",
    "VerifyReport",
    "WriteReport",
    "__version__",
]
