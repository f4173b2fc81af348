"""The videos a timeline was made from: are they those described, and is what is stored theirs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from framecache import jpeg, video
from framecache.index import FrameRow, Index, stored_jpeg
from framecache.ingest.chunk_frames import decode_frames, encode_decoded
from framecache.ingest.describe import identify
from framecache.ingest.encode import EncodedFrame
from framecache.ingest.plan import plan
from framecache.manifest import ChunkEntry, Description
from framecache.model import Chunk
from framecache.store import BlobMissing, BlobOutside, Store, open_blob_file
from framecache.verify.report import Finding, Kind
from framecache.verify.stored_frames import is_committed

_SAMPLED: Final = 16
_ALIKE_LEVELS: Final = 2.0
"""Mean difference, of 255, of one picture encoded by two versions of the same programs."""
_ALIKE_BITS: Final = 8
_FLAT_LEVELS: Final = 3.0
"""Deviation of the luma of a picture so even that its hash is made of noise."""


def source_findings(description: Description) -> Iterator[Finding]:
    """The chunks whose video is another or gone; one request a chunk."""
    chunks = identify([Chunk(entry.url) for entry in description.chunks])
    for entry, chunk in zip(description.chunks, chunks, strict=True):
        if chunk.etag is None:
            detail = "the video is gone; what is cached of it stays valid"
            yield Finding("source_gone", entry.url, None, entry.chunk_id, detail)
        elif (chunk.etag, chunk.size_bytes) != (entry.etag, entry.size_bytes):
            detail = (
                f"it had {entry.size_bytes} bytes and ETag {entry.etag}, now {chunk.size_bytes} "
                f"bytes and ETag {chunk.etag}; what is cached shows it as it was"
            )
            yield Finding("source_changed", entry.url, None, entry.chunk_id, detail)


@dataclass(frozen=True, slots=True)
class Difference:
    """In what a stored frame is not what its chunk shows now."""

    kind: Kind
    detail: str


def sample_differences(
    store: Store, description: Description, entry: ChunkEntry, rows: Index, *, threads: int
) -> Mapping[int, Difference]:
    """Decode some frames of a chunk again, and compare them with the stored ones; by sequence.

    Always the same frames: the first, the last, and some evenly between them; of those without
    a picture, too. One whose stored bytes are not those committed is passed over here.

    Raises:
        BadChunk: it is no longer the video described, or none.
    """
    chosen = {*_spread(np.arange(len(rows))), *_spread(np.flatnonzero(~rows.is_ok))}
    sampled = {row.sequence: row for row in rows.rows(sorted(chosen))}
    found: dict[int, Difference] = {}
    with open_blob_file(
        entry.url, expected_etag=entry.etag, expected_size=entry.size_bytes
    ) as file:
        scan = video.scan(file, name=entry.url)
        planned = plan(entry, scan, description.settings.sampling).only(sampled)
        for slot, item in decode_frames(file, entry, planned, threads=threads):
            row = sampled[slot.sequence]
            if isinstance(item, video.Undecodable):
                difference = _without_picture(row, item)
            elif row.status == "undecodable":
                detail = f"{row.reason}; now it can be decoded: rebuild the timeline to have it"
                difference = Difference("undecodable", detail)
            else:
                encoded = encode_decoded(item, description.settings.jpeg, entry=entry)
                difference = _compare(store, row, encoded)
            if difference is not None:
                found[row.sequence] = difference
    return found


def _spread(positions: np.ndarray) -> list[int]:
    """At most 16 of some, evenly, with the first and the last."""
    if not len(positions):
        return []
    chosen = np.linspace(0, len(positions) - 1, min(_SAMPLED, len(positions))).round()
    return [int(position) for position in positions[chosen.astype(np.int64)]]


def _without_picture(row: FrameRow, item: video.Undecodable) -> Difference | None:
    if row.status == "undecodable":
        return None
    detail = f"now it cannot be decoded ({item.reason}); the stored picture stays"
    return Difference("undecodable", detail)


def _compare(store: Store, row: FrameRow, encoded: EncodedFrame) -> Difference | None:
    is_same = (len(encoded.data), encoded.crc32c) == (row.size, row.crc32c)
    if is_same and encoded.perceptual_hash == row.perceptual_hash:
        return None
    try:
        stored = encoded.data if is_same else stored_jpeg(store, row)
    except (BlobMissing, BlobOutside):
        return None
    if not is_committed(row, stored):
        return None
    try:
        fault = _unlike(stored, row, encoded)
    except jpeg.BadJpeg:
        return None
    return Difference("corrupt", fault) if fault else None


def _unlike(stored: bytes, row: FrameRow, encoded: EncodedFrame) -> str:
    mine, theirs = jpeg.decode(stored), jpeg.decode(encoded.data)
    if mine.shape != theirs.shape:
        return (
            f"its picture is not the chunk's: {mine.shape[1]}×{mine.shape[0]} instead of "
            f"{theirs.shape[1]}×{theirs.shape[0]}"
        )
    levels = float(np.abs(mine.astype(np.int16) - theirs).mean())
    if levels > _ALIKE_LEVELS:
        return f"its picture is not the chunk's: mean difference {levels:.1f} levels"
    bits = (int(row.perceptual_hash or "0", 16) ^ int(encoded.perceptual_hash, 16)).bit_count()
    if row.perceptual_hash and bits > _ALIKE_BITS and mine.std() > _FLAT_LEVELS:
        return f"its perceptual hash is not that of the chunk's picture: {bits} of 64 bits differ"
    return ""
