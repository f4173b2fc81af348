"""Invariants of a timeline, also after a crash at any request; `inspect_timeline` checks them.

Manifests, index parts and frames are read from the store by json, pyarrow and google_crc32c. The
frames of a manifest must be those that a lone program stores in another store without faults.
Then a new client reads everything, and must agree.
"""

import io
import json
import uuid
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any, Final

import google_crc32c
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from framecache import CorruptFrame, Frame, FrameCacheError, Timeline
from framecache._core import manifest
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import pictures as pictures_in_memory
from framecache.store import BlobMissing, Store, open_store

TIMELINE: Final = "t"
PREFIX: Final = f"cache/timelines/{TIMELINE}/"

Blobs = dict[str, bytes]
Frames = dict[int, bytes]
"""JPEGs by sequence."""


class Violation(AssertionError):
    """Violation of an invariant."""


@dataclass(frozen=True)
class Inspection:
    """State of a timeline at one moment."""

    document: dict[str, Any] | None
    """The current manifest."""
    frames: AbstractSet[int]
    """Sequences of the frames that can be read; each is the right one."""
    refused: AbstractSet[int]
    """Sequences of the committed frames that raise an error."""
    is_complete: bool


def contents(store: Store) -> Blobs:
    """Return the bytes of every blob of a store, by key."""
    blobs: Blobs = {}
    for blob in [*store.list("")]:
        # The last request of a dead program may be executed in the meantime.
        with suppress(BlobMissing):
            blobs[blob.key] = store.get(blob.key)
    return blobs


def restore(store: Store, blobs: Blobs) -> None:
    """Replace the blobs of a store by these."""
    store.delete([blob.key for blob in store.list("")])
    for key, body in blobs.items():
        store.put(key, body)


def forget_chunks() -> None:
    """Let no client of this process use what another one decoded."""
    chunk_pool.value.clear()
    pictures_in_memory.value.clear()


def require(holds: object, otherwise: str) -> None:
    """Raise `Violation` unless something holds."""
    if not holds:
        raise Violation(otherwise)


def inspect_timeline(
    store: Store,
    *,
    kept: Blobs | None = None,
    damaged: AbstractSet[int] = frozenset(),
    damaged_manifest: bytes | None = None,
) -> Inspection:
    """Check the invariants of a timeline, and return its state.

    Args:
        store: the store.
        kept: blobs that must be unchanged.
        damaged: sequences of frames that were damaged and need not be repaired yet.
        damaged_manifest: damaged bytes that the current manifest may still have.

    Raises:
        Violation: something is not as it must be.
    """
    blobs = contents(store)
    for key, body in (kept or {}).items():
        require(blobs.get(key) == body, f"{key} is no longer what it was")
    if damaged_manifest is not None and _last_description(blobs) == damaged_manifest:
        _require_refused(store)
        return Inspection(None, frozenset(), frozenset(), is_complete=False)
    document = _current(blobs)
    right = _right_frames(document)
    committed = _committed(blobs, document, right, damaged)
    frames, refused = _readable(store, right)
    require(refused <= damaged, f"frames {sorted(refused - damaged)} are refused, and undamaged")
    require(
        frames | refused == committed,
        f"frames {sorted(committed)} are committed, {sorted(frames | refused)} are visible",
    )
    is_complete = Timeline(store, TIMELINE).complete
    planned = _planned(document, committed)
    require(
        is_complete == (bool(planned) and committed == planned),
        f"complete is {is_complete} with {sorted(committed)} of {sorted(planned)} committed",
    )
    return Inspection(document, frames, refused, is_complete)


@cache
def alone(urls: tuple[str, ...], sampling: str, quality: int) -> Frames:
    """Return the frames of these chunks, as a lone program stores them."""
    timeline = _lone_timeline()
    timeline.extract(urls, every=json.loads(sampling).get("n"), quality=quality, workers=1)
    return _all_frames(timeline)


@cache
def written(quality: int) -> Frames:
    """Return the frames of `pictures`, as a lone program stores them."""
    timeline = _lone_timeline()
    timeline.write(pictures(range(6)), quality=quality, workers=1)
    return _all_frames(timeline)


def pictures(sequences: range) -> list[Frame]:
    """Return frames in memory, each of a different color."""
    return [
        Frame(number, 0, number / 25, np.full((16, 16, 3), 40 * number, np.uint8), "")
        for number in sequences
    ]


def _lone_timeline() -> Timeline:
    return Timeline(open_store(f"memory://{uuid.uuid4().hex}"), TIMELINE)


def _all_frames(timeline: Timeline) -> Frames:
    frames = {sequence: timeline.jpeg(sequence) for sequence in range(len(timeline))}
    # A frame in another's place must show.
    assert len(set(frames.values())) == len(frames) > 0
    return frames


