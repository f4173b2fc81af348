"""Trimmed chunks: a timeline takes only a part of their video."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final, Self

import numpy as np

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.numeric import format_value
from framecache._core.times import Seconds, exact_seconds
from framecache._media import video
from framecache.errors import InvalidValue
from framecache.model import Chunk

_TOLERANCE: Final = Fraction(1, 1_000_000)
"""Largest rounding error in seconds of a bound: a frame this much before it counts as at it."""


@dataclass(frozen=True, slots=True)
class Trim:
    """Half-open range of a chunk's own clock in seconds; None: unbounded."""

    start: Fraction | None = None
    stop: Fraction | None = None

    def __str__(self) -> str:
        if self == Trim():
            return "whole"
        start = "its start" if self.start is None else f"{float(self.start)} s"
        return f"from {start} to {'its end' if self.stop is None else f'{float(self.stop)} s'}"

    @classmethod
    def of_chunk(cls, chunk: Chunk) -> Self:
        """Return the part of a chunk that a caller asks for.

        Raises:
            InvalidValue: a bound is not a time, or the range is empty.
        """
        start = _parse_bound(chunk.trim_start, chunk.url, "trim_start")
        stop = _parse_bound(chunk.trim_stop, chunk.url, "trim_stop")
        if start is not None and stop is not None and stop <= start:
            raise InvalidValue(
                f"trim_stop of {chunk.url} must be after trim_start "
                f"({format_value(chunk.trim_start)}), not {format_value(chunk.trim_stop)}"
            )
        return cls(start, stop)

    @classmethod
    def of_entry(cls, entry: ChunkEntry) -> Self:
        """Return the part of a chunk that a manifest records."""
        return cls(entry.trim_start, entry.trim_stop)

    def apply(self, scan: "video.VideoScan", *, name: str) -> "video.VideoScan":
        """Return the scan of this part alone, whose last frame ends where the next one begins.

        Frames are chosen by the time at which they begin, as FFmpeg's filter ``trim`` does. The
        counts of packets and of replaced times are those of the whole video.

        Args:
            scan: scan of the whole video.
            name: name of the video in error messages.

        Raises:
            InvalidValue: no frame begins in the range.
        """
        if self == Trim():
            return scan
        begin = 0 if self.start is None else _position(scan, self.start)
        end = len(scan.pts) if self.stop is None else _position(scan, self.stop)
        if end <= begin:
            first, last = (float(int(pts) * scan.time_base) for pts in scan.pts[[0, -1]])
            raise InvalidValue(
                f"no frame of {name} begins {self}: by its own clock, its first frame begins at "
                f"{first:.6f} s and its last at {last:.6f} s"
            )
        kept = replace(
            scan,
            pts=scan.pts[begin:end],
            is_key=scan.is_key[begin:end],
            is_random_access=scan.is_random_access[begin:end],
            earliest_pts=scan.earliest_pts[begin:end],
            packet_numbers=None if scan.packet_numbers is None else scan.packet_numbers[begin:end],
            clock_start_seconds=scan.clock_start_seconds
            + int(scan.pts[begin] - scan.pts[0]) * scan.time_base,
        )
        return self._end_at(kept, end, scan)

    def _end_at(
        self, kept: "video.VideoScan", end: int, scan: "video.VideoScan"
    ) -> "video.VideoScan":
        if end < len(scan.pts):
            end_pts = int(scan.pts[end])
            lost = (scan.picture_end_pts - end_pts) * scan.time_base
            clock_end = scan.clock_end_seconds
            return replace(
                kept,
                end_pts=end_pts,
                picture_end_pts=end_pts,
                clock_end_seconds=None if clock_end is None else clock_end - lost,
                is_cut_short=False,
            )
        if self.stop is None:
            return kept
        # The sound after the last frame ends at the bound.
        limit = max(scan.picture_end_pts, int(self.stop / scan.time_base))
        return replace(kept, end_pts=min(scan.end_pts, limit))


def _parse_bound(value: Seconds | None, url: str, name: str) -> Fraction | None:
    if value is None:
        return None
    try:
        return exact_seconds(value)
    except InvalidValue as error:
        raise InvalidValue(f"{name} of {url}: {error}") from error


def _position(scan: "video.VideoScan", seconds: Fraction) -> int:
    """Return the number of frames that begin before a time."""
    return int(np.searchsorted(scan.pts, ceil((seconds - _TOLERANCE) / scan.time_base)))
