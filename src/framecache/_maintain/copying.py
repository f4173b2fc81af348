"""Copying a timeline from one store to another, blob by blob, without decoding.

The order is that of an extraction: first the manifest, in which nothing is committed yet, then the
frames of each part, then the index part that commits them. Concurrent readers of the copy see
whole chunks or none.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from framecache._core import keys, manifest
from framecache._core.manifest import Compaction, Manifest, new_write_id
from framecache._index import (
    FrameRow,
    Index,
    blob_exists,
    create_verified,
    current_manifest,
    ensure_current,
    fetch_document,
    live_rows,
    load_parts,
    try_commit_manifest,
    update_manifest,
)
from framecache._maintain.verify.stored_frames import is_committed
from framecache._overlays.staleness import load_commit_times
from framecache._read.prefetch import prefetch_map
from framecache.errors import CorruptFrame, InvalidValue, NotCached, SettingsConflict
from framecache.model import Progress, ProgressCallback
from framecache.store import BlobExists, BlobInfo, BlobMissing, BlobOutsideRoot, Store

_CONCURRENT_REQUESTS: Final = 16
_BLOCK_BYTES: Final = 8 * 2**20

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Result of a copy."""

    timeline_id: str
    url: str
    """URL of the target store."""
    frames_copied: int
    frames_there: int
    """Frames that were already committed in the target."""
    overlays_copied: int
    overlays_there: int
    """Overlays whose keys already existed in the target; they were not changed."""
    overlays_stale: int
    """Overlays older than their frames. They are not copied, because the copies would look new."""
    bytes_copied: int
    seconds: float


def copy_timeline(
    source: Store,
    target: Store,
    timeline_id: str,
    *,
    progress: ProgressCallback | None = None,
) -> CopyReport:
    """Copy frames, index, settings and overlays; blobs that the target already has are skipped.

    If the target has an older copy, chunks that were appended to the source since are added to it.

    Raises:
        NotCached: the source has no manifest of the timeline.
        SettingsConflict: the target has another timeline with that id.
        CorruptFrame: a stored frame is not what was committed; its part is not committed in the
            target.
        TimelineCleared: a program cleared the timeline, or its copy, meanwhile.
    """
    if source.url == target.url:
        raise InvalidValue(f"{source.display_name} already holds the timeline: give another store")
    began = time.monotonic()
    description = current_manifest(source, timeline_id)
    if description is None:
        raise _no_manifest_error(source, timeline_id)
    copying = _CopyOperation(source, target, description, progress)
    copying.copy_parts()
    copying.copy_overlays()
    return CopyReport(
        timeline_id=timeline_id,
        url=target.url,
        frames_copied=copying.frames_copied,
        frames_there=copying.frames_there,
        overlays_copied=copying.overlays_copied,
        overlays_there=copying.overlays_there,
        overlays_stale=copying.overlays_stale,
        bytes_copied=copying.bytes_copied,
        seconds=time.monotonic() - began,
    )


