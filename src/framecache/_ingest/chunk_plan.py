"""Extraction plan: the exact frames that a chunk will give, known before any is decoded."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._core import sampling
from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.manifest import Settings
from framecache._core.sampling import AtRate, Sampling
from framecache._ingest import segments
from framecache._ingest.chunk_scans import ScannedChunk
from framecache._ingest.placement import (
    ChunkPosition,
    compute_positions,
    position_of,
)
from framecache._ingest.trim import Trim
from framecache._layouts import LAYOUTS
from framecache._media import video
from framecache.errors import ChunkChanged, UnreadableChunk
from framecache.store import BlobFile

_MAX_DENOMINATOR: Final = 2**1024
"""Largest denominator of a chunk's end in seconds; each new time base may add 31 bits to it."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlan:
    """Frames to take from one chunk; each array has one item per frame."""

    scan: "video.VideoScan"
    """Scan of the whole video."""
    pts: npt.NDArray[np.int64]
    """PTS in the video's time base, ascending."""
    sequences: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int64]
    """Time from each frame to the next of the video, sampled or not, in units of the time base."""
    start: Fraction
    """Seconds of the first displayed frame of the chunk on the timeline."""
    first_pts: int
    """PTS of that frame."""
    last_pts: int
    """PTS of the last displayed frame of the chunk."""
    last_duration: float
    """Display duration of the last frame, in seconds."""

    @property
    def timestamps(self) -> list[float]:
        """Start of each frame on the timeline, in seconds."""
        return _to_seconds(self.pts - self.first_pts, self.scan.time_base, self.start)

    @property
    def durations(self) -> list[float]:
        """Display duration of each frame in the video, in seconds."""
        seconds = _to_seconds(self.spans, self.scan.time_base, Fraction(0))
        if len(self.pts) and self.pts[-1] == self.last_pts:
            seconds[-1] = self.last_duration
        return seconds

    def of_segment(self, segment: Segment) -> "ChunkPlan":
        """Return the plan for the frames of a segment."""
        first = segment.chunk.first_sequence
        frames = slice(segment.first_sequence - first, segment.stop_sequence - first)
        return self._take(frames)

    def select(self, sequences: Collection[int]) -> "ChunkPlan":
        """Return the plan for some of its frames."""
        chosen = np.flatnonzero(np.isin(self.sequences, np.fromiter(sequences, np.int64)))
        return self._take(chosen)

    def _take(self, frames: slice | npt.NDArray[np.int64]) -> "ChunkPlan":
        return replace(
            self,
            pts=self.pts[frames],
            sequences=self.sequences[frames],
            spans=self.spans[frames],
        )


def list_frames(file: BlobFile, entry: ChunkEntry) -> "video.VideoScan":
    """List the frames of a chunk of a manifest from what they were listed when it was planned."""
    read = video.describe if entry.listed_from == "tables" else video.scan
    return read(file, name=entry.url)


def place_chunks(
    scanned: Sequence[ScannedChunk], *, after: Sequence[ChunkEntry], settings: Settings
) -> tuple[ChunkEntry, ...]:
    """Assign start times and sequence numbers to chunks that follow those in ``after``.

    Raises:
        InvalidValue: the given start of a chunk is before the end of the previous one.
    """
    entries = list(after)
    before = position_of(after[-1]) if after else None
    named = [(chunk.url, chunk.start, chunk.trimmed) for chunk in scanned]
    for chunk, spot in zip(scanned, compute_positions(named, before=before), strict=True):
        entries.append(_build_entry(chunk, spot, entries[-1] if entries else None, settings))
    return tuple(entries[len(after) :])


def plan_chunk(entry: ChunkEntry, whole: "video.VideoScan", by: Sampling) -> ChunkPlan:
    """Return the plan for a chunk of a manifest.

    Args:
        entry: the chunk.
        whole: scan of its whole video.
        by: sampling of the timeline.

    Raises:
        ChunkChanged: the video no longer has the frames that the manifest lists.
    """
    scan = Trim.of_entry(entry).apply(whole, name=entry.url)
    chosen = _select_frames(
        scan,
        by,
        start=entry.start,
        end=entry.end,
        sampled_from=entry.sampled_from,
        first_source_frame=entry.first_source_frame,
    )
    has_other_times = entry.scan_rules < video.SCAN_RULES and (
        scan.times_replaced or scan.clock_restarts
    )
    counts = (len(scan.pts), len(chosen))
    if counts != (entry.source_frame_count, entry.frame_count) or has_other_times:
        raise _frame_count_conflict(entry, scan)
    first, last = int(scan.pts[0]), int(scan.pts[-1])
    last_start = entry.start + (last - first) * scan.time_base
    return ChunkPlan(
        scan=whole,
        pts=scan.pts[chosen],
        sequences=np.arange(entry.first_sequence, entry.stop_sequence, dtype=np.int64),
        spans=np.diff(scan.pts, append=scan.end_pts)[chosen],
        start=entry.start,
        first_pts=first,
        last_pts=last,
        last_duration=float(entry.end - last_start),
    )


