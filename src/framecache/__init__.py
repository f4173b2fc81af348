"""Extract the frames of a video timeline once, keep them in your own storage, read anywhere."""

# Names are imported on first use. Importing all of them takes half a second, too long for a helper
# process or for a command that is interrupted as it starts.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from framecache._version import __version__
    from framecache.cache import FrameCache
    from framecache.errors import (
        ChunkChanged,
        CorruptFrame,
        FrameCacheError,
        InvalidId,
        InvalidValue,
        LocalCacheWarning,
        MissingPackage,
        NotCached,
        SettingsConflict,
        StoreFull,
        StorePermissionDenied,
        StoreUnavailable,
        StoreWarning,
        TimelineCleared,
        UndecodableFrame,
        UnreadableChunk,
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
    "Chunk",
    "ChunkChanged",
    "ChunkTiming",
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
    "MissingPackage",
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
    "StoreFull",
    "StorePermissionDenied",
    "StoreUnavailable",
    "StoreWarning",
    "Timeline",
    "TimelineCleared",
    "TimelineInfo",
    "UndecodableFrame",
    "UnreadableChunk",
    "VerifyReport",
    "WriteReport",
    "__version__",
]

_MODULES = {
    "UnreadableChunk": "framecache.errors",
    "Chunk": "framecache.model",
    "ChunkChanged": "framecache.errors",
    "ChunkTiming": "framecache.model",
    "TimelineCleared": "framecache.errors",
    "CorruptFrame": "framecache.errors",
    "ExtractPlan": "framecache.footprint",
    "ExtractReport": "framecache.model",
    "Finding": "framecache.verify",
    "Footprint": "framecache.footprint",
    "Frame": "framecache.model",
    "FrameCache": "framecache.cache",
    "FrameCacheError": "framecache.errors",
    "Index": "framecache.index",
    "InvalidId": "framecache.errors",
    "InvalidValue": "framecache.errors",
    "LocalCacheWarning": "framecache.errors",
    "MissingPackage": "framecache.errors",
    "NotCached": "framecache.errors",
    "OverlayListing": "framecache.overlays",
    "Overlays": "framecache.overlays",
    "PlannedChunk": "framecache.footprint",
    "Prices": "framecache.prices",
    "Progress": "framecache.model",
    "RepackReport": "framecache.repack",
    "Requests": "framecache.model",
    "S3_STANDARD": "framecache.prices",
    "SettingsConflict": "framecache.errors",
    "SpriteMap": "framecache.sprites",
    "SpriteSheet": "framecache.sprites",
    "Sprites": "framecache.sprites",
    "StageCounts": "framecache.overlays",
    "StorePermissionDenied": "framecache.errors",
    "StoreFull": "framecache.errors",
    "StoreUnavailable": "framecache.errors",
    "StoreWarning": "framecache.errors",
    "Timeline": "framecache.timeline",
    "TimelineInfo": "framecache.info",
    "UndecodableFrame": "framecache.errors",
    "VerifyReport": "framecache.verify",
    "WriteReport": "framecache.model",
    "__version__": "framecache._version",
}
"""Module that defines each public name."""


if not TYPE_CHECKING:  # or a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - see above

        value: object = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
