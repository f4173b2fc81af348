"""Video for tests: clips made by ffmpeg, real clips, and what ffprobe says about them.

Clips are made once a test run. A test that needs a program or download that is missing is
skipped; where ``CI=true`` it fails.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

import recorded

ROOT = Path(__file__).parents[1]


class ProbedFrame(NamedTuple):
    """A displayed frame, as ffprobe decodes it."""

    pts: int
    """Presentation time in units of the stream's time base."""
    timestamp: Fraction
    """``pts`` in seconds."""
    duration: int
    """Duration in the same units; 0 if unknown."""
    key: bool


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 120),
    rate: str = "25",
    frames: int = 50,
    source: str | None = None,
    filters: str | None = None,
    extra: Sequence[str] = (),
) -> Path:
    """Encode a moving test pattern of ``size`` (width, height) into ``path``.

    ``source`` replaces the pattern with another ffmpeg ``lavfi`` graph, ``filters`` follow it,
    ``extra`` are ffmpeg's output options. Every frame of the default pattern differs.
    """
    pattern = source or f"testsrc2=size={size[0]}x{size[1]}:rate={rate}"
    speed = {"libx264": "veryfast", "libx265": "ultrafast"}.get(codec)
    ffmpeg(
        *("-f", "lavfi", "-i", pattern, "-frames:v", str(frames)),
        *(("-vf", filters) if filters else ()),
        *("-c:v", codec),
        *(("-preset", speed) if speed else ()),
        *(("-x265-params", "log-level=none") if codec == "libx265" else ()),
        *(("-pix_fmt", "yuv420p") if "-pix_fmt" not in extra else ()),
        *extra,
        str(path),
    )
    return path


def made(name: str, make: Callable[[Path], object]) -> Path:
    """The file ``name``, made by ``make(path)`` when this test run first asks for it."""
    path = _folder() / name
    if not path.exists():
        # Made under another name, so that a failed attempt is not taken for the clip.
        draft = path.with_name(f"draft-{path.name}")
        make(draft)
        draft.replace(path)
    return path


def real_clip(name: str) -> Path:
    """``bikes.mp4`` or ``bigbuckbunny.mp4``: real footage, fetched once into ``.cache``."""
    return _real_clips()[name]


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg, overwriting its output file; return what it wrote to its standard output."""
    command = [_program("ffmpeg"), "-v", "error", "-nostdin", "-y", *arguments]
    finished = recorded.run(command)
    if finished.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {finished.stderr.decode()}")
    return finished.stdout


def ffprobe_frames(path: Path) -> list[ProbedFrame]:
    """The frames that ffprobe displays of the first video stream, in order of time.

    Those for which it knows no time, as at the end of an AVI with B-frames, are left out.
    """
    entries = "frame=best_effort_timestamp,pkt_duration,duration,key_frame:stream=time_base"
    document = ffprobe(path, "-show_frames", "-show_entries", entries)
    time_base = Fraction(document["streams"][0]["time_base"])
    timed = [frame for frame in document["frames"] if "best_effort_timestamp" in frame]
    return sorted(_probed(frame, time_base) for frame in timed)


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return ffprobe's JSON document for the first video stream of ``path``."""
    command = [_program("ffprobe"), "-v", "error", "-select_streams", "v:0", "-of", "json"]
    finished = recorded.run([*command, *arguments, str(path)])
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def _probed(frame: dict[str, Any], time_base: Fraction) -> ProbedFrame:
    pts = int(frame["best_effort_timestamp"])
    duration = int(frame.get("duration", frame.get("pkt_duration", 0)))
    return ProbedFrame(pts, pts * time_base, duration, bool(frame["key_frame"]))


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="framecache-media-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _real_clips() -> dict[str, Path]:
    folder = ROOT / ".cache" / "clips"
    fetch = [sys.executable, str(ROOT / "scripts" / "fetch_clips.py"), str(folder)]
    finished = subprocess.run(fetch, check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        _unavailable(finished.stderr.strip())
    return {path.name: path for path in folder.glob("*.mp4")}


@cache
def _program(name: str) -> str:
    return shutil.which(name) or _unavailable(f"{name} is not installed")


def _unavailable(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
