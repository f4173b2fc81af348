"""Frame numbers of other tools, computed from what the manifest and the index record of a chunk.

Tools differ in two ways. Some count the frames of a file; others are given a time, which is a
number divided by a rate, and show the frame at that time. Each class here is one of these rules.
Nothing is assumed about a file: a property that a rule needs and that is not recorded makes a
number ambiguous.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Final, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.sampling import EveryFrame, EveryNth, Sampling
from framecache._index import Index
from framecache.errors import AmbiguousFrame, InvalidValue, NotCached

Tool = Literal["opencv", "decord", "torchcodec", "ffmpeg", "browser"]
"""Programs whose frame numbers are known.

``opencv``: calls of ``VideoCapture.read()`` on the opened file. ``decord``, ``torchcodec``: index
into the reader, whose ``seek_mode`` is ``exact``. ``ffmpeg``: frames that the decoder outputs, as
the filters ``select`` and ``showinfo`` count them; with a rate, frames that the filter ``fps``
outputs. ``browser``: a page of Chromium sets ``currentTime`` to number / rate. All count from 0.
"""
TOOLS: Final = get_args(Tool)

_MICROSECONDS: Final = 1_000_000
_CONTAINERS_WITH_INDEX: Final = ("mov", "matroska")
"""Containers in which seeking to a frame leads to it; in others the result depends on history."""
_CONTAINERS_WITH_PTS: Final = (*_CONTAINERS_WITH_INDEX, "mpegts")
_CLOSED_GAP_SECONDS: Final = 9
"""Gaps of MPEG-TS that ffmpeg may take for a clock that was set: from 10 s in decoding order."""
_CURRENT_SCAN_RULES: Final = 2
_UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class ChunkRows:
    """Cached rows of one chunk, with the chunk's entry in the manifest."""

    entry: ChunkEntry
    sampling: Sampling
    pts: npt.NDArray[np.int64]
    durations: npt.NDArray[np.float64]
    """Display duration of each frame in its video, in seconds."""
    sizes: npt.NDArray[np.int64]
    """Height and width of each frame in pixels, ``(frames, 2)``."""
    is_ok: npt.NDArray[np.bool_]
    first_position: int
    """Row of its first frame in the index of the timeline."""

    @classmethod
    def of(cls, index: Index, entry: ChunkEntry, sampling: Sampling) -> "ChunkRows":
        """Return the rows of a chunk that is cached as a whole."""
        first = int(np.searchsorted(index.sequence, entry.first_sequence))
        rows = slice(first, first + entry.frame_count)
        return cls(
            entry=entry,
            sampling=sampling,
            pts=index.pts[rows],
            durations=index.duration[rows],
            sizes=np.stack([index.height[rows], index.width[rows]], axis=1).astype(np.int64),
            is_ok=index.is_ok[rows],
            first_position=first,
        )

    def __len__(self) -> int:
        """Return the number of its frames."""
        return len(self.pts)

    def source_numbers(self) -> npt.NDArray[np.int64]:
        """Return each frame's number among the displayed frames of its video; -1 if unknown.

        For a sampling by rate or keyframes, a number is known where no frame is missing between
        the frame and the first or the last frame of the video.
        """
        count = len(self)
        if count == self.entry.source_frame_count or isinstance(self.sampling, EveryFrame):
            return np.arange(count)
        if isinstance(self.sampling, EveryNth):
            stride = self.sampling.n
            return -self.entry.first_source_frame % stride + stride * np.arange(count)
        return self._numbers_by_adjacency()

    def ticks_after(self, row: int) -> int:
        """Return the PTS at which the next displayed frame of the video begins."""
        assert self.entry.time_base is not None
        return int(self.pts[row]) + round(float(self.durations[row]) / float(self.entry.time_base))

    def is_last_of_video(self, row: int) -> bool:
        """Return True if a row is the last displayed frame of its video."""
        entry = self.entry
        assert entry.time_base is not None
        assert entry.first_pts is not None
        start = entry.start + (int(self.pts[row]) - entry.first_pts) * entry.time_base
        return start == entry.last_frame_start

    def has_constant_rate(self) -> bool:
        """Return True if all frames of the video follow each other at one distance."""
        entry = self.entry
        if not len(self) or entry.last_frame_start is None:
            return False
        step = self.seconds(self.ticks_after(0) - int(self.pts[0]))
        rows = range(len(self) - self.is_last_of_video(len(self) - 1))
        return entry.last_frame_start - entry.start == step * (
            entry.source_frame_count - 1
        ) and all(self.seconds(self.ticks_after(row) - int(self.pts[row])) == step for row in rows)

    def has_one_size(self) -> bool:
        """Return True if all its pictures have the same size."""
        sizes = self.sizes[self.is_ok]
        return bool((sizes == sizes[:1]).all())

    def longest_step(self) -> Fraction:
        """Return the longest time between two of its frames, or to the ends of the video."""
        entry = self.entry
        assert entry.time_base is not None
        assert entry.first_pts is not None
        starts = [entry.first_pts, *self.pts.tolist()]
        steps = [self.seconds(after - before) for before, after in pairwise(starts)]
        if entry.last_frame_start is not None:
            steps.append(
                entry.last_frame_start - entry.start - self.seconds(starts[-1] - entry.first_pts)
            )
        return max(steps, default=Fraction(0))

    def seconds(self, ticks: int) -> Fraction:
        """Return a PTS in seconds of the video's own clock."""
        assert self.entry.time_base is not None
        return ticks * self.entry.time_base

    def _numbers_by_adjacency(self) -> npt.NDArray[np.int64]:
        count, entry = len(self), self.entry
        numbers = np.full(count, _UNKNOWN, np.int64)
        if not count or entry.time_base is None or entry.first_pts is None:
            return numbers
        after = [self.ticks_after(row) for row in range(count - 1)]
        is_joined = np.equal(after, self.pts[1:])
        if self.pts[0] == entry.first_pts:
            run = count if is_joined.all() else int(is_joined.argmin()) + 1
            numbers[:run] = np.arange(run)
        if self.is_last_of_video(count - 1):
            run = count if is_joined.all() else int(is_joined[::-1].argmin()) + 1
            numbers[count - run :] = entry.source_frame_count - run + np.arange(run)
        return numbers