def _current(blobs: Blobs) -> dict[str, Any] | None:
    """Return the manifest of the highest version; the versions must have no gap."""
    folder = f"{PREFIX}timeline/"
    keys = sorted(key for key in blobs if key.startswith(folder))
    if not keys:
        return None
    versions = [int(key.removeprefix(folder).removesuffix(".json")) for key in keys]
    require(
        versions == list(range(versions[0], versions[-1] + 1)),
        f"the manifest versions have gaps: {versions}",
    )
    try:
        manifest.decode(blobs[keys[-1]], key=keys[-1])
    except FrameCacheError as error:
        raise Violation(f"the current manifest cannot be read: {error}") from error
    document: dict[str, Any] = json.loads(blobs[keys[-1]])
    require(document["version"] == versions[-1], f"{keys[-1]} holds another version")
    return document


def _last_description(blobs: Blobs) -> bytes | None:
    keys = (key for key in blobs if key.startswith(f"{PREFIX}timeline/"))
    return blobs.get(max(keys, default=""))


def _require_refused(store: Store) -> None:
    """Require that a timeline with a damaged manifest is not read as empty."""
    timeline = Timeline(store, TIMELINE)
    for read in (timeline.info, lambda: timeline.frame(0), lambda: timeline.index):
        try:
            read()
        except CorruptFrame:
            continue
        raise Violation("a damaged manifest is read")


def _right_frames(document: dict[str, Any] | None) -> Frames:
    """Return the frames that a manifest must have."""
    if document is None:
        return {}
    quality = document["jpeg"]["quality"]
    if not document["chunks"]:
        return written(quality) if document["written_parts"] else {}
    urls = tuple(chunk["url"] for chunk in document["chunks"])
    return alone(urls, json.dumps(document["sampling"]), quality)


def _planned(document: dict[str, Any] | None, committed: AbstractSet[int]) -> AbstractSet[int]:
    """Return the sequences that a manifest plans; for written frames, the committed ones."""
    if document is None or not document["chunks"]:
        return committed
    last = document["chunks"][-1]
    return frozenset(range(last["first_sequence"] + last["frame_count"]))


def _committed(
    blobs: Blobs, document: dict[str, Any] | None, right: Frames, damaged: AbstractSet[int]
) -> AbstractSet[int]:
    """The sequences in the index parts that count; each names the right frame, which is there."""
    committed: set[int] = set()
    for part, key in index_files(document):
        if key not in blobs:
            continue
        rows = _rows(blobs[key])
        sequences = [row["sequence"] for row in rows]
        committed.update(sequences)
        if part is not None:
            first, count = part["first_sequence"], part["frame_count"]
            require(
                sequences == list(range(first, first + count)),
                f"{key} names {sequences} instead of {count} frames from {first}",
            )
        assert document is not None
        check = (
            _require_unknown if document["layout"] == "video" else partial(_require_stored, blobs)
        )
        for row in rows:
            if row["sequence"] not in damaged:
                check(key, row, right)
                for side in sides_of(row):
                    _require_rendition(blobs, key, row, side, right)
    return committed


@lru_cache(maxsize=1000)
def _rows(index_file: bytes) -> list[dict[str, Any]]:
    """Return the rows of an index part or compaction."""
    # pq.read_table imports pyarrow.dataset, and takes four times as long.
    rows: list[dict[str, Any]] = pq.ParquetFile(io.BytesIO(index_file)).read().to_pylist()
    return rows


def index_files(document: dict[str, Any] | None) -> list[tuple[dict[str, Any] | None, str]]:
    """The keys of the index files that count, with the segment that each commits."""
    if document is None:
        return []
    folder = f"{PREFIX}index/{document['epoch']}/"
    names = [named for chunk in document["chunks"] for named in _segments(chunk)]
    names += [(None, name) for name in document["written_parts"]]
    generations = document["generations"]
    files = [(chunk, f"{folder}{name}-{generations.get(name, 0)}.parquet") for chunk, name in names]
    if compaction := document["compaction"]:
        files.append((None, f"{folder}_timeline-{compaction['number']}.compacted"))
    return files


def named_blobs(blobs: Blobs, document: dict[str, Any] | None) -> AbstractSet[str]:
    """Return the keys of the index files that count, and of the blobs that their rows name."""
    named = {key for _, key in index_files(document)}
    rows = [row for key in named & set(blobs) for row in _rows(blobs[key])]
    renditions = {row[f"key_{side}"] for row in rows for side in sides_of(row)}
    return named | {row["key"] for row in rows} | renditions


