"""Overlays of one stage of a job, from a listing alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from framecache._core import keys
from framecache._overlays.staleness import CommitTimes
from framecache.store import BlobInfo, Store

OverlayKey = tuple[int, str]
"""Sequence and name of an overlay."""


@dataclass(frozen=True, slots=True)
class OverlayListing:
    """Frames that have overlays of a stage, as columns of equal length."""

    sequence: tuple[int, ...]
    """Frame numbers, ascending."""
    names: tuple[tuple[str, ...], ...]
    """Names of each frame's overlays, sorted."""
    stale: tuple[bool, ...]
    """True if an overlay is older than its frame, which was rebuilt or replaced since."""
    other_size: tuple[bool, ...] | None = None
    """True if an overlay differs in size from its frame; None if sizes were not requested."""

    @classmethod
    def of(
        cls,
        blobs: Mapping[OverlayKey, BlobInfo],
        commit_times: CommitTimes,
        size_mismatches: Collection[OverlayKey] | None,
    ) -> Self:
        """Build a listing from blobs, the frames' commit times, and overlays of another size."""
        names: dict[int, list[str]] = {}
        stale: set[int] = set()
        for (sequence, name), blob in sorted(blobs.items()):
            names.setdefault(sequence, []).append(name)
            if commit_times.is_stale(sequence, blob.modified_at):
                stale.add(sequence)
        unfit = None if size_mismatches is None else {sequence for sequence, _ in size_mismatches}
        return cls(
            tuple(names),
            tuple(map(tuple, names.values())),
            tuple(sequence in stale for sequence in names),
            None if unfit is None else tuple(sequence in unfit for sequence in names),
        )


def list_stage(
    store: Store, timeline_id: str, job_id: str, stage: str
) -> dict[OverlayKey, BlobInfo]:
    """Return the overlays of one stage of one job; makes one LIST."""
    prefix = keys.overlays_prefix(timeline_id, job_id, stage)
    return {
        drawn: blob
        for blob in store.list(prefix)
        if "/" not in (file := blob.key.removeprefix(prefix))
        and (drawn := keys.parse_overlay(file)) is not None
    }
