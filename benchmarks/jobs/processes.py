"""framecache in worker processes, forked or spawned by a process that has read before."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from benchmarks.contract import Image, Inputs, Job, Pass
from benchmarks.jobs.video import QUALITY
from framecache import Frame, FrameCache, Timeline

LOADERS = 2

Read = Callable[[Timeline, Sequence[int]], Iterable[Frame]]
"""Function with which a worker process reads these frames, which are neighbors."""


def iterate(inputs: Inputs, *, start: str, layout: str) -> Job:
    """``frames()`` over a timeline of the bucket, in one worker process."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(layout)
    return _in_workers(inputs, timeline, start=start, read=iterated, processes=1)


def iterate_locally(inputs: Inputs, *, start: str) -> Job:
    """``frames()`` over a timeline of a local folder, in one worker process."""
    timeline = FrameCache(inputs.path(start)).timeline("clip")
    timeline.extract(inputs.clip, quality=QUALITY)
    return _in_workers(inputs, timeline, start=start, read=iterated, processes=1)


def load(inputs: Inputs, *, start: str, layout: str) -> Job:
    """``frame()`` by ``frame()`` in several worker processes, as loaders of training data do."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(layout)
    return _in_workers(inputs, timeline, start=start, read=one_by_one, processes=LOADERS)


def iterated(timeline: Timeline, sequences: Sequence[int]) -> Iterable[Frame]:
    return timeline.frames(sequences[0], sequences[-1] + 1)


def one_by_one(timeline: Timeline, sequences: Sequence[int]) -> Iterable[Frame]:
    return map(timeline.frame, sequences)


class _Worker:
    """Arguments of a worker process."""

    timeline: Timeline
    read: Read
    sequences: Sequence[int]


def _in_workers(
    inputs: Inputs, timeline: Timeline, *, start: str, read: Read, processes: int
) -> Job:
    for _ in timeline.frames(0, 1):
        pass
    context = multiprocessing.get_context(start)
    bounds = [inputs.frames * number // processes for number in range(processes + 1)]
    shares = [inputs.sequences[begin:end] for begin, end in pairwise(bounds)]
    # A pool of one process each, so that each has its own frames, and its index at hand.
    pools = [context.Pool(1, _begin, (timeline, read, share)) for share in shares]

    def work(this: Pass) -> None:
        results = [pool.apply_async(_read_all) for pool in pools]
        for result in results:
            for sequence in result.get():
                this.take(sequence, None)

    def show(this: Pass) -> None:
        for pool, share in zip(pools, shares, strict=True):
            for sequence in share:
                this.take(sequence, pool.apply(_image, (sequence,)))

    return Job(work, show)


def _begin(timeline: Timeline, read: Read, sequences: Sequence[int]) -> None:
    _Worker.timeline, _Worker.read, _Worker.sequences = timeline, read, sequences


def _read_all() -> list[int]:
    return [frame.sequence for frame in _Worker.read(_Worker.timeline, _Worker.sequences)]


def _image(sequence: int) -> Image:
    return _Worker.timeline.frame(sequence).image
