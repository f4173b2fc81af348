"""torchcodec: frames of the clip itself, in one call."""

from torchcodec.decoders import VideoDecoder

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.random_frames import chosen


def read(inputs: Inputs, *, which: str, threads: int, seek_mode: str) -> Job:
    """0 threads: as many as FFmpeg chooses."""
    decoder = VideoDecoder(
        inputs.clip, num_ffmpeg_threads=threads, seek_mode=seek_mode, dimension_order="NHWC"
    )
    sequences = list(chosen(inputs, which))

    def work(this: Pass) -> None:
        batch = decoder.get_frames_at(sequences).data.numpy()
        for sequence, image in zip(sequences, batch, strict=True):
            this.take(sequence, image)

    return Job(work)
