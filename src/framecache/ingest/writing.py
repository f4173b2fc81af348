"""Caching frames that a program already holds."""

import math
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

from framecache import jpeg, keys
from framecache._version import __version__
from framecache.errors import Cleared, InvalidValue, SettingsConflict, StoreUnavailable
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    advance,
    commit_part,
    compact,
    ensure_current,
    find,
    load,
)
from framecache.ingest.encode import encode_frame
from framecache.ingest.frame_writer import FrameWriter, Slot
from framecache.manifest import Description, Settings, first_description
from framecache.model import Frame
from framecache.store import Store

_MOST_INDEX_FILES: Final = 16
_ATTEMPTS: Final = 100
_MOST_SEQUENCE: Final = 10**15


def write(
    store: Store, timeline_id: str, frames: Iterable[Frame], *, settings: Settings, workers: int
) -> int:
    """Cache ``frames`` beside those written before; returns how many were given.

    All of them become visible at once, when the last is stored. A frame that is cached already
    with the same picture is left alone, so a batch can be written again after a failure.

    Raises:
        InvalidValue: an image, sequence or time no frame can have, or a sequence given twice.
        SettingsConflict: other settings, or another picture under a cached sequence.
    """
    cached = find(store, timeline_id)
    if cached.description is None and cached.exists:
        raise SettingsConflict(
            f"timeline {timeline_id} in {store.url} holds frames that another program stored: "
            f"clear it first, or use another timeline_id"
        )
    description = _describe(store, timeline_id, settings)
    part = _store_frames(store, description, frames, cached.index, workers=workers)
    if part.rows:
        ensure_current(store, description)
        description = _commit(store, description, part.build())
        _compact_now_and_then(store, description)
    return part.given


class _Part(PartBuilder):
    """The rows of one call, and how many frames the caller gave."""

    given = 0


def _describe(store: Store, timeline_id: str, settings: Settings) -> Description:
    def change(current: Description | None) -> Description:
        if current is None:
            return first_description(timeline_id, settings)
        if current.chunks:
            raise SettingsConflict(
                f"timeline {timeline_id} in {store.url} is described by its chunks: frames cannot "
                f"be written beside them; delete it first, or use another timeline_id"
            )
        if current.settings == settings:
            return current
        if current.written_parts:
            raise SettingsConflict(
                f"timeline {timeline_id} is cached with JPEG quality "
                f"{current.settings.jpeg.quality}; asked for {settings.jpeg.quality}: use the "
                f"cached quality, or clear the timeline first"
            )
        return current.next_version(settings=settings)

    return advance(store, timeline_id, change)


def _store_frames(
    store: Store, description: Description, frames: Iterable[Frame], cached: Index, *, workers: int
) -> _Part:
    part, given = _Part(), set[int]()
    stored: list[Future[FrameRow]] = []
    with FrameWriter(store, workers=workers) as writer:
        for frame in frames:
            _check(frame, given)
            given.add(frame.sequence)
            position = cached.position(frame.sequence)
            if position is None:
                slot = _slot(description, frame)
                encode = partial(encode_frame, frame, description.settings.jpeg)
                stored.append(writer.submit(slot, encode))
            else:
                _require_same(frame, cached.row(position), description)
        rows = [future.result() for future in stored]
    for row in _with_durations(rows):
        part.add(row)
    part.given = len(given)
    return part


def _check(frame: Frame, given: set[int]) -> None:
    sequence = frame.sequence
    if type(sequence) is not int or not 0 <= sequence < _MOST_SEQUENCE:
        raise InvalidValue(f"a frame's sequence is a whole number from 0, not {sequence!r}")
    if sequence in given:
        raise InvalidValue(f"sequence {sequence} was given twice in one call: number frames apart")
    if not math.isfinite(frame.timestamp):
        raise InvalidValue(
            f"frame {sequence} has the timestamp {frame.timestamp!r}: it is a number of seconds"
        )
    if type(frame.chunk_id) is not int or not 0 <= frame.chunk_id < 2**31:
        raise InvalidValue(
            f"frame {sequence} has the chunk_id {frame.chunk_id!r}: it is a whole number from 0"
        )


def _slot(description: Description, frame: Frame) -> Slot:
    key = keys.frame(description.timeline_id, frame.sequence)
    return Slot(frame.sequence, frame.chunk_id, 0, float(frame.timestamp), 0.0, key)


def _require_same(frame: Frame, row: FrameRow, description: Description) -> None:
    encoded = encode_frame(frame, description.settings.jpeg)
    if (len(encoded.data), encoded.crc32c) != (row.size, row.crc32c):
        raise SettingsConflict(
            f"frame {frame.sequence} of timeline {description.timeline_id} is cached with another "
            f"picture: clear the timeline first, or use another sequence"
        )


def _with_durations(rows: list[FrameRow]) -> list[FrameRow]:
    """Each frame stays on screen until the next of its batch; the last as long as the one before.

    Of a frame alone, or of times that do not increase, the duration is unknown: 0.0.
    """
    ordered = sorted(rows, key=lambda row: row.sequence)
    gaps = [max(0.0, after.timestamp - row.timestamp) for row, after in pairwise(ordered)]
    gaps.append(gaps[-1] if gaps else 0.0)
    return [replace(row, duration=gap) for row, gap in zip(ordered, gaps, strict=False)]


def _commit(store: Store, description: Description, index: Index) -> Description:
    """Create the next free part, then describe it: that is when its frames become visible."""
    about = {"framecache": __version__, "jpeg_encoder": jpeg.encoder_version()}
    first = len(description.written_parts)
    for number in range(first, first + _ATTEMPTS):
        part = keys.written_part(number)
        if commit_part(store, description, part, index, about=about) is index:
            return _describe_part(store, description, part)
    raise StoreUnavailable(
        f"other programs wrote to timeline {description.timeline_id} in {store.url} {_ATTEMPTS} "
        f"times while this one tried to: try again when they are done"
    )


def _describe_part(store: Store, description: Description, part: str) -> Description:
    def change(current: Description | None) -> Description:
        if current is None or current.epoch != description.epoch:
            raise Cleared(
                f"timeline {description.timeline_id} in {store.url} was cleared by another "
                f"program while frames were written: write them again"
            )
        return current.next_version(written_parts=(*current.written_parts, part))

    return advance(store, description.timeline_id, change)


def _compact_now_and_then(store: Store, description: Description) -> None:
    covered = description.compaction.parts if description.compaction else ()
    if len(description.parts) - len(covered) >= _MOST_INDEX_FILES:
        compact(store, description, load(store, description).index)
