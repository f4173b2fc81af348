"""Add renditions to the frames of a timeline, made from the JPEGs that are stored."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from framecache._core.manifest import Manifest, Settings
from framecache._core.optional_imports import require_opencv
from framecache._index import FrameRow, Index, Snapshot, current_manifest, ensure_current
from framecache._index.lease import FRAMES_BETWEEN_CHECKS, LeaseManager
from framecache._ingest.deletion import cleanup_if_deleted
from framecache._ingest.relocation import relocate
from framecache._ingest.renditions import remade_renditions, with_renditions
from framecache._layouts import check_renditions, layout_of
from framecache._layouts.encoding import EncodedJpeg, frame_position
from framecache._maintain.renditions.report import RenditionsReport
from framecache._maintain.rewriting import PartsRewrite
from framecache._read import FrameSource, fetch_in_order
from framecache._version import __version__
from framecache.errors import NotCached, StoreUnavailable, TimelineCleared
from framecache.model import ProgressCallback
from framecache.store import Store


def add_renditions(
    store: Store,
    timeline_id: str,
    sides: Sequence[int],
    *,
    workers: int,
    progress: ProgressCallback | None = None,
) -> RenditionsReport:
    """Store smaller copies of all frames that lack them; the frames do not change.

    They are published as those of a repack are: all at once, when the last one is stored.

    Raises:
        NotCached: the timeline has no manifest.
        InvalidValue: no frame of the timeline is stored.
        MissingPackage: OpenCV is not installed.
        CorruptFrame: a frame is damaged; the timeline is unchanged.
        TimelineCleared: another program cleared the timeline meanwhile.
        StoreUnavailable: another program is working on a part of it.
    """
    require_opencv(needed_by="renditions")
    began = time.monotonic()
    manifest = current_manifest(store, timeline_id)
    if manifest is None:
        raise NotCached(
            f"timeline {timeline_id} in {store.display_name} has no manifest, so renditions cannot "
            "be added to it: extract it first"
        )
    with LeaseManager(store, manifest) as held:
        run = _RenditionRun(store, manifest, sides, held, workers, progress)
        try:
            run.lease_imported_frames()
            rewritten = run.rewrite_all()
        except TimelineCleared:
            cleanup_if_deleted(store, timeline_id)
            raise
    if run.has_unmoved_frames():
        relocate(store, timeline_id, workers=workers, wait=False)
    return RenditionsReport(
        timeline_id=timeline_id,
        renditions=run.target.settings.jpeg.renditions,
        frames_changed=run.frames_changed,
        renditions_stored=run.renditions_stored,
        bytes_stored=sum(part.bytes_stored for part in rewritten),
        seconds=time.monotonic() - began,
    )


class _RenditionRun(PartsRewrite):
    """One addition of renditions to one timeline."""

    action: ClassVar[str] = "given renditions"

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        sides: Sequence[int],
        leases: LeaseManager,
        workers: int,
        progress: ProgressCallback | None,
    ) -> None:
        self.frames_changed = self.renditions_stored = 0
        self._sides = tuple(sides)
        self._workers = workers
        self._added: set[tuple[int, int]] = set()
        """Sequence and size of each rendition that was stored for the latest part."""
        super().__init__(store, manifest, leases, progress)

    def change_settings(self, current: Settings) -> Settings:
        """See `PartsRewrite`."""
        sides = sorted({*current.jpeg.renditions, *self._sides}, reverse=True)
        jpeg = replace(current.jpeg, renditions=tuple(sides))
        return check_renditions(replace(current, jpeg=jpeg))

    def needs_rewrite(self, index: Index) -> bool:
        """See `PartsRewrite`."""
        return bool(self._lacking(index).any())

    def count_steps(self, index: Index) -> int:
        """See `PartsRewrite`."""
        return int(self._lacking(index).sum())

    def old_keys(self, index: Index) -> Sequence[str]:  # noqa: ARG002 -- nothing is moved
        """See `PartsRewrite`."""
        return ()

    def provenance(self, index: Index) -> Mapping[str, Any]:
        """See `PartsRewrite`."""
        sides = list(self.target.settings.jpeg.renditions)
        return {**index.provenance, "framecache": __version__, "renditions": sides}

    def bytes_stored(self, row: FrameRow) -> int:
        """See `PartsRewrite`."""
        return sum(
            one.size for one in row.renditions if (row.sequence, one.max_side) in self._added
        )

    def store_part(self, part: str, index: Index) -> Sequence[FrameRow]:
        """See `PartsRewrite`."""
        layout = layout_of(self.target)
        with (
            layout.create_encoders(self.store, workers=self._workers) as encoders,
            layout.create_rendition_storage(self.store, self.target, part, encoders) as storage,
        ):
            source = FrameSource(
                self.store,
                Snapshot(self.manifest, index.for_size(None), ()),
                select=partial(Index.for_size, max_side=None),
            )
            lacking = np.flatnonzero(self._lacking(index))
            with closing(fetch_in_order(source, lacking)) as fetched:
                for count, (one, row) in enumerate(zip(fetched, index.rows(lacking), strict=True)):
                    if count % FRAMES_BETWEEN_CHECKS == 0:
                        self.require_lease(part)
                    if one.row.crc32c != row.crc32c:
                        raise StoreUnavailable(
                            f"another program replaced frame {row.sequence} of timeline "
                            f"{self.manifest.timeline_id} in {self.store.display_name} while it "
                            f"was given renditions: try again"
                        )
                    storage.add(frame_position(row), partial(self._encode, row, one.jpeg()))
            made = storage.finish()
            ensure_current(self.store, self.manifest)
        rows = []
        self._added.clear()
        for row in index.rows(range(len(index))):
            new = made.get(row.sequence, ())
            self._added |= {(row.sequence, one.max_side) for one in new}
            self.frames_changed += bool(new)
            self.renditions_stored += len(new)
            rows.append(with_renditions(row, new))
        return rows

    def _encode(self, row: FrameRow, data: bytes) -> EncodedJpeg:
        had = {one.max_side for one in row.renditions}
        settings = self.target.settings.jpeg
        encoded = remade_renditions(row, data, {*settings.renditions} - had, settings)
        self.count_frame()
        return encoded

    def _lacking(self, index: Index) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Return a mask of the frames that lack a rendition which is smaller than they are."""
        longer = np.maximum(index.width, index.height)
        is_lacking = np.zeros(len(index), np.bool_)
        for side in self.target.settings.jpeg.renditions:
            is_lacking |= (longer > side) & ~index.has_rendition(side)
        return is_lacking & index.is_ok & ~index.is_decoded_on_demand
