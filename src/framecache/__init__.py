"""Extract the frames of a video timeline once, keep them in your own storage, read anywhere."""

# Names are imported on first use. Importing all of them takes half a second, too long for a helper
# process or for a command that is interrupted as it starts.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from framecache._core.prices import S3_STANDARD, Prices
    from framecache._estimate import ExtractPlan, Footprint, PlannedChunk
    from framecache._exchange.exporting import ExportReport
    from framecache._exchange.importing import ImportReport
    from framecache._index import Index
    from framecache._interop.translation import FrameTranslation
    from framecache._interop.vlm import VlmClip
    from framecache._maintain.renditions import RenditionsReport
    from framecache._maintain.repack import RepackReport
    from framecache._maintain.verify import Finding, VerifyReport
    from framecache._overlays import OverlayListing, Overlays, StageCounts
    from framecache._read.displays import Filmstrip, FrameComparison
    from framecache._read.info import TimelineInfo
    from framecache._sprites import SpriteMap, Sprites, SpriteSheet
    from framecache._version import __version__
    from framecache.cache import FrameCache
    from framecache.errors import (
        AmbiguousFrame,
        ChunkChanged,
        ClusterUnavailable,
        CorruptFrame,
        DecoderWarning,
        FrameCacheError,
        InvalidId,
        InvalidValue,
        LateChunk,
        LocalCacheWarning,
        MissingPackage,
        NotCached,
        OutOfTime,
        SettingsConflict,
        StoreFull,
        StorePermissionDenied,
        StoreUnavailable,
        StoreWarning,
        TimelineCleared,
        UndecodableFrame,
        UnreadableChunk,
    )
    from framecache.model import (
        Chunk,
        ChunkTiming,
        ExtractReport,
        Frame,
        Progress,
        Requests,
        Scene,
        WriteReport,
    )
    from framecache.timeline import Timeline

__all__ = [
    "S3_STANDARD",
    "AmbiguousFrame",
    "Chunk",
    "ChunkChanged",
    "ChunkTiming",
    "ClusterUnavailable",
    "CorruptFrame",
    "DecoderWarning",
    "ExportReport",
    "ExtractPlan",
    "ExtractReport",
    "Filmstrip",
    "Finding",
    "Footprint",
    "Frame",
    "FrameCache",
    "FrameCacheError",
    "FrameComparison",
    "FrameTranslation",
    "ImportReport",
    "Index",
    "InvalidId",
    "InvalidValue",
    "LateChunk",
    "LocalCacheWarning",
    "MissingPackage",
    "NotCached",
    "OutOfTime",
    "OverlayListing",
    "Overlays",
    "PlannedChunk",
    "Prices",
    "Progress",
    "RenditionsReport",
    "RepackReport",
    "Requests",
    "Scene",
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
    "VlmClip",
    "WriteReport",
    "__version__",
]

_MODULES = {
    "AmbiguousFrame": "framecache.errors",
    "UnreadableChunk": "framecache.errors",
    "Chunk": "framecache.model",
    "ChunkChanged": "framecache.errors",
    "ChunkTiming": "framecache.model",
    "ClusterUnavailable": "framecache.errors",
    "TimelineCleared": "framecache.errors",
    "CorruptFrame": "framecache.errors",
    "DecoderWarning": "framecache.errors",
    "ExportReport": "framecache._exchange.exporting",
    "ExtractPlan": "framecache._estimate",
    "ExtractReport": "framecache.model",
    "Filmstrip": "framecache._read.displays",
    "Finding": "framecache._maintain.verify",
    "Footprint": "framecache._estimate",
    "Frame": "framecache.model",
    "FrameCache": "framecache.cache",
    "FrameCacheError": "framecache.errors",
    "FrameComparison": "framecache._read.displays",
    "FrameTranslation": "framecache._interop.translation",
    "ImportReport": "framecache._exchange.importing",
    "Index": "framecache._index",
    "InvalidId": "framecache.errors",
    "InvalidValue": "framecache.errors",
    "LateChunk": "framecache.errors",
    "LocalCacheWarning": "framecache.errors",
    "MissingPackage": "framecache.errors",
    "NotCached": "framecache.errors",
    "OverlayListing": "framecache._overlays",
    "OutOfTime": "framecache.errors",
    "Overlays": "framecache._overlays",
    "PlannedChunk": "framecache._estimate",
    "Prices": "framecache._core.prices",
    "Progress": "framecache.model",
    "RenditionsReport": "framecache._maintain.renditions",
    "RepackReport": "framecache._maintain.repack",
    "Requests": "framecache.model",
    "S3_STANDARD": "framecache._core.prices",
    "Scene": "framecache.model",
    "SettingsConflict": "framecache.errors",
    "SpriteMap": "framecache._sprites",
    "SpriteSheet": "framecache._sprites",
    "Sprites": "framecache._sprites",
    "StageCounts": "framecache._overlays",
    "StorePermissionDenied": "framecache.errors",
    "StoreFull": "framecache.errors",
    "StoreUnavailable": "framecache.errors",
    "StoreWarning": "framecache.errors",
    "Timeline": "framecache.timeline",
    "TimelineInfo": "framecache._read.info",
    "UndecodableFrame": "framecache.errors",
    "VerifyReport": "framecache._maintain.verify",
    "VlmClip": "framecache._interop.vlm",
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
