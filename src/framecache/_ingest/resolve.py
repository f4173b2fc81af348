"""Manifest (description) of a timeline, from which an extraction works.

The manifest is agreed on before anything is decoded. Nothing cached is replaced here: settings or
chunks that differ from the cached ones are a conflict, which a rebuild resolves.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Final

from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.frame_size import list_sides
from framecache._core.manifest import Manifest, Settings, first_manifest
from framecache._index import ManifestUpdater, current_manifest, load_snapshot_at, update_manifest
from framecache._index.lease import LeaseWatcher
from framecache._ingest.chunk_plan import place_chunks
from framecache._ingest.chunk_scans import ChunkScans, ScannedChunk, parse_start
from framecache._ingest.epochs import extraction_conflict, is_active, write_conflict
from framecache._ingest.placement import GivenStart
from framecache._ingest.trim import Trim
from framecache._layouts import LAYOUTS
from framecache._media import video
from framecache.errors import (
    ChunkChanged,
    FrameCacheError,
    NotCached,
    SettingsConflict,
    TimelineCleared,
    UnreadableChunk,
)
from framecache.model import Chunk, Layout
from framecache.store import FetchedBytes, Store, identify_blob, normalized_url

_CONCURRENT_REQUESTS: Final = 16


SettingsResolver = Callable[[Settings | None], Settings]
"""Function from the cached settings to the requested ones; unspecified settings stay as cached."""


@dataclass(frozen=True, slots=True)
class ResolvedChunk:
    """A chunk as the caller names it and as its store identifies it."""

    chunk: Chunk
    url: str
    etag: str | None
    """None if the file or object does not exist."""
    size_bytes: int
    start: GivenStart
    trim: Trim

    def is_entry(self, entry: ChunkEntry) -> bool:
        """Return True if a chunk in the manifest is the same part of a video with this URL."""
        return (self.url, self.trim) == (entry.url, Trim.of_entry(entry))

    def is_same_video(self, entry: ChunkEntry) -> bool:
        """Return whether a chunk in the manifest is this video.

        An object may have been copied. A local file's ETag is only its time and size, which another
        file may share. For a missing video only its former URL is known: its cached frames stay
        valid, and extracting the rest reports that it is missing.
        """
        if self.url == entry.url and self.etag is None:
            return True
        same_place = self.url == entry.url or not self.url.startswith("file:")
        return same_place and entry.is_version(self.etag, self.size_bytes)

    def is_same_start(self, entry: ChunkEntry, *, after: ChunkEntry | None) -> bool:
        """Return whether a chunk in the manifest was given this place, after the one before it."""
        if not isinstance(self.start, Fraction) or not entry.start_is_given:
            return self.start == entry.given_start
        if after is None or after.end != entry.start:
            return self.start == entry.start
        # A start just before that end was moved to the end. The video's time base, which defines
        # "just before", is not known here; a frame lasts at least one unit of it.
        frame = (entry.end - entry.start) / max(1, entry.source_frame_count)
        return 0 <= entry.start - self.start < frame / 2


@dataclass(frozen=True, slots=True)
class ResolvedManifest:
    """Manifest that was agreed on, and the scans made for it."""

    manifest: Manifest
    entries: tuple[ChunkEntry, ...]
    """Chunks of the manifest that were asked for."""
    scans: Mapping[str, "video.VideoScan"]
    """Scans of the chunks that had to be scanned, by URL."""
    has_leftovers: bool = False
    """True if unreferenced frames of an older epoch may be left in the store."""
    is_new: bool = False
    """True if there was no manifest before: other programs have only just been able to see it."""
    previous_epoch_watch: LeaseWatcher | None = None
    """Watch on the previous epoch, if that ended before it began and no program seemed active."""
    fetched: FetchedBytes = field(default_factory=FetchedBytes)
    """Bytes that were fetched for the scans, to be read again for decoding."""

    def scan_of(self, entry: ChunkEntry) -> "video.VideoScan | None":
        """Return the scan of a chunk's whole video; None if it was not made as the entry says."""
        scan = self.scans.get(entry.url)
        if scan is None or (scan.samples is None) != (entry.listed_from == "packets"):
            return None
        return scan


def resolve_chunks(store: Store, chunks: Sequence[Chunk]) -> list[ResolvedChunk]:
    """Fetch the ETag and size of each chunk of a cache in ``store``; one request per chunk."""
    if not chunks:
        return []
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(chunks))) as pool:
        return list(pool.map(partial(_resolve_chunk, store), chunks))


