"""decord: frames of the clip itself, in one call."""

from decord import VideoReader, cpu

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.random_frames import chosen


def read(inputs: Inputs, *, which: str, threads: int) -> Job:
    """0 threads: as many as decord chooses."""
    reader = VideoReader(inputs.clip, ctx=cpu(0), num_threads=threads)
    sequences = list(chosen(inputs, which))

    def work(this: Pass) -> None:
        batch = reader.get_batch(sequences).asnumpy()
        for sequence, image in zip(sequences, batch, strict=True):
            this.take(sequence, image)

    return Job(work)
