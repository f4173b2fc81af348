"""Chunks in a manifest, and their segments. Pure: no I/O."""

import math
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Literal

from framecache._core import json_documents, keys
from framecache._core.frame_size import limit_size
from framecache.errors import UnreadableChunk
from framecache.model import (
    MAX_FRAME_PIXELS,
    MAX_FRAME_SIDE,
    Aspect,
    ChunkTiming,
    JpegSettings,
)

Placement = Literal["end", "clock", "given"]
"""Source of a chunk's start: the end of the chunk before, the clock of both, or the caller."""
ListedFrom = Literal["packets", "tables"]


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """Chunk in a manifest, with its numbers as planned before any decoding."""

    chunk_id: int
    url: str
    etag: str
    size_bytes: int
    start: Fraction
    """Seconds of its first displayed frame on the timeline."""
    end: Fraction
    """Seconds at which its last frame leaves the screen."""
    start_is_given: bool
    """True if the caller specified the start."""
    first_sequence: int
    frame_count: int
    """Sampled frames; its sequences are ``first_sequence … first_sequence + frame_count - 1``."""
    first_source_frame: int
    source_frame_count: int
    """Displayed frames of the video, sampled or not."""
    width: int
    """Width of its first picture, upright, in the video; frames may be stored smaller."""
    height: int
    codec: str
    sample_aspect_ratio: Fraction = Fraction(1)
    """Pixel width divided by pixel height, with rotation applied."""
    scan_rules: int = 1
    """Version of the rules by which its frames were counted and timed."""
    placement: Placement = "end"
    last_frame_start: Fraction | None = None
    """Seconds of its last displayed frame on the timeline; None in older manifests."""
    sound_seconds: Fraction = Fraction(0)
    """Time at its end without a new picture, in which its audio or file continues."""
    sampled_from: Fraction | None = None
    """Sampling instants before this time belong to the chunk before; None: all are its own."""
    stream_clock: str | None = None
    """``mpegts`` or ``fmp4``: kind of the clock that other files of the same stream share."""
    clock_start: Fraction | None = None
    """Seconds of its first displayed frame on its own clock."""
    clock_end: Fraction | None = None
    """Seconds at which its last frame leaves the screen, on its own clock."""
    clock_gap: Fraction | None = None
    """Seconds from ``clock_end`` of the chunk before to its own start; None: no common clock."""
    times_replaced: int = 0
    """Frames whose PTS is missing, repeats, goes back or strays."""
    clock_restarts: int = 0
    """Places where its clock restarts."""
    packets_not_displayed: int = 0
    """Packets that yield no displayed picture, not counting those hidden by design."""
    is_cut_short: bool = False
    """True if its file is shorter than it states, so that frames are missing at its end."""
    container: str | None = None
    """FFmpeg's name of its container, such as ``mov``; None in older manifests, as the rest."""
    packet_count: int | None = None
    """Packets of its video, displayed or not."""
    has_closed_groups: bool | None = None
    """True if decoding from each of its keyframes yields all frames that follow in its packets."""
    time_base: Fraction | None = None
    """Duration of one unit of its PTS in seconds."""
    first_pts: int | None = None
    """PTS of its first displayed frame, sampled or not."""
    file_start: Fraction | None = None
    """Earliest time of its video and sound on its own clock, to the microsecond."""
    has_inter_keyframes: bool | None = None
    """True if a keyframe refers to other pictures, as with intra refresh."""
    has_one_format: bool | None = None
    """True if its pictures keep one format; None if that is not known."""
    has_other_video: bool | None = None
    """True if its file has another video, or a picture before it that a program may show."""
    trim_start: Fraction | None = None
    """Frames that begin before this time on its own clock are not taken; None: from the first."""
    trim_stop: Fraction | None = None
    """Frames that begin at or after this time are not taken; None: to the last."""
    listed_from: ListedFrom = "packets"
    """Origin of the list of its frames: all packets, or the sample tables of an MP4."""
    segment_starts: tuple[int, ...] = (0,)
    """Position, among its sampled frames, of the first frame of each segment."""
    segment_pts: tuple[int, ...] = ()
    """PTS of the first frame of each segment but the first."""
    is_divisible: bool | None = None
    """True if decoding can begin inside it; False: it is one segment; None in older manifests."""

    @property
    def given_start(self) -> Fraction | Literal["pts"] | None:
        """Start that the caller specified; None if none was."""
        if not self.start_is_given:
            return None
        return self.start if self.placement == "given" else "pts"

    @property
    def timing(self) -> ChunkTiming:
        """Corrections of its frame times, and the source of its start."""
        return ChunkTiming(
            chunk_id=self.chunk_id,
            url=self.url,
            times_replaced=self.times_replaced,
            clock_restarts=self.clock_restarts,
            packets_not_displayed=self.packets_not_displayed,
            placement=self.placement,
            clock_gap_seconds=None if self.clock_gap is None else float(self.clock_gap),
            sound_seconds=float(self.sound_seconds),
            is_cut_short=self.is_cut_short,
        )

    def is_version(self, etag: str | None, size_bytes: int) -> bool:
        """Return True if a file or object with this ETag and size has the recorded content."""
        return (etag, size_bytes) == (self.etag, self.size_bytes)

    def frame_size(
        self, settings: JpegSettings, *, size: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """Return the width and height with which a frame is stored.

        The width of square pixels is rounded down as ffmpeg's scale=iw*sar:ih does; the limit of
        the longer side applies to the result.

        Args:
            settings: settings of the timeline.
            size: width and height of the upright picture in the video; None: those of the chunk's
                first picture.

        Raises:
            UnreadableChunk: the frame would exceed the maximum size.
        """
        width, height = (self.width, self.height) if size is None else size
        if settings.aspect == "stored":
            return limit_size(width, height, max_side=settings.max_side)
        square = max(1, math.floor(width * self.sample_aspect_ratio))
        wide, high = limit_size(square, height, max_side=settings.max_side)
        if wide > MAX_FRAME_SIDE or wide * high > MAX_FRAME_PIXELS:
            raise UnreadableChunk(
                f"{self.url} has pixels of {self.sample_aspect_ratio} to 1, and would need "
                f'{wide}x{high} square ones: extract it with aspect "stored", or a max_side'
            )
        return wide, high

    def pixel_aspect_ratio(self, aspect: Aspect) -> Fraction:
        """Return pixel width divided by pixel height, for frames as stored."""
        return self.sample_aspect_ratio if aspect == "stored" else Fraction(1)

    @property
    def segments(self) -> tuple["Segment", ...]:
        """Its segments, in order of time."""
        if len(self.segment_starts) == 1:
            bounds = self.first_sequence, self.stop_sequence
            return (Segment(self, 0, *bounds, self.start, self.end),)
        sequences = [self.first_sequence + start for start in self.segment_starts]
        times = [self.start, *(self._time_of(pts) for pts in self.segment_pts)]
        edges = [*zip(sequences, times, strict=True), (self.stop_sequence, self.end)]
        return tuple(
            Segment(self, number, first, stop, start, end)
            for number, ((first, start), (stop, end)) in enumerate(pairwise(edges))
        )

    def _time_of(self, pts: int) -> Fraction:
        """Return the time of a frame on the timeline."""
        assert self.time_base is not None
        assert self.first_pts is not None
        return self.start + (pts - self.first_pts) * self.time_base

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the index parts that commit its segments."""
        if len(self.segment_starts) == 1:
            return (keys.chunk_part(self.chunk_id),)
        numbers = range(len(self.segment_starts))
        return tuple(keys.segment_part(self.chunk_id, number) for number in numbers)

    @property
    def needs_second_format(self) -> bool:
        """True if a program that ignores its newer fields would list or find other frames."""
        is_trimmed = self.trim_start is not None or self.trim_stop is not None
        return is_trimmed or len(self.segment_starts) > 1 or self.listed_from == "tables"

    def is_cached(self, missing_parts: Container[str]) -> bool:
        """Return True if all of its segments are committed.

        Args:
            missing_parts: parts of the manifest that are not committed.
        """
        return not any(part in missing_parts for part in self.parts)

    @property
    def stop_sequence(self) -> int:
        """One past its last sequence."""
        return self.first_sequence + self.frame_count


@dataclass(frozen=True, slots=True)
class Segment:
    """Run of a chunk's sampled frames that is extracted, leased and committed on its own."""

    chunk: ChunkEntry
    number: int
    """Position among the segments of the chunk."""
    first_sequence: int
    stop_sequence: int
    """One past its last sequence."""
    start: Fraction
    """Seconds of its first sampled frame on the timeline; the start of the chunk, if it is first.
    """
    end: Fraction
    """Start of the segment after it, or the end of the chunk."""

    @property
    def frame_count(self) -> int:
        """Number of its sampled frames."""
        return self.stop_sequence - self.first_sequence

    @property
    def part(self) -> str:
        """Name of the index part that commits it."""
        if len(self.chunk.segment_starts) == 1:
            return keys.chunk_part(self.chunk.chunk_id)
        return keys.segment_part(self.chunk.chunk_id, self.number)


def to_json(chunk: ChunkEntry) -> dict[str, Any]:
    """Return a chunk as values of JSON."""
    values = {
        name: str(value) if isinstance(value := getattr(chunk, name), Fraction) else value
        for name in ChunkEntry.__slots__
    }
    return values | {
        "segment_starts": list(chunk.segment_starts),
        "segment_pts": list(chunk.segment_pts),
    }


def from_json(document: dict[str, Any]) -> ChunkEntry:
    """Decode a chunk; entries by earlier versions lack the fields that have defaults."""
    values = {name: document[name] for name in ChunkEntry.__slots__ if name in document}
    values.setdefault("placement", "given" if document["start_is_given"] else "end")
    fractions = {
        name: json_documents.parse_fraction(values[name])
        for name in _FRACTION_FIELDS
        if values.get(name) is not None
    }
    entry = ChunkEntry(
        **values
        | fractions
        | {
            "segment_starts": tuple(values.get("segment_starts", [0])),
            "segment_pts": tuple(values.get("segment_pts", ())),
        }
    )
    _check_segments(entry)
    return entry


def _check_segments(entry: ChunkEntry) -> None:
    """Check that segments ascend from 0; only a sole segment may be empty."""
    starts, pts = entry.segment_starts, entry.segment_pts
    if starts == (0,) and not pts:
        return
    is_ascending = all(before < after for before, after in pairwise([*starts, entry.frame_count]))
    is_described = (
        entry.time_base is not None
        and entry.first_pts is not None
        and all(before < after for before, after in pairwise([entry.first_pts, *pts]))
    )
    are_numbers = all(type(number) is int for number in (*starts, *pts))
    if not (
        are_numbers
        and starts[:1] == (0,)
        and len(starts) == len(pts) + 1
        and is_ascending
        and is_described
    ):
        raise ValueError(starts)


_FRACTION_FIELDS: Final = (
    *("start", "end", "sample_aspect_ratio", "last_frame_start", "sound_seconds", "sampled_from"),
    *("clock_start", "clock_end", "clock_gap", "time_base", "file_start"),
    *("trim_start", "trim_stop"),
)
