"""Every way to read a timeline, and its result for a state of the timeline."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from model_expected import SIZE, Row, Rows, bounds, picture_of, rows_of, rows_of_segment
from model_plain import SEGMENTS, State, segments_of

from framecache import Frame, Timeline

NOT_CACHED = "NotCached"


@dataclass(frozen=True, slots=True)
class ReadOne:
    """One frame, by sequence or as its bytes."""

    how: Literal["frame", "jpeg"]
    sequence: int

    def of(self, timeline: Timeline) -> object:
        if self.how == "jpeg":
            return timeline.jpeg(self.sequence)
        return _metadata(timeline.frame(self.sequence))

    def given(self, state: State) -> object:
        row = rows_of(state).get(self.sequence)
        if row is None:
            return NOT_CACHED
        return row.jpeg if self.how == "jpeg" else _expected(row)

    def needs(self, rows: Rows) -> set[int]:
        return {self.sequence} & set(rows)


@dataclass(frozen=True, slots=True)
class ReadAt:
    """The frame on screen at a time, in fiftieths of a second."""

    fiftieths: int

    def of(self, timeline: Timeline) -> object:
        return _metadata(timeline.frame_at(self.fiftieths / 50))

    def given(self, state: State) -> object:
        row = self._row(state)
        return NOT_CACHED if row is None else _expected(row)

    def needs(self, rows: Rows) -> set[int]:
        return set(rows)

    def _row(self, state: State) -> Row | None:
        chunks, time = state.chunks or (), Fraction(self.fiftieths, 50)
        if not chunks:
            return self._written_row(state)
        all_rows = rows_of(replace(state, cached=frozenset(segments_of(chunks))))
        shown = [n for n, end in enumerate(bounds(chunks)[1:]) if time < end][:1]
        begun = [row for row in all_rows.values() if Fraction(str(row.timestamp)) <= time]
        if not shown or not begun:
            return None
        # The frame stays until the next one, which a segment that is not committed may begin.
        assert state.setting is not None
        names, row, starts = segments_of(chunks), begun[-1], list[Fraction]()
        for start, segment in zip(bounds(chunks)[:-1], names[1::SEGMENTS], strict=True):
            first = rows_of_segment(chunks, state.setting, segment, state.wrong)[0]
            starts += [start, Fraction(str(first.timestamp))]
        since = bisect_right(starts, Fraction(str(row.timestamp))) - 1
        needed = names[since : bisect_right(starts, time)]
        return row if state.cached.issuperset(needed) else None

    def _written_row(self, state: State) -> Row | None:
        """A written frame is on screen from its time on; until when, its batch decides."""
        if state.listed:
            return None  # of which no time is known
        rows = [row for row in rows_of(state).values() if row.timestamp <= self.fiftieths / 50]
        return max(rows, key=lambda row: (row.timestamp, row.sequence), default=None)


@dataclass(frozen=True, slots=True)
class ReadMany:
    """Several frames, in a range or of these sequences."""

    how: Literal["frames", "sequences", "batch", "jpegs"]
    start: int
    count: int
    step: int

    def of(self, timeline: Timeline) -> object:
        stop = self.start + self.count * self.step
        match self.how:
            case "frames":
                return [_metadata(frame) for frame in timeline.frames(self.start, stop, self.step)]
            case "sequences":
                return timeline.sequences(self.start, stop, self.step)
            case "batch":
                return timeline.batch(self._wanted).tobytes()
            case "jpegs":
                return list(timeline.jpegs(self._wanted))

    def given(self, state: State) -> object:
        rows = rows_of(state)
        found = [rows[sequence] for sequence in self._wanted if sequence in rows]
        match self.how:
            case "frames":
                return [_expected(row) for row in found]
            case "sequences":
                return [row.sequence for row in found]
        if len(found) < self.count:
            return NOT_CACHED
        if self.how == "jpegs":
            return [row.jpeg for row in found]
        return np.stack([picture_of(row.jpeg) for row in found]).tobytes()

    def needs(self, rows: Rows) -> set[int]:
        return set() if self.how == "sequences" else set(self._wanted) & set(rows)

    def items(self, result: object) -> dict[int, object]:
        """Return each frame of a result by its sequence."""
        match result:
            case bytes():
                size = SIZE * SIZE * 3
                frames: list[object] = [result[n : n + size] for n in range(0, len(result), size)]
            case list():
                frames = result
            case _:
                frames = []
        if self.how == "frames":
            return {frame[0]: frame for frame in frames if isinstance(frame, tuple)}
        return dict(zip(self._wanted, frames, strict=False))

    @property
    def looks_again(self) -> bool:
        """Return True if the read must see frames added since the last read."""
        return self.how in ("frames", "sequences")

    @property
    def _wanted(self) -> range:
        return range(self.start, self.start + self.count * self.step, self.step)


@dataclass(frozen=True, slots=True)
class Ask:
    """Information that a timeline reports about itself."""

    how: Literal["exists", "complete", "info", "index", "len"]

    def of(self, timeline: Timeline) -> object:
        match self.how:
            case "exists":
                return timeline.exists
            case "complete":
                return timeline.complete
            case "index":
                index = timeline.index
                return [
                    tuple(row)
                    for row in zip(index.sequence.tolist(), index.size.tolist(), strict=True)
                ]
            case "len":
                return len(timeline)
            case "info":
                info = timeline.info()
                return (
                    info.epoch,
                    info.exists,
                    info.complete,
                    info.frame_count,
                    info.chunks_cached,
                    info.segments_cached,
                )

    def given(self, state: State) -> object:
        rows = rows_of(state)
        match self.how:
            case "exists":
                return state.exists
            case "complete":
                return state.is_complete
            case "index":
                is_known = state.layout != "video" or not state.chunks
                return [(row.sequence, len(row.jpeg) * is_known) for row in rows.values()]
            case "len":
                return len(rows)
            case "info":
                epoch = None if state.chunks is None else state.epoch
                whole = [
                    chunk
                    for chunk in state.chunks or ()
                    if state.cached.issuperset(segments_of(chunk))
                ]
                segments = len(state.cached) - len(state.whole.intersection(whole))
                return (
                    *(epoch, state.exists, state.is_complete, len(rows)),
                    *(len(whole), segments),
                )

    def needs(self, rows: Rows) -> set[int]:  # noqa: ARG002 -- reads none
        return set()

    @property
    def looks_again(self) -> bool:
        """Return True if the result must be current."""
        return self.how in ("exists", "complete", "info")


Read = ReadOne | ReadAt | ReadMany | Ask


def looks_again(read: Read) -> bool:
    return isinstance(read, ReadMany | Ask) and read.looks_again


def agrees(read: Read, result: object, states: Iterable[State]) -> bool:
    """Return True if a read may give this result, of a timeline that had these states.

    If pictures were replaced, each frame of a call may be the one before or the one after.
    """
    given = [read.given(state) for state in states]
    if result in given or not isinstance(read, ReadMany) or read.how == "sequences":
        return result in given
    found, frames = read.items(result), [read.items(one) for one in given]
    return any(found.keys() == one.keys() for one in frames if one) and all(
        any(one.get(sequence) == frame for one in frames) for sequence, frame in found.items()
    )


def _metadata(frame: Frame) -> object:
    return (
        frame.sequence,
        frame.chunk_id,
        frame.timestamp,
        frame.perceptual_hash,
        frame.image.tobytes(),
    )


def _expected(row: Row) -> object:
    picture = picture_of(row.jpeg).tobytes()
    return row.sequence, row.chunk_id, row.timestamp, row.perceptual_hash, picture
