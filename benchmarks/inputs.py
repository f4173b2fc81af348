"""Making what the tasks work on: a clip, its frames in a bucket, and the same JPEGs as files."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.contract import Inputs
from benchmarks.environments import FOLDER
from benchmarks.jobs import s3
from benchmarks.server import ACCESS, Server
from framecache import FrameCache

BUCKET: Final = "bench"
GOP: Final = 30
TINY_FRAMES: Final = 30


@dataclass(frozen=True, slots=True)
class Size:
    """Amount of work."""

    frames: int
    index_frames: int
    footprint_frames: int
    long_bytes: int
    long_seconds: int
    source: tuple[str, ...]
    """Arguments of ffmpeg up to ``-i`` and its value."""
    name: str


def full(clips: Path, frames: int) -> Size:
    """Real footage of 1280 by 720, as often as it takes."""
    source = ("-stream_loop", "-1", "-i", str(clips / "bigbuckbunny.mp4"))
    return Size(frames, 1_000_000, 20_000, 2 * 10**9, 20 * 60, source, f"bunny-30-{frames}.mp4")


def tiny() -> Size:
    """Enough to see that everything works."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10")
    return Size(TINY_FRAMES, 1000, 50, 10**5, 40, source, f"tiny-{TINY_FRAMES}.mp4")


def make_clip(size: Size) -> Path:
    """H.264 of 30 frames a second with a keyframe every 30 frames; made once."""
    clip = FOLDER / "clips" / size.name
    if clip.exists():
        return clip
    clip.parent.mkdir(parents=True, exist_ok=True)
    partial = clip.with_suffix(f".{os.getpid()}.mp4")
    command = ["ffmpeg", "-v", "error", *size.source, "-frames:v", str(size.frames), "-an"]
    # As many a second as a GOP has, whatever the source says.
    command += ["-vf", f"setpts=N/({GOP}*TB)", "-r", str(GOP)]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"]
    command += ["-g", str(GOP), "-keyint_min", str(GOP), "-sc_threshold", "0", str(partial)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    partial.replace(clip)
    return clip


def prepare(server: Server, size: Size, folder: Path) -> Inputs:
    """Fill the bucket with the clip's frames as objects, and a folder with the same JPEGs."""
    os.environ.update(ACCESS | {"AWS_ENDPOINT_URL": server.endpoint})
    clip = make_clip(size)
    client = s3.client(server.endpoint)
    client.create_bucket(Bucket=BUCKET)
    FrameCache(f"s3://{BUCKET}").timeline("objects").extract(clip)
    jpegs = folder / "jpegs"
    jpegs.mkdir()
    inputs = Inputs(
        clip=str(clip),
        frames=size.frames,
        jpegs=str(jpegs),
        folder=str(folder),
        server=server.endpoint,
        endpoint=server.endpoint,
        bucket=BUCKET,
        index_frames=size.index_frames,
        footprint_frames=size.footprint_frames,
        long_bytes=size.long_bytes,
        long_seconds=size.long_seconds,
    )
    for sequence in inputs.sequences:
        jpeg = s3.get(client, BUCKET, inputs.key(sequence))
        inputs.jpeg_path(sequence).write_bytes(jpeg)
    return inputs
