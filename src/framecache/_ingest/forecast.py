"""Dry run of an extraction: resolve its manifest without storing or leasing anything."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest, Settings
from framecache._index import Index, ManifestChange, Snapshot, current_manifest, load_snapshot_at
from framecache._ingest.chunk_frames import encode_decoded, open_chunk
from framecache._ingest.chunk_plan import ChunkPlan, list_frames, plan_chunk
from framecache._ingest.extraction import (
    MAX_INDEX_FILES_AFTER_EXTRACT,
    max_index_files_after_append,
)
from framecache._ingest.resolve import (
    ResolvedManifest,
    SettingsResolver,
    resolve_append,
    resolve_chunks,
    resolve_extraction,
)
from framecache._media import video
from framecache.model import Chunk, JpegSettings
from framecache.store import Store

_SAMPLES_PER_CHUNK: Final = 8
"""Maximum number of frames that are encoded to estimate the JPEG sizes of a chunk."""


class SampledFrame(NamedTuple):
    """Sizes of the JPEGs of one frame."""

    frame_bytes: int
    """Size of its own JPEG; 0 if it is undecodable."""
    rendition_bytes: Mapping[int, int]
    """Size in bytes of each of its renditions, by the size in pixels of its longer side."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of an extraction."""

    existing_manifest: Manifest | None
    """Current manifest, or None if the timeline does not exist."""
    resolved: ResolvedManifest
    """Manifest that the extraction would resolve, with its chunks and scans."""
    snapshot: Snapshot
    """Snapshot of the index parts of that manifest that are already committed."""
    max_index_files: int
    """Number of index files that may remain; if there are more, they would be compacted."""
    samples: Mapping[int, tuple[SampledFrame, ...]]
    """Some frames of each chunk that is not cached."""


def forecast_extraction(
    store: Store,
    timeline_id: str,
    chunks: Sequence[Chunk],
    *,
    resolve_settings: SettingsResolver,
    workers: int,
) -> Forecast:
    """Forecast `extract`; raise the errors that it would raise before it decodes."""

    def describe(agree: _DryRunUpdate) -> ResolvedManifest:
        return resolve_extraction(
            store, timeline_id, resolve_chunks(store, chunks), resolve_settings, apply_change=agree
        )

    return _forecast(store, describe, lambda _: MAX_INDEX_FILES_AFTER_EXTRACT, workers)


def forecast_append(
    store: Store, timeline_id: str, chunks: Sequence[Chunk], *, settings: Settings, workers: int
) -> Forecast:
    """Forecast `append`; raise the errors that it would raise before it decodes."""

    def describe(agree: _DryRunUpdate) -> ResolvedManifest:
        return resolve_append(
            store, timeline_id, resolve_chunks(store, chunks), settings, apply_change=agree
        )

    return _forecast(store, describe, max_index_files_after_append, workers)


class _DryRunUpdate:
    """Callable that computes the next manifest of a timeline without storing it."""

    existing_manifest: Manifest | None = None

    def __call__(self, store: Store, timeline_id: str, change: ManifestChange) -> Manifest:
        self.existing_manifest = current_manifest(store, timeline_id)
        return change(self.existing_manifest)


def _forecast(
    store: Store,
    resolve: Callable[[_DryRunUpdate], ResolvedManifest],
    max_index_files: Callable[[Manifest], int],
    workers: int,
) -> Forecast:
    look = _DryRunUpdate()
    described = resolve(look)
    snapshot = _load_committed(store, look.existing_manifest, described.manifest)
    missing_parts = set(snapshot.missing_parts)
    missing = [entry for entry in described.entries if not entry.is_cached(missing_parts)]
    with ThreadPoolExecutor(workers, thread_name_prefix="framecache-sample") as pool:
        samples = list(pool.map(partial(_sample_sizes, store, described), missing))
    return Forecast(
        existing_manifest=look.existing_manifest,
        resolved=described,
        snapshot=snapshot,
        max_index_files=max_index_files(described.manifest),
        samples={entry.chunk_id: sizes for entry, sizes in zip(missing, samples, strict=True)},
    )


def _load_committed(store: Store, current: Manifest | None, next_manifest: Manifest) -> Snapshot:
    if current is None or current.epoch != next_manifest.epoch:
        return Snapshot(next_manifest, Index.empty(), next_manifest.parts)
    return load_snapshot_at(store, next_manifest)


def _sample_sizes(
    store: Store, resolved: ResolvedManifest, entry: ChunkEntry
) -> tuple[SampledFrame, ...]:
    """Decode and encode some frames of a chunk, and return their sizes."""
    settings = resolved.manifest.settings
    with open_chunk(store, entry, fetched=resolved.fetched) as file:
        scan = resolved.scan_of(entry) or list_frames(file, entry)
        wanted = _choose_sample_pts(plan_chunk(entry, scan, settings.sampling))
        items = video.decode(file, scan, wanted, name=entry.url, threads=1)
        try:
            return tuple(_encoded_sizes(item, settings.jpeg, entry) for item in items)
        except video.TablesContradicted:
            return ()  # the extraction plans the chunk again


def _choose_sample_pts(planned: ChunkPlan) -> npt.NDArray[np.int64]:
    """Return the PTS of random-access points near some planned frames, spread over the chunk."""
    scan = planned.scan
    if not len(planned.pts):
        return planned.pts
    entries = scan.pts[scan.is_random_access] if scan.is_random_access.any() else scan.pts[:1]
    middles = (np.arange(_SAMPLES_PER_CHUNK) + 0.5) * len(planned.pts) / _SAMPLES_PER_CHUNK
    near = planned.pts[middles.astype(np.int64)]
    before = np.maximum(0, np.searchsorted(entries, near, "right") - 1)
    cheap: npt.NDArray[np.int64] = np.unique(entries[before])
    return cheap


def _encoded_sizes(
    item: "video.Decoded | video.Undecodable", settings: JpegSettings, entry: ChunkEntry
) -> SampledFrame:
    if isinstance(item, video.Undecodable):
        return SampledFrame(0, {})
    encoded = encode_decoded(item, settings, entry=entry)
    renditions = {one.max_side: len(one.data) for one in encoded.renditions}
    return SampledFrame(len(encoded.data), renditions)
