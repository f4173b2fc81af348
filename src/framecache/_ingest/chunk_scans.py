"""Scans of the videos of chunks, before these are placed on a timeline."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from framecache._core.manifest import Settings
from framecache._core.numeric import format_value
from framecache._core.sampling import AtRate, EveryFrame, EveryNth, Keyframes, Sampling
from framecache._core.times import exact_seconds
from framecache._ingest.placement import START_BY_PTS, GivenStart
from framecache._ingest.trim import Trim
from framecache._layouts import LAYOUTS
from framecache._media import video
from framecache.errors import InvalidValue
from framecache.model import Chunk
from framecache.store import (
    BlobFile,
    BlobIdentity,
    FetchedBytes,
    Store,
    normalized_url,
    open_blob_file,
)

_CONCURRENT_SCANS: Final = 8
_MAX_SECONDS: Final = 10**11
"""Limit of start times.

Unix time in seconds stays below it until the year 5138; in milliseconds it exceeds it already.
"""
_MIN_BYTES_FOR_TABLES: Final = 256 * 2**20
"""Size of a video that is listed from its sample tables, whatever is wanted of it."""


@dataclass(frozen=True, slots=True)
class ScannedChunk:
    """Scanned video of a chunk that is not yet placed on a timeline."""

    url: str
    etag: str
    size_bytes: int
    start: GivenStart
    """Start given by the caller, in seconds or by PTS; None: after the previous chunk."""
    trim: Trim
    """Part of the video that the timeline takes."""
    scan: "video.VideoScan"
    """Scan of the whole video."""
    trimmed: "video.VideoScan"
    """Scan of the part that the timeline takes."""


class ChunkScans:
    """Scans of chunks. Each video is scanned once, for all chunks that are parts of it."""

    def __init__(self, store: Store, *, before_read: Callable[[], None] | None = None) -> None:
        """Start without scans; no request is made.

        Args:
            store: store of the timeline.
            before_read: called before each read of a chunk; an error that it raises ends the scans.
        """
        self._store = store
        self._before_read = before_read
        self._videos: dict[str, tuple[BlobIdentity, video.VideoScan]] = {}
        self.fetched = FetchedBytes()
        """Bytes that were fetched, to be read again for decoding."""

    @property
    def by_url(self) -> "dict[str, video.VideoScan]":
        """Scans of the whole videos so far."""
        return {url: scan for url, (_, scan) in self._videos.items()}

    def get(self, chunks: Sequence[Chunk], *, tables_for: Settings | None) -> list[ScannedChunk]:
        """List the frames of chunks, several at once; return the results in the chunks' order.

        Args:
            chunks: the chunks.
            tables_for: settings of the timeline, for which the sample tables of MP4 files are used
                where they save reading; None: list the frames from all packets.

        Raises:
            UnreadableChunk: a chunk is missing or is not a video.
            StorePermissionDenied, StoreUnavailable: a chunk cannot be read.
            InvalidValue: no frame of a chunk begins in the part to take.
        """
        parts = defaultdict[str, list[Chunk]](list)
        for chunk in chunks:
            parts[normalized_url(chunk.url)].append(chunk)
        new = [url for url in parts if url not in self._videos]
        if new:
            with ThreadPoolExecutor(min(_CONCURRENT_SCANS, len(new))) as pool:
                scanned = pool.map(lambda url: self._scan(parts[url], tables_for), new)
                self._videos.update(zip(new, scanned, strict=True))
        return [self._take_part(chunk) for chunk in chunks]

    def _scan(
        self, parts: Sequence[Chunk], tables_for: Settings | None
    ) -> "tuple[BlobIdentity, video.VideoScan]":
        with open_blob_file(
            parts[0].url,
            options=self._store.options,
            before_read=self._before_read,
            fetched=self.fetched,
        ) as file:
            return file.identity, _scan_file(file, [*map(Trim.of_chunk, parts)], tables_for)

    def _take_part(self, chunk: Chunk) -> ScannedChunk:
        blob, scan = self._videos[normalized_url(chunk.url)]
        start, trim = parse_start(chunk), Trim.of_chunk(chunk)
        trimmed = trim.apply(scan, name=blob.url)
        return ScannedChunk(blob.url, blob.etag, blob.size_bytes, start, trim, scan, trimmed)


def check_chunk(chunk: Chunk) -> None:
    """Check the times of a chunk that a caller gives.

    Raises:
        InvalidValue: its start is out of range, or the part to take is empty.
    """
    parse_start(chunk)
    Trim.of_chunk(chunk)


def parse_start(chunk: Chunk) -> GivenStart:
    """Return the start that the caller gives a chunk; a float stands for the decimal it prints as.

    Raises:
        InvalidValue: the start is negative, too large or not a number.
    """
    if chunk.start_seconds is None:
        return None
    if chunk.start_seconds == START_BY_PTS:
        return START_BY_PTS
    try:
        start = exact_seconds(chunk.start_seconds)
    except InvalidValue as error:
        raise InvalidValue(f"start_seconds of {chunk.url}: {error}") from error
    if not 0 <= start < _MAX_SECONDS:
        raise InvalidValue(
            f'start_seconds of {chunk.url} must be "pts", or a time in seconds from 0, below '
            f"{_MAX_SECONDS}, not {format_value(chunk.start_seconds)}"
        )
    return start


def _scan_file(
    file: BlobFile, trims: Sequence[Trim], tables_for: Settings | None
) -> "video.VideoScan":
    """List the frames of a video from its sample tables if that saves reading, else its packets.

    All packets tell more: where decoding can begin, and what the frame numbers of other tools need.
    """
    if tables_for is None:
        return video.scan(file, name=file.url)
    by, stores_frames = tables_for.sampling, LAYOUTS[tables_for.layout].stores_frames
    saves_reading = file.size_bytes >= _MIN_BYTES_FOR_TABLES or not stores_frames
    if isinstance(by, EveryFrame) and Trim() in trims and not saves_reading:
        return video.scan(file, name=file.url)
    found = video.describe(file, name=file.url)
    if found.samples is None or saves_reading:
        return found
    taken = [trim.apply(found, name=file.url) for trim in trims]
    needed = sum(_count_needed_groups(by, part) for part in taken)
    if 2 * needed <= int(found.is_random_access.sum()):
        return found
    return video.scan(file, name=file.url)


def _count_needed_groups(by: Sampling, part: "video.VideoScan") -> float:
    """Return how many groups of pictures have to be read for the frames of a part of a video."""
    groups = 1 + int(part.is_random_access[1:].sum())
    match by:
        case AtRate(rate):
            seconds = (part.end_pts - int(part.pts[0])) * part.time_base
            return min(groups, float(rate * seconds))
        case EveryNth(n):
            return min(groups, len(part.pts) / n)
        case Keyframes():
            return 0  # of each group, only its keyframe
        case EveryFrame():
            return groups
