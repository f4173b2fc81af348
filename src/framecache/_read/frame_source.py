"""Fetch stored JPEGs and check that their bytes are those that were committed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from framecache._index import FrameRow, Index, Snapshot, ensure_current, load_snapshot
from framecache._layouts.ranges import coalesce_ranges
from framecache._media import video
from framecache._read import on_demand
from framecache._read.disk_cache.timeline import MANIFEST_TTL_SECONDS, TimelineDiskCache
from framecache._read.on_demand import ChunkPicture
from framecache.errors import CorruptFrame, FrameCacheError, UndecodableFrame
from framecache.model import JpegSettings
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 2
_MAX_CHANGES: Final = 100
"""Maximum number of times a frame may be replaced or moved while it is read."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Outcome of fetching a frame; an error is raised when the frame's turn comes."""

    row: FrameRow
    """Row that the bytes belong to: a later one if the frame was replaced or moved meanwhile."""
    outcome: bytes | FrameCacheError

    def jpeg(self) -> bytes:
        """Return the stored bytes, or raise the error that occurred instead."""
        if isinstance(self.outcome, FrameCacheError):
            raise self.outcome
        return self.outcome


@dataclass(slots=True)
class _Changes:
    """Changes of a timeline that its sources of all sizes have noticed."""

    latest: Snapshot | None = None
    """Later snapshot, loaded when a frame was found to be stored elsewhere."""
    checked_at: float = field(default_factory=time.monotonic)
    """Time at which the epoch was last known to be current."""