def _frame_count_conflict(entry: ChunkEntry, scan: "video.VideoScan") -> ChunkChanged:
    if entry.scan_rules < video.SCAN_RULES:
        return ChunkChanged(
            f"chunk {entry.chunk_id} ({entry.url}) was planned by older rules, with "
            f"{entry.source_frame_count} frames or different times, and now has "
            f"{len(scan.pts)} frames: rebuild the timeline"
        )
    return ChunkChanged(
        f"chunk {entry.chunk_id} ({entry.url}) had {entry.source_frame_count} frames when it "
        f"was planned and now has {len(scan.pts)}: rebuild the timeline"
    )


def _build_entry(
    chunk: ScannedChunk, position: ChunkPosition, before: ChunkEntry | None, settings: Settings
) -> ChunkEntry:
    if position.end.denominator > _MAX_DENOMINATOR:
        raise UnreadableChunk(
            f"{chunk.url} counts time in units of {chunk.scan.time_base} s, which have no "
            "common measure with those of the previous chunks: encode it at a constant rate, "
            "or give start_seconds"
        )
    first_source_frame = before.first_source_frame + before.source_frame_count if before else 0
    picture_end = before.end - before.sound_seconds if before else position.start
    sampled_from = picture_end if position.start < picture_end else None
    scan = chunk.trimmed
    chosen = _select_frames(
        scan,
        settings.sampling,
        start=position.start,
        end=position.end,
        sampled_from=sampled_from,
        first_source_frame=first_source_frame,
    )
    # Nothing is decoded to commit frames that are not stored.
    segment_starts = (
        segments.find_segment_starts(scan, chosen, segments.LIMITS)
        if LAYOUTS[settings.layout].stores_frames
        else (0,)
    )
    return ChunkEntry(
        chunk_id=before.chunk_id + 1 if before else 0,
        url=chunk.url,
        etag=chunk.etag,
        size_bytes=chunk.size_bytes,
        start=position.start,
        end=position.end,
        start_is_given=chunk.start is not None,
        first_sequence=before.stop_sequence if before else 0,
        frame_count=len(chosen),
        first_source_frame=first_source_frame,
        source_frame_count=len(scan.pts),
        width=scan.width,
        height=scan.height,
        sample_aspect_ratio=scan.sample_aspect_ratio,
        codec=scan.codec,
        scan_rules=video.SCAN_RULES,
        placement=position.placement,
        last_frame_start=position.last_frame_start,
        sound_seconds=max(position.sound_seconds, Fraction(0)),
        sampled_from=sampled_from,
        stream_clock=position.stream_clock,
        clock_start=scan.clock_start_seconds if position.stream_clock else None,
        clock_end=position.clock_end if position.stream_clock else None,
        clock_gap=position.clock_gap,
        times_replaced=scan.times_replaced,
        clock_restarts=scan.clock_restarts,
        packets_not_displayed=scan.packet_counts.not_displayed,
        is_cut_short=scan.is_cut_short,
        container=scan.container,
        packet_count=scan.packet_counts.total,
        has_closed_groups=scan.has_closed_groups,
        time_base=scan.time_base,
        first_pts=int(scan.pts[0]),
        file_start=scan.file_start_seconds,
        has_inter_keyframes=scan.has_inter_keyframes,
        has_one_format=scan.has_one_format,
        has_other_video=scan.has_other_video,
        trim_start=chunk.trim.start,
        trim_stop=chunk.trim.stop,
        listed_from="packets" if scan.samples is None else "tables",
        segment_starts=segment_starts,
        segment_pts=tuple(scan.pts[chosen[list(segment_starts[1:])]].tolist()),
        is_divisible=segments.is_divisible(scan),
    )


def _select_frames(
    scan: "video.VideoScan",
    by: Sampling,
    *,
    start: Fraction,
    end: Fraction,
    sampled_from: Fraction | None,
    first_source_frame: int,
) -> npt.NDArray[np.int64]:
    elapsed = scan.pts - scan.pts[0]
    if sampled_from is not None and isinstance(by, AtRate):
        # Up to then, the previous chunk covers the sampled instants.
        elapsed = np.maximum(elapsed, ceil((sampled_from - start) / scan.time_base))
    return sampling.select(
        by,
        elapsed=elapsed,
        is_key=scan.is_key,
        duration=int((end - start) / scan.time_base),
        time_base=scan.time_base,
        start=start,
        first_source_frame=first_source_frame,
    )


def _to_seconds(ticks: npt.NDArray[np.int64], time_base: Fraction, start: Fraction) -> list[float]:
    """Return ``start + ticks * time_base`` in seconds, each value rounded only once."""
    numerator, denominator = time_base.numerator, time_base.denominator
    return [float(start + Fraction(tick * numerator, denominator)) for tick in ticks.tolist()]
