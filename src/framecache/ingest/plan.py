"""Planning: which frames a chunk will give, known exactly before any of it is decoded."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache import sampling, video
from framecache.errors import BadChunk, ChunkChanged, InvalidValue
from framecache.instants import exact_seconds
from framecache.manifest import ChunkEntry
from framecache.model import Chunk
from framecache.numeric import shown
from framecache.sampling import Sampling
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
    start: Fraction | None
    """Seconds at which the caller places it; None: after the chunk before it."""
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
    for chunk in scanned:
        entries.append(_place_one(chunk, entries[-1] if entries else None, by))
    return tuple(entries[len(after) :])


def plan(entry: ChunkEntry, scan: VideoScan, by: Sampling) -> ChunkPlan:
    """The frames a described chunk gives.

    Raises:
        ChunkChanged: the video no longer has the frames it was described with.
    """
    chosen = _chosen(scan, by, start=entry.start, first_source_frame=entry.first_source_frame)
    if (len(scan.pts), len(chosen)) != (entry.source_frame_count, entry.frame_count):
        raise ChunkChanged(
            f"chunk {entry.chunk_id} ({entry.url}) was described with {entry.source_frame_count} "
            f"frames and now has {len(scan.pts)}: rebuild the timeline"
        )
    pts = scan.pts[chosen]
    ends = np.append(scan.pts[1:], scan.end_pts)[chosen]
    return ChunkPlan(
        scan=scan,
        pts=pts,
        sequences=np.arange(entry.first_sequence, entry.stop_sequence, dtype=np.int64),
        timestamps=tuple(_seconds(pts - scan.pts[0], scan.time_base, entry.start)),
        durations=tuple(_seconds(ends - pts, scan.time_base, Fraction(0))),
    )


def start_of(chunk: Chunk) -> Fraction | None:
    """Where the caller places a chunk, exactly: a float means the decimal it prints as.

    Raises:
        InvalidValue: it is negative or no number.
    """
    if chunk.start_seconds is None:
        return None
    try:
        start = exact_seconds(chunk.start_seconds)
    except InvalidValue as error:
        raise InvalidValue(f"start_seconds of {chunk.url}: {error}") from error
    if not 0 <= start < _MOST_SECONDS:
        raise InvalidValue(
            f"start_seconds of {chunk.url} is a time in seconds from 0, below {_MOST_SECONDS}, not "
            f"{shown(chunk.start_seconds)}"
        )
    return start


def _scan_chunk(chunk: Chunk) -> ScannedChunk:
    start = start_of(chunk)
    with open_blob_file(chunk.url) as file:
        scan = video.scan(file, name=file.url)
        return ScannedChunk(file.url, file.etag, file.size_bytes, start, scan)


def _place_one(chunk: ScannedChunk, before: ChunkEntry | None, by: Sampling) -> ChunkEntry:
    earliest = before.end if before else Fraction(0)
    start = _start(chunk, earliest=earliest)
    if start < earliest:
        raise InvalidValue(
            f"{chunk.url} is placed at {float(start)} s, but the chunk before it ends at "
            f"{float(earliest)} s: chunks follow each other in time"
        )
    first_source_frame = before.first_source_frame + before.source_frame_count if before else 0
    scan = chunk.scan
    end = start + int(scan.end_pts - scan.pts[0]) * scan.time_base
    if end.denominator > _MOST_DENOMINATOR:
        raise BadChunk(
            f"{chunk.url} counts time in units of {scan.time_base} s, which have no common measure "
            f"with those of the chunks before it: encode it at an even rate, or give start_seconds"
        )
    chosen = _chosen(scan, by, start=start, first_source_frame=first_source_frame)
    return ChunkEntry(
        chunk_id=before.chunk_id + 1 if before else 0,
        url=chunk.url,
        etag=chunk.etag,
        size_bytes=chunk.size_bytes,
        start=start,
        end=end,
        start_is_given=chunk.start is not None,
        first_sequence=before.stop_sequence if before else 0,
        frame_count=len(chosen),
        first_source_frame=first_source_frame,
        source_frame_count=len(scan.pts),
        width=scan.width,
        height=scan.height,
        codec=scan.codec,
    )


def _start(chunk: ScannedChunk, *, earliest: Fraction) -> Fraction:
    """Where a chunk starts; a start that was rounded to just before the end before it is that."""
    if chunk.start is None:
        return earliest
    is_touch = 0 < earliest - chunk.start < chunk.scan.time_base / 2
    return earliest if is_touch else chunk.start


def _chosen(
    scan: VideoScan, by: Sampling, *, start: Fraction, first_source_frame: int
) -> npt.NDArray[np.int64]:
    return sampling.select(
        by,
        elapsed=scan.pts - scan.pts[0],
        is_key=scan.is_key,
        duration=int(scan.end_pts - scan.pts[0]),
        time_base=scan.time_base,
        start=start,
        first_source_frame=first_source_frame,
    )


def _seconds(ticks: npt.NDArray[np.int64], time_base: Fraction, start: Fraction) -> list[float]:
    """``start + ticks * time_base``, each rounded once."""
    numerator, denominator = time_base.numerator, time_base.denominator
    return [float(start + Fraction(tick * numerator, denominator)) for tick in ticks.tolist()]