def resolve_extraction(
    store: Store,
    timeline_id: str,
    chunks: Sequence[ResolvedChunk],
    resolve_settings: SettingsResolver,
    *,
    apply_change: ManifestUpdater = update_manifest,
) -> ResolvedManifest:
    """Return the manifest that caches exactly ``chunks``, or a timeline that begins with them.

    ``apply_change`` settles on the manifest; by default it stores it.
    """
    scans = ChunkScans(store)
    asked = [chunk.chunk for chunk in chunks]
    replaced: list[Manifest] = []
    before: list[Manifest] = []
    ended: list[LeaseWatcher] = []

    def change(current: Manifest | None) -> Manifest:
        before.extend([current] if current else [])
        settings = resolve_settings(current.settings if current else None)
        if current is None:
            return _create_first_manifest(
                store, timeline_id, settings, scans.get(asked, tables_for=settings)
            )
        _reject_written_frames(current)
        conflict = _find_conflict(current, chunks, settings)
        if conflict is None and current.chunks:
            new = asked[len(current.chunks) :]
            return _append_chunks(current, scans.get(new, tables_for=settings))
        if conflict is not None and current.chunks and load_snapshot_at(store, current).exists:
            raise conflict
        # Scanning takes long. Looking afterwards detects programs that started in the meantime.
        scanned = scans.get([] if current.begun else asked, tables_for=settings)
        ended[:] = [_ensure_inactive(store, current, chunks, settings)]
        replaced.append(current)
        if conflict is None:
            return _append_chunks(current, scanned)
        entries = place_chunks(scanned, after=(), settings=settings)
        return current.next_epoch(settings=settings, chunks=entries)

    description = apply_change(store, timeline_id, change)
    entries = description.chunks[: len(chunks)]
    return ResolvedManifest(
        description,
        entries,
        scans.by_url,
        has_leftovers=bool(replaced),
        is_new=not before,
        previous_epoch_watch=ended[0] if ended else None,
        fetched=scans.fetched,
    )


def resolve_append(
    store: Store,
    timeline_id: str,
    chunks: Sequence[ResolvedChunk],
    settings: Settings,
    *,
    apply_change: ManifestUpdater = update_manifest,
    before_read: Callable[[], None] | None = None,
) -> ResolvedManifest:
    """Return the manifest of a timeline with ``chunks`` at its end, unless it has them already.

    ``settings`` apply only if there is no manifest yet. ``apply_change`` settles on the manifest;
    by default it stores it. ``before_read`` is called before each read of a chunk; an error that it
    raises is raised here, and nothing has changed.
    """
    scans = ChunkScans(store, before_read=before_read)
    asked = [chunk.chunk for chunk in chunks]
    before: list[Manifest] = []

    def change(current: Manifest | None) -> Manifest:
        before.extend([current] if current else [])
        if current is None:
            return _create_first_manifest(
                store, timeline_id, settings, scans.get(asked, tables_for=settings)
            )
        _reject_written_frames(current)
        if not current.chunks:
            _ensure_inactive(store, current, chunks, settings)
        _reject_changed_chunks(current, chunks)
        new = [
            chunk.chunk
            for chunk in chunks
            if not any(chunk.is_entry(entry) for entry in current.chunks)
        ]
        return _append_chunks(current, scans.get(new, tables_for=current.settings))

    description = apply_change(store, timeline_id, change)
    entries = tuple(
        entry for entry in description.chunks if any(chunk.is_entry(entry) for chunk in chunks)
    )
    return ResolvedManifest(
        description, entries, scans.by_url, is_new=not before, fetched=scans.fetched
    )


def resolve_rebuild(
    store: Store, timeline_id: str, alter: Callable[[Settings], Settings]
) -> ResolvedManifest:
    """Create a new epoch with the chunks of the manifest, scanned again, and altered settings.

    Every chunk is scanned before anything changes, so a missing chunk has no side effects.

    Raises:
        NotCached: there is no manifest, or it has only frames that a program wrote.
    """
    scans = ChunkScans(store)

    def change(current: Manifest | None) -> Manifest:
        if current is None or not current.chunks:
            raise NotCached(
                f"timeline {timeline_id} in {store.display_name} has no chunks to rebuild from: "
                "extract it from its videos"
            )
        settings = alter(current.settings)
        chunks = [_to_chunk(entry) for entry in current.chunks]
        # Where no frame is stored, none was checked against the tables.
        is_checked = LAYOUTS[current.settings.layout].stores_frames
        scanned = scans.get(chunks, tables_for=settings if is_checked else None)
        entries = place_chunks(scanned, after=(), settings=settings)
        return current.next_epoch(settings=settings, chunks=entries)

    manifest = update_manifest(store, timeline_id, change)
    return ResolvedManifest(
        manifest, manifest.chunks, scans.by_url, has_leftovers=True, fetched=scans.fetched
    )