class Numbering(Protocol):
    """Rule by which a tool numbers the frames of a file."""

    def row_of(self, number: int) -> int:
        """Return the row of a number, counted within the chunk.

        Raises:
            NotCached: the file has no such frame, or it was not sampled.
            AmbiguousFrame: the number may mean several frames.
        """
        ...

    def number_of(self, row: int) -> int:
        """Return the smallest number that means a row.

        Raises:
            AmbiguousFrame: no number means exactly this frame, or it is not known which.
        """
        ...


def numbering(rows: ChunkRows, tool: Tool, fps: Fraction | None) -> Numbering:
    """Return the rule of a tool for the file of a chunk.

    Raises:
        InvalidValue: there is no such tool, or it needs a rate.
        AmbiguousFrame: the tool's numbers for this file cannot be known from what is recorded.
    """
    if tool not in TOOLS:
        raise InvalidValue(f"of must be one of {', '.join(TOOLS)}, not {tool!r}")
    if tool == "browser" and fps is None:
        raise InvalidValue("a browser has times, not numbers: give fps, with which n was made")
    _require_sound(rows.entry)
    if tool != "opencv":
        _require_packets(rows.entry, tool)
    if tool in ("decord", "torchcodec"):
        _require_indexed(rows.entry, tool)
    if tool == "browser":
        assert fps is not None
        return _browser_numbers(rows, fps)
    if tool == "ffmpeg":
        _require_one_format(rows)
    if tool == "ffmpeg" and fps is not None:
        return _filter_numbers(rows, fps)
    return _CountedFrames(rows, tool, fps)


