"""Deciding what a timeline is: the description that an extraction works from.

A description is agreed on before anything is decoded. What is cached is never replaced here:
other settings or chunks than the cached ones are a conflict, and the way out is a rebuild.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from framecache import keys
from framecache.errors import ChunkChanged, FrameCacheError, NotCached, SettingsConflict
from framecache.index import advance, load
from framecache.ingest.plan import ScannedChunk, place, scan_chunks, start_of
from framecache.manifest import ChunkEntry, Description, Settings, first_description
from framecache.model import Chunk
from framecache.store import Store, identify_blob

_CONCURRENT_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True)
class IdentifiedChunk:
    """A chunk as the caller names it and as its store identifies it."""

    chunk: Chunk
    url: str
    etag: str
    size_bytes: int
    start: Fraction | None

    def is_video_of(self, entry: ChunkEntry) -> bool:
        """Whether a described chunk is this video, wherever it lies."""
        return (self.etag, self.size_bytes) == (entry.etag, entry.size_bytes)

    def is_placed_as(self, entry: ChunkEntry) -> bool:
        """Whether a described chunk was given this place."""
        return self.start == (entry.start if entry.start_is_given else None)


def identify(chunks: Sequence[Chunk]) -> list[IdentifiedChunk]:
    """Ask each chunk's store for its ETag and size; one request a chunk.

    Raises:
        BadChunk: one is not there.
    """
    if not chunks:
        return []
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(chunks))) as pool:
        return list(pool.map(_identify_one, chunks))


def describe_extraction(
    store: Store, timeline_id: str, chunks: Sequence[IdentifiedChunk], settings: Settings
) -> Description:
    """The description under which exactly ``chunks`` (or a timeline they begin) are cached."""
    scan = _scan_once(chunks)

    def change(current: Description | None) -> Description:
        if current is None:
            return _first(store, timeline_id, settings, scan(0))
        _refuse_written(current)
        conflict = _conflict(current, chunks, settings)
        if conflict is None:
            return _extended(current, scan(len(current.chunks)))
        if current.chunks and load(store, current).exists:
            raise conflict
        entries = place(scan(0), after=(), by=settings.sampling)
        return current.next_epoch(settings=settings, chunks=entries)

    return advance(store, timeline_id, change)


def describe_append(
    store: Store, timeline_id: str, chunks: Sequence[IdentifiedChunk], settings: Settings
) -> Description:
    """The description of a timeline with ``chunks`` at its end, unless it has them already.

    ``settings`` count only where nothing is described yet.
    """
    scan = _scan_once(chunks)

    def change(current: Description | None) -> Description:
        if current is None:
            return _first(store, timeline_id, settings, scan(0))
        _refuse_written(current)
        known = [any(chunk.is_video_of(entry) for entry in current.chunks) for chunk in chunks]
        new = [scanned for scanned, is_known in zip(scan(0), known, strict=True) if not is_known]
        return _extended(current, new)

    return advance(store, timeline_id, change)


def describe_rebuild(
    store: Store, timeline_id: str, alter: Callable[[Settings], Settings]
) -> Description:
    """A new epoch of the described chunks, read anew, with altered settings.

    Every chunk is scanned before anything changes, so that a missing one costs nothing.

    Raises:
        NotCached: nothing is described, or only frames that a program wrote.
    """

    def change(current: Description | None) -> Description:
        if current is None or not current.chunks:
            raise NotCached(
                f"timeline {timeline_id} in {store.url} has no described chunks to rebuild from: "
                f"extract it from its videos"
            )
        settings = alter(current.settings)
        scanned = scan_chunks([_as_given(entry) for entry in current.chunks])
        entries = place(scanned, after=(), by=settings.sampling)
        return current.next_epoch(settings=settings, chunks=entries)

    return advance(store, timeline_id, change)


def _identify_one(chunk: Chunk) -> IdentifiedChunk:
    start = start_of(chunk)
    blob = identify_blob(chunk.url)
    return IdentifiedChunk(chunk, blob.url, blob.etag, blob.size_bytes, start)


def _scan_once(chunks: Sequence[IdentifiedChunk]) -> Callable[[int], list[ScannedChunk]]:
    """Scans the chunks from a position on; each at most once, however often it is called."""
    known: dict[int, ScannedChunk] = {}

    def scan(first: int) -> list[ScannedChunk]:
        wanted = range(first, len(chunks))
        new = [position for position in wanted if position not in known]
        scanned = scan_chunks([chunks[position].chunk for position in new])
        known.update(zip(new, scanned, strict=True))
        return [known[position] for position in wanted]

    return scan


def _first(
    store: Store, timeline_id: str, settings: Settings, scanned: Sequence[ScannedChunk]
) -> Description:
    if any(True for _ in store.list(keys.frames_prefix(timeline_id))):
        raise SettingsConflict(
            f"timeline {timeline_id} in {store.url} holds frames that another program stored: "
            f"clear it first, or use another timeline_id"
        )
    entries = place(scanned, after=(), by=settings.sampling)
    return first_description(timeline_id, settings, chunks=entries)


def _extended(current: Description, scanned: Sequence[ScannedChunk]) -> Description:
    if not scanned:
        return current
    new = place(scanned, after=current.chunks, by=current.settings.sampling)
    return current.next_version(chunks=(*current.chunks, *new))


def _refuse_written(current: Description) -> None:
    if current.written_parts:
        raise SettingsConflict(
            f"timeline {current.timeline_id} holds frames that a program wrote, which cannot be "
            f"mixed with chunks: clear it first, or use another timeline_id"
        )


def _conflict(
    current: Description, chunks: Sequence[IdentifiedChunk], settings: Settings
) -> FrameCacheError | None:
    """Why the described timeline is not the one asked for, or None when it is."""
    if current.settings != settings:
        return SettingsConflict(
            f"timeline {current.timeline_id} is cached with {current.settings}; asked for "
            f"{settings}: use the cached settings, or rebuild the timeline with the new ones"
        )
    for chunk, entry in zip(chunks, current.chunks, strict=False):
        if not chunk.is_video_of(entry):
            return _other_video(current, chunk, entry)
        if not chunk.is_placed_as(entry):
            return SettingsConflict(
                f"chunk {entry.chunk_id} of timeline {current.timeline_id} is cached as starting "
                f"at {float(entry.start)} s ({_placing(entry.start_is_given)}); asked for "
                f"{chunk.chunk.start_seconds!r}: clear the timeline to place it elsewhere"
            )
    return None


def _other_video(
    current: Description, chunk: IdentifiedChunk, entry: ChunkEntry
) -> FrameCacheError:
    if chunk.url == entry.url:
        return ChunkChanged(
            f"chunk {entry.chunk_id} of timeline {current.timeline_id} changed since it was "
            f"described: {entry.url} had {entry.size_bytes} bytes and ETag {entry.etag}, now "
            f"{chunk.size_bytes} bytes and ETag {chunk.etag}: rebuild the timeline"
        )
    return SettingsConflict(
        f"chunk {entry.chunk_id} of timeline {current.timeline_id} is cached from {entry.url}; "
        f"asked for {chunk.url}: clear the timeline first, or use another timeline_id"
    )


def _placing(start_is_given: bool) -> str:  # noqa: FBT001 -- private, and the word says it
    return "as given" if start_is_given else "after the chunk before it"


def _as_given(entry: ChunkEntry) -> Chunk:
    return Chunk(entry.url, float(entry.start) if entry.start_is_given else None)