class _CopyOperation:
    """State of one copy operation."""

    def __init__(
        self,
        source: Store,
        target: Store,
        manifest: Manifest,
        progress: ProgressCallback | None,
    ) -> None:
        self._source = source
        self._target = target
        self._manifest = manifest
        self._progress = progress
        self.frames_copied = self.frames_there = self.bytes_copied = 0
        self.overlays_copied = self.overlays_there = self.overlays_stale = 0

    def copy_parts(self) -> None:
        """Copy the frames of every part, and commit the part."""
        names = self._manifest.parts
        found = load_parts(self._source, self._manifest, names)
        rows = {part: index for part, index in zip(names, found, strict=True) if index is not None}
        compaction = self._manifest.compaction
        if compaction is not None and not rows.keys() >= set(compaction.parts):
            raise CorruptFrame(
                f"the index of timeline {self._manifest.timeline_id} in "
                f"{self._source.display_name} lacks a part: run 'framecache verify "
                f"{self._manifest.timeline_id} --repair' first"
            )
        copy = self._ensure_manifest()
        whole = Index.merged(list(rows.values()))
        # A replacement is copied before the older part that still names the replaced frame.
        written = self._manifest.written_parts
        chunks = (part for part in names if part not in written)
        for part in (part for part in (*chunks, *reversed(written)) if part in rows):
            key, index = self._manifest.index_key(part), live_rows(rows[part], whole)
            if blob_exists(self._target, key):
                self.frames_there += len(index)
            else:
                self._copy_frames(index, len(whole))
                self._commit_index_file(key, copy)
        if compaction is not None:
            self._copy_compaction(compaction, copy)

    def copy_overlays(self) -> None:
        """Copy the overlays that are not stale and do not exist in the target."""
        timeline_id = self._manifest.timeline_id
        prefix = keys.overlays_prefix(timeline_id)
        there = {blob.key for blob in self._target.list(prefix)}
        since = load_commit_times(self._source, timeline_id, self._load_index)
        blobs: list[BlobInfo] = []
        for blob in self._source.list(prefix):
            drawn = keys.parse_overlay(blob.key)
            folders = blob.key.removeprefix(prefix).split("/")[:-1]
            if drawn is None or len(folders) != 2 or not all(map(keys.is_id, folders)):  # noqa: PLR2004
                continue  # a blob of another program
            if blob.key in there:
                self.overlays_there += 1
            elif since.is_stale(drawn[0], blob.modified_at):
                self.overlays_stale += 1
            else:
                blobs.append(blob)
        for size in prefetch_map(
            self._copy_overlay, blobs, threads=_CONCURRENT_REQUESTS, ahead=2 * _CONCURRENT_REQUESTS
        ):
            if size is not None:
                self.overlays_copied += 1
                self.bytes_copied += size

    def _load_index(self) -> Index:
        found = load_parts(self._source, self._manifest, self._manifest.parts)
        return Index.merged([index for index in found if index is not None])

    def _ensure_manifest(self) -> Manifest:
        """Return the copy's manifest; create it, with nothing committed, if it does not exist."""
        timeline_id = self._manifest.timeline_id
        found = current_manifest(self._target, timeline_id)
        if found is None:
            if next(self._target.list(keys.frames_prefix(timeline_id)), None) is not None:
                raise self._conflict_error("holds frames that another program stored")
            first = replace(self._manifest, version=1, write_id=new_write_id(), begun=True)
            key = keys.manifest(timeline_id, 1)
            is_ours = create_verified(self._target, key, first.encode())
            found = first if is_ours else fetch_document(self._target, key, manifest.decode)
        if _comparable_fields(found) == _comparable_fields(self._manifest):
            return found
        if not _is_older_copy(found, self._manifest):
            raise self._conflict_error(
                "is a different timeline, or was changed independently of this one"
            )
        return update_manifest(self._target, timeline_id, self._with_new_chunks)

    def _with_new_chunks(self, copy: Manifest | None) -> Manifest:
        """Return the next version of the copy's manifest, with the source's current chunks."""
        if copy is None or not _is_older_copy(copy, self._manifest):
            raise self._conflict_error("was changed by another program in the meantime")
        if copy.chunks == self._manifest.chunks:
            return copy  # another program copies the timeline too
        return copy.next_version(chunks=self._manifest.chunks, begun=True)

    def _conflict_error(self, what: str) -> SettingsConflict:
        timeline_id = self._manifest.timeline_id
        return SettingsConflict(
            f"timeline {timeline_id} in {self._target.display_name} {what}: delete it first"
        )

    def _copy_frames(self, index: Index, total: int) -> None:
        for side in index.rendition_sides:
            self._copy_renditions(index.of_renditions(side))
        rows = [row for row in index.for_size(None).rows(range(len(index))) if row.status == "ok"]
        packs = list(dict.fromkeys(row.key for row in rows if row.offset))
        objects = [row for row in rows if not row.offset]
        self._copy_concurrently(self._copy_pack, packs)
        if packs:
            self._report_progress(len(index), total)
        self._copy_concurrently(self._copy_frame, objects, lambda: self._report_progress(1, total))
        if not packs:
            self._report_progress(len(index) - len(objects), total)

    def _copy_renditions(self, index: Index) -> None:
        rows = index.rows(range(len(index)))
        self._copy_concurrently(
            self._copy_pack, list(dict.fromkeys(row.key for row in rows if row.offset))
        )
        self._copy_concurrently(self._copy_frame, [row for row in rows if not row.offset])

    def _copy_frame(self, row: FrameRow) -> int:
        data = self._read(partial(self._source.get, row.key), row.key)
        if not is_committed(row, data):
            raise self._corrupt_error(f"frame {row.sequence} ({row.key}) is not what was committed")
        self._target.put(row.key, data)
        return len(data)

    def _copy_pack(self, key: str) -> int:
        size = self._read(partial(self._source.head, key), key).size_bytes

        def blocks() -> Iterator[bytes]:
            for start in range(0, size, _BLOCK_BYTES):
                length = min(_BLOCK_BYTES, size - start)
                get = partial(self._source.get_range, key, start=start, length=length)
                yield self._read(get, key)

        self._target.put_stream(key, blocks())
        return size

    def _copy_overlay(self, blob: BlobInfo) -> int | None:
        """Copy an overlay and return its size.

        None if it was removed from the source meanwhile, or now exists in the target.
        """
        try:
            data = self._source.get(blob.key)
            self._target.create(blob.key, data)
        except (BlobMissing, BlobExists):
            return None
        return len(data)

    def _copy_compaction(self, compaction: Compaction, copy: Manifest) -> None:
        """Copy the compaction, and name it in the copy's manifest."""
        key = keys.compacted_index(
            self._manifest.timeline_id, epoch=self._manifest.epoch, number=compaction.number
        )
        is_this = self._commit_index_file(key, copy)
        if is_this and copy.compaction != compaction:
            try_commit_manifest(
                self._target, copy.next_version(compaction=compaction), previous=copy
            )

    def _commit_index_file(self, key: str, copy: Manifest) -> bool:
        """Copy an index file, which commits frames, if both manifests are still current.

        Returns True if the key in the target then holds the same bytes as in the source.
        """
        ensure_current(self._source, self._manifest)
        ensure_current(self._target, copy)
        try:
            body = self._source.get(key)
        except BlobMissing:
            return False  # a compaction that was replaced; its parts hold the same rows
        return create_verified(self._target, key, body)

    def _read(self, read: Callable[[], Result], key: str) -> Result:
        try:
            return read()
        except (BlobMissing, BlobOutsideRoot) as error:
            ensure_current(self._source, self._manifest)
            raise self._corrupt_error(f"{key} is gone") from error

    def _corrupt_error(self, what: str) -> CorruptFrame:
        timeline_id = self._manifest.timeline_id
        return CorruptFrame(
            f"{what} in {self._source.display_name}: run 'framecache verify {timeline_id} "
            "--repair', then copy again"
        )

    def _copy_concurrently(
        self,
        work: Callable[[Item], int],
        items: Sequence[Item],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        for size in prefetch_map(
            work, items, threads=_CONCURRENT_REQUESTS, ahead=2 * _CONCURRENT_REQUESTS
        ):
            self.bytes_copied += size
            done()

    def _report_progress(self, frames: int, total: int) -> None:
        self.frames_copied += frames
        if self._progress is not None and frames:
            self._progress(Progress(self.frames_copied + self.frames_there, total))


def _comparable_fields(manifest: Manifest) -> Manifest:
    """Reduce a manifest to the fields that are equal in a copy."""
    return replace(manifest, version=1, write_id="", compaction=None, begun=True)


def _is_older_copy(copy: Manifest, source: Manifest) -> bool:
    """Return True if the copy lacks only chunks that were appended to the source later."""
    common = source.chunks[: len(copy.chunks)]
    return _comparable_fields(copy) == _comparable_fields(replace(source, chunks=common))


def _no_manifest_error(source: Store, timeline_id: str) -> NotCached:
    prefix = keys.frames_prefix(timeline_id)
    if next(source.list(prefix), None) is None:
        return NotCached(
            f"timeline {timeline_id} has no manifest in {source.display_name}: extract it first"
        )
    return NotCached(
        f"timeline {timeline_id} in {source.url} has only frames that another program stored, "
        f"and no manifest: copy the files under {source.url}/{prefix} with another tool"
    )
