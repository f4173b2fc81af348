"""Caching frames that a program already holds."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

from framecache import jpeg, keys
from framecache._version import __version__
from framecache.claims import Claims
from framecache.errors import Cleared, InvalidValue, SettingsConflict, StoreUnavailable
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    advance,
    commit_part,
    compact,
    ensure_current,
    load,
    load_parts,
)
from framecache.ingest.describe import Choose, other_layout, refuse_strewn
from framecache.ingest.encode import EncodedFrame, encode_frame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.placing import Placing, other_picture, placing_in
from framecache.ingest.slot import Slot
from framecache.instants import MOST_SECONDS
from framecache.manifest import Description, Settings, first_description, new_write_id
from framecache.model import Frame, JpegSettings
from framecache.numeric import as_index, exact, shown
from framecache.store import Store

_MOST_INDEX_FILES: Final = 16
_ATTEMPTS: Final = 100
_MOST_CHUNKS: Final = 2**31
_HASH: Final = re.compile("([0-9a-f]{16})?")


def write(
    store: Store, timeline_id: str, frames: Iterable[Frame], *, choose: Choose, workers: int
) -> int:
    """Cache ``frames`` beside those written before; returns how many were given.

    All of them become visible at once, when the last is stored. A frame that is cached already
    with the same picture is left alone, so a batch can be written again after a failure.

    Raises:
        InvalidValue: an image, sequence or time no frame can have, or a sequence given twice.
        SettingsConflict: other settings, or another picture under a cached sequence.
    """
    description = _describe(store, timeline_id, choose)
    # Read after it was described, so that whatever comes between is met when the part is.
    cached = load(store, description).index
    placing = placing_in(store, description, cached)
    with Claims(store, description) as claims:
        # Others may write at the same time. A sweep of what was cleared before must not.
        claims.take(keys.writing(new_write_id()))
        try:
            part = _store_frames(store, description, placing, frames, cached, workers=workers)
            if part.rows:
                description = _commit(store, description, part.build())
                _compact_now_and_then(store, description)
            else:
                placing.withdraw_if_deleted()
        except Cleared:
            placing.withdraw_if_deleted()
            raise
        except SettingsConflict:
            placing.give_back()
            raise
    return part.given


class _Part(PartBuilder):
    """The rows of one call, and how many frames the caller gave."""

    given = 0


def _describe(store: Store, timeline_id: str, choose: Choose) -> Description:
    def change(current: Description | None) -> Description:
        settings = choose(current.settings if current else None)
        if current is None:
            refuse_strewn(store, timeline_id)
            return first_description(timeline_id, settings)
        _refuse_chunks(store, current)
        if current.settings == settings:
            return current
        if current.written_parts:
            raise _other_settings(current, settings)
        return current.next_version(settings=settings)

    return advance(store, timeline_id, change)


def _other_settings(current: Description, asked: Settings) -> SettingsConflict:
    if current.settings.layout != asked.layout:
        return other_layout(current, asked.layout)
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached with JPEG quality "
        f"{current.settings.jpeg.quality}; asked for {asked.jpeg.quality}: use the cached "
        f"quality, or clear the timeline first"
    )


def _refuse_chunks(store: Store, current: Description) -> None:
    if current.chunks:
        raise SettingsConflict(
            f"timeline {current.timeline_id} in {store.url} is described by its chunks: frames "
            f"cannot be written beside them; delete it first, or use another timeline_id"
        )


def _store_frames(
    store: Store,
    description: Description,
    placing: Placing,
    frames: Iterable[Frame],
    cached: Index,
    *,
    workers: int,
) -> _Part:
    part, given = _Part(), set[int]()
    layout = description.settings.layout
    with (
        EncoderPool(store, layout, workers=workers) as encoders,
        placing.storage(encoders) as storage,
    ):
        for unchecked in frames:
            frame = _checked(unchecked, given)
            given.add(frame.sequence)
            storage.add(_slot(frame), partial(_encode, frame, description.settings.jpeg))
        rows = storage.finish()
        if rows:
            ensure_current(store, description)
    new = [row for row in rows if cached.position(row.sequence) is None]
    stored_again = [row for row in rows if cached.position(row.sequence) is not None]
    for row in (*_with_durations(new), *stored_again):
        part.add(row)
    part.given = len(given)
    return part


def _checked(frame: Frame, given: set[int]) -> Frame:
    """The frame with plain numbers, if a frame can have them."""
    if not isinstance(frame, Frame):
        raise InvalidValue(f"write takes Frame objects, not {type(frame).__name__}")
    sequence = keys.check_sequence(frame.sequence)
    if sequence in given:
        raise InvalidValue(f"sequence {sequence} was given twice in one call: number frames apart")
    return replace(
        frame,
        sequence=sequence,
        chunk_id=_chunk_id(frame),
        timestamp=_timestamp(frame),
        perceptual_hash=_hash(frame),
    )


def _chunk_id(frame: Frame) -> int:
    chunk_id = as_index(frame.chunk_id)
    if chunk_id is None or not 0 <= chunk_id < _MOST_CHUNKS:
        raise InvalidValue(
            f"frame {frame.sequence} has the chunk_id {shown(frame.chunk_id)}: it is a whole "
            f"number from 0"
        )
    return chunk_id


def _timestamp(frame: Frame) -> float:
    # A text that reads as a number is a mistake elsewhere.
    seconds = exact(frame.timestamp)
    if seconds is None or abs(seconds) >= MOST_SECONDS:
        raise InvalidValue(
            f"frame {frame.sequence} has the timestamp {shown(frame.timestamp)}: it is a number of "
            f"seconds below {MOST_SECONDS}"
        )
    return float(seconds)


def _hash(frame: Frame) -> str:
    name: object = frame.perceptual_hash
    if not isinstance(name, str) or not _HASH.fullmatch(name):
        raise InvalidValue(
            f"frame {frame.sequence} has the perceptual_hash {name!r}: it is 16 hex digits, or "
            f"empty to have it computed"
        )
    return name


def _encode(frame: Frame, settings: JpegSettings) -> EncodedFrame:
    try:
        return encode_frame(frame, settings)
    except InvalidValue as error:
        raise InvalidValue(f"frame {frame.sequence}: {error}") from error


def _slot(frame: Frame) -> Slot:
    return Slot(frame.sequence, frame.chunk_id, 0, float(frame.timestamp), 0.0)


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
            return _describe_part(store, description, part, index)
    raise StoreUnavailable(
        f"other programs wrote to timeline {description.timeline_id} in {store.url} {_ATTEMPTS} "
        f"times while this one tried to: try again when they are done"
    )


def _describe_part(store: Store, description: Description, part: str, index: Index) -> Description:
    """Name a part in the next description, unless another program's frames came before its own."""
    known = set(description.written_parts)

    def change(current: Description | None) -> Description:
        if current is None or current.epoch != description.epoch:
            raise Cleared(
                f"timeline {description.timeline_id} in {store.url} was cleared by another "
                f"program while frames were written: write them again"
            )
        _refuse_chunks(store, current)
        if part in current.written_parts:
            return current  # the answer to having described it was lost
        if current.settings != description.settings:
            raise _other_settings(current, description.settings)
        new = [name for name in current.written_parts if name not in known]
        if new:
            _require_no_overlap(index, load_parts(store, current, new), current)
            known.update(new)
        return current.next_version(written_parts=(*current.written_parts, part))

    return advance(store, description.timeline_id, change)


def _require_no_overlap(
    index: Index, others: Iterable[Index | None], description: Description
) -> None:
    pictures = dict(zip(index.sequence.tolist(), index.crc32c.tolist(), strict=True))
    for other in filter(None, others):
        for sequence, crc32c in zip(other.sequence.tolist(), other.crc32c.tolist(), strict=True):
            if pictures.get(sequence, crc32c) != crc32c:
                raise other_picture(sequence, description)


def _compact_now_and_then(store: Store, description: Description) -> None:
    covered = description.compaction.parts if description.compaction else ()
    if len(description.parts) - len(covered) >= _MOST_INDEX_FILES:
        compact(store, description, load(store, description).index)
