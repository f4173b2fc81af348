"""Counts of the overlays of jobs and stages, from a listing alone."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from framecache._core import keys
from framecache._index import load_snapshot
from framecache._overlays.staleness import load_commit_times
from framecache.errors import StoreWarning
from framecache.store import BlobInfo, Store

Counted = TypeVar("Counted")


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Counts of the overlays that one stage of one job has drawn."""

    frame_count: int
    """Number of frames that have an overlay of this stage."""
    names: Mapping[str, int]
    """Number of frames that have an overlay of each name."""
    stale_count: int
    """Number of frames with an overlay older than the frame (rebuilt or replaced since)."""
    size_bytes: int
    """Bytes of all overlays of this stage."""

    @property
    def overlay_count(self) -> int:
        """Number of overlays of all names."""
        return sum(self.names.values())


def count_jobs(store: Store, timeline_id: str) -> dict[str, dict[str, int]]:
    """Count the overlays of each stage of each job: ``{job_id: {stage: count}}``."""
    jobs: dict[str, dict[str, int]] = {}
    for job_id, stage, _, _, _ in _iter_overlays(store, timeline_id):
        stages = jobs.setdefault(job_id, {})
        stages[stage] = stages.get(stage, 0) + 1
    return _sort_jobs(jobs)


def count_stages(store: Store, timeline_id: str) -> dict[str, dict[str, StageCounts]]:
    """Count the frames and overlay names of each stage of each job.

    Makes two LISTs: of the overlays, and of the index. If a program wrote frames more than once,
    the index is read as well.
    """
    jobs: dict[str, dict[str, _StageCounter]] = defaultdict(lambda: defaultdict(_StageCounter))
    since = load_commit_times(store, timeline_id, lambda: load_snapshot(store, timeline_id).index)
    for job_id, stage, sequence, name, blob in _iter_overlays(store, timeline_id):
        stale = since.is_stale(sequence, blob.modified_at)
        jobs[job_id][stage].add(sequence, name, blob.size_bytes, stale=stale)
    counted = {
        job_id: {stage: counting.result() for stage, counting in stages.items()}
        for job_id, stages in jobs.items()
    }
    return _sort_jobs(counted)


class _StageCounter:
    """Accumulator for the counts of one stage."""

    def __init__(self) -> None:
        self._frames: set[int] = set()
        self._stale: set[int] = set()
        self._names: dict[str, int] = {}
        self._size_bytes = 0

    def add(self, sequence: int, name: str, size_bytes: int, *, stale: bool) -> None:
        """Count one overlay."""
        self._size_bytes += size_bytes
        self._frames.add(sequence)
        self._names[name] = self._names.get(name, 0) + 1
        if stale:
            self._stale.add(sequence)

    def result(self) -> StageCounts:
        """Return the counts."""
        return StageCounts(
            frame_count=len(self._frames),
            names=dict(sorted(self._names.items())),
            stale_count=len(self._stale),
            size_bytes=self._size_bytes,
        )


def _iter_overlays(store: Store, timeline_id: str) -> Iterator[tuple[str, str, int, str, BlobInfo]]:
    """Yield job, stage, sequence, name and blob of each overlay of a timeline.

    Skips blobs whose folders are not valid job or stage names, and warns of them.
    """
    foreign: list[str] = []
    prefix = keys.overlays_prefix(timeline_id)
    for blob in store.list(prefix):
        match blob.key.removeprefix(prefix).split("/"):
            case [job_id, stage, file] if (drawn := keys.parse_overlay(file)) is not None:
                if keys.is_id(job_id) and keys.is_id(stage):
                    yield job_id, stage, *drawn, blob
                else:
                    foreign.append(blob.key)
    if foreign:
        more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
        warnings.warn(
            f"{foreign[0]}{more} in {store.url} is skipped: its folders are not named after a "
            "job and a stage",
            StoreWarning,
            stacklevel=3,
        )


def _sort_jobs(jobs: Mapping[str, Mapping[str, Counted]]) -> dict[str, dict[str, Counted]]:
    return {job_id: dict(sorted(jobs[job_id].items())) for job_id in sorted(jobs)}
