"""Reading of a timeline while it grows: frames are yielded as their segments are committed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

import numpy as np

from framecache._core import keys, manifest
from framecache._core.manifest import Manifest
from framecache._core.numeric import format_value
from framecache._core.times import require_duration
from framecache._index import (
    Index,
    Snapshot,
    ensure_current,
    fetch_document,
    is_current,
    load_parts,
    load_snapshot_at,
    missing_segments,
    require_epoch,
)
from framecache._read import DecodeOptions, FrameSource, read_frames
from framecache._read.hash_distance import ChangeFilter, Hashes
from framecache._read.positions import Range, rows_in_range, snap_to_frame_start
from framecache._read.selection import Positions, Selection, find_missing, keep_changed
from framecache._read.snapshot_cache import SnapshotCache
from framecache.errors import InvalidValue, NotCached
from framecache.model import Follow, Frame
from framecache.store import BlobMissing, Store

_POLL_SECONDS: Final = 0.15
"""Pause between two looks for a new manifest or index part: one or two requests each."""
_POLLS_PER_CHECK: Final = 25
"""Polls after which it is checked that the manifest still exists: a deletion adds no version."""


@dataclass(frozen=True, slots=True)
class FollowEnd:
    """Conditions under which following a timeline ends."""

    is_until_complete: bool
    timeout_seconds: float | None
    """Seconds in which no frame is committed; None: no limit."""


def read_selection(
    snapshots: SnapshotCache,
    selection: Selection,
    decoding: DecodeOptions,
    *,
    follow: Follow,
    timeout_seconds: float | None,
    stopped: Event | None = None,
) -> Iterator[Frame]:
    """Yield the selected frames of a timeline; with ``follow``, also those added later.

    Args:
        snapshots: snapshot cache of the timeline.
        selection: frames to read.
        decoding: parameters of decoding.
        follow: as in `Timeline.frames`.
        timeout_seconds: as in `Timeline.frames`.
        stopped: another thread sets it to end a wait for frames, and so the iteration.
    """
    end = parse_follow(follow, timeout_seconds=timeout_seconds, selection=selection)
    if end is not None:
        return follow_frames(snapshots, selection, decoding, end, stopped or Event())

    def read(source: FrameSource) -> Iterator[Frame]:
        index, least = source.snapshot.index, selection.min_change
        if least is None or not index.is_decoded_on_demand.any():
            positions = snapshots.select(source, selection)
            yield from read_frames(source, positions, decoding, missing=selection.missing)
            return
        positions = snapshots.select(source, replace(selection, min_change=None))
        frames = read_frames(source, positions, decoding, missing=selection.missing)
        yield from _changed_frames(frames, ChangeFilter(least))

    return snapshots.read_latest(read)


def _changed_frames(frames: Iterator[Frame], changed: ChangeFilter) -> Iterator[Frame]:
    """Yield the frames that look different from the last one that was yielded."""
    for frame in frames:
        if changed.keep(Hashes.parse([frame.perceptual_hash]))[0]:
            yield frame


def parse_follow(
    follow: Follow, *, timeout_seconds: float | None, selection: Selection
) -> FollowEnd | None:
    """Return when following ends; None if the call does not follow.

    Raises:
        InvalidValue: an argument is not valid, or needs, or excludes, following.
    """
    if not isinstance(follow, bool) and follow != "complete":
        raise InvalidValue(f'follow must be True, False or "complete", not {format_value(follow)}')
    if follow is False:
        if timeout_seconds is not None:
            raise InvalidValue("timeout_seconds needs follow: without it, frames never waits")
        return None
    if selection.reverse or len(selection.ranges) > 1:
        raise InvalidValue("follow reads one range forward: give neither reverse nor ranges")
    if timeout_seconds is not None:
        timeout_seconds = require_duration(timeout_seconds, what="timeout_seconds")
    return FollowEnd(follow == "complete", timeout_seconds)


def follow_frames(
    snapshots: SnapshotCache,
    selection: Selection,
    decoding: DecodeOptions,
    end: FollowEnd,
    stopped: Event,
) -> Iterator[Frame]:
    """Yield the selected frames in order, as they are committed.

    Args:
        snapshots: snapshot cache of the timeline.
        selection: one range of frames.
        decoding: parameters of decoding.
        end: conditions under which the iteration ends.
        stopped: another thread sets it to end a wait for frames, and so the iteration.
    """
    timeline = _GrowingTimeline(snapshots)
    reader = _RangeReader(selection)
    active_at, row_count = time.monotonic(), 0
    while True:
        source = timeline.source()
        positions = reader.next_positions(snapshots, source, timeline.limit)
        if len(positions):
            frames = read_frames(source, positions, decoding, missing=selection.missing)
            yield from snapshots.track_results(source, reader.filter(source, frames))
        if row_count != len(source.snapshot.index):
            active_at, row_count = time.monotonic(), len(source.snapshot.index)
        is_complete = end.is_until_complete and timeline.snapshot.is_complete
        if is_complete or timeline.has_reached(selection.ranges[0]):
            reader.require_rest(snapshots, source)
            return
        while not timeline.poll():
            idle_seconds = time.monotonic() - active_at
            if end.timeout_seconds is not None and idle_seconds >= end.timeout_seconds:
                if end.is_until_complete:
                    raise timeline.incomplete_error(end.timeout_seconds)
                return
            if stopped.wait(_POLL_SECONDS):
                return


class _RangeReader:
    """Choice of the rows of a range that have not been read yet."""

    def __init__(self, selection: Selection) -> None:
        self._left = selection.ranges[0]
        self._is_strict = selection.missing == "raise"
        least = selection.min_change
        self._changed = None if least is None else ChangeFilter(least)

    def next_positions(
        self, snapshots: SnapshotCache, source: FrameSource, limit: int | None
    ) -> Positions:
        """Return the rows that were added below the limit; None: there is no limit."""
        index = source.snapshot.index
        rows = rows_in_range(index, self._left)
        if limit is not None:
            rows = rows[index.sequence[rows] < limit]
        if not len(rows):
            return rows
        begin, last = (int(index.sequence[rows[place]]) for place in (0, -1))
        if self._is_strict:
            start = begin if self._left.start is None else self._left.start
            read = replace(self._left, start=start, stop=last + 1, start_at=None, stop_at=None)
            snapshots.require_present(source, find_missing(index, read, ()))
        self._left = replace(self._left, start=last + self._left.step, start_at=None)
        positions = rows[index.is_ok[rows]]
        if self._changed is None or index.is_decoded_on_demand[positions].any():
            return positions
        return keep_changed(index, positions, self._changed)

    def filter(self, source: FrameSource, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Return the frames whose change could only be determined by decoding them."""
        if self._changed is None or not source.snapshot.index.is_decoded_on_demand.any():
            return frames
        return _changed_frames(frames, self._changed)

    def require_rest(self, snapshots: SnapshotCache, source: FrameSource) -> None:
        """Check that the range has no frame that is not read yet, at the end of following.

        Raises:
            NotCached: the selection raises on missing frames, and one was not committed.
        """
        if self._is_strict:
            missing = find_missing(source.snapshot.index, self._left, ())
            snapshots.require_present(source, missing)


