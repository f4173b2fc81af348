"""Making numbered chunks, and their frames as one undisturbed extraction stores them."""

import shutil
import uuid
from pathlib import Path

import numpy as np
from numbered import BITS, HEIGHT, STRIPE, WIDTH, NumberedChunks

import media
from framecache import FrameCache
from outside import frames_of, outside

_RATE = 25


def numbered_chunks(count: int, *, frames_each: int, segments_each: int = 1) -> NumberedChunks:
    """``count`` chunks with B-frames, cut out of one clip without encoding it again.

    Each has ``segments_each`` groups of ``frames_each`` frames.
    """
    frames = count * segments_each * frames_each
    assert frames <= 2**BITS
    name = f"numbered-{count}-{segments_each}-{frames_each}"
    clip = media.made(f"{name}.mp4", lambda to: _make(to, frames, frames_each))
    folder = media.made(name, lambda to: _cut(clip, to, frames, segments_each * frames_each))
    pictures = media.made(f"{name}.npy", lambda to: _decode(clip, to))
    paths = tuple(str(path) for path in sorted(folder.glob("*.mp4")))
    assert len(paths) == count
    return NumberedChunks(paths, frames_each, str(pictures), segments_each)


def frames_alone(chunks: NumberedChunks) -> dict[str, bytes]:
    """Return the frames that an undisturbed extraction stores, by name."""
    url = f"memory://{uuid.uuid4().hex}"
    FrameCache(url).timeline("alone").extract(chunks.paths)
    return frames_of(outside(url), "alone")


def _make(path: Path, frames: int, frames_each: int) -> None:
    stripes = f"16+219*mod(floor(N/pow(2,floor(X/{STRIPE}))),2)"
    keyframes = ["-g", str(frames_each), "-keyint_min", str(frames_each), "-sc_threshold", "0"]
    media.make_clip(
        path,
        frames=frames,
        source=f"color=black:size={WIDTH}x{HEIGHT}:rate={_RATE}",
        filters=f"format=yuv420p,geq=lum='{stripes}':cb=128:cr=128",
        extra=[*keyframes, "-bf", "2", "-crf", "12"],
    )


def _cut(clip: Path, folder: Path, frames: int, frames_each: int) -> None:
    folder.mkdir()
    if frames == frames_each:
        shutil.copy(clip, folder / "0000.mp4")
        return
    cuts = ",".join(str(first) for first in range(frames_each, frames, frames_each))
    cut = ["-f", "segment", "-segment_frames", cuts, "-reset_timestamps", "1"]
    media.ffmpeg("-i", str(clip), "-c", "copy", *cut, str(folder / "%04d.mp4"))


def _decode(clip: Path, path: Path) -> None:
    passed = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = media.ffmpeg("-i", str(clip), *passed, "-")
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    with path.open("wb") as file:
        np.save(file, pictures)
