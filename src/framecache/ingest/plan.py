"""Planning: which frames a chunk will give, known exactly before any of it is decoded."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache import sampling, video
from framecache.errors import BadChunk, ChunkChanged, InvalidValue
from framecache.ingest.placement import START_BY_PTS, GivenStart, Spot, spot_of, spots
from framecache.instants import exact_seconds
from framecache.manifest import ChunkEntry
from framecache.model import Chunk
from framecache.numeric import shown
from framecache.sampling import AtRate, Sampling
from framecache.store import open_blob_file
from framecache.video import VideoScan

_CONCURRENT_SCANS: Final = 8
_MOST_SECONDS: Final = 10**11
"""Unix time reaches it in the year 5138; in milliseconds it is beyond it already."""
_MOST_DENOMINATOR: Final = 2**1024
"""Of a chunk's end, in seconds. Each chunk with a time base of its own may add 31 bits."""


@dataclass(frozen=True, slots=True)
class ScannedChunk:
    """A chunk's video before it has a place on a timeline."""

    url: str
    etag: str
    size_bytes: int
    start: GivenStart
    """Where the caller places it, in seconds or by its PTS; None: after the chunk before it."""
    scan: VideoScan


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlan:
    """The frames to take from one chunk; the arrays have one entry a frame."""

    scan: VideoScan
    pts: npt.NDArray[np.int64]
    """Ascending, in the video's time base."""
    sequences: npt.NDArray[np.int64]
    timestamps: tuple[float, ...]
    """Seconds on the timeline."""
    durations: tuple[float, ...]
    """Seconds on screen in the video."""

    def only(self, sequences: Collection[int]) -> "ChunkPlan":
        """The plan for some of its frames."""
        chosen = np.flatnonzero(np.isin(self.sequences, np.fromiter(sequences, np.int64)))
        return replace(
            self,
            pts=self.pts[chosen],
            sequences=self.sequences[chosen],
            timestamps=tuple(self.timestamps[position] for position in chosen),
            durations=tuple(self.durations[position] for position in chosen),
        )


def scan_chunks(chunks: Sequence[Chunk]) -> list[ScannedChunk]:
    """Read the packet times of every chunk, several at once, in the order given.

    Raises:
        BadChunk: one is missing or no video.
        StoreDenied, StoreUnavailable: one cannot be read.
    """
    if not chunks:
        return []
    with ThreadPoolExecutor(min(_CONCURRENT_SCANS, len(chunks))) as pool:
        return list(pool.map(_scan_chunk, chunks))


def place(
    scanned: Sequence[ScannedChunk], *, after: Sequence[ChunkEntry], by: Sampling
) -> tuple[ChunkEntry, ...]:
    """Give chunks their place in time and their sequence numbers, after those in ``after``.

    Raises:
        InvalidValue: a chunk was placed before the end of the one before it.
    """
    entries = list(after)
    before = spot_of(after[-1]) if after else None
    named = [(chunk.url, chunk.start, chunk.scan) for chunk in scanned]
    for chunk, spot in zip(scanned, spots(named, before=before), strict=True):
        entries.append(_entry(chunk, spot, entries[-1] if entries else None, by))
    return tuple(entries[len(after) :])


