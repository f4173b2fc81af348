"""Limit of the machine: the codecs alone, on all cores, with nothing fetched or stored."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import simplejpeg

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.random_frames import SINGLE, chosen
from benchmarks.jobs.threads import cores, ordered
from benchmarks.jobs.video import encode_each
from framecache import FrameCache

EXPIRES_SECONDS = 24 * 3600


def decode_from_ram(inputs: Inputs, *, which: str = "all") -> Job:
    """Decode with simplejpeg on all cores, in order and ahead, into memory touched before."""
    return _decode_on_all_cores(inputs, inputs.read_jpegs(), which)


def decode_renditions_from_ram(inputs: Inputs, *, max_side: int) -> Job:
    """Decode in the same way what is stored at a size."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline("renditions")
    return _decode_on_all_cores(inputs, [*timeline.jpegs(inputs.sequences, max_side=max_side)])


def _decode_on_all_cores(inputs: Inputs, jpegs: Sequence[bytes], which: str = "all") -> Job:
    sequences: Sequence[int] = inputs.sequences if which == "all" else chosen(inputs, which)
    pool, ahead = ThreadPoolExecutor(cores()), 4 * cores()
    first = simplejpeg.decode_jpeg(jpegs[sequences[0]])
    # One is with the consumer, while as many as are ahead of it are decoded.
    buffers = [first.copy() for _ in range(ahead + 1)]

    def decode(place: int) -> npt.NDArray[np.uint8]:
        data, buffer = jpegs[sequences[place]], buffers[place % len(buffers)]
        image: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, buffer=buffer)
        return image

    def work(this: Pass) -> None:
        images = ordered(decode, range(len(sequences)), pool, ahead=ahead)
        for sequence, image in zip(sequences, images, strict=True):
            this.take(sequence, image)

    return Job(work)


def decode_and_encode(inputs: Inputs) -> Job:
    """PyAV and simplejpeg on all cores: planes as they are, no color, no hash."""

    def work(this: Pass) -> None:
        encode_each(inputs.clip, lambda number, _: this.take(number, None), threads=cores())

    return Job(work)


def first_byte_and_decode(inputs: Inputs) -> Job:
    """One GET after the other, as bare as they come, and a decode as soon as its answer begins.

    The decoded data is in memory already, so the transfer of the body does not count.
    """
    jpegs = inputs.read_jpegs()
    sequences = chosen(inputs, SINGLE)
    client = s3.client(inputs.endpoint)
    paths = {
        sequence: client.generate_presigned_url(
            "get_object",
            Params={"Bucket": inputs.bucket, "Key": inputs.key(sequence)},
            ExpiresIn=EXPIRES_SECONDS,
        ).removeprefix(inputs.endpoint)
        for sequence in sequences
    }
    connection = HTTPConnection(urlsplit(inputs.endpoint).netloc)

    def work(this: Pass) -> None:
        for sequence in sequences:
            connection.request("GET", paths[sequence])
            answer = connection.getresponse()
            assert answer.status == 200
            this.take(sequence, simplejpeg.decode_jpeg(jpegs[sequence]))
            answer.read()

    return Job(work)