def resolve_replan(
    store: Store,
    contradicted: Manifest,
    *,
    apply_change: ManifestUpdater = update_manifest,
    before_read: Callable[[], None] | None = None,
) -> ResolvedManifest:
    """Create a new epoch with the same chunks and settings, planned from all packets.

    A video of the epoch contradicts the sample tables by which it was planned, so the numbers of
    the epoch are in doubt. If another program has done the same, its epoch is used.
    ``apply_change`` and ``before_read`` are as for `resolve_append`.

    Raises:
        TimelineCleared: another program changed the timeline otherwise.
    """
    scans = ChunkScans(store, before_read=before_read)

    def change(current: Manifest | None) -> Manifest:
        if current is not None and current.epoch == contradicted.epoch:
            scanned = scans.get([*map(_to_chunk, current.chunks)], tables_for=None)
            entries = place_chunks(scanned, after=(), settings=current.settings)
            return current.next_epoch(chunks=entries)
        if current is None or not _is_replanned(current, contradicted):
            raise TimelineCleared(
                f"timeline {contradicted.timeline_id} was changed by another program while it was "
                "extracted: extract it again"
            )
        return current

    manifest = apply_change(store, contradicted.timeline_id, change)
    return ResolvedManifest(
        manifest,
        manifest.chunks,
        scans.by_url,
        has_leftovers=True,
        fetched=scans.fetched,
    )


def _is_replanned(current: Manifest, contradicted: Manifest) -> bool:
    """Return True if a manifest has the chunks and settings of another, without sample tables."""
    chunks = current.chunks[: len(contradicted.chunks)]
    return (
        current.settings == contradicted.settings
        and [_to_chunk(entry) for entry in chunks]
        == [_to_chunk(entry) for entry in contradicted.chunks]
        and all(entry.listed_from == "packets" for entry in current.chunks)
    )


def reject_unindexed_frames(store: Store, timeline_id: str) -> None:
    """Refuse to create a manifest where another program stored frames without one.

    Raises:
        SettingsConflict: there are such frames.
    """
    names = (blob.key for blob in store.list(keys.frames_prefix(timeline_id)))
    is_filled = any(keys.parse_frame(timeline_id, name) is not None for name in names)
    # A manifest precedes its frames: if there is one now, the frames found belong to it, and
    # storing this manifest detects that.
    if is_filled and current_manifest(store, timeline_id) is None:
        raise SettingsConflict(
            f"timeline {timeline_id} in {store.display_name} holds frames that another program "
            "stored: clear it first, or use another timeline_id"
        )


def layout_conflict(current: Manifest, asked: Layout) -> SettingsConflict:
    """Return the error for frames cached in another layout than the one asked for."""
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached in layout {current.settings.layout}; asked for "
        f"{asked}: use the cached layout, or repack the timeline, which keeps the frames: "
        f"framecache repack {current.timeline_id} --layout {asked}"
    )


def _settings_conflict(current: Manifest, asked: Settings) -> SettingsConflict:
    """Return the error for frames cached with different settings from those asked for."""
    cached = current.settings
    if cached == replace(asked, layout=cached.layout):
        return layout_conflict(current, asked.layout)
    if cached.has_same_frames(asked):
        return _renditions_conflict(current, asked.jpeg.renditions)
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached with {cached.describe(asked)}; asked for "
        f"{asked.describe(cached)}: use the cached settings, or rebuild the timeline with the new "
        "ones"
    )


def _renditions_conflict(current: Manifest, asked: Sequence[int]) -> SettingsConflict:
    """Return the error for frames cached with different renditions from those asked for."""
    cached = current.settings.jpeg.renditions
    new = [str(side) for side in asked if side not in cached]
    remedy = (
        f"add them, which keeps the frames: framecache renditions {current.timeline_id} "
        f"{' '.join(new)}"
        if {*cached} <= {*asked}
        else "rebuild the timeline with the new ones"
    )
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached with {_list_renditions(cached)}; asked for "
        f"{_list_renditions(asked)}: leave renditions out to keep those it has, or {remedy}"
    )


