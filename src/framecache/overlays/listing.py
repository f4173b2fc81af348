"""Which overlays a stage of a job has, from a listing alone."""

from collections.abc import Mapping
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

    @classmethod
    def of(cls, blobs: Mapping[Drawn, BlobInfo], since: FramesSince) -> Self:
        """Overlays as they were listed, and when the frames were committed."""
        names: dict[int, list[str]] = {}
        stale: set[int] = set()
        for (sequence, name), blob in sorted(blobs.items()):
            names.setdefault(sequence, []).append(name)
            if since.is_stale(sequence, blob.modified_at):
                stale.add(sequence)
        return cls(
            tuple(names),
            tuple(map(tuple, names.values())),
            tuple(sequence in stale for sequence in names),
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
