"""Deciding what a timeline is: the description that an extraction works from.

A description is agreed on before anything is decoded. What is cached is never replaced here:
other settings or chunks than the cached ones are a conflict, and the way out is a rebuild.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from framecache import keys
from framecache.claims import Watch
from framecache.errors import BadChunk, ChunkChanged, FrameCacheError, NotCached, SettingsConflict
from framecache.index import Advance, advance, current_description, load
from framecache.ingest.epochs import being_extracted, being_written, is_at_work
from framecache.ingest.placement import GivenStart
from framecache.ingest.plan import ScannedChunk, place, scan_chunks, start_of
from framecache.manifest import ChunkEntry, Description, Settings, first_description
from framecache.model import Chunk, Layout
from framecache.store import Store, identify_blob, normalised_url
from framecache.video import VideoScan

_CONCURRENT_REQUESTS: Final = 16


Choose = Callable[[Settings | None], Settings]
"""The settings asked for, given those that are cached: what was not asked for stays as it is."""


@dataclass(frozen=True, slots=True)
class IdentifiedChunk:
    """A chunk as the caller names it and as its store identifies it."""

    chunk: Chunk
    url: str
    etag: str | None
    """None when there is no such file or object."""
    size_bytes: int
    start: GivenStart

    def is_video_of(self, entry: ChunkEntry) -> bool:
        """Whether a described chunk is this video.

        An object may have been copied; a local file's ETag is only its time and size, which
        another file may share. Of a video that is gone nothing is known but where it was: what
        is cached of it stays valid, and extracting the rest says that it is gone.
        """
        if self.url == entry.url and self.etag is None:
            return True
        same_place = self.url == entry.url or not self.url.startswith("file:")
        return same_place and (self.etag, self.size_bytes) == (entry.etag, entry.size_bytes)

    def is_placed_as(self, entry: ChunkEntry, *, after: ChunkEntry | None) -> bool:
        """Whether a described chunk was given this place, after the one before it."""
        if not isinstance(self.start, Fraction) or not entry.start_is_given:
            return self.start == entry.given_start
        if after is None or after.end != entry.start:
            return self.start == entry.start
        # A start just before that end was taken as the end. Its video's time base, which says how
        # close that is, is not known here; a frame lasts at least one unit of it.
        frame = (entry.end - entry.start) / max(1, entry.source_frame_count)
        return 0 <= entry.start - self.start < frame / 2


@dataclass(frozen=True, slots=True)
class Described:
    """What was agreed on, and what was read of the videos on the way."""

    description: Description
    entries: tuple[ChunkEntry, ...]
    """Its chunks that were asked for."""
    scans: Mapping[str, VideoScan]
    """By URL: the chunks that had to be scanned."""
    replaces_leftovers: bool = False
    """Whether frames of an older epoch may lie about that nothing names."""
    is_new: bool = False
    """Whether nothing was described before: others can have learned of it only just now."""
    ended: Watch | None = None
    """Of the epoch before, if it was ended before it was begun; nobody seemed to work in it."""


def identify(chunks: Sequence[Chunk]) -> list[IdentifiedChunk]:
    """Ask each chunk's store for its ETag and size; one request a chunk."""
    if not chunks:
        return []
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(chunks))) as pool:
        return list(pool.map(_identify_one, chunks))


def describe_extraction(
    store: Store,
    timeline_id: str,
    chunks: Sequence[IdentifiedChunk],
    choose: Choose,
    *,
    agree: Advance = advance,
) -> Described:
    """The description under which exactly ``chunks`` (or a timeline they begin) are cached.

    ``agree`` settles on it: by storing it, unless told otherwise.
    """
    scans = _Scans([chunk.chunk for chunk in chunks])
    replaced: list[Description] = []
    before: list[Description] = []
    ended: list[Watch] = []

    def change(current: Description | None) -> Description:
        before.extend([current] if current else [])
        settings = choose(current.settings if current else None)
        if current is None:
            return _first(store, timeline_id, settings, scans.of(range(len(chunks))))
        _refuse_written(current)
        conflict = _conflict(current, chunks, settings)
        if conflict is None and current.chunks:
            return _extended(current, scans.of(range(len(current.chunks), len(chunks))))
        if conflict is not None and current.chunks and load(store, current).exists:
            raise conflict
        # Scanning takes long: programs that begin to work meanwhile are seen after it.
        scanned = scans.of(range(len(chunks)) if not current.begun else ())
        ended[:] = [_ensure_abandoned(store, current, chunks, settings)]
        replaced.append(current)
        if conflict is None:
            return _extended(current, scanned)
        entries = place(scanned, after=(), by=settings.sampling)
        return current.next_epoch(settings=settings, chunks=entries)

    description = agree(store, timeline_id, change)
    entries = description.chunks[: len(chunks)]
    return Described(
        description,
        entries,
        scans.by_url,
        replaces_leftovers=bool(replaced),
        is_new=not before,
        ended=ended[0] if ended else None,
    )


