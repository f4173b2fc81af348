"""torchcodec: single frames of a video in a bucket, through a file of s3fs."""

import random
from itertools import count

import s3fs
from torchcodec.decoders import VideoDecoder

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.random_frames import COUNT, SEED

KEY = "long.mp4"


def one_by_one(inputs: Inputs, *, block_bytes: int, seek_mode: str) -> Job:
    files = s3fs.S3FileSystem(endpoint_url=inputs.endpoint)
    file = files.open(f"{inputs.bucket}/{KEY}", "rb", block_size=block_bytes)
    decoder = VideoDecoder(file, seek_mode=seek_mode, dimension_order="NHWC")
    frames, passes = len(decoder), count()

    def work(this: Pass) -> None:
        chosen = random.Random(SEED + next(passes)).sample(range(frames), min(COUNT, frames))
        for sequence in chosen:
            this.take(sequence, decoder.get_frame_at(sequence).data.numpy())

    return Job(work)
