"""A timeline to export: variable rate, rotated, joined from two chunks, with overlays."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as Pillow

from framecache import FrameCache, Timeline
from interop.counted_clips import clip
from media import ffmpeg, ffprobe_frames, made

JOB, STAGE, OTHER_STAGE = "run:7", "edges.v2", "masks"
WITH_OVERLAYS: Final = ("images", "webdataset", "parquet", "coco-images")
WITHOUT_OVERLAYS: Final = ("mp4", "cvat")
FORMATS: Final = (*WITH_OVERLAYS, *WITHOUT_OVERLAYS)
"""Formats whose packages are among the development tools: all but ``lance``."""
COLUMNS: Final = (
    *("sequence", "chunk_id", "timestamp", "duration", "width", "height", "perceptual_hash"),
    *("crc32c", "size"),
)


@cache
def chunks() -> tuple[Path, ...]:
    """A chunk of a variable rate and one of 30000/1001, both turned by 90°."""
    return tuple(made(f"turned-{name}", _turned(name)) for name in ("vfr.mp4", "ntsc.mp4"))


def times(timeline: Timeline) -> list[float]:
    """The time of each frame by ffprobe; the second chunk begins at the end of the first."""
    first, second = (ffprobe_frames(path) for path in chunks())
    end = timeline.info().chunks[0].end
    own = [frame.timestamp - first[0].timestamp for frame in first]
    joined = own + [end + frame.timestamp - second[0].timestamp for frame in second]
    return [float(time) for time in joined]


def extract(cache: FrameCache, timeline_id: str = "source") -> Timeline:
    """Extract the chunks, and draw overlays of two stages on some of the frames."""
    timeline = cache.timeline(timeline_id)
    timeline.extract(chunks(), quality=70)
    edges = timeline.overlays(job_id=JOB, stage=STAGE)
    edges.save_many({number: {"a": png(number), "b.c": png(number + 1)} for number in (0, 7, 119)})
    timeline.overlays(job_id=JOB, stage=OTHER_STAGE).save(7, {"a": png(99)})
    return timeline


def png(number: int) -> bytes:
    """A small PNG by Pillow."""
    file = io.BytesIO()
    Pillow.fromarray(np.full((5, 4), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def overlays_of(timeline: Timeline) -> dict[tuple[int, str, str], bytes]:
    """All overlays of the job, by sequence, stage and name."""
    found: dict[tuple[int, str, str], bytes] = {}
    for stage in (STAGE, OTHER_STAGE):
        drawn = timeline.overlays(job_id=JOB, stage=stage)
        for sequence, named in drawn.load_many(drawn.frames()):
            found |= {(sequence, stage, name): data for name, data in named.items()}
    return found


def _turned(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        turn = ("-c", "copy", "-metadata:s:v:0", "rotate=90")
        ffmpeg("-i", str(clip(name)), *turn, "-f", "mp4", str(path))

    return make
