"""Chunks that are open for reading single frames: their descriptions and idle decoders."""

import warnings
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from framecache._core.chunk_entry import ChunkEntry, ListedFrom
from framecache._core.manifest import Manifest
from framecache._core.threads import PerProcess
from framecache._index import Index, Snapshot, fetch_blob
from framecache._media import jpeg, video
from framecache._read.on_demand.picture_cache import Identity, identity_of
from framecache.errors import CorruptFrame, DecoderWarning
from framecache.store import BlobFile, BlobMissing, KnownBlob, StorageOptions, Store

if TYPE_CHECKING:
    from framecache._media.video.description import VideoDescription
    from framecache._media.video.frame_decoder import FrameDecoder

DESCRIPTION_KEY: Final = "video"
"""Name of the description of a chunk's video in the provenance of its index part."""

_MAX_CHUNKS: Final = 32
"""Chunks of all timelines whose descriptions, and bytes for opening them, are kept."""
_MAX_IDLE_DECODERS: Final = 8
"""Decoders of all timelines that are kept open; each holds up to some 20 pictures."""
_LOCKS: Final = 64
_MIN_PTS: Final = -(2**63)
_MAX_PTS: Final = 2**63 - 1

_Key = tuple[Identity, ListedFrom, StorageOptions]
"""Chunk, what its frames were listed from, and how its store is accessed."""


class OpenChunk:
    """A chunk whose description is known. Safe to share between threads."""

    def __init__(self, key: _Key, entry: ChunkEntry, described: "VideoDescription") -> None:
        self.key = key
        self.entry = entry
        self.scan = described.scan
        self._entries = described.scan.pts[described.scan.is_random_access].tolist()
        self._opening_ranges = described.opening_ranges
        self._locks = tuple(Lock() for _ in range(_LOCKS))
        (url, etag, size_bytes), _, options = key
        self._blob = KnownBlob(url, etag=etag, size_bytes=size_bytes, options=options)

    def entry_of(self, pts: int) -> int:
        """Return the number of the random-access point before a frame, from 1; 0 if none is."""
        return bisect_right(self._entries, pts)

    def bounds_of(self, number: int) -> tuple[int, int]:
        """Return the times from and before which frames come after that random-access point."""
        first = self._entries[number - 1] if number else _MIN_PTS
        return first, self._entries[number] if number < len(self._entries) else _MAX_PTS

    def lock_of(self, pts: int) -> Lock:
        """Return the lock that is held while frames after the same random-access point decode."""
        return self._locks[self.entry_of(pts) % _LOCKS]

    def create_decoder(self) -> "ChunkDecoder":
        """Open the chunk for another thread."""
        self._blob.pin(self._opening_ranges)
        return ChunkDecoder(self, self._blob.open())


class ChunkDecoder:
    """Decoder of a chunk and the file that it reads; used by one thread at a time."""

    def __init__(self, chunk: OpenChunk, file: BlobFile) -> None:
        from framecache._media.video.frame_decoder import FrameDecoder  # noqa: PLC0415 -- PyAV

        self.chunk = chunk
        self._file = file
        self.frames: FrameDecoder = FrameDecoder(
            file, chunk.scan, name=chunk.entry.url, listed_from=chunk.entry.listed_from
        )

    def close(self) -> None:
        """Close the decoder and its file."""
        self.frames.close()
        self._file.close()


