"""Process that extracts one video after another, and reports the outcome of each."""

import gc
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal

import av
import av.error
import numpy as np
from av.video.stream import VideoStream

from framecache import FrameCache, FrameCacheError
from framecache._media.video.container import FORMATS, Container

SAMPLINGS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"fps": 30},
    {"fps": "1000000"},
    {"fps": "1/1000000"},
    {"every": 7},
    {"keyframes": True},
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A video, and the arguments of its extraction."""

    path: str
    sampling: dict[str, Any]
    workers: int


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
    said, frames = "", 0
    try:
        frames = _extract(attempt)
    except FrameCacheError as error:
        kind, said = "refused", f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 - any other is a failed proof
        kind, said = "failed", _describe(error)
    seconds = time.monotonic() - began
    peak = _resident("VmHWM") - baseline
    gc.collect()
    return Outcome(kind, said, frames, seconds, peak)


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
