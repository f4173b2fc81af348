"""Storing what only some contestants read, from the same frames."""

import io
import tarfile
from collections.abc import Sequence

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.shards import SHARDS, shard_keys
from benchmarks.jobs.video import QUALITY
from framecache import FrameCache

RENDITIONS = (640, 224)


def packs(inputs: Inputs) -> Job:
    """Store the timeline once more, in packs."""

    def work(_: Pass) -> None:
        timeline = FrameCache(f"s3://{inputs.bucket}").timeline("packs")
        timeline.extract(inputs.clip, quality=QUALITY, layout="packs")

    return Job(work)


def renditions(inputs: Inputs) -> Job:
    """Store the timeline once more, in packs and at two smaller sizes."""

    def work(_: Pass) -> None:
        timeline = FrameCache(f"s3://{inputs.bucket}").timeline("renditions")
        timeline.extract(inputs.clip, quality=QUALITY, layout="packs", renditions=RENDITIONS)

    return Job(work)


def shards(inputs: Inputs) -> Job:
    """Store the shards, for anyone to read, so that no signing takes time."""

    def work(_: Pass) -> None:
        client, jpegs = s3.client(inputs.server), inputs.read_jpegs()
        for number, key in enumerate(shard_keys()):
            body = shard(jpegs, number)
            client.put_object(Bucket=inputs.bucket, Key=key, Body=body, ACL="public-read")

    return Job(work)


def shard(jpegs: Sequence[bytes], number: int) -> bytes:
    """Return the ``number``-th of equal parts of all frames, in order, as a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        count = len(jpegs)
        for sequence in range(count * number // SHARDS, count * (number + 1) // SHARDS):
            member = tarfile.TarInfo(f"{sequence}.jpg")
            member.size = len(jpegs[sequence])
            tar.addfile(member, io.BytesIO(jpegs[sequence]))
    return file.getvalue()
