"""Which overlays a stage of a job has, from a listing alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from framecache import keys
from framecache.overlays.staleness import FramesSince
from framecache.store import BlobInfo, Store

Drawn = tuple[int, str]
"""The sequence and name of an overlay."""


@dataclass(frozen=True, slots=True)
class OverlayListing:
    """The frames that have overlays of a stage, as columns of equal length."""

    sequence: tuple[int, ...]
    """Ascending."""
    names: tuple[tuple[str, ...], ...]
    """Of the overlays of each frame, sorted."""
    stale: tuple[bool, ...]
    """Whether an overlay of each is older than the frames: they were rebuilt or replaced since."""
    other_size: tuple[bool, ...] | None = None
    """Whether an overlay of each has another size than its frame; None: it was not asked for."""

    @classmethod
    def of(
        cls,
        blobs: Mapping[Drawn, BlobInfo],
        since: FramesSince,
        of_other_size: Collection[Drawn] | None,
    ) -> Self:
        """Overlays as they were listed, when the frames were committed, and which do not fit."""
        names: dict[int, list[str]] = {}
        stale: set[int] = set()
        for (sequence, name), blob in sorted(blobs.items()):
            names.setdefault(sequence, []).append(name)
            if since.is_stale(sequence, blob.modified_at):
                stale.add(sequence)
        unfit = None if of_other_size is None else {sequence for sequence, _ in of_other_size}
        return cls(
            tuple(names),
            tuple(map(tuple, names.values())),
            tuple(sequence in stale for sequence in names),
            None if unfit is None else tuple(sequence in unfit for sequence in names),
        )


def list_stage(store: Store, timeline_id: str, job_id: str, stage: str) -> dict[Drawn, BlobInfo]:
    """The overlays of one stage of one job; one LIST."""
    prefix = keys.overlays_prefix(timeline_id, job_id, stage)
    return {
        drawn: blob
        for blob in store.list(prefix)
        if "/" not in (file := blob.key.removeprefix(prefix))
        and (drawn := keys.parse_overlay(file)) is not None
    }