class _CountedFrames:
    """Numbers that count the displayed frames of a file."""

    def __init__(self, rows: ChunkRows, tool: Tool, fps: Fraction | None) -> None:
        self._rows, self._tool, self._fps = rows, tool, fps
        if fps is not None:
            _require_clock(rows.entry)
        self._numbers = rows.source_numbers()

    def row_of(self, number: int) -> int:
        entry, known = self._rows.entry, self._numbers
        if number >= entry.source_frame_count:
            raise NotCached(
                f"{entry.url} has {entry.source_frame_count} frames, counted from 0: it has no "
                f"frame {number}"
            )
        found = np.flatnonzero(known == number)
        if len(found):
            row = int(found[0])
            self._check(row, number)
            return row
        if (known == _UNKNOWN).any():
            raise _not_counted(entry, self._rows.sampling)
        raise NotCached(
            f"frame {number} of {entry.url} was not sampled: the timeline has {self._rows.sampling}"
        )

    def number_of(self, row: int) -> int:
        number = int(self._numbers[row])
        if number == _UNKNOWN:
            raise _not_counted(self._rows.entry, self._rows.sampling)
        self._check(row, number)
        return number

    def _check(self, row: int, number: int) -> None:
        broken = np.flatnonzero(~self._rows.is_ok[: row + 1])
        if len(broken):
            raise AmbiguousFrame(
                f"frame {self._rows.entry.first_sequence + int(broken[0])} has no picture, so it "
                f"is not known whether {self._tool} counts it: give a time instead of a number"
            )
        if self._fps is not None:
            self._check_rate(row, number, self._fps)

    def _check_rate(self, row: int, number: int, fps: Fraction) -> None:
        rows = self._rows
        first = rows.entry.first_pts
        assert first is not None
        own = rows.seconds(int(rows.pts[row]) - first)
        if 2 * abs(number / fps - own) < Fraction(float(rows.durations[row])):
            return
        raise AmbiguousFrame(
            f"frame {number} of {rows.entry.url} begins {float(own):.3f} s after the first one, "
            f"and {number} / fps is {float(number / fps):.3f} s: leave fps out if n counts frames, "
            "or use sequence_at if it stands for a time"
        )


class _TimedFrames(ABC):
    """Numbers that stand for a time: the frame shown then."""

    def __init__(self, rows: ChunkRows, tool: Tool, fps: Fraction) -> None:
        self._rows, self._tool, self._fps = rows, tool, fps

    @abstractmethod
    def first_number(self, ticks: int) -> int:
        """Return the first number at whose time a frame with this PTS has begun."""

    @abstractmethod
    def check_shown(self, number: int, row: int) -> None:
        """Raise AmbiguousFrame if it is not certain that a number shows this frame."""

    def row_of(self, number: int) -> int:
        rows = self._rows
        row = bisect_right(range(len(rows)), number, key=self._first) - 1
        if row < 0 or number >= self.first_number(rows.ticks_after(row)):
            raise NotCached(
                f"the timeline has no frame that {self._tool} shows as {number} at {self._fps} fps "
                f"of {rows.entry.url}: it is after the end, or was not sampled"
            )
        if not rows.is_ok[row]:
            raise AmbiguousFrame(
                f"frame {rows.entry.first_sequence + row} has no picture, so it is not known what "
                f"{self._tool} shows then: give another number"
            )
        self.check_shown(number, row)
        return row

    def number_of(self, row: int) -> int:
        number = self._first(row)
        if number >= self.first_number(self._rows.ticks_after(row)):
            raise AmbiguousFrame(
                f"no number at {self._fps} fps is sure to show frame "
                f"{self._rows.entry.first_sequence + row} in {self._tool}: give a higher rate, or "
                "use its timestamp"
            )
        self.row_of(number)
        return number

    def _first(self, row: int) -> int:
        return self.first_number(int(self._rows.pts[row]))


