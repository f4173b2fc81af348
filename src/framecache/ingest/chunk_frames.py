"""The frames of one chunk, all or some: decoded at their places, encoded, stored, made rows."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from framecache import jpeg, video
from framecache._version import __version__
from framecache.claims import FRAMES_BETWEEN_CHECKS
from framecache.index import FrameRow, PartBuilder
from framecache.ingest.encode import EncodedFrame, encode_picture
from framecache.ingest.plan import ChunkPlan
from framecache.ingest.slot import Slot
from framecache.ingest.storage import FrameStorage
from framecache.manifest import ChunkEntry, Description
from framecache.model import JpegSettings
from framecache.store import BlobFile

_BYTES_A_PIXEL: Final = 4


def decode_frames(
    file: BlobFile, entry: ChunkEntry, planned: ChunkPlan, *, threads: int
) -> Iterator[tuple[Slot, video.Decoded | video.Undecodable]]:
    """The planned frames of a chunk, each with its place, in the order of time."""
    items = video.decode(file, planned.scan, planned.pts, name=entry.url, threads=threads)
    return zip(_slots(entry, planned), items, strict=True)


def store_frames(
    file: BlobFile,
    description: Description,
    entry: ChunkEntry,
    planned: ChunkPlan,
    storage: FrameStorage,
    *,
    threads: int,
    check: Callable[[], None],
    on_undecodable: Callable[[], None] = lambda: None,
) -> PartBuilder:
    """Decode the planned frames of a chunk and store them; returns when all are acknowledged.

    Args:
        file: the chunk, open.
        description: the timeline it belongs to.
        entry: which of its chunks it is.
        planned: the frames to take.
        storage: where they go.
        threads: of the decoder.
        check: called now and then; raises when nothing more may be stored.
        on_undecodable: told of each frame without a picture.
    """
    part = PartBuilder()
    jpeg_settings = description.settings.jpeg
    frames = decode_frames(file, entry, planned, threads=threads)
    for position, (slot, item) in enumerate(frames):
        if position % FRAMES_BETWEEN_CHECKS == 0:
            check()
        if isinstance(item, video.Undecodable):
            width = entry.frame_width(jpeg_settings.aspect)
            part.add(_undecodable_row(slot, entry, item.reason, width=width))
            on_undecodable()
        else:
            storage.add(slot, partial(encode_decoded, item, jpeg_settings, entry=entry))
    for row in storage.finish():
        part.add(row)
    return part


def encode_decoded(
    item: video.Decoded, settings: JpegSettings, *, entry: ChunkEntry
) -> EncodedFrame:
    """Encode what a decoder gave of a chunk."""
    return encode_picture(item.picture(), settings, entry=entry)


def picture_bytes_of(entry: ChunkEntry) -> int:
    """How much a decoded picture of a chunk takes, at most: 4:2:2 of more than 8 bits."""
    return max(1, _BYTES_A_PIXEL * entry.width * entry.height)


def about_chunk(entry: ChunkEntry) -> dict[str, Any]:
    """What an index part tells of the chunk it was made from, and of the programs that made it."""
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


def _slots(entry: ChunkEntry, planned: ChunkPlan) -> Iterator[Slot]:
    for sequence, pts, timestamp, duration in zip(
        planned.sequences.tolist(),
        planned.pts.tolist(),
        planned.timestamps,
        planned.durations,
        strict=True,
    ):
        yield Slot(sequence, entry.chunk_id, pts, timestamp, duration)


def _undecodable_row(slot: Slot, entry: ChunkEntry, reason: str, *, width: int) -> FrameRow:
    return FrameRow(
        sequence=slot.sequence,
        chunk_id=slot.chunk_id,
        pts=slot.pts,
        timestamp=slot.timestamp,
        duration=slot.duration,
        width=width,
        height=entry.height,
        key="",
        offset=0,
        size=0,
        crc32c=0,
        perceptual_hash="",
        status="undecodable",
        reason=reason,
    )