class _GrowingTimeline:
    """State of a timeline, advanced by requests for the next manifest and the next index part."""

    def __init__(self, snapshots: SnapshotCache) -> None:
        self._snapshots = snapshots
        self._store: Store = snapshots.store
        self._timeline_id = snapshots.timeline_id
        self._polls = 0
        self.snapshot = snapshots.reload()
        self._source = snapshots.open_source(self.snapshot)
        if self.snapshot.manifest is None and self.snapshot.exists:
            raise InvalidValue(
                f"timeline {self._timeline_id} in {self._store.display_name} has no manifest, so "
                "it cannot be followed: another program stores its frames"
            )

    def source(self) -> FrameSource:
        """Return a source of the current snapshot."""
        return self._source

    @property
    def limit(self) -> int | None:
        """Sequence below which no frame is added; None: there is no such sequence.

        Segments may be committed in any order, and frames are yielded in theirs.
        """
        return next((one.first_sequence for one in missing_segments(self.snapshot)), None)

    def has_reached(self, wanted: Range) -> bool:
        """Return True if no frame that is added later can belong to a range."""
        if wanted.stop is not None and wanted.stop <= (wanted.start or 0):
            return True
        current, index = self.snapshot.manifest, self.snapshot.index
        if current is None or not len(index):
            return False
        limit = self.limit
        known = len(index) if limit is None else int(np.searchsorted(index.sequence, limit))
        if wanted.stop is not None:
            planned = current.frame_count if limit is None else limit
            return max(planned, int(index.sequence[known - 1]) + 1 if known else 0) >= wanted.stop
        if wanted.stop_at is None or not known:
            return False
        stop = wanted.stop_at
        missing = next(missing_segments(self.snapshot), None)
        last = current.chunks[-1].end if current.chunks else None
        end = last if missing is None else missing.start
        if end is not None and end + stop.tolerance >= stop.seconds:
            return True
        return bool(index.timestamp[known - 1] >= snap_to_frame_start(index, stop))

    def incomplete_error(self, waited_seconds: float) -> NotCached:
        """Return the error to raise if no frame is committed in time."""
        missing = self.snapshot.missing_parts
        what = f"{len(missing)} of its segments are not cached" if missing else "nothing is cached"
        return NotCached(
            f"timeline {self._timeline_id} in {self._store.display_name} is not complete, and no "
            f"frame was committed for {waited_seconds:g} s: {what}; check that a program is "
            "extracting it"
        )

    def poll(self) -> bool:
        """Look for commits; return True if there is any. Makes one or two requests.

        Raises:
            TimelineCleared: the timeline was cleared, rebuilt or deleted, and frames were cached.
        """
        current = self.snapshot.manifest
        if current is not None and self._load_next_parts(current):
            return True
        following = self._find_next(current)
        if following is None or following is current:
            return False
        self._advance(following)
        return True

    def _find_next(self, current: Manifest | None) -> Manifest | None:
        """Return the version after a manifest; the same manifest or None if there is none."""
        self._polls += 1
        if current is not None and self._polls % _POLLS_PER_CHECK == 0:
            return self._verify_exists(current)
        key = keys.manifest(self._timeline_id, current.version + 1 if current else 1)
        try:
            return fetch_document(self._store, key, manifest.decode)
        except BlobMissing:
            return current

    def _verify_exists(self, current: Manifest) -> Manifest | None:
        """Return the latest manifest, also if the known one was deleted."""
        if self.snapshot.exists:
            return ensure_current(self._store, current)
        if is_current(self._store, current):
            return current
        reloaded = self._snapshots.reload()
        if reloaded.manifest is None:
            self._replace(reloaded)
        return reloaded.manifest

    def _advance(self, latest: Manifest) -> None:
        current = self.snapshot.manifest
        if current is not None and self.snapshot.exists:
            require_epoch(self._store, latest, current)
        missing = set(self.snapshot.missing_parts)
        loaded = [part for part in current.parts if part not in missing] if current else []
        is_same = (
            current is not None
            and current.epoch == latest.epoch
            and [current.index_key(part) for part in loaded]
            == [latest.index_key(part) for part in loaded]
        )
        known = set(loaded)
        if not is_same or not known <= set(latest.parts):
            self._replace(load_snapshot_at(self._store, latest))
            return
        others = tuple(part for part in latest.parts if part not in known)
        self._replace(Snapshot(latest, self.snapshot.index, others))
        self._load_next_parts(latest)

    def _load_next_parts(self, latest: Manifest) -> bool:
        """Load the committed parts that follow those that are loaded."""
        left = [*self.snapshot.missing_parts]
        loaded: list[Index] = []
        while left:
            (index,) = load_parts(self._store, latest, left[:1])
            if index is None:
                break
            loaded.append(index)
            del left[0]
        compacted = latest.compaction.parts if latest.compaction else ()
        if left and left[0] in compacted:
            # Its own file was removed since: its rows are in the compaction.
            self._replace(load_snapshot_at(self._store, latest))
            return len(self.snapshot.missing_parts) < len(left) + len(loaded)
        if loaded:
            merged = Index.merged([self.snapshot.index, *loaded])
            self._replace(Snapshot(latest, merged, tuple(left)))
        return bool(loaded)

    def _replace(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._source = self._snapshots.open_source(snapshot)