class FrameSource:
    """Source of the JPEGs of a timeline, as of one snapshot. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        disk_cache: TimelineDiskCache | None = None,
        *,
        select: Callable[[Index], Index] = lambda index: index,
    ) -> None:
        """Initialize without a request.

        Args:
            store: store of the timeline.
            snapshot: snapshot whose index has the locations of the JPEGs to be read.
            disk_cache: disk cache, read before a frame is fetched and filled afterwards.
            select: returns such an index for that of a later snapshot.
        """
        self.store = store
        self.snapshot = snapshot
        self._disk_cache = disk_cache
        self._select = select
        self._changes = _Changes()

    def for_size(self, max_side: int | None) -> "FrameSource":
        """Return a source of the JPEGs that suffice for a size: of renditions, where there are any.

        Its index is that of `Index.for_size`, with the same positions.
        """
        index = self.snapshot.index.for_size(max_side)
        if index is self.snapshot.index:
            return self
        sized = FrameSource(self.store, replace(self.snapshot, index=index), self._disk_cache)
        sized._select = partial(Index.for_size, max_side=max_side)
        sized._changes = self._changes
        return sized

    @property
    def is_outdated(self) -> bool:
        """True if a frame turned out to have been replaced or moved since the snapshot."""
        return self._changes.latest is not None

    @property
    def _latest(self) -> Snapshot | None:
        return self._changes.latest

    def fetch_jpeg(self, row: FrameRow) -> bytes:
        """Return the stored bytes of a frame whose status is ``"ok"``.

        Makes one request, or reads from local disk.

        Raises:
            TimelineCleared: the timeline is no longer the one this source reads.
            CorruptFrame: in two attempts, the frame is missing or its bytes differ from those that
                were committed.
        """
        return self.fetch_frame(row).jpeg()

    def fetch_frame(self, row: FrameRow) -> FetchResult:
        """Return the bytes of a frame and their row. Raises the same errors as :meth:`jpeg`."""
        if row.status == "unknown":
            return self._decode(row)
        if self._latest is not None:
            row = self._current_row(row)
        for _ in range(_MAX_CHANGES):
            used = self._latest or self.snapshot
            try:
                return FetchResult(row, self._read_verified(row))
            except CorruptFrame:
                latest = self._refresh_row(row)
                # After a repack in both directions the frame is where it was, and only the manifest
                # is newer.
                if latest == row and _version(self._latest or self.snapshot) == _version(used):
                    raise
                row = latest
        return FetchResult(row, self._read_verified(row))

    def iter_decoded(
        self, positions: npt.NDArray[np.int64], *, is_batch: bool
    ) -> Iterator[ChunkPicture | FetchResult]:
        """Yield the pictures of index rows whose frames are not stored, in order.

        A frame of which the disk cache has a copy is not decoded.

        Args:
            positions: rows, in reading order; of a batch, ascending.
            is_batch: True if other batches are likely to be read from the same places.
        """
        video.require_packages(on_demand.NEEDED_BY)
        read = on_demand.read_pictures_of_batch if is_batch else on_demand.read_pictures
        for one in read(self.store, self.snapshot, positions, self._find_copy):
            self._check_epoch()
            yield one

    def encode(self, picture: ChunkPicture) -> FetchResult:
        """Return the JPEG of a decoded picture, or the error of a frame without one."""
        lacking = on_demand.undecodable_row(picture)
        if lacking is not None:
            return FetchResult(lacking, self.undecodable_error(lacking))
        row, data = on_demand.encode(picture, self._jpeg_settings)
        if self._disk_cache is not None:
            name = on_demand.identity_of_copy(row, picture.entry, self._jpeg_settings)
            self._disk_cache.put_decoded(name, on_demand.to_copy(row, data))
        return FetchResult(row, data)

    def undecodable_error(self, row: FrameRow) -> UndecodableFrame:
        """Return the error of a frame that has no picture."""
        manifest = self.snapshot.manifest
        of = f" of timeline {manifest.timeline_id}" if manifest is not None else ""
        return UndecodableFrame(
            f"frame {row.sequence}{of} has no picture ({row.reason}): skip it, or repair the video "
            "and rebuild"
        )

    def _decode(self, row: FrameRow) -> FetchResult:
        """Return the JPEG of a frame that is not stored."""
        video.require_packages(on_demand.NEEDED_BY)
        self._check_epoch()
        copy = self._find_copy(row)
        if copy is not None:
            return copy
        return self.encode(on_demand.read_picture(self.store, self.snapshot, row))

    def _check_epoch(self) -> None:
        """Check from time to time that the timeline is still the one that this source reads.

        A reader of stored frames notices a clear because they are gone; a chunk stays.

        Raises:
            TimelineCleared: the timeline was cleared, rebuilt or deleted.
        """
        now = time.monotonic()
        if now - self._changes.checked_at < MANIFEST_TTL_SECONDS:
            return
        # Set first, so that only one of several threads checks.
        self._changes.checked_at = now
        assert self.snapshot.manifest is not None
        ensure_current(self.store, self.snapshot.manifest)

    def _find_copy(self, row: FrameRow) -> FetchResult | None:
        """Return the copy of a decoded frame in the disk cache."""
        if self._disk_cache is None:
            return None
        entry = on_demand.entry_of(self.snapshot, row)
        name = on_demand.identity_of_copy(row, entry, self._jpeg_settings)
        copy = self._disk_cache.get_decoded(name)
        found = None if copy is None else on_demand.from_copy(row, copy)
        return None if found is None else FetchResult(*found)

    @property
    def _jpeg_settings(self) -> JpegSettings:
        assert self.snapshot.manifest is not None
        return self.snapshot.manifest.settings.jpeg

    def prefetch_cached(self, rows: Sequence[FrameRow]) -> bool:
        """Start reading these frames from local disk; return whether all seem to be there."""
        local = self._disk_cache
        return local is not None and all(local.prefetch(self._current_row(row)) for row in rows)

    def fetch_frames(self, rows: Sequence[FrameRow]) -> list[FetchResult]:
        """Return the stored bytes of frames that share one range, or of one frame, in their order.

        Usually takes one request. A frame whose bytes are wrong is requested again alone. If one of
        these requests fails, the following frames of which no bytes arrived share its error.
        """
        if len(rows) == 1 or any(row.is_decoded_on_demand for row in rows):
            return [self._try_fetch(row) for row in rows]
        if self._latest is not None:
            rows = [self._current_row(row) for row in rows]
        distinct = {row.sequence: row for row in rows}.values()
        local = {
            row.sequence: one for row in distinct if (one := self._read_cached(row)) is not None
        }
        missing = (row for row in distinct if row.sequence not in local)
        fetched = chain.from_iterable(map(self._fetch_range, coalesce_ranges(missing)))
        outcomes = local | {one.row.sequence: one for one in fetched}
        return [outcomes[row.sequence] for row in rows]

    def _read_cached(self, row: FrameRow) -> FetchResult | None:
        try:
            data = self._disk_cache.get(row) if self._disk_cache is not None else None
        except FrameCacheError as error:
            return FetchResult(row, error)
        return None if data is None else FetchResult(row, data)

    def _try_fetch(self, row: FrameRow) -> FetchResult:
        try:
            return self.fetch_frame(row)
        except FrameCacheError as error:
            return FetchResult(row, error)

    def _fetch_range(self, rows: Sequence[FrameRow]) -> list[FetchResult]:
        try:
            pieces = self._read_range(rows)
        except FrameCacheError as error:
            return [FetchResult(row, error) for row in rows]
        fetched: list[FetchResult] = []
        failure: FrameCacheError | None = None
        for row, piece in zip(rows, pieces, strict=True):
            if failure is not None and not piece:
                fetched.append(FetchResult(row, failure))
                continue
            one = (
                self._try_fetch(row)
                if self._find_mismatch(piece, row)
                else self._cache_result(row, piece)
            )
            if isinstance(one.outcome, FrameCacheError):
                failure = one.outcome
            fetched.append(one)
        return fetched

    def _cache_result(self, row: FrameRow, data: bytes) -> FetchResult:
        if self._disk_cache is not None:
            self._disk_cache.put(row, data)
        return FetchResult(row, data)

    def _read_range(self, rows: Sequence[FrameRow]) -> list[bytes]:
        start, end = rows[0].offset, rows[-1].offset + rows[-1].size
        try:
            data = self.store.get_range(rows[0].key, start=start, length=end - start)
        except BlobMissing:
            data = b""  # each frame is then fetched alone, which determines the reason
        return [data[row.offset - start : row.offset - start + row.size] for row in rows]

    def _current_row(self, row: FrameRow) -> FrameRow:
        return row if self._latest is None else self._find_row(self._latest, row)

    def _find_row(self, snapshot: Snapshot, row: FrameRow) -> FrameRow:
        """Return the frame's row in a snapshot, or `row` if it has no picture there."""
        index = self._select(snapshot.index)
        position = index.position(row.sequence)
        found = row if position is None else index.row(position)
        return row if found.status == "undecodable" else found

    def _refresh_row(self, row: FrameRow) -> FrameRow:
        """Return the currently committed row: the frame may have been repaired or moved since."""
        manifest = self.snapshot.manifest
        if manifest is None:
            return row
        ensure_current(self.store, manifest)
        latest = load_snapshot(self.store, manifest.timeline_id)
        if latest.manifest is None or latest.manifest.epoch != manifest.epoch:
            ensure_current(self.store, manifest)
            return row
        self._changes.latest = latest
        return self._find_row(latest, row)

    def _read_verified(self, row: FrameRow) -> bytes:
        if self._disk_cache is None:
            return self._fetch_verified(row)
        data = self._disk_cache.get(row)
        if data is None:
            data = self._fetch_verified(row)
            self._disk_cache.put(row, data)
        return data

    def _fetch_verified(self, row: FrameRow) -> bytes:
        difference = ""
        for _ in range(_ATTEMPTS):
            try:
                data = read_stored_jpeg(self.store, row)
            except BlobMissing:
                difference = "it is missing"
                continue
            difference = self._find_mismatch(data, row)
            if not difference:
                return data
        raise CorruptFrame(
            f"frame {row.sequence} ({row.key} in {self.store.display_name}) is not the one that "
            f"was committed: {difference}; {self._remedy()}"
        )

    def _remedy(self) -> str:
        manifest = self.snapshot.manifest
        if manifest is None:
            return "ask the program that stored it"
        if not manifest.chunks:
            return "write the frame again"
        return f"run: framecache verify {manifest.timeline_id} --repair"

    def _find_mismatch(self, data: bytes, row: FrameRow) -> str:
        if self.snapshot.index.is_unindexed:
            return ""  # stored by another program: its length and CRC are not known
        if len(data) != row.size:
            return f"it has {len(data)} bytes instead of {row.size}"
        if google_crc32c.value(data) != row.crc32c:
            return "its CRC-32C differs"
        return ""


def _version(snapshot: Snapshot) -> int | None:
    return None if snapshot.manifest is None else snapshot.manifest.version


def read_stored_jpeg(store: Store, row: FrameRow) -> bytes:
    """Return the bytes that a row refers to, unchecked; one request.

    Raises:
        BlobMissing: the blob does not exist.
    """
    if not row.offset:
        return store.get(row.key)
    return store.get_range(row.key, start=row.offset, length=row.size)
