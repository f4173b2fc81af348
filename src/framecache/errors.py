"""Errors that framecache raises on purpose, grouped by how the caller should react.

::

    FrameCacheError
    ├── InvalidId            (ValueError)   fix the id
    ├── InvalidValue         (ValueError)   fix the argument
    ├── NotCached            (LookupError)  extract it first, or ask for another frame
    │   └── UndecodableFrame                the source has no picture there: skip it
    ├── TimelineCleared                     another program cleared the timeline: start again
    ├── CorruptFrame                        verify and repair: the stored bytes have changed
    ├── SettingsConflict                    use the cached settings, or rebuild with new ones
    ├── AmbiguousFrame                      name the chunk, or give a time instead of a number
    ├── LateChunk                           leave it out, or rebuild the timeline with it
    ├── OutOfTime                           call again: it continues where it stopped
    ├── UnreadableChunk                     give another video
    │   └── ChunkChanged                    rebuild: the video is not the manifest's
    ├── StorePermissionDenied               fix credentials or permissions
    ├── StoreUnavailable                    fix the address, wait, or try again
    │   └── StoreFull                       free some space
    ├── ClusterUnavailable                  fix the address, wait, or try again
    └── MissingPackage       (ImportError)  install it

    StoreWarning             (UserWarning)  let one program write, or use another store
    LocalCacheWarning        (UserWarning)  give another local folder, or free some space
    DecoderWarning           (UserWarning)  repack, or install the versions of the extraction

A message says what is wrong, where, and what to do next. The underlying library's error is kept
only as ``__cause__``: it may contain addresses and server responses that must not leave the
process.
"""


class FrameCacheError(Exception):
    """Base class of all errors that framecache raises on purpose."""


class InvalidId(FrameCacheError, ValueError):
    """Invalid ``timeline_id``, ``job_id``, stage or overlay name: it cannot be part of a key.

    Raised before any request is made.
    """


class InvalidValue(FrameCacheError, ValueError):
    """Invalid argument, such as an image's shape, a quality, a rate or a store URL."""


class MissingPackage(FrameCacheError, ImportError):
    """Package that the call needs and that framecache does not install by itself."""


class NotCached(FrameCacheError, LookupError):
    """Timeline or frame that is not in the cache."""


class UndecodableFrame(NotCached):
    """Frame that has a sequence number but no picture, because it could not be decoded."""


class AmbiguousFrame(FrameCacheError):
    """Frame number or time that does not identify exactly one frame, as far as is recorded."""


class TimelineCleared(FrameCacheError):
    """Timeline that was cleared or rebuilt while this program read or filled it."""


class CorruptFrame(FrameCacheError):
    """Stored bytes whose length or CRC differs from the committed one."""


class SettingsConflict(FrameCacheError):
    """Timeline whose settings, chunks or pictures differ from the requested ones.

    It is cached with them, or another program is extracting it with them.
    """


class LateChunk(FrameCacheError):
    """Chunk that arrived after a later chunk of its timeline had been appended.

    Appending it would give it a place after that chunk, so it is not appended.
    """


class OutOfTime(FrameCacheError):
    """Work that was stopped before the time of its caller ran out. What was committed stays."""


class UnreadableChunk(FrameCacheError):
    """Chunk that is missing, empty, not a video, or cannot be read as one."""


class ChunkChanged(UnreadableChunk):
    """Chunk whose ETag or size differs from the one in the timeline's manifest."""


class StorePermissionDenied(FrameCacheError):
    """Store that denies access, or does not accept the credentials."""


class StoreUnavailable(FrameCacheError):
    """Store, bucket or folder that cannot be reached or does not exist."""


class StoreFull(StoreUnavailable):
    """Store without enough space for the blob. No part of the blob was kept."""


class ClusterUnavailable(FrameCacheError):
    """Ray cluster that cannot be reached, or whose workers died too often."""


class StoreWarning(UserWarning):
    """Store that lacks a feature which framecache can replace only within limits."""


class DecoderWarning(UserWarning):
    """Timeline of layout ``video`` that other versions of FFmpeg or the JPEG encoder described."""


class LocalCacheWarning(UserWarning):
    """Disk cache that cannot be used: reading continues, and fetches each frame every time."""