def _list_renditions(sides: Sequence[int]) -> str:
    return f"renditions {list_sides(sides)}" if sides else "no renditions"


def _resolve_chunk(store: Store, chunk: Chunk) -> ResolvedChunk:
    start, trim = parse_start(chunk), Trim.of_chunk(chunk)
    try:
        blob = identify_blob(chunk.url, options=store.options)
    except UnreadableChunk:
        return ResolvedChunk(chunk, normalized_url(chunk.url), None, 0, start, trim)
    return ResolvedChunk(chunk, blob.url, blob.etag, blob.size_bytes, start, trim)


def _create_first_manifest(
    store: Store, timeline_id: str, settings: Settings, scanned: Sequence[ScannedChunk]
) -> Manifest:
    reject_unindexed_frames(store, timeline_id)
    entries = place_chunks(scanned, after=(), settings=settings)
    return first_manifest(timeline_id, settings, chunks=entries)


def _append_chunks(current: Manifest, scanned: Sequence[ScannedChunk]) -> Manifest:
    if not scanned:
        return current
    new = place_chunks(scanned, after=current.chunks, settings=current.settings)
    return current.next_version(chunks=(*current.chunks, *new))


def _reject_written_frames(current: Manifest) -> None:
    if current.written_parts:
        raise SettingsConflict(
            f"timeline {current.timeline_id} holds frames that a program wrote, which cannot be "
            f"mixed with chunks: clear it first, or use another timeline_id"
        )


def _ensure_inactive(
    store: Store, current: Manifest, chunks: Sequence[ResolvedChunk], settings: Settings
) -> LeaseWatcher:
    """Refuse to end an epoch that has begun or in which another program is active."""
    watch = LeaseWatcher(store, current)
    if not current.begun and not is_active(store, current, watch):
        return watch
    if not current.chunks:
        raise write_conflict(current)
    raise extraction_conflict(current, settings, [chunk.url for chunk in chunks])


def _reject_changed_chunks(current: Manifest, chunks: Sequence[ResolvedChunk]) -> None:
    for entry in current.chunks:
        for chunk in chunks:
            if chunk.url == entry.url and not chunk.is_same_video(entry):
                raise _video_conflict(current, chunk, entry)


def _find_conflict(
    current: Manifest, chunks: Sequence[ResolvedChunk], settings: Settings
) -> FrameCacheError | None:
    """Return the reason why the manifest does not match the request, or None if it does."""
    if current.settings != settings:
        return _settings_conflict(current, settings)
    befores = (None, *current.chunks)
    for chunk, entry, before in zip(chunks, current.chunks, befores, strict=False):
        if not chunk.is_same_video(entry):
            return _video_conflict(current, chunk, entry)
        if chunk.trim != (cached := Trim.of_entry(entry)):
            return SettingsConflict(
                f"chunk {entry.chunk_id} of timeline {current.timeline_id} is cached {cached}; "
                f"asked for {chunk.trim}: clear the timeline to take another part of {entry.url}"
            )
        if not chunk.is_same_start(entry, after=before):
            return SettingsConflict(
                f"chunk {entry.chunk_id} of timeline {current.timeline_id} is cached as starting "
                f"at {float(entry.start)} s ({_describe_start(entry.start_is_given)}); asked for "
                f"{chunk.chunk.start_seconds!r}: clear the timeline to place it elsewhere"
            )
    return None


def _video_conflict(current: Manifest, chunk: ResolvedChunk, entry: ChunkEntry) -> FrameCacheError:
    if chunk.url == entry.url:
        return ChunkChanged(
            f"chunk {entry.chunk_id} of timeline {current.timeline_id} changed since it was "
            f"extracted: {entry.url} had {entry.size_bytes} bytes and ETag {entry.etag}, now "
            f"{chunk.size_bytes} bytes and ETag {chunk.etag}: rebuild the timeline"
        )
    return SettingsConflict(
        f"chunk {entry.chunk_id} of timeline {current.timeline_id} is cached from {entry.url}; "
        f"asked for {chunk.url}: clear the timeline first, or use another timeline_id"
    )


def _describe_start(start_is_given: bool) -> str:  # noqa: FBT001 -- private, and the word says it
    return "as given" if start_is_given else "after the previous chunk"


def _to_chunk(entry: ChunkEntry) -> Chunk:
    return Chunk(entry.url, entry.given_start, entry.trim_start, entry.trim_stop)
