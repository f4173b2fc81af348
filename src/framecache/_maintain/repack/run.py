"""Move the frames of a timeline to another layout, without changing a byte of any JPEG."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from framecache._core.manifest import Manifest, Settings
from framecache._index import FrameRow, Index, Snapshot, blob_keys, current_manifest, ensure_current
from framecache._index.lease import FRAMES_BETWEEN_CHECKS, LeaseManager
from framecache._ingest import relocate
from framecache._ingest.chunk_frames import open_chunk, store_frames
from framecache._ingest.chunk_plan import list_frames, plan_chunk
from framecache._ingest.deletion import cleanup_if_deleted
from framecache._layouts import LAYOUTS, FrameStorage, layout_of
from framecache._layouts.encoding import EncodedJpeg, EncodedRendition, frame_position
from framecache._maintain.repack.report import RepackReport
from framecache._maintain.rewriting import PartsRewrite
from framecache._media import jpeg, video
from framecache._read import FrameSource, fetch_in_order
from framecache._read.on_demand.open_chunks import DESCRIPTION_KEY, describe_chunk
from framecache._version import __version__
from framecache.errors import NotCached, SettingsConflict, StoreUnavailable, TimelineCleared
from framecache.model import Layout, ProgressCallback
from framecache.store import Store


def repack(
    store: Store,
    timeline_id: str,
    layout: Layout,
    *,
    workers: int,
    progress: ProgressCallback | None = None,
) -> RepackReport:
    """Move all committed frames of a timeline to a layout; nothing is encoded again.

    From layout ``video`` this is an extraction: frames that are not stored are decoded.

    Raises:
        NotCached: the timeline has no manifest.
        SettingsConflict: ``layout`` is one that stores no frames, and they are stored.
        UnreadableChunk: frames are not stored, and their chunk changed, is gone or cannot be read.
        CorruptFrame: a frame is damaged; the timeline is unchanged.
        TimelineCleared: another program cleared the timeline meanwhile.
        StoreUnavailable: another program is working on a part of it.
    """
    began = time.monotonic()
    manifest = current_manifest(store, timeline_id)
    if manifest is None:
        raise NotCached(
            f"timeline {timeline_id} in {store.display_name} has no manifest, so its layout cannot "
            "be changed: extract it first"
        )
    if not LAYOUTS[layout].stores_frames and manifest.settings.layout != layout:
        raise SettingsConflict(
            f"timeline {timeline_id} stores its frames in layout {manifest.settings.layout}, and "
            f"repacking keeps them; to drop them and decode the chunks instead: "
            f"framecache rebuild {timeline_id} --layout {layout}"
        )
    with LeaseManager(store, manifest) as held:
        run = _RepackRun(store, manifest, layout, held, workers, progress)
        try:
            run.lease_imported_frames()
            moved = run.rewrite_all()
        except TimelineCleared:
            cleanup_if_deleted(store, timeline_id)
            raise
        removed = run.remove_unreferenced(moved)
    if run.has_unmoved_frames():
        relocate(store, timeline_id, workers=workers, wait=False)
    frames = sum(part.frames for part in moved)
    return RepackReport(
        timeline_id=timeline_id,
        layout=layout,
        frames_moved=frames,
        parts_moved=len(moved),
        bytes_moved=sum(part.bytes_stored for part in moved),
        blobs_removed=removed,
        seconds=time.monotonic() - began,
    )


class _RepackRun(PartsRewrite):
    """One change of the layout of one timeline."""

    action: ClassVar[str] = "repacked"

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        layout: Layout,
        leases: LeaseManager,
        workers: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._layout: Layout = layout
        self._workers = workers
        super().__init__(store, manifest, leases, progress)

    def change_settings(self, current: Settings) -> Settings:
        """See `PartsRewrite`."""
        return replace(current, layout=self._layout)

    def needs_rewrite(self, index: Index) -> bool:
        """See `PartsRewrite`."""
        return not layout_of(self.target).holds_all(index)

    def count_steps(self, index: Index) -> int:
        """See `PartsRewrite`."""
        return int(index.is_ok.sum())

    def old_keys(self, index: Index) -> Sequence[str]:
        """See `PartsRewrite`."""
        return sorted(blob_keys(index.take(np.flatnonzero(~index.is_decoded_on_demand))))

    def provenance(self, index: Index) -> Mapping[str, Any]:
        """See `PartsRewrite`."""
        about = {**index.provenance, "framecache": __version__, "repacked": self._layout}
        if about.pop(DESCRIPTION_KEY, None) is not None:
            about |= {"ffmpeg": video.ffmpeg_version(), "jpeg_encoder": jpeg.encoder_version()}
        return about

    def bytes_stored(self, row: FrameRow) -> int:
        """See `PartsRewrite`."""
        return row.stored_bytes

    def store_part(self, part: str, index: Index) -> Sequence[FrameRow]:
        """See `PartsRewrite`."""
        layout = layout_of(self.target)
        with (
            layout.create_encoders(self.store, workers=self._workers) as encoders,
            layout.create_storage(
                self.store, self.target, part, encoders, on_stored=self.count_frame
            ) as storage,
        ):
            stored = (
                self._extract_frames(part, index, storage)
                if index.is_decoded_on_demand.any()
                else self._store_frames(part, index, storage)
            )
            ensure_current(self.store, self.manifest)
        return stored

    def _store_frames(self, part: str, index: Index, storage: FrameStorage) -> list[FrameRow]:
        """Store the frames of a part in the new layout; return its rows."""
        whole = index.for_size(None)
        positions = np.flatnonzero(index.is_ok)
        with ExitStack() as stack:
            fetched = stack.enter_context(closing(self._fetch(whole.take(positions))))
            renditions = {
                side: stack.enter_context(
                    closing(
                        self._fetch(
                            index.of_renditions(side),
                            select=partial(Index.of_renditions, max_side=side),
                        )
                    )
                )
                for side in index.rendition_sides
            }
            for count, (row, data) in enumerate(fetched):
                if count % FRAMES_BETWEEN_CHECKS == 0:
                    self.require_lease(part)
                position = index.position(row.sequence)
                assert position is not None
                copies = tuple(
                    EncodedRendition(
                        one.max_side, next(renditions[one.max_side])[1], one.crc32c, one.origin
                    )
                    for one in index.row(position).renditions
                )
                storage.add(frame_position(row), partial(_to_encoded_frame, row, data, copies))
        moved = [_with_location(index, row) for row in storage.finish()]
        return [*moved, *index.rows(np.flatnonzero(~index.is_ok))]

    def _fetch(
        self, index: Index, *, select: Callable[[Index], Index] = lambda index: index
    ) -> Generator[tuple[FrameRow, bytes]]:
        """Yield the row and the JPEG of each frame of an index.

        ``select`` is that of the `FrameSource`.

        Raises:
            StoreUnavailable: another program replaced a frame since the index was read.
        """
        source = FrameSource(self.store, Snapshot(self.manifest, index, ()), select=select)
        with closing(fetch_in_order(source, np.arange(len(index)))) as fetched:
            for one, crc32c in zip(fetched, index.crc32c.tolist(), strict=True):
                if one.row.crc32c != crc32c:
                    raise StoreUnavailable(
                        f"another program replaced frame {one.row.sequence} of timeline "
                        f"{self.manifest.timeline_id} in {self.store.display_name} while it was "
                        f"repacked: try again"
                    )
                yield one.row, one.jpeg()

    def _extract_frames(self, part: str, index: Index, storage: FrameStorage) -> Sequence[FrameRow]:
        """Extract the frames of a part that are not stored; return its rows.

        Raises:
            ChunkChanged: the chunk was replaced, or contradicts the sample tables from which its
                frames were listed.
        """
        segment = next(one for one in self.manifest.segments if one.part == part)
        entry = segment.chunk
        snapshot = Snapshot(self.manifest, index, ())
        video.require_packages("repack")
        with open_chunk(self.store, entry) as file:
            # The description of a video does not have the tables, which are checked while decoding.
            scan = (
                list_frames(file, entry)
                if entry.listed_from == "tables"
                else describe_chunk(self.store, snapshot, entry).scan
            )
            planned = plan_chunk(entry, scan, self.manifest.settings.sampling)
            planned = planned.of_segment(segment)
            return store_frames(
                file,
                self.target,
                entry,
                planned,
                storage,
                threads=max(1, self._workers // 2 + 1),
                check=partial(self.require_lease, part),
                on_undecodable=self.count_frame,
            ).rows


def _with_location(index: Index, stored: FrameRow) -> FrameRow:
    """Return the row of a frame with its new location and otherwise unchanged."""
    position = index.position(stored.sequence)
    assert position is not None
    return replace(
        index.row(position), key=stored.key, offset=stored.offset, renditions=stored.renditions
    )


def _to_encoded_frame(
    row: FrameRow, jpeg: bytes, renditions: tuple[EncodedRendition, ...]
) -> EncodedJpeg:
    return EncodedJpeg(jpeg, row.width, row.height, row.crc32c, row.perceptual_hash, renditions)
