"""Frames of one chunk, all or some: decode and encode them, store them, build index rows."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, PartBuilder
from framecache._index.lease import FRAMES_BETWEEN_CHECKS
from framecache._ingest.chunk_plan import ChunkPlan
from framecache._ingest.frame_encoding import encode_picture
from framecache._layouts.base import FrameStorage
from framecache._layouts.encoding import EncodedJpeg, FramePosition, build_row
from framecache._media import jpeg, video
from framecache._version import __version__
from framecache.model import JpegSettings
from framecache.store import BlobFile, FetchedBytes, Store, open_blob_file

_BYTES_PER_PIXEL: Final = 4


def open_chunk(
    store: Store,
    entry: ChunkEntry,
    *,
    before_read: Callable[[], None] | None = None,
    fetched: FetchedBytes | None = None,
) -> BlobFile:
    """Open the video of a chunk, which must be the one that the manifest records.

    ``before_read`` is called before each read; an error that it raises ends the reading.
    ``fetched`` has what was fetched to plan the chunk.

    Raises:
        UnreadableChunk: there is no such object or file.
        ChunkChanged: its ETag or size is not the recorded one.
        StorePermissionDenied, StoreUnavailable: its store denies access, or cannot be reached.
    """
    return open_blob_file(
        entry.url,
        expected_etag=entry.etag,
        expected_size=entry.size_bytes,
        options=store.options,
        before_read=before_read,
        fetched=FetchedBytes() if fetched is None else fetched,
    )


def decode_frames(
    file: BlobFile, entry: ChunkEntry, planned: ChunkPlan, *, threads: int
) -> Iterator[tuple[FramePosition, "video.Decoded | video.Undecodable"]]:
    """Yield the planned frames of a chunk with their slots, in time order."""
    items = video.decode(file, planned.scan, planned.pts, name=entry.url, threads=threads)
    return zip(_frame_positions(entry, planned), items, strict=True)


def store_frames(
    file: BlobFile,
    manifest: Manifest,
    entry: ChunkEntry,
    planned: ChunkPlan,
    storage: FrameStorage,
    *,
    threads: int,
    check: Callable[[], None],
    on_undecodable: Callable[[], None] = lambda: None,
    sides_from_jpeg: Callable[[int], Collection[int]] = lambda _: (),
) -> PartBuilder:
    """Decode the planned frames of a chunk and store them; return once all are acknowledged.

    Args:
        file: the open chunk.
        manifest: manifest of its timeline.
        entry: its entry in the manifest.
        planned: the frames to take.
        storage: destination of the frames.
        threads: number of decoder threads.
        check: called every few frames; raises if nothing more may be stored.
        on_undecodable: called for each frame without a picture.
        sides_from_jpeg: returns the sizes of a frame's renditions that are made from its JPEG.
    """
    part = PartBuilder()
    jpeg_settings = manifest.settings.jpeg
    frames = decode_frames(file, entry, planned, threads=threads)
    for position, (frame_position, item) in enumerate(frames):
        if position % FRAMES_BETWEEN_CHECKS == 0:
            check()
        if isinstance(item, video.Undecodable):
            size = entry.frame_size(jpeg_settings)
            part.add(_undecodable_row(frame_position, size, item.reason))
            on_undecodable()
        else:
            from_jpeg = sides_from_jpeg(frame_position.sequence)
            encode = partial(
                encode_decoded, item, jpeg_settings, entry=entry, sides_from_jpeg=from_jpeg
            )
            storage.add(frame_position, encode)
    for row in storage.finish():
        part.add(row)
    return part


def encode_decoded(
    item: "video.Decoded",
    settings: JpegSettings,
    *,
    entry: ChunkEntry,
    sides_from_jpeg: Collection[int] = (),
) -> EncodedJpeg:
    """Encode a decoded picture of a chunk: see `encode_picture`."""
    planes = item.to_planes(chroma=settings.chroma)
    return encode_picture(planes, settings, entry=entry, sides_from_jpeg=sides_from_jpeg)


def max_picture_bytes(entry: ChunkEntry) -> int:
    """Return the maximum size of a decoded picture of a chunk: 4:2:2 at more than 8 bits."""
    return max(1, _BYTES_PER_PIXEL * entry.width * entry.height)


def chunk_provenance(entry: ChunkEntry) -> dict[str, Any]:
    """Return an index part's metadata: its source chunk and the programs that produced it."""
    return {
        "chunk_url": entry.url,
        "chunk_etag": entry.etag,
        "chunk_size_bytes": entry.size_bytes,
        "sample_aspect_ratio": str(entry.sample_aspect_ratio),
        "scan_rules": entry.scan_rules,
        "times_replaced": entry.times_replaced,
        "clock_restarts": entry.clock_restarts,
        "packets_not_displayed": entry.packets_not_displayed,
        "placement": entry.placement,
        "clock_gap_seconds": entry.timing.clock_gap_seconds,
        "sound_seconds": entry.timing.sound_seconds,
        "is_cut_short": entry.is_cut_short,
        "framecache": __version__,
        "ffmpeg": video.ffmpeg_version(),
        "jpeg_encoder": jpeg.encoder_version(),
    }


def _frame_positions(entry: ChunkEntry, planned: ChunkPlan) -> Iterator[FramePosition]:
    for sequence, pts, timestamp, duration in zip(
        planned.sequences.tolist(),
        planned.pts.tolist(),
        planned.timestamps,
        planned.durations,
        strict=True,
    ):
        yield FramePosition(sequence, entry.chunk_id, pts, timestamp, duration)


def _undecodable_row(frame_position: FramePosition, size: tuple[int, int], reason: str) -> FrameRow:
    nothing = EncodedJpeg(b"", *size, crc32c=0, perceptual_hash="")
    row = build_row(frame_position, nothing, key="", offset=0)
    return replace(row, status="undecodable", reason=reason)