class _BrowserFrames(_TimedFrames):
    """Frames that Chromium shows after ``currentTime = n / fps``.

    Chromium cuts that time down to microseconds, and rounds the times of frames to microseconds.
    If frames do not begin at whole microseconds, either may be shown at their border.
    """

    def first_number(self, ticks: int) -> int:
        if ticks == self._rows.entry.first_pts:
            return 0  # shown until its time as well
        begin = self._begin(ticks)
        number = max(0, ceil(begin * self._fps / _MICROSECONDS) - 1)
        while self._shown_microsecond(number) < begin:
            number += 1
        return number

    def check_shown(self, number: int, row: int) -> None:
        rows = self._rows
        ticks, after = int(rows.pts[row]), rows.ticks_after(row)
        has_exact_times = (rows.seconds(after - ticks) * _MICROSECONDS).denominator == 1
        edges = [after] if ticks == rows.entry.first_pts else [ticks, after]
        shown = number / self._fps
        distance = min(abs(shown - rows.seconds(edge)) for edge in edges)
        if has_exact_times or distance * _MICROSECONDS > 1:
            return
        raise AmbiguousFrame(
            f"{number} / fps is within a microsecond of a change of frames, where browsers may "
            f"show either: use sequence_at(({number} + 0.5) / fps) if n counts frames"
        )

    def _begin(self, ticks: int) -> int:
        return _round_half_up(self._rows.seconds(ticks) * _MICROSECONDS)

    def _shown_microsecond(self, number: int) -> int:
        return int(number / float(self._fps) * _MICROSECONDS)


class _FilterFrames(_TimedFrames):
    """Frames that the filter ``fps`` of ffmpeg outputs.

    It rounds the time of a frame to the nearest instant, and keeps the last frame of an instant.
    """

    def first_number(self, ticks: int) -> int:
        first = self._rows.entry.first_pts
        assert first is not None
        return _round_half_up(self._rows.seconds(ticks - first) * self._fps)

    def check_shown(self, number: int, row: int) -> None:
        if number == self._first(row) or not self._rows.is_last_of_video(row):
            return
        raise AmbiguousFrame(
            f"whether ffmpeg repeats the last frame, {self._rows.entry.first_sequence + row}, as "
            f"{number} depends on its version: give a number up to {self._first(row)}"
        )


def _browser_numbers(rows: ChunkRows, fps: Fraction) -> Numbering:
    entry = rows.entry
    _require_times(
        entry,
        "a browser",
        containers=_CONTAINERS_WITH_INDEX,
        otherwise="which Chromium does not play or seek in exactly: convert it to MP4, or use "
        "sequence_at",
    )
    if not entry.has_closed_groups or not rows.has_constant_rate():
        problem = "has a variable rate, or frames that need pictures before their keyframe"
    elif entry.first_pts or entry.file_start is None or entry.file_start < 0:
        problem = "does not begin at time 0 of its clock"
    else:
        return _BrowserFrames(rows, "browser", fps)
    raise AmbiguousFrame(
        f"{entry.url} {problem}: which frame a browser shows after seeking depends on where its "
        "keyframes lie; use sequence_at"
    )


def _filter_numbers(rows: ChunkRows, fps: Fraction) -> Numbering:
    entry = rows.entry
    _require_times(
        entry,
        "ffmpeg",
        containers=_CONTAINERS_WITH_PTS,
        otherwise="to whose frames versions of ffmpeg may give different times: leave fps out if n "
        "counts frames, or use sequence_at",
    )
    assert entry.first_pts is not None
    begins = rows.seconds(entry.first_pts)
    if entry.file_start is None or abs(entry.file_start - begins) * _MICROSECONDS > 1:
        raise AmbiguousFrame(
            f"the first picture of {entry.url} is not at the start of the file, so ffmpeg's "
            "instants are shifted by an unknown amount: use sequence_at"
        )
    if entry.container == "mpegts" and rows.longest_step() >= _CLOSED_GAP_SECONDS:
        raise AmbiguousFrame(
            f"{entry.url} may have a gap, which ffmpeg closes in MPEG-TS if it is longer than "
            "10 s: leave fps out if n counts frames, or use sequence_at"
        )
    return _FilterFrames(rows, "ffmpeg", fps)


