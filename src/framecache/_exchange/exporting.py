"""Export of frames and overlays of a timeline to a folder."""

import os
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from typing import Any, Final

import numpy as np

from framecache._core import sampling
from framecache._core.numeric import format_value, require_int
from framecache._core.sampling import AtRate, Rate
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
)
from framecache._exchange.drafts import draft_folder, require_free
from framecache._exchange.formats import format_named
from framecache._exchange.local_files import as_folder
from framecache._exchange.stored_overlays import StoredOverlays
from framecache._index import Index
from framecache._overlays import Overlays
from framecache._read import FetchResult, FrameSource, fetch_in_order
from framecache._read.info import describe_extent
from framecache._read.selection import Positions, Selection
from framecache._read.snapshot_cache import SnapshotCache
from framecache.errors import InvalidValue, NotCached
from framecache.model import FolderFormat, Progress, ProgressCallback

_SHARD_BYTES: Final = 2**30
_DEFAULT_RATE: Final = Fraction(25)
"""Rate of a video of frames without times."""
_MAX_RATE: Final = Fraction(1000)
_MAX_RATE_DENOMINATOR: Final = 1001


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Result of an export."""

    timeline_id: str
    format: FolderFormat
    folder: str
    frames_exported: int
    overlays_exported: int
    overlays_stale: int
    """Overlays that are older than their frames, and were left out."""
    bytes_exported: int
    """Bytes of the pictures: JPEGs and PNGs."""
    seconds: float
    """Wall time of the call."""


def export_frames(
    snapshots: SnapshotCache,
    folder: str | bytes | os.PathLike[Any],
    *,
    format_name: FolderFormat,
    selection: Selection,
    overlays: Iterable[Overlays],
    fps: Rate | None,
    shard_bytes: int | None,
    progress: ProgressCallback | None,
) -> ExportReport:
    """Export frames to a folder: see :meth:`framecache.Timeline.export_frames`."""
    began = time.monotonic()
    chosen = format_named(format_name)
    stages = _parse_stages(snapshots, chosen, overlays)
    rate, most_bytes = _parse_rate(chosen, fps), _parse_shard_bytes(chosen, shard_bytes)
    target = as_folder(folder)
    require_free(target)
    chosen.require_packages()
    source = snapshots.latest_source()
    index, positions = source.snapshot.index, snapshots.select(source, selection)
    if not len(positions):
        raise NotCached(
            f"timeline {snapshots.timeline_id} in {snapshots.store.display_name} has no picture in "
            f"that range: {describe_extent(source.snapshot)}"
        )
    chosen.check(index, positions)
    plan = ExportPlan(
        with_overlays=bool(stages),
        rate=_own_rate(index, positions) if rate is None else rate,
        shard_bytes=most_bytes,
    )
    reading = _Reading(snapshots, source, positions, stages, progress)
    with draft_folder(target) as draft, closing(reading.frames()) as frames:
        chosen.write(draft, frames, plan)
    return ExportReport(
        timeline_id=snapshots.timeline_id,
        format=chosen.name,
        folder=str(target),
        frames_exported=reading.frames_done,
        overlays_exported=reading.overlays_done,
        overlays_stale=reading.overlays_stale,
        bytes_exported=reading.bytes_done,
        seconds=time.monotonic() - began,
    )


class _Reading:
    """Frames of an export, and how much of them was read."""

    def __init__(
        self,
        snapshots: SnapshotCache,
        source: FrameSource,
        positions: Positions,
        stages: Sequence[Overlays],
        progress: ProgressCallback | None,
    ) -> None:
        self._snapshots = snapshots
        self._source = source
        self._positions = positions
        self._stages = stages
        self._progress = progress
        self.frames_done = self.overlays_done = self.overlays_stale = self.bytes_done = 0

    def frames(self) -> Generator[ExchangedFrame]:
        """Yield the frames with their overlays, prefetched."""
        manifest = self._source.snapshot.manifest
        quality = manifest.settings.jpeg.quality if manifest is not None else 0
        results = self._snapshots.track_results(
            self._source, fetch_in_order(self._source, self._positions)
        )
        with closing(results) as fetched, closing(self._overlays()) as overlays:
            for result, drawn in zip(fetched, overlays, strict=False):
                if result.row.status == "undecodable":
                    continue
                frame = _frame(result, quality=quality, overlays=drawn)
                self.frames_done += 1
                self.overlays_done += len(drawn)
                self.bytes_done += len(frame.jpeg) + sum(len(one.png) for one in drawn)
                yield frame
                if self._progress is not None:
                    self._progress(Progress(self.frames_done, len(self._positions)))

    def _overlays(self) -> Generator[tuple[ExchangedOverlay, ...]]:
        if not self._stages:
            yield from repeat((), len(self._positions))
            return
        sequences = self._source.snapshot.index.sequence[self._positions].tolist()
        store = self._snapshots.store
        stored = StoredOverlays.find(self._source, store, self._stages, set(sequences))
        self.overlays_stale = stored.stale_count
        yield from stored.read(sequences)


def _frame(
    result: FetchResult, *, quality: int, overlays: tuple[ExchangedOverlay, ...]
) -> ExchangedFrame:
    data, row = result.jpeg(), result.row
    return ExchangedFrame(
        jpeg=data,
        sequence=row.sequence,
        timestamp=row.timestamp,
        chunk_id=row.chunk_id,
        duration=row.duration,
        width=row.width,
        height=row.height,
        quality=row.quality or quality,
        perceptual_hash=row.perceptual_hash,
        overlays=overlays,
    )


def _parse_stages(
    snapshots: SnapshotCache, chosen: ExchangeFormat, overlays: Iterable[Overlays]
) -> list[Overlays]:
    given: list[object] = [overlays] if isinstance(overlays, Overlays) else list(overlays)
    stages: dict[tuple[str, str], Overlays] = {}
    for stage in given:
        if not isinstance(stage, Overlays) or stage.timeline_id != snapshots.timeline_id:
            raise InvalidValue(
                "overlays must be stages of the exported timeline, such as "
                f"timeline.overlays(job_id, stage), not {format_value(stage)}"
            )
        stages[stage.job_id, stage.stage] = stage
    if stages and not chosen.has_overlays:
        raise InvalidValue(
            f"the format {chosen.name} has no place for overlays: export without them, or in "
            "another format"
        )
    return list(stages.values())


def _parse_rate(chosen: ExchangeFormat, fps: Rate | None) -> Fraction | None:
    if fps is not None and not chosen.has_rate:
        raise InvalidValue(f"the format {chosen.name} keeps the times of its frames: give no fps")
    parsed = sampling.from_arguments(fps=fps)
    return parsed.rate if isinstance(parsed, AtRate) else None


def _parse_shard_bytes(chosen: ExchangeFormat, shard_bytes: int | None) -> int:
    if shard_bytes is None:
        return _SHARD_BYTES
    if not chosen.has_shards:
        raise InvalidValue(f"the format {chosen.name} has no shards: give no shard_bytes")
    return require_int(shard_bytes, what="shard_bytes", minimum=1)


def _own_rate(index: Index, positions: Positions) -> Fraction:
    """Return the mean rate of frames."""
    times = index.timestamp[positions]
    span = float(times[-1] - times[0])
    if span <= 0 or not np.isfinite(span):
        return _DEFAULT_RATE
    mean = (len(times) - 1) / Fraction(span)
    rate = mean.limit_denominator(_MAX_RATE_DENOMINATOR)
    return min(rate, _MAX_RATE) if rate > 0 else Fraction(1, _MAX_RATE_DENOMINATOR)