def plan(entry: ChunkEntry, scan: VideoScan, by: Sampling) -> ChunkPlan:
    """The frames a described chunk gives.

    Raises:
        ChunkChanged: the video no longer has the frames it was described with.
    """
    chosen = _chosen(
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
        raise _other_count(entry, scan)
    first = int(scan.pts[0])
    pts = scan.pts[chosen]
    ends = np.append(scan.pts[1:], scan.end_pts)[chosen]
    durations = _seconds(ends - pts, scan.time_base, Fraction(0))
    if len(chosen) and chosen[-1] == len(scan.pts) - 1:
        last_start = entry.start + int(pts[-1] - first) * scan.time_base
        durations[-1] = float(entry.end - last_start)
    return ChunkPlan(
        scan=scan,
        pts=pts,
        sequences=np.arange(entry.first_sequence, entry.stop_sequence, dtype=np.int64),
        timestamps=tuple(_seconds(pts - first, scan.time_base, entry.start)),
        durations=tuple(durations),
    )


def _other_count(entry: ChunkEntry, scan: VideoScan) -> ChunkChanged:
    if entry.scan_rules < video.SCAN_RULES:
        return ChunkChanged(
            f"chunk {entry.chunk_id} ({entry.url}) was planned by older rules, with "
            f"{entry.source_frame_count} frames, or other times, where {len(scan.pts)} are shown: "
            f"rebuild the timeline"
        )
    return ChunkChanged(
        f"chunk {entry.chunk_id} ({entry.url}) was described with {entry.source_frame_count} "
        f"frames and now has {len(scan.pts)}: rebuild the timeline"
    )


def start_of(chunk: Chunk) -> GivenStart:
    """Where the caller places a chunk, exactly: a float means the decimal it prints as.

    Raises:
        InvalidValue: it is negative or no number.
    """
    if chunk.start_seconds is None:
        return None
    if chunk.start_seconds == START_BY_PTS:
        return START_BY_PTS
    try:
        start = exact_seconds(chunk.start_seconds)
    except InvalidValue as error:
        raise InvalidValue(f"start_seconds of {chunk.url}: {error}") from error
    if not 0 <= start < _MOST_SECONDS:
        raise InvalidValue(
            f'start_seconds of {chunk.url} is "pts", or a time in seconds from 0, below '
            f"{_MOST_SECONDS}, not {shown(chunk.start_seconds)}"
        )
    return start


def _scan_chunk(chunk: Chunk) -> ScannedChunk:
    start = start_of(chunk)
    with open_blob_file(chunk.url) as file:
        scan = video.scan(file, name=file.url)
        return ScannedChunk(file.url, file.etag, file.size_bytes, start, scan)


def _entry(chunk: ScannedChunk, spot: Spot, before: ChunkEntry | None, by: Sampling) -> ChunkEntry:
    if spot.end.denominator > _MOST_DENOMINATOR:
        raise BadChunk(
            f"{chunk.url} counts time in units of {chunk.scan.time_base} s, which have no common "
            f"measure with those of the chunks before it: encode it at an even rate, or give "
            f"start_seconds"
        )
    first_source_frame = before.first_source_frame + before.source_frame_count if before else 0
    picture_end = before.end - before.sound_seconds if before else spot.start
    sampled_from = picture_end if spot.start < picture_end else None
    scan = chunk.scan
    chosen = _chosen(
        scan,
        by,
        start=spot.start,
        end=spot.end,
        sampled_from=sampled_from,
        first_source_frame=first_source_frame,
    )
    return ChunkEntry(
        chunk_id=before.chunk_id + 1 if before else 0,
        url=chunk.url,
        etag=chunk.etag,
        size_bytes=chunk.size_bytes,
        start=spot.start,
        end=spot.end,
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
        placement=spot.placement,
        last_frame_start=spot.last_frame_start,
        sound_seconds=max(spot.sound_seconds, Fraction(0)),
        sampled_from=sampled_from,
        stream_clock=spot.stream_clock,
        clock_start=scan.clock_start_seconds if spot.stream_clock else None,
        clock_end=spot.clock_end if spot.stream_clock else None,
        clock_gap=spot.clock_gap,
        times_replaced=scan.times_replaced,
        clock_restarts=scan.clock_restarts,
        packets_not_displayed=scan.account.not_displayed,
        is_cut_short=scan.is_cut_short,
    )


def _chosen(
    scan: VideoScan,
    by: Sampling,
    *,
    start: Fraction,
    end: Fraction,
    sampled_from: Fraction | None,
    first_source_frame: int,
) -> npt.NDArray[np.int64]:
    elapsed = scan.pts - scan.pts[0]
    if sampled_from is not None and isinstance(by, AtRate):
        # The frames until then stand for no instant of their own.
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


def _seconds(ticks: npt.NDArray[np.int64], time_base: Fraction, start: Fraction) -> list[float]:
    """``start + ticks * time_base``, each rounded once."""
    numerator, denominator = time_base.numerator, time_base.denominator
    return [float(start + Fraction(tick * numerator, denominator)) for tick in ticks.tolist()]