def _require_sound(entry: ChunkEntry) -> None:
    if entry.scan_rules < _CURRENT_SCAN_RULES:
        raise AmbiguousFrame(
            f"{entry.url} was planned by older rules, so its numbers may differ: rebuild the "
            "timeline"
        )
    if entry.has_other_video is not False:
        raise AmbiguousFrame(
            f"{entry.url} has several videos, of which tools choose different ones, or was planned "
            "by an earlier version: use sequence_at, or copy the video alone, or rebuild"
        )
    if entry.trim_start is not None or entry.trim_stop is not None:
        raise AmbiguousFrame(
            f"the timeline takes only a part of {entry.url}, and how many of its frames come "
            "before is not recorded: use sequence_at"
        )
    if entry.packets_not_displayed or entry.is_cut_short:
        raise AmbiguousFrame(
            f"{entry.url} is damaged or begins in the middle of a stream, where decoders differ in "
            "which pictures they count: use sequence_at, or repair the video and rebuild"
        )


def _require_packets(entry: ChunkEntry, tool: str) -> None:
    """Raise AmbiguousFrame if only the index of a video was read to list its frames."""
    if entry.listed_from != "packets":
        raise AmbiguousFrame(
            f"the frames of {entry.url} were listed from its index, which does not show whether "
            f"pictures change their format or need pictures before their keyframe, where {tool} "
            "counts in its own way: use opencv's numbers, or sequence_at"
        )


def _require_clock(entry: ChunkEntry) -> None:
    if entry.time_base is None or entry.first_pts is None:
        raise AmbiguousFrame(
            f"the manifest of {entry.url} is by an older version, which did not record its clock: "
            "rebuild the timeline"
        )


def _require_one_format(rows: ChunkRows) -> None:
    """Raise AmbiguousFrame if the pictures change, where ffmpeg's filters begin to count again."""
    entry = rows.entry
    if not rows.has_one_size() or entry.has_one_format is False:
        raise AmbiguousFrame(
            f"{entry.url} changes the size or the format of its pictures, where ffmpeg's filters "
            "begin to count from 0 again: use opencv's numbers, or sequence_at"
        )


def _require_times(
    entry: ChunkEntry, tool: str, *, containers: Container[str | None], otherwise: str
) -> None:
    """Raise AmbiguousFrame unless a tool gives frames the recorded times."""
    _require_plain_times(entry, tool)
    if entry.container not in containers:
        raise AmbiguousFrame(f"{entry.url} is {entry.container}, {otherwise}")


def _require_plain_times(entry: ChunkEntry, tool: str) -> None:
    _require_clock(entry)
    if entry.times_replaced or entry.clock_restarts:
        raise AmbiguousFrame(
            f"{entry.url} has times that are missing, repeat or go back, which {tool} treats in "
            "its own way: count frames with opencv or ffmpeg, or use sequence_at"
        )


def _require_indexed(entry: ChunkEntry, tool: str) -> None:
    _require_plain_times(entry, tool)
    assert entry.first_pts is not None
    if entry.container not in _CONTAINERS_WITH_INDEX:
        problem = f"is {entry.container}, in which {tool} does not seek exactly"
    elif entry.packet_count != entry.source_frame_count:
        problem = "has packets that are not shown, by an edit list or by its codec"
    elif tool == "decord" and not entry.has_closed_groups:
        problem = "has frames that need pictures before their keyframe"
    elif entry.has_inter_keyframes is not False:
        problem = "has keyframes that need pictures before them"
    elif entry.first_pts < 0:
        problem = "begins before time 0 of its clock"
    else:
        return
    raise AmbiguousFrame(
        f"{entry.url} {problem}: what {tool} returns for a number depends on what it returned "
        "before; use opencv's or ffmpeg's numbers, or sequence_at"
    )


def _not_counted(entry: ChunkEntry, sampling: Sampling) -> AmbiguousFrame:
    return AmbiguousFrame(
        f"the timeline has {sampling} of {entry.url}, and how many frames lie between these is not "
        "recorded: use sequence_at, or a timeline of every frame"
    )


def _round_half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)
