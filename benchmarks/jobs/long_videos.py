"""A long video, of which few frames are wanted, or which several processes extract."""

import multiprocessing
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle, islice
from multiprocessing.pool import Pool
from multiprocessing.queues import Queue
from pathlib import Path

import av
import simplejpeg

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.ours import show
from benchmarks.jobs.random_frames import COUNT, SEED
from benchmarks.jobs.threads import cores
from benchmarks.jobs.video import QUALITY, plane
from framecache import FrameCache, Timeline

KEY = "long.mp4"
TIMELINE = "long-video"
PROCESSES = 4
RATE = 30


def looped(inputs: Inputs) -> Path:
    """Return the clip repeated up to the size of the long video, encoded once; made once a run."""
    path = Path(inputs.jpegs).parent / KEY
    if not path.exists():
        loops = inputs.long_bytes // Path(inputs.clip).stat().st_size
        _make(path, "-stream_loop", str(loops), "-i", inputs.clip, "-c", "copy")
    return path


def prepare(inputs: Inputs) -> Job:
    """Upload the long video, and index it without copying a frame."""

    def work(_: Pass) -> None:
        client = s3.client(inputs.server)
        client.upload_file(str(looped(inputs)), inputs.bucket, KEY)
        cache = FrameCache(f"s3://{inputs.bucket}")
        cache.timeline(TIMELINE).extract(f"s3://{inputs.bucket}/{KEY}", layout="video")

    return Job(work)


def one_by_one(inputs: Inputs) -> Job:
    """``frame()`` by ``frame()`` of a timeline that was opened before, and stores no frame."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(TIMELINE)
    frames, passes = len(timeline.index), count()

    def work(this: Pass) -> None:
        # Other frames in each pass: what one has fetched may still be in memory.
        for sequence in drawn(frames, seed=SEED + next(passes)):
            this.take(sequence, timeline.frame(sequence).image)

    return Job(work)


def drawn(frames: int, *, seed: int) -> Sequence[int]:
    """Return frames that are far from each other, in any order."""
    return random.Random(seed).sample(range(frames), min(COUNT, frames))


def sparse(inputs: Inputs) -> Job:
    """``extract(fps=1)`` of the long video in the bucket, into packs."""

    def work(this: Pass) -> None:
        url = f"s3://{inputs.bucket}/{KEY}"
        report = _in_bucket(inputs, this).extract(url, fps=1, layout="packs", quality=QUALITY)
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)

    return Job(work, lambda this: show(_in_bucket(inputs, this), this))


def decode_and_encode_keyframes(inputs: Inputs) -> Job:
    """Seek, decode and encode the same frames of a local copy, on all cores; nothing is stored."""
    path = looped(inputs)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        seconds = range(-(-stream.frames // RATE))
        ticks = int(1 / stream.time_base)

    def encode(share: Sequence[int]) -> Iterator[bytes]:
        with av.open(str(path)) as container:
            for second in share:
                container.seek(second * ticks, stream=container.streams.video[0])
                frame = next(container.decode(video=0))
                planes = (plane(frame, number) for number in range(3))
                yield simplejpeg.encode_jpeg_yuv_planes(*planes, quality=QUALITY)

    def work(this: Pass) -> None:
        with ThreadPoolExecutor(cores()) as pool:
            shares = [seconds[number :: cores()] for number in range(cores())]
            for share, _ in zip(shares, pool.map(lambda one: [*encode(one)], shares), strict=True):
                for second in share:
                    this.take(second, None)

    return Job(work)


def in_one_process(inputs: Inputs) -> Job:
    """``extract()`` of a video of many segments into a local folder."""
    return _in_processes(inputs, 1, workers=cores())


def in_several_processes(inputs: Inputs) -> Job:
    """``extract()`` by several processes at once, which know of each other by the store only."""
    return _in_processes(inputs, PROCESSES, workers=1)


def on_cores(inputs: Inputs, *, machines: int) -> Job:
    """``extract()`` by processes of which each has one core, as machines with one core would."""
    return _in_processes(inputs, machines, workers=1, have_own_cores=True)


def _in_processes(
    inputs: Inputs, processes: int, *, workers: int, have_own_cores: bool = False
) -> Job:
    video = _small(inputs)
    context = multiprocessing.get_context("spawn")
    own = context.Queue()
    for core in islice(cycle(sorted(os.sched_getaffinity(0))), processes):
        own.put(core)
    pool: Pool = context.Pool(processes, _take_core if have_own_cores else None, (own,))
    pool.starmap(_import, [()] * processes)

    def work(this: Pass) -> None:
        url = _local(inputs, this).url
        frames = pool.starmap(_extract, [(url, str(video), workers)] * processes)
        for sequence in range(sum(frames)):
            this.take(sequence, None)

    return Job(work)


def _small(inputs: Inputs) -> Path:
    """Return a video of many minutes and small pictures; made once a run."""
    path = Path(inputs.jpegs).parent / "small.mp4"
    if not path.exists():
        source = f"testsrc2=size=320x180:rate={RATE}:duration={inputs.long_seconds}"
        coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(RATE), "-pix_fmt", "yuv420p"]
        _make(path, "-f", "lavfi", "-i", source, *coded)
    return path


def _make(path: Path, *options: str) -> None:
    draft = path.with_suffix(f".{os.getpid()}.mp4")
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *options, str(draft)], check=True)
    draft.replace(path)


def _take_core(cores: "Queue[int]") -> None:
    os.sched_setaffinity(0, {cores.get()})


def _import() -> None:
    assert not FrameCache("memory://imported").timeline("t").exists


def _extract(url: str, video: str, workers: int) -> int:
    return FrameCache(url).timeline("clip").extract(video, workers=workers).frames_extracted


def _local(inputs: Inputs, this: Pass) -> FrameCache:
    return FrameCache(Path(inputs.folder, this.name))


def _in_bucket(inputs: Inputs, this: Pass) -> Timeline:
    return FrameCache(f"s3://{inputs.bucket}/{this.name}").timeline("clip")
