"""Every error framecache raises on purpose, grouped by what the caller does about it.

::

    FrameCacheError
    ├── InvalidId            (ValueError)   fix the id
    ├── InvalidValue         (ValueError)   fix the argument
    ├── NotCached            (LookupError)  extract it first, or ask for another frame
    │   └── UndecodableFrame                the source has no picture there: skip it
    ├── Cleared                             another program cleared the timeline: start again
    ├── CorruptFrame                        verify and repair: other bytes than were committed
    ├── SettingsConflict                    use the cached settings, or rebuild with new ones
    ├── BadChunk                            give another video
    │   └── ChunkChanged                    rebuild: the video is not the one described
    ├── StoreDenied                         fix credentials or permissions
    └── StoreUnavailable                    fix the address, wait, or try again
        └── StoreFull                       free some space

    StoreWarning             (UserWarning)  let one program write, or use another store
    LocalCacheWarning        (UserWarning)  give another local folder, or free some space

A message says what was met, where, and what to do next. The underlying library's error is
kept as ``__cause__`` only: it may hold addresses and server answers that must not leave
the process.
"""


class FrameCacheError(Exception):
    """Base of every error framecache raises on purpose."""


class InvalidId(FrameCacheError, ValueError):
    """A ``timeline_id``, ``job_id``, stage or overlay name that cannot be part of a key.

    Raised before any request is made.
    """


class InvalidValue(FrameCacheError, ValueError):
    """An argument out of its range: an image's shape, a quality, a rate, a store URL."""


class NotCached(FrameCacheError, LookupError):
    """The timeline or the frame is not in the cache."""


class UndecodableFrame(NotCached):
    """The frame has its number, but the decoder could not produce a picture for it."""


class Cleared(FrameCacheError):
    """The timeline was cleared or rebuilt while this program read or filled it."""


class CorruptFrame(FrameCacheError):
    """Stored bytes whose length or CRC is not the one the index committed."""


class SettingsConflict(FrameCacheError):
    """The timeline is cached with other settings, chunks or pictures than those asked for.

    Or another program is extracting it with others.
    """


class BadChunk(FrameCacheError):
    """A chunk that is missing, empty, not a video, or cannot be read as one."""


class ChunkChanged(BadChunk):
    """A chunk whose ETag or size is not the one the timeline's description names."""


class StoreDenied(FrameCacheError):
    """The store knows who is asking and refuses, or does not accept the credentials."""


class StoreUnavailable(FrameCacheError):
    """The store, bucket or folder cannot be reached, or does not exist."""


class StoreFull(StoreUnavailable):
    """The store has no room left for the blob. Nothing of it was kept."""


class StoreWarning(UserWarning):
    """The store lacks something, and what framecache makes up for it with has a limit."""


class LocalCacheWarning(UserWarning):
    """Fetched frames cannot be kept on local disk: reading goes on, and fetches each time."""
