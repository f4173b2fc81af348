"""What jobs and stages have drawn, counted from a listing alone."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from framecache import keys
from framecache.index import find
from framecache.overlays.staleness import frames_since
from framecache.store import BlobInfo, Store

Counted = TypeVar("Counted")


@dataclass(frozen=True, slots=True)
class StageCounts:
    """What one stage of one job has drawn."""

    frame_count: int
    """Frames that have an overlay of it."""
    names: Mapping[str, int]
    """How many frames have an overlay of each name."""
    stale_count: int
    """Frames of which an overlay is older than the frames: they were rebuilt or replaced since."""


def count_jobs(store: Store, timeline_id: str) -> dict[str, dict[str, int]]:
    """Count the overlays of each stage of each job: ``{job_id: {stage: count}}``."""
    jobs: dict[str, dict[str, int]] = {}
    for job_id, stage, _, _, _ in _overlays(store, timeline_id):
        stages = jobs.setdefault(job_id, {})
        stages[stage] = stages.get(stage, 0) + 1
    return _sorted(jobs)


def count_stages(store: Store, timeline_id: str) -> dict[str, dict[str, StageCounts]]:
    """Frames and names of each stage of each job; a LIST of overlays, and one of the index.

    The index is read where a program wrote frames more than once.
    """
    jobs: dict[str, dict[str, _Counting]] = defaultdict(lambda: defaultdict(_Counting))
    since = frames_since(store, timeline_id, lambda: find(store, timeline_id).index)
    for job_id, stage, sequence, name, blob in _overlays(store, timeline_id):
        jobs[job_id][stage].add(sequence, name, stale=since.is_stale(sequence, blob.modified_at))
    counted = {
        job_id: {stage: counting.result() for stage, counting in stages.items()}
        for job_id, stages in jobs.items()
    }
    return _sorted(counted)


class _Counting:
    """Counts what one stage has drawn."""

    def __init__(self) -> None:
        self._frames: set[int] = set()
        self._stale: set[int] = set()
        self._names: dict[str, int] = {}

    def add(self, sequence: int, name: str, *, stale: bool) -> None:
        """Count one overlay."""
        self._frames.add(sequence)
        self._names[name] = self._names.get(name, 0) + 1
        if stale:
            self._stale.add(sequence)

    def result(self) -> StageCounts:
        """All that was counted."""
        return StageCounts(len(self._frames), dict(sorted(self._names.items())), len(self._stale))


def _overlays(store: Store, timeline_id: str) -> Iterator[tuple[str, str, int, str, BlobInfo]]:
    """Job, stage, sequence and name of each overlay of a timeline."""
    prefix = keys.overlays_prefix(timeline_id)
    for blob in store.list(prefix):
        match blob.key.removeprefix(prefix).split("/"):
            case [job_id, stage, file] if (drawn := keys.parse_overlay(file)) is not None:
                yield job_id, stage, *drawn, blob


def _sorted(jobs: Mapping[str, Mapping[str, Counted]]) -> dict[str, dict[str, Counted]]:
    return {job_id: dict(sorted(jobs[job_id].items())) for job_id in sorted(jobs)}