class ChunkPool:
    """Open chunks and idle decoders of one process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._describing = tuple(Lock() for _ in range(_LOCKS))
        self._chunks: OrderedDict[_Key, OpenChunk] = OrderedDict()
        self._idle: list[ChunkDecoder] = []
        """From least to most recently used."""

    def open(self, store: Store, snapshot: Snapshot, entry: ChunkEntry) -> OpenChunk:
        """Return a chunk, described once."""
        key = (identity_of(entry), entry.listed_from, store.options)
        # Describing may take a scan, which only one of several threads makes.
        with self._describing[hash(key) % _LOCKS]:
            with self._lock:
                held = self._chunks.get(key)
                if held is not None:
                    self._chunks.move_to_end(key)
                    return held
            made = OpenChunk(key, entry, describe_chunk(store, snapshot, entry))
            with self._lock:
                self._chunks[key] = made
                while len(self._chunks) > _MAX_CHUNKS:
                    self._chunks.popitem(last=False)
            return made

    @contextmanager
    def decoder(self, chunk: OpenChunk, pts: int) -> Iterator["FrameDecoder"]:
        """Lend a decoder of a chunk, if possible one that reaches a frame without going back."""
        one = self._take(chunk, pts) or chunk.create_decoder()
        try:
            yield one.frames
        except BaseException:
            one.close()
            raise
        with self._lock:
            self._idle.append(one)
            dropped = self._idle[:-_MAX_IDLE_DECODERS]
            del self._idle[:-_MAX_IDLE_DECODERS]
        for old in dropped:
            old.close()

    def clear(self) -> None:
        """Close all idle decoders and forget all chunks."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._chunks.clear()
        for one in idle:
            one.close()

    def _take(self, chunk: OpenChunk, pts: int) -> ChunkDecoder | None:
        """Return an idle decoder; None if all are in the middle of a run."""
        with self._lock:
            mine = [one for one in self._idle if one.chunk.key == chunk.key]
            usable: list[ChunkDecoder] = [
                *(one for one in mine if one.frames.is_ahead(pts)),
                *(one for one in mine if not one.frames.has_run),
                *(mine if len(self._idle) >= _MAX_IDLE_DECODERS else ()),
            ]
            if not usable:
                return None
            self._idle.remove(usable[0])
            return usable[0]


chunk_pool: Final = PerProcess(ChunkPool)
"""Open chunks of this process; a forked child opens its own."""


def describe_chunk(store: Store, snapshot: Snapshot, entry: ChunkEntry) -> "VideoDescription":
    """Return the description of a chunk that its index part has; without one, list its frames.

    Raises:
        ChunkChanged: there is none, and the chunk no longer has the frames that the manifest lists.
    """
    from framecache._media.video import description  # noqa: PLC0415 -- PyAV

    assert snapshot.manifest is not None
    about = _provenance(store, snapshot, snapshot.manifest, entry)
    _warn_of_other_versions(about, snapshot.manifest.timeline_id)
    document = about.get(DESCRIPTION_KEY)
    if isinstance(document, dict):
        with suppress(description.InvalidDescription):
            return description.from_document(document)
    return description.VideoDescription(_list_frames(store, snapshot.manifest, entry), ())


def _list_frames(store: Store, manifest: Manifest, entry: ChunkEntry) -> "video.VideoScan":
    from framecache._ingest.chunk_plan import list_frames, plan_chunk  # noqa: PLC0415 -- PyAV

    url, etag, size_bytes = identity_of(entry)
    blob = KnownBlob(url, etag=etag, size_bytes=size_bytes, options=store.options)
    with blob.open() as file:
        scan = list_frames(file, entry)
    # It may have other frames now, if older rules planned it, or by tables that are not used now.
    plan_chunk(entry, scan, manifest.settings.sampling)
    return scan


def _provenance(
    store: Store, snapshot: Snapshot, manifest: Manifest, entry: ChunkEntry
) -> Mapping[str, Any]:
    """Return the metadata of a chunk's index part: of the loaded index, if that is the part."""
    if len(manifest.parts) == 1 and not snapshot.missing_parts:
        about = snapshot.index.provenance
        if about:
            return about
    try:
        return fetch_blob(store, manifest.index_key(entry.parts[0]), Index.decode).provenance
    except (BlobMissing, CorruptFrame):
        return {}


def _warn_of_other_versions(about: Mapping[str, Any], timeline_id: str) -> None:
    made_by = (about.get("ffmpeg"), about.get("jpeg_encoder"))
    own = (video.ffmpeg_version(), jpeg.encoder_version())
    if about and made_by != own:
        warnings.warn(
            f"timeline {timeline_id} was extracted with FFmpeg {made_by[0]} and {made_by[1]}, and "
            f"is read with FFmpeg {own[0]} and {own[1]}: its frames may differ in some bits. "
            "Repack the timeline to keep its frames as they are",
            DecoderWarning,
            stacklevel=2,
        )


def group_of(index: Index, entry: ChunkEntry, chunk: OpenChunk, pts: int) -> list[int]:
    """Return the PTS of the indexed frames after the same random-access point as one of them."""
    rows = np.searchsorted(index.sequence, [entry.first_sequence, entry.stop_sequence])
    times = index.pts[rows[0] : rows[1]]
    first, last = np.searchsorted(times, chunk.bounds_of(chunk.entry_of(pts)))
    found: list[int] = times[first:last].tolist()
    return found
