"""framecache.ray on a cluster of this machine, and the same work without it."""

import logging
import os
import subprocess
from pathlib import Path
from typing import Any

os.environ |= {  # read when Ray is imported
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else workers get less of a busy machine than what they replace
}

import ray
import ray.data

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.ours import show
from benchmarks.jobs.threads import cores
from benchmarks.jobs.video import QUALITY
from framecache import FrameCache, Timeline
from framecache.ray import extract, read_frames

CHUNKS = 8
STORE_BYTES = 2 * 2**30


def extract_alone(inputs: Inputs) -> Job:
    """``extract()`` of several chunks into a local folder."""
    chunks = _cut(inputs, "alone")

    def work(this: Pass) -> None:
        report = _timeline(inputs, this).extract(chunks, quality=QUALITY)
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)

    return Job(work, lambda this: show(_timeline(inputs, this), this))


def extract_on_ray(inputs: Inputs) -> Job:
    """``ray.extract()`` of the same chunks into a local folder."""
    chunks = _cut(inputs, "ray")
    _start()

    def work(this: Pass) -> None:
        cache = FrameCache(Path(inputs.folder, this.name))
        report = extract({"clip": chunks}, cache=cache, quality=QUALITY)["clip"]
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)

    return Job(work, lambda this: show(_timeline(inputs, this), this))


def read_alone(inputs: Inputs) -> Job:
    """``frames()`` of a local folder."""
    timeline = _stored(inputs, "read-alone").timeline("clip")

    def work(this: Pass) -> None:
        for frame in timeline.frames():
            this.take(frame.sequence, frame.image)

    return Job(work)


def read_on_ray(inputs: Inputs) -> Job:
    """``read_frames()`` of a local folder."""
    cache = _stored(inputs, "read-ray")
    _start()

    def work(this: Pass) -> None:
        dataset = read_frames("clip", cache=cache, columns=["sequence", "image"])
        for batch in dataset.iter_batches(batch_size=None):
            for sequence, image in zip(batch["sequence"].tolist(), batch["image"], strict=True):
                this.take(sequence, image)

    return Job(work)


def _timeline(inputs: Inputs, this: Pass) -> Timeline:
    return FrameCache(Path(inputs.folder, this.name)).timeline("clip")


def _stored(inputs: Inputs, name: str) -> FrameCache:
    cache = FrameCache(inputs.path(name))
    cache.timeline("clip").extract(inputs.clip, quality=QUALITY)
    return cache


def _cut(inputs: Inputs, name: str) -> list[Path]:
    """Cut the clip at keyframes, without encoding it again."""
    folder = inputs.path(f"chunks-{name}")
    length = max(1, inputs.frames // CHUNKS)
    frames = ",".join(str(number) for number in range(length, inputs.frames, length))
    options = ["-c", "copy", "-f", "segment", "-segment_frames", frames, "-reset_timestamps", "1"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", inputs.clip, *options]
    subprocess.run([*command, str(folder / "c%02d.mp4")], check=True)
    return sorted(folder.glob("c*.mp4"))


def _start() -> None:
    """Start a cluster with the cores of this machine."""
    settings: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
    ray.init(
        "local",
        num_cpus=cores(),
        object_store_memory=STORE_BYTES,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        **settings,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