def rows_of(blobs: Blobs, document: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the rows of all index files that count."""
    return [row for _, key in index_files(document) if key in blobs for row in _rows(blobs[key])]


def sides_of(row: dict[str, Any]) -> list[int]:
    """Return the sizes of the renditions that the row of a frame names."""
    columns = [name.partition("_") for name in row]
    return [int(side) for name, _, side in columns if name == "key" and side and row[f"key_{side}"]]


def _segments(chunk: dict[str, Any]) -> list[tuple[dict[str, Any] | None, str]]:
    """Return the frames and the name of each segment of a chunk."""
    name, first = f"{chunk['chunk_id']:06d}", chunk["first_sequence"]
    bounds = [*chunk["segment_starts"], chunk["frame_count"]]
    found = [
        {"first_sequence": first + start, "frame_count": stop - start}
        for start, stop in pairwise(bounds)
    ]
    if len(found) == 1:
        return [(found[0], name)]
    return [(one, f"{name}s{number:06d}") for number, one in enumerate(found)]


def _require_stored(blobs: Blobs, key: str, row: dict[str, Any], right: Frames) -> None:
    where = f"frame {row['sequence']}, committed by {key},"
    require(row["status"] == "ok", f"{where} is {row['status']}")
    stored = _stored(blobs, row, where)
    require(stored == right.get(row["sequence"]), f"{where} is not the planned one")


def _require_rendition(
    blobs: Blobs, key: str, row: dict[str, Any], side: int, right: Frames
) -> None:
    where = f"rendition {side} of frame {row['sequence']}, committed by {key},"
    stored = _stored(blobs, row, where, suffix=f"_{side}")
    with Image.open(io.BytesIO(stored)) as picture:
        require(max(picture.size) == side, f"{where} has the size {picture.size}")
    brightness = _brightness(stored)
    frames = {sequence: _brightness(jpeg) for sequence, jpeg in right.items()}
    nearest = min(frames, key=lambda sequence: abs(frames[sequence] - brightness))
    # A JPEG may be decoded a little brighter or darker than its picture; frames differ more.
    require(
        nearest == row["sequence"] and abs(frames[nearest] - brightness) < 3,
        f"{where} shows frame {nearest}",
    )


@lru_cache(maxsize=1000)
def _brightness(jpeg: bytes) -> float:
    with Image.open(io.BytesIO(jpeg)) as picture:
        return float(np.asarray(picture.convert("RGB")).mean())


def _stored(blobs: Blobs, row: dict[str, Any], where: str, suffix: str = "") -> bytes:
    """Return the bytes of a frame or rendition as its row locates them."""
    key, offset, size, crc32c = (
        row[f"{name}{suffix}"] for name in ("key", "offset", "size", "crc32c")
    )
    blob = blobs.get(key)
    require(blob is not None, f"{where} is not stored")
    assert blob is not None
    stored = blob[offset : offset + size] if offset > 0 else blob
    require(len(stored) == size, f"{where} has another length")
    require(google_crc32c.value(stored) == crc32c, f"{where} has another CRC")
    return stored


def _require_unknown(key: str, row: dict[str, Any], right: Frames) -> None:
    """Require that the row of a frame that is not stored has no values of a JPEG."""
    where = f"frame {row['sequence']}, committed by {key},"
    require(row["sequence"] in right, f"{where} is not planned")
    told = [row[name] for name in ("size", "crc32c", "perceptual_hash", "status")]
    require(told == [None] * 4, f"{where} has {told}, but is not stored")
    require((row["key"], row["offset"]) == ("", 0), f"{where} names {row['key']}")


def _readable(store: Store, right: Frames) -> tuple[AbstractSet[int], AbstractSet[int]]:
    """Return the sequences that a new client reads, and those for which it raises a typed error."""
    forget_chunks()
    timeline = Timeline(store, TIMELINE)
    frames: set[int] = set()
    refused: set[int] = set()
    for sequence in timeline.index.sequence.tolist():
        try:
            data = timeline.jpeg(sequence)
        except FrameCacheError:
            refused.add(sequence)
            continue
        require(data == right.get(sequence), f"frame {sequence} is read as another picture")
        frames.add(sequence)
    for side in timeline.index.rendition_sides:
        of_renditions = timeline.index.of_renditions(side)
        for sequence in of_renditions.sequence.tolist():
            try:
                data = timeline.jpeg(sequence, max_side=side)
            except FrameCacheError:
                refused.add(sequence)
                frames.discard(sequence)
                continue
            row = of_renditions.row(of_renditions.positions([sequence])[0])
            require(
                google_crc32c.value(data) == row.crc32c,
                f"rendition {side} of frame {sequence} is read as another picture",
            )
    return frames, refused
