"""Process that extracts one video after another, and reports the outcome of each.

An extraction by sample tables, and the frames of layout ``video``, are compared with an extraction
of all frames from all packets.
"""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal
from unittest import mock

import av
import av.error
import numpy as np
from av.video.stream import VideoStream

from framecache import (
    ChunkChanged,
    FrameCache,
    FrameCacheError,
    Index,
    Timeline,
    UndecodableFrame,
)
from framecache._core.chunk_entry import ChunkEntry
from framecache._index import current_manifest
from framecache._ingest import chunk_scans
from framecache._media.video import scanning
from framecache._media.video.container import FORMATS, Container
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import pictures as pictures_in_memory

SAMPLINGS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"fps": 30},
    {"fps": "1000000"},
    {"fps": "1/1000000"},
    {"every": 7},
    {"keyframes": True},
)


_UNNOTICED_DAMAGE: Final = frozenset({"hevc", "mjpeg", "vp8"})
"""Codecs whose decoder may output earlier contents of its memory where a picture is damaged."""

How = Literal["packets", "tables", "video"]
"""From what frames are listed; or ``video``: listed from tables, and decoded when they are read."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A video, and the arguments of its extraction."""

    path: str
    sampling: dict[str, Any]
    workers: int
    how: How = "packets"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of an extraction."""

    kind: Literal["extracted", "refused", "failed"]
    said: str
    """The error, or nothing."""
    frames: int
    seconds: float
    peak_bytes: int
    """Peak memory during the extraction, beyond that of the idle process."""
    is_from_tables: bool
    """True if the frames were listed from sample tables."""


def serve(pipe: Connection, intact_video: str) -> None:
    """Extract the videos that arrive through ``pipe``, and send their outcomes, until it closes.

    ``intact_video``: a video that is extracted first, so that all code is loaded.
    """
    _extract(Attempt(intact_video, {}, 4))
    baseline = _resident("VmRSS")
    pipe.send(baseline)
    while True:
        try:
            attempt = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(attempt, baseline))


def _outcome(attempt: Attempt, baseline: int) -> Outcome:
    _forget_peak()
    began = time.monotonic()
    kind: Literal["extracted", "refused", "failed"] = "extracted"
    said, frames, is_from_tables = "", 0, False
    try:
        if attempt.how == "packets":
            frames = _extract(attempt)
        else:
            frames, is_from_tables = _compare(attempt)
    except FrameCacheError as error:
        kind, said = "refused", f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 - any other is a failed proof
        kind, said = "failed", _describe(error)
    seconds = time.monotonic() - began
    peak = _resident("VmHWM") - baseline
    gc.collect()
    return Outcome(kind, said, frames, seconds, peak, is_from_tables)


def _extract(attempt: Attempt) -> int:
    """Extract a video into a new store, check the result, and count the frames."""
    timeline = FrameCache(f"memory://{os.urandom(8).hex()}").timeline("mutated")
    try:
        report = timeline.extract(attempt.path, workers=attempt.workers, **attempt.sampling)
        index = timeline.index
        # Of a video without keyframes, an extraction of keyframes caches nothing.
        assert timeline.complete == (report.frame_count > 0), "not complete"
        assert len(index) == report.frame_count, "the index has another number of frames"
        assert report.frame_count == report.frames_extracted + report.frames_undecodable
        assert index.sequence.tolist() == list(range(report.frame_count)), "numbers with gaps"
        assert np.isfinite(index.timestamp).all(), "times that are no numbers"
        assert (np.diff(index.timestamp) >= 0).all(), "times out of order"
        assert (index.duration >= 0).all(), "negative durations"
        read = [(frame.sequence, *frame.image.shape) for frame in timeline.frames()]
        rows = (index.sequence, index.height, index.width)
        columns = [column[index.is_ok].tolist() for column in rows]
        assert read == [(*row, 3) for row in zip(*columns, strict=True)], "other frames are read"
        (chunk,) = timeline.info().chunks
        pictures = _pictures(attempt.path)
        assert chunk.source_frame_count >= pictures, f"{pictures} pictures are shown"
        if attempt.sampling == {}:
            assert report.frame_count == chunk.source_frame_count
        return report.frame_count
    finally:
        timeline.delete()


def _compare(attempt: Attempt) -> tuple[int, bool]:
    """Extract by sample tables, and require the frames that all packets give.

    Return the number of frames, and True if they were listed from the tables.
    """
    cache = FrameCache(f"memory://{os.urandom(8).hex()}")
    asked, whole = cache.timeline("asked"), cache.timeline("whole")
    try:
        with _tables_used():
            layout: Literal["video", "objects"] = "video" if attempt.how == "video" else "objects"
            report = asked.extract(
                attempt.path, workers=attempt.workers, layout=layout, **attempt.sampling
            )
        is_from_tables = _entry_of(asked).listed_from == "tables"
        try:
            whole.extract(attempt.path, workers=1)
        except FrameCacheError as error:
            raise AssertionError("tables have frames of a video that is refused") from error
        with _tables_used():
            is_unstored = is_from_tables and layout == "video"
            is_partial = is_from_tables and (layout == "video" or attempt.sampling != {})
            _require_equal(asked, whole, is_unstored=is_unstored, is_partial=is_partial)
            if layout == "video" and _is_repacked(asked):
                _require_equal(asked, whole, is_unstored=False, is_partial=is_partial)
        if attempt.sampling == {} and not is_partial:
            assert _times(asked.index) == _times(whole.index), "other frames are listed"
        return report.frame_count, is_from_tables
    finally:
        chunk_pool.value.clear()
        pictures_in_memory.value.clear()
        for timeline in (asked, whole):
            timeline.delete()


def _is_repacked(timeline: Timeline) -> bool:
    """Repack a timeline of layout ``video``; return False if the video is refused."""
    try:
        timeline.repack("packs")
    except FrameCacheError:
        return False
    return True


@contextmanager
def _tables_used() -> Iterator[None]:
    """Have the sample tables of files of any size be used."""
    with (
        mock.patch.object(scanning, "_MIN_TABLES_FILE_BYTES", 0),
        mock.patch.object(chunk_scans, "_MIN_BYTES_FOR_TABLES", 0),
    ):
        yield


def _entry_of(timeline: Timeline) -> ChunkEntry:
    manifest = current_manifest(timeline._store, timeline.timeline_id)  # noqa: SLF001 -- as stored
    assert manifest is not None
    return manifest.chunks[0]


def _require_equal(
    asked: Timeline, whole: Timeline, *, is_unstored: bool, is_partial: bool
) -> None:
    """Require that each frame is the one of its time.

    Args:
        asked: timeline to check.
        whole: timeline of all frames, listed from packets.
        is_unstored: the frames are checked when they are read, and may be refused then.
        is_partial: not all frames are decoded. If the order of all would show that times are
            wrong, and packets give them others, a frame need only be one of the video.
    """
    index, expected = asked.index, whole.index
    right = {sequence: _read(whole, sequence) for sequence in expected.sequence.tolist()}
    sequence_at = dict(zip(_seconds(whole), expected.sequence.tolist(), strict=True))
    rows = [*zip(index.sequence.tolist(), _seconds(asked), strict=True)]
    is_exact = _entry_of(whole).codec not in _UNNOTICED_DAMAGE
    has_other_times = is_partial and _entry_of(whole).times_replaced
    for sequence, seconds in [*rows[1::2], *rows[::2]]:
        try:
            found = _read(asked, sequence)
        except ChunkChanged:
            assert is_unstored, "a chunk has changed"
            continue
        if has_other_times:
            is_right = not is_exact or found in right.values()
            assert is_right, f"frame {sequence} is none of the video"
            continue
        assert seconds in sequence_at, f"frame {sequence} has a time at which no picture is shown"
        wanted = right[sequence_at[seconds]]
        is_right = found == wanted if is_exact else (found is None) == (wanted is None)
        assert is_right, f"frame {sequence} differs from that of all packets"


def _read(timeline: Timeline, sequence: int) -> bytes | None:
    """Return a JPEG; None if the frame is undecodable."""
    try:
        return timeline.jpeg(sequence)
    except UndecodableFrame:
        return None


def _seconds(timeline: Timeline) -> list[Fraction]:
    """Return the times of all frames by the clock of the video."""
    time_base = _entry_of(timeline).time_base
    assert time_base is not None
    return [pts * time_base for pts in timeline.index.pts.tolist()]


def _times(index: Index) -> list[tuple[int, int, float, float]]:
    columns = (index.sequence, index.pts, index.timestamp, index.duration)
    return [*zip(*(column.tolist() for column in columns), strict=True)]


def _pictures(path: str) -> int:
    """Return how many pictures FFmpeg shows of the extracted stream; it skips what it refuses.

    No more of them are shown than are frames: a frame without a picture keeps its number.
    """
    options = {"format_whitelist": ",".join(FORMATS), "fflags": "-genpts"}
    pictures = 0
    with av.open(path, container_options=options, metadata_errors="replace") as container:
        stream = container.streams[_video_stream(path)]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "NONE"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, IndexError):
                break
            if packet is None:
                break
            with suppress(av.error.FFmpegError, ValueError):
                pictures += len(packet.decode())
    return pictures


def _video_stream(path: str) -> int:
    with Path(path).open("rb") as file, Container(file, name=path) as container:
        return container.stream.index


def _describe(error: BaseException) -> str:
    import traceback  # noqa: PLC0415 - only after a failure

    return "".join(traceback.format_exception(error))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
