"""Chunks to extract from, and their timeline according to ffprobe and ffmpeg."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

import media

WIDTH, HEIGHT = 96, 64


@dataclass(frozen=True, slots=True)
class Shown:
    """A displayed frame at its place on a timeline."""

    chunk_id: int
    position: int
    """Among the displayed frames of its chunk."""
    pts: int
    start: Fraction
    """Seconds on the timeline."""
    end: Fraction
    key: bool


def clip(
    *, frames: int = 45, rate: str = "25", keyframe_every: int = 10, kind: str = "mp4"
) -> Path:
    """A clip with B-frames and keyframes at a fixed distance."""
    name = f"api-{frames}-{rate.replace('/', 'over')}-{keyframe_every}.{kind}"
    extra = ["-g", str(keyframe_every), "-keyint_min", str(keyframe_every), "-sc_threshold", "0"]
    return media.made(
        name,
        lambda path: media.make_clip(
            path, size=(WIDTH, HEIGHT), rate=rate, frames=frames, extra=[*extra, "-bf", "2"]
        ),
    )


def chunks() -> list[Path]:
    """Cut ``clip()`` at keyframes into 20, 10 and 15 frames, without encoding it again."""
    cut = ["-f", "segment", "-segment_frames", "20,30", "-reset_timestamps", "1"]

    def make(folder: Path) -> None:
        folder.mkdir()
        media.ffmpeg("-i", str(clip()), "-c", "copy", *cut, str(folder / "c%d.mp4"))

    return sorted(media.made("api-chunks", make).glob("c*.mp4"))


def ends_in_garbage() -> Path:
    """Return ``clip()`` with noise as packets from the third keyframe on (frame 20)."""

    def make(path: Path) -> None:
        sound = media.made(
            "api-faststart.mp4",
            lambda to: media.ffmpeg(
                "-i", str(clip()), "-c", "copy", "-movflags", "+faststart", str(to)
            ),
        )
        packets = media.ffprobe(sound, "-show_entries", "packet=pos,flags")["packets"]
        keys = [int(packet["pos"]) for packet in packets if packet["flags"].startswith("K")]
        data = sound.read_bytes()
        noise = np.random.default_rng(5).integers(0, 256, len(data) - keys[2], dtype=np.uint8)
        path.write_bytes(data[: keys[2]] + noise.tobytes())

    return media.made("api-garbage.mp4", make)


def copy_to(path: Path, folder: Path, name: str | None = None) -> Path:
    """Copy a chunk, so that a test can change or remove it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or path.name)
    target.write_bytes(path.read_bytes())
    return target


def grow(path: Path, *, to_bytes: int) -> None:
    """Make an MP4 larger without changing its frames."""
    data = path.read_bytes()
    spare = to_bytes - len(data)
    path.write_bytes(data + struct.pack(">I4s", spare, b"free") + b"\0" * (spare - 8))


def set_time(path: Path, nanoseconds: int) -> None:
    """Set when a file was modified."""
    os.utime(path, ns=(nanoseconds, nanoseconds))


def timeline_of(
    paths: Sequence[Path], starts: Sequence[Fraction | None] | None = None
) -> list[Shown]:
    """Return the frames of chunks on one time axis, by ffprobe and fractions."""
    shown: list[Shown] = []
    clock = Fraction(0)
    for chunk_id, path in enumerate(paths):
        given = starts[chunk_id] if starts else None
        begin = clock if given is None else given
        frames, last_seconds = _probed(path)
        times = [begin + frame.timestamp - frames[0].timestamp for frame in frames]
        ends = [*times[1:], times[-1] + last_seconds]
        shown += [
            Shown(chunk_id, position, frame.pts, start, end, frame.key)
            for position, (frame, start, end) in enumerate(zip(frames, times, ends, strict=True))
        ]
        clock = ends[-1]
    return shown


def at_rate(shown: Sequence[Shown], rate: Fraction) -> list[Shown]:
    """Return the frame on screen at each instant k / rate, without duplicates."""
    chosen: list[Shown] = []
    instant = 0
    while Fraction(instant) / rate < shown[-1].end:
        time = Fraction(instant) / rate
        chosen += [one for one in shown if one.start <= time < one.end and one not in chosen]
        instant += 1
    return chosen


@cache
def pictures(path: Path) -> npt.NDArray[np.uint8]:
    """Return the displayed frames of a chunk as ffmpeg decodes them, RGB."""
    raw = media.ffmpeg(
        *("-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    )
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def nearest(image: npt.NDArray[np.uint8], path: Path) -> int:
    """Return the frame of a chunk that a picture looks like."""
    distances = np.abs(pictures(path).astype(np.int16) - image.astype(np.int16))
    return int(distances.mean(axis=(1, 2, 3)).argmin())


@cache
def _probed(path: Path) -> tuple[list[media.ProbedFrame], Fraction]:
    """Return the frames of a chunk, and the duration of the last one in seconds."""
    frames = media.ffprobe_frames(path)
    stream = media.ffprobe(path, "-show_entries", "stream=time_base")["streams"][0]
    return frames, frames[-1].duration * Fraction(stream["time_base"])
