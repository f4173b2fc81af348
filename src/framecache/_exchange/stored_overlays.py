"""Reading of the stored overlays of several stages, frame by frame."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from framecache._exchange.base import ExchangedOverlay
from framecache._overlays import Overlays
from framecache._overlays.listing import list_stage
from framecache._overlays.staleness import load_commit_times
from framecache._read import FrameSource, prefetch_map
from framecache.store import Store

_CONCURRENT_REQUESTS: Final = 16
_MAX_LOADED_BYTES: Final = 64 * 2**20
"""Bytes of overlays that are being fetched or wait for the consumer."""

_Task = tuple[Overlays, int, str, int]
"""Stage, sequence, name and size in bytes of an overlay."""


@dataclass(frozen=True, slots=True)
class StoredOverlays:
    """Overlays of some frames, from listings, without those that are stale."""

    stale_count: int
    """Number of stale overlays, which are left out: copies of them would look new."""
    _tasks: dict[int, list[_Task]] = field(repr=False)

    @classmethod
    def find(
        cls, source: FrameSource, store: Store, stages: Sequence[Overlays], wanted: Collection[int]
    ) -> "StoredOverlays":
        """List the overlays of these frames; makes a request for each stage, and one more.

        Args:
            source: source of the frames.
            store: store of the timeline.
            stages: stages whose overlays are wanted.
            wanted: sequences of the frames.
        """
        tasks: dict[int, list[_Task]] = {}
        stale_count = 0
        for stage in stages:
            since = load_commit_times(store, stage.timeline_id, lambda: source.snapshot.index)
            listed = list_stage(store, stage.timeline_id, stage.job_id, stage.stage)
            for (sequence, name), blob in sorted(listed.items()):
                if sequence not in wanted:
                    continue
                if since.is_stale(sequence, blob.modified_at):
                    stale_count += 1
                    continue
                tasks.setdefault(sequence, []).append((stage, sequence, name, blob.size_bytes))
        return cls(stale_count, tasks)

    def read(self, sequences: Sequence[int]) -> Iterator[tuple[ExchangedOverlay, ...]]:
        """Yield the overlays of each of these frames, prefetched, in bounded memory.

        An overlay that was removed since it was listed is left out.
        """
        tasks = (task for sequence in sequences for task in self._tasks.get(sequence, ()))
        pngs = prefetch_map(
            lambda task: task[0].load_one(task[1], task[2]),
            tasks,
            threads=_CONCURRENT_REQUESTS,
            ahead=_MAX_LOADED_BYTES,
            weigh=lambda task: max(task[3], _MAX_LOADED_BYTES // (2 * _CONCURRENT_REQUESTS)),
        )
        try:
            for sequence in sequences:
                found = [(task, next(pngs)) for task in self._tasks.get(sequence, ())]
                yield tuple(
                    ExchangedOverlay(sequence, stage.job_id, stage.stage, name, png)
                    for (stage, _, name, _), png in found
                    if png is not None
                )
        finally:
            pngs.close()
