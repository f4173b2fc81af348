"""Checks of a timeline's chunks: the videos are unchanged, and the stored frames show them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index
from framecache._ingest.chunk_frames import decode_frames, encode_decoded, open_chunk
from framecache._ingest.chunk_plan import list_frames, plan_chunk
from framecache._ingest.resolve import resolve_chunks
from framecache._layouts.encoding import EncodedJpeg
from framecache._maintain.verify.report import Finding, FindingKind
from framecache._maintain.verify.stored_frames import is_committed
from framecache._media import jpeg, video
from framecache._read.frame_source import read_stored_jpeg
from framecache.model import Chunk
from framecache.store import BlobMissing, BlobOutsideRoot, Store

_MAX_SAMPLES: Final = 16
_MAX_MEAN_DIFFERENCE: Final = 2.0
"""Maximum mean difference, of 255, of one picture encoded by two versions of the encoder."""
_MAX_HASH_DISTANCE: Final = 8
_MAX_FLAT_DEVIATION: Final = 3.0
"""Standard deviation of luma up to which a picture is so flat that its hash is only noise."""


def check_sources(store: Store, manifest: Manifest) -> Iterator[Finding]:
    """Yield the chunks whose video changed or is missing; one request per chunk."""
    chunks = resolve_chunks(store, [Chunk(entry.url) for entry in manifest.chunks])
    for entry, chunk in zip(manifest.chunks, chunks, strict=True):
        if chunk.etag is None:
            detail = "the video is missing; its cached frames stay valid"
            yield Finding("source_missing", entry.url, None, entry.chunk_id, detail)
        elif not entry.is_version(chunk.etag, chunk.size_bytes):
            detail = (
                f"it had {entry.size_bytes} bytes and ETag {entry.etag}, now "
                f"{chunk.size_bytes} bytes and ETag {chunk.etag}; the cached frames show it "
                "as it was"
            )
            yield Finding("source_changed", entry.url, None, entry.chunk_id, detail)


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between a stored frame and what its chunk shows now."""

    kind: FindingKind
    detail: str


def select_samples(rows: Index) -> list[FrameRow]:
    """Return the frames of a chunk that are compared with its pictures.

    The choice is deterministic: the first frame, the last, and some evenly spaced between them.
    Frames without a picture are sampled a second time in the same way.
    """
    if rows.is_decoded_on_demand.any():
        return list(rows.rows(range(len(rows))))
    chosen = {*_evenly_spaced(np.arange(len(rows))), *_evenly_spaced(np.flatnonzero(~rows.is_ok))}
    return list(rows.rows(sorted(chosen)))


def compare_samples(
    store: Store,
    manifest: Manifest,
    entry: ChunkEntry,
    rows: Sequence[FrameRow],
    *,
    threads: int,
    on_sample: Callable[[], None],
) -> Mapping[int, Difference]:
    """Decode some frames of a chunk again and compare them with the stored ones; by sequence.

    Frames whose stored bytes are not the committed ones are skipped here. ``on_sample`` is called
    after each frame.

    Raises:
        UnreadableChunk: it is no longer the video of the manifest, or not a video.
    """
    sampled = {row.sequence: row for row in rows}
    found: dict[int, Difference] = {}
    without_renditions = replace(manifest.settings.jpeg, renditions=())
    with open_chunk(store, entry) as file:
        scan = list_frames(file, entry)
        planned = plan_chunk(entry, scan, manifest.settings.sampling).select(sampled)
        for frame_position, item in decode_frames(file, entry, planned, threads=threads):
            row = sampled[frame_position.sequence]
            if isinstance(item, video.Undecodable):
                difference = _undecodable_difference(row, item)
            elif row.status == "undecodable":
                detail = f"{row.reason}; it can be decoded now: rebuild the timeline to extract it"
                difference = Difference("undecodable", detail)
            elif row.is_decoded_on_demand:
                item.to_planes()
                difference = None
            else:
                encoded = encode_decoded(item, without_renditions, entry=entry)
                difference = _compare_frame(store, row, encoded)
            if difference is not None:
                found[row.sequence] = difference
            on_sample()
    return found


def _evenly_spaced(positions: np.ndarray) -> list[int]:
    """Return at most 16 of some positions, evenly spaced, with the first and the last."""
    if not len(positions):
        return []
    chosen = np.linspace(0, len(positions) - 1, min(_MAX_SAMPLES, len(positions))).round()
    return [int(position) for position in positions[chosen.astype(np.int64)]]


def _undecodable_difference(row: FrameRow, item: "video.Undecodable") -> Difference | None:
    if row.status == "undecodable":
        return None
    if row.is_decoded_on_demand:
        return Difference("undecodable", item.reason)
    detail = f"it cannot be decoded any more ({item.reason}); the stored picture is kept"
    return Difference("undecodable", detail)


def _compare_frame(store: Store, row: FrameRow, encoded: EncodedJpeg) -> Difference | None:
    is_same = (len(encoded.data), encoded.crc32c) == (row.size, row.crc32c)
    if is_same and encoded.perceptual_hash == row.perceptual_hash:
        return None
    try:
        stored = encoded.data if is_same else read_stored_jpeg(store, row)
    except (BlobMissing, BlobOutsideRoot):
        return None
    if not is_committed(row, stored):
        return None
    try:
        fault = _describe_difference(stored, row, encoded)
    except jpeg.InvalidJpeg:
        return None
    return Difference("corrupt", fault) if fault else None


def _describe_difference(stored: bytes, row: FrameRow, encoded: EncodedJpeg) -> str:
    mine, theirs = jpeg.decode(stored), jpeg.decode(encoded.data)
    if mine.shape != theirs.shape:
        return (
            f"its picture differs from the chunk's: {mine.shape[1]}×{mine.shape[0]} instead "
            f"of {theirs.shape[1]}×{theirs.shape[0]}"
        )
    levels = float(np.abs(mine.astype(np.int16) - theirs).mean())
    if levels > _MAX_MEAN_DIFFERENCE:
        return f"its picture differs from the chunk's: mean difference {levels:.1f} levels"
    bits = (int(row.perceptual_hash or "0", 16) ^ int(encoded.perceptual_hash, 16)).bit_count()
    if row.perceptual_hash and bits > _MAX_HASH_DISTANCE and mine.std() > _MAX_FLAT_DEVIATION:
        return f"its perceptual hash differs from that of the chunk's picture: {bits} of 64 bits"
    return ""
