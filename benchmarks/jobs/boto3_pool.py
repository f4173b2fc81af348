"""boto3 on a pool of threads, with the fast codecs."""

from concurrent.futures import ThreadPoolExecutor

from benchmarks.contract import Image, Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.decoding import Scaling, decoder
from benchmarks.jobs.stored import show_objects
from benchmarks.jobs.threads import ordered
from benchmarks.jobs.video import encode_each


def read(
    inputs: Inputs,
    *,
    threads: int,
    max_side: int | None = None,
    scaling: Scaling = "after decoding",
) -> Job:
    decode = decoder(max_side, scaling)
    client = s3.client(inputs.endpoint, connections=threads)
    pool = ThreadPoolExecutor(threads)

    def fetch(key: str) -> Image:
        return decode(s3.get(client, inputs.bucket, key))

    def work(this: Pass) -> None:
        for sequence, image in enumerate(ordered(fetch, inputs.keys, pool, ahead=2 * threads)):
            this.take(sequence, image)

    return Job(work)


def write(inputs: Inputs, *, threads: int) -> Job:
    client = s3.client(inputs.endpoint, connections=threads)

    def work(this: Pass) -> None:
        def store(sequence: int, jpeg: bytes) -> None:
            key = f"out/{this.name}/{sequence}.jpg"
            client.put_object(Bucket=inputs.bucket, Key=key, Body=jpeg)
            this.take(sequence, None)

        encode_each(inputs.clip, store, threads=threads)

    return Job(work, lambda this: show_objects(inputs, this))
