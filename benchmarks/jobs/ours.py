"""framecache, as its users call it."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.contract import Figures, Inputs, Job, Pass
from benchmarks.jobs.random_frames import SINGLE, chosen
from benchmarks.jobs.video import QUALITY
from framecache import FrameCache, Timeline
from framecache.model import Layout

TIER_BYTES = 2 * 2**30


def read(inputs: Inputs, *, layout: str, max_side: int | None = None) -> Job:
    """``frames()`` over a whole timeline that was opened before, and is named as its layout."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(layout)

    def work(this: Pass) -> None:
        for frame in timeline.frames(max_side=max_side):
            this.take(frame.sequence, frame.image)

    return Job(work)


def write(inputs: Inputs, *, layout: Layout) -> Job:
    """``extract()`` into the bucket, committed and compacted."""

    def cache(this: Pass) -> Timeline:
        return FrameCache(f"s3://{inputs.bucket}/out/{this.name}").timeline("clip")

    def work(this: Pass) -> None:
        report = cache(this).extract(inputs.clip, quality=QUALITY, layout=layout)
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)

    return Job(work, lambda this: show(cache(this), this))


def write_renditions(inputs: Inputs, *, sides: Sequence[int]) -> Job:
    """``extract()`` into packs with renditions, and the size of the blobs that it stored."""

    def cache(this: Pass) -> Timeline:
        return FrameCache(f"s3://{inputs.bucket}/out/{this.name}").timeline("clip")

    def work(this: Pass) -> Figures:
        timeline = cache(this)
        report = timeline.extract(inputs.clip, quality=QUALITY, layout="packs", renditions=sides)
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)
        return {"megabytes": timeline.footprint().stored_bytes / 1e6}

    return Job(work, lambda this: show(cache(this), this))


def write_locally(inputs: Inputs, *, fps: int | None = None) -> Job:
    """``extract()`` into a local folder."""

    def cache(this: Pass) -> Timeline:
        return FrameCache(Path(inputs.folder, this.name)).timeline("clip")

    def work(this: Pass) -> None:
        report = cache(this).extract(inputs.clip, quality=QUALITY, fps=fps)
        for sequence in range(report.frames_extracted):
            this.take(sequence, None)

    return Job(work, lambda this: show(cache(this), this))


def read_locally(inputs: Inputs) -> Job:
    """``frames()`` of a local folder."""
    timeline = FrameCache(inputs.path("local")).timeline("clip")
    timeline.extract(inputs.clip, quality=QUALITY)

    def work(this: Pass) -> None:
        for frame in timeline.frames():
            this.take(frame.sequence, frame.image)

    return Job(work)


def batch_from_tier(inputs: Inputs, *, which: str, layout: str) -> Job:
    """Run ``batch()`` on frames that the disk cache holds already."""
    timeline = _with_tier(inputs, layout, "tier")
    sequences = chosen(inputs, which)

    def work(this: Pass) -> None:
        for sequence, image in zip(sequences, timeline.batch(sequences), strict=True):
            this.take(sequence, image)

    return Job(work)


def batch_from_tier_again(inputs: Inputs, *, which: str, layout: str) -> Job:
    """``batch(out=)`` of the same frames, into an array of the caller's."""
    timeline = _with_tier(inputs, layout, "tier-again")
    sequences = chosen(inputs, which)
    out = timeline.batch(sequences)

    def work(this: Pass) -> None:
        for sequence, image in zip(sequences, timeline.batch(sequences, out=out), strict=True):
            this.take(sequence, image)

    return Job(work)


def _with_tier(inputs: Inputs, layout: str, folder: str) -> Timeline:
    cache = FrameCache(
        f"s3://{inputs.bucket}", local_cache=inputs.path(folder), local_cache_bytes=TIER_BYTES
    )
    timeline = cache.timeline(layout)
    for _ in timeline.frames():
        pass
    return timeline


def single_frames(inputs: Inputs, *, layout: str) -> Job:
    """``frame()`` by ``frame()`` of a timeline that was opened before."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(layout)
    sequences = chosen(inputs, SINGLE)

    def work(this: Pass) -> None:
        for sequence in sequences:
            this.take(sequence, timeline.frame(sequence).image)

    return Job(work)


def show(timeline: Timeline, this: Pass) -> None:
    for frame in timeline.frames():
        this.take(frame.sequence, frame.image)
