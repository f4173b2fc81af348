"""Errors and the built-in classes by which programs also catch them. mypy checks this file."""

from framecache import (
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

EACH: list[type[FrameCacheError]] = [
    UnreadableChunk,
    AmbiguousFrame,
    ChunkChanged,
    ClusterUnavailable,
    TimelineCleared,
    CorruptFrame,
    InvalidId,
    InvalidValue,
    LateChunk,
    MissingPackage,
    NotCached,
    OutOfTime,
    SettingsConflict,
    StorePermissionDenied,
    StoreFull,
    StoreUnavailable,
    UndecodableFrame,
]
VALUES: list[type[ValueError]] = [InvalidId, InvalidValue]
LOOKUPS: list[type[LookupError]] = [NotCached, UndecodableFrame]
IMPORTS: list[type[ImportError]] = [MissingPackage]
OF_CHUNKS: list[type[UnreadableChunk]] = [ChunkChanged]
OF_UNAVAILABLE_STORES: list[type[StoreUnavailable]] = [StoreFull]
WARNINGS: list[type[UserWarning]] = [StoreWarning, LocalCacheWarning, DecoderWarning]