def describe_append(
    store: Store,
    timeline_id: str,
    chunks: Sequence[IdentifiedChunk],
    settings: Settings,
    *,
    agree: Advance = advance,
) -> Described:
    """The description of a timeline with ``chunks`` at its end, unless it has them already.

    ``settings`` count only where nothing is described yet. ``agree`` settles on the description:
    by storing it, unless told otherwise.
    """
    scans = _Scans([chunk.chunk for chunk in chunks])
    before: list[Description] = []

    def change(current: Description | None) -> Description:
        before.extend([current] if current else [])
        if current is None:
            return _first(store, timeline_id, settings, scans.of(range(len(chunks))))
        _refuse_written(current)
        if not current.chunks:
            _ensure_abandoned(store, current, chunks, settings)
        _refuse_changed(current, chunks)
        new = [
            position
            for position, chunk in enumerate(chunks)
            if not any(chunk.url == entry.url for entry in current.chunks)
        ]
        return _extended(current, scans.of(new))

    description = agree(store, timeline_id, change)
    urls = {chunk.url for chunk in chunks}
    entries = tuple(entry for entry in description.chunks if entry.url in urls)
    return Described(description, entries, scans.by_url, is_new=not before)


def describe_rebuild(
    store: Store, timeline_id: str, alter: Callable[[Settings], Settings]
) -> Described:
    """A new epoch of the described chunks, read anew, with altered settings.

    Every chunk is scanned before anything changes, so that a missing one costs nothing.

    Raises:
        NotCached: nothing is described, or only frames that a program wrote.
    """
    scans: dict[str, VideoScan] = {}

    def change(current: Description | None) -> Description:
        if current is None or not current.chunks:
            raise NotCached(
                f"timeline {timeline_id} in {store.url} has no described chunks to rebuild from: "
                f"extract it from its videos"
            )
        settings = alter(current.settings)
        scanned = scan_chunks([_as_given(entry) for entry in current.chunks])
        scans.update({chunk.url: chunk.scan for chunk in scanned})
        entries = place(scanned, after=(), by=settings.sampling)
        return current.next_epoch(settings=settings, chunks=entries)

    description = advance(store, timeline_id, change)
    return Described(description, description.chunks, scans, replaces_leftovers=True)


def refuse_strewn(store: Store, timeline_id: str) -> None:
    """Refuse to describe a timeline where frames lie that nobody described.

    Raises:
        SettingsConflict: there are some.
    """
    names = (blob.key for blob in store.list(keys.frames_prefix(timeline_id)))
    is_filled = any(keys.parse_frame(timeline_id, name) is not None for name in names)
    # A description comes before its frames: with one by now, they are not another program's,
    # and storing this description will find that out.
    if is_filled and current_description(store, timeline_id) is None:
        raise SettingsConflict(
            f"timeline {timeline_id} in {store.url} holds frames that another program stored: "
            f"clear it first, or use another timeline_id"
        )


def other_layout(current: Description, asked: Layout) -> SettingsConflict:
    """What to say when frames are cached in another layout than the one asked for."""
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached in layout {current.settings.layout}; asked for "
        f"{asked}: run 'framecache repack {current.timeline_id} --layout {asked}', which keeps "
        f"the frames"
    )


def _identify_one(chunk: Chunk) -> IdentifiedChunk:
    start = start_of(chunk)
    try:
        blob = identify_blob(chunk.url)
    except BadChunk:
        return IdentifiedChunk(chunk, normalised_url(chunk.url), None, 0, start)
    return IdentifiedChunk(chunk, blob.url, blob.etag, blob.size_bytes, start)


class _Scans:
    """Scans chunks when they are first asked for, and once."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self._known: dict[int, ScannedChunk] = {}

    @property
    def by_url(self) -> dict[str, VideoScan]:
        return {scanned.url: scanned.scan for scanned in self._known.values()}

    def of(self, positions: Iterable[int]) -> list[ScannedChunk]:
        """The scans of the chunks at these positions."""
        wanted = list(positions)
        new = [position for position in wanted if position not in self._known]
        scanned = scan_chunks([self._chunks[position] for position in new])
        self._known.update(zip(new, scanned, strict=True))
        return [self._known[position] for position in wanted]


def _first(
    store: Store, timeline_id: str, settings: Settings, scanned: Sequence[ScannedChunk]
) -> Description:
    refuse_strewn(store, timeline_id)
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


def _ensure_abandoned(
    store: Store, current: Description, chunks: Sequence[IdentifiedChunk], settings: Settings
) -> Watch:
    """Refuse to end an epoch that is begun, or in which another program works."""
    watch = Watch(store, current)
    if not current.begun and not is_at_work(store, current, watch):
        return watch
    if not current.chunks:
        raise being_written(current)
    raise being_extracted(current, settings, [chunk.url for chunk in chunks])


def _refuse_changed(current: Description, chunks: Sequence[IdentifiedChunk]) -> None:
    for entry in current.chunks:
        for chunk in chunks:
            if chunk.url == entry.url and not chunk.is_video_of(entry):
                raise _other_video(current, chunk, entry)


def _conflict(
    current: Description, chunks: Sequence[IdentifiedChunk], settings: Settings
) -> FrameCacheError | None:
    """Why the described timeline is not the one asked for, or None when it is."""
    if current.settings == replace(settings, layout=current.settings.layout) != settings:
        return other_layout(current, settings.layout)
    if current.settings != settings:
        return SettingsConflict(
            f"timeline {current.timeline_id} is cached with {current.settings}; asked for "
            f"{settings}: use the cached settings, or rebuild the timeline with the new ones"
        )
    befores = (None, *current.chunks)
    for chunk, entry, before in zip(chunks, current.chunks, befores, strict=False):
        if not chunk.is_video_of(entry):
            return _other_video(current, chunk, entry)
        if not chunk.is_placed_as(entry, after=before):
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
    return Chunk(entry.url, entry.given_start)
