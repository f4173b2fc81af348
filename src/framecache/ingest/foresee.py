"""What an extraction would do: its description worked out, and nothing stored or claimed."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache import video
from framecache.index import Change, Index, Snapshot, current_description, load
from framecache.ingest.chunk_frames import encode_decoded
from framecache.ingest.describe import (
    Choose,
    Described,
    describe_append,
    describe_extraction,
    identify,
)
from framecache.ingest.extraction import INDEX_FILES_AFTER_EXTRACT, index_files_after_append
from framecache.ingest.plan import ChunkPlan, plan
from framecache.manifest import ChunkEntry, Description, Settings
from framecache.model import Chunk, JpegSettings
from framecache.store import Store, open_blob_file

_SAMPLED: Final = 8
"""Frames of a chunk, at most, that are encoded to tell how large its JPEGs are."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What an extraction would find, and make of it."""

    current: Description | None
    """What is described now."""
    described: Described
    """What would be."""
    snapshot: Snapshot
    """What of that is committed already."""
    most_index_files: int
    """Which may remain; more of them would be compacted into one."""
    samples: Mapping[str, tuple[int, ...]]
    """By part, of chunks that are not committed: the bytes of some JPEGs, 0 for undecodable."""


def foresee_extraction(
    store: Store, timeline_id: str, chunks: Sequence[Chunk], *, choose: Choose, workers: int
) -> Foreseen:
    """What `extract` would do now; raises what it would raise before it decodes."""

    def describe(agree: _OnlyLook) -> Described:
        return describe_extraction(store, timeline_id, identify(chunks), choose, agree=agree)

    return _foreseen(store, describe, lambda _: INDEX_FILES_AFTER_EXTRACT, workers)


def foresee_append(
    store: Store, timeline_id: str, chunks: Sequence[Chunk], *, settings: Settings, workers: int
) -> Foreseen:
    """What `append` would do now; raises what it would raise before it decodes."""

    def describe(agree: _OnlyLook) -> Described:
        return describe_append(store, timeline_id, identify(chunks), settings, agree=agree)

    return _foreseen(store, describe, index_files_after_append, workers)


class _OnlyLook:
    """Works out the next description of a timeline, and stores nothing."""

    current: Description | None = None

    def __call__(self, store: Store, timeline_id: str, change: Change) -> Description:
        self.current = current_description(store, timeline_id)
        return change(self.current)


def _foreseen(
    store: Store,
    describe: Callable[[_OnlyLook], Described],
    most_index_files: Callable[[Description], int],
    workers: int,
) -> Foreseen:
    look = _OnlyLook()
    described = describe(look)
    snapshot = _committed(store, look.current, described.description)
    missing = [entry for entry in described.entries if entry.part in set(snapshot.missing_parts)]
    with ThreadPoolExecutor(workers, thread_name_prefix="framecache-sample") as pool:
        samples = list(pool.map(partial(_sampled, described), missing))
    return Foreseen(
        current=look.current,
        described=described,
        snapshot=snapshot,
        most_index_files=most_index_files(described.description),
        samples={entry.part: sizes for entry, sizes in zip(missing, samples, strict=True)},
    )


def _committed(store: Store, current: Description | None, following: Description) -> Snapshot:
    if current is None or current.epoch != following.epoch:
        return Snapshot(following, Index.empty(), following.parts)
    return load(store, following)


def _sampled(described: Described, entry: ChunkEntry) -> tuple[int, ...]:
    """How many bytes the JPEGs of some frames of a chunk take."""
    settings = described.description.settings
    with open_blob_file(
        entry.url, expected_etag=entry.etag, expected_size=entry.size_bytes
    ) as file:
        scan = described.scans.get(entry.url) or video.scan(file, name=entry.url)
        wanted = _cheap_frames(plan(entry, scan, settings.sampling))
        items = video.decode(file, scan, wanted, name=entry.url, threads=1)
        return tuple(_jpeg_bytes(item, settings.jpeg, entry) for item in items)


def _cheap_frames(planned: ChunkPlan) -> npt.NDArray[np.int64]:
    """Frames near some of the planned ones, spread over them, with which decoding can begin."""
    scan = planned.scan
    if not len(planned.pts):
        return planned.pts
    entries = scan.pts[scan.is_entry] if scan.is_entry.any() else scan.pts[:1]
    middles = (np.arange(_SAMPLED) + 0.5) * len(planned.pts) / _SAMPLED
    near = planned.pts[middles.astype(np.int64)]
    before = np.maximum(0, np.searchsorted(entries, near, "right") - 1)
    cheap: npt.NDArray[np.int64] = np.unique(entries[before])
    return cheap


def _jpeg_bytes(
    item: video.Decoded | video.Undecodable, settings: JpegSettings, entry: ChunkEntry
) -> int:
    if isinstance(item, video.Undecodable):
        return 0
    return len(encode_decoded(item, settings, entry=entry).data)
