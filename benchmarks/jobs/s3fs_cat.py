"""s3fs: several objects with one ``cat``, which fetches them concurrently."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import s3fs
import simplejpeg

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.threads import cores, ordered


def read(inputs: Inputs, *, at_once: int) -> Job:
    """Fetch the next ``at_once`` objects while these are decoded on all cores."""
    files = s3fs.S3FileSystem(endpoint_url=inputs.endpoint)
    paths = [f"{inputs.bucket}/{key}" for key in inputs.keys]
    fetching, decoding = ThreadPoolExecutor(1), ThreadPoolExecutor(cores())

    def fetch(begin: int) -> list[bytes]:
        wanted = paths[begin : begin + at_once]
        found = files.cat(wanted)
        return [found[path] for path in wanted]

    def jpegs() -> Iterator[bytes]:
        for batch in ordered(fetch, range(0, len(paths), at_once), fetching, ahead=2):
            yield from batch

    def work(this: Pass) -> None:
        images = ordered(simplejpeg.decode_jpeg, jpegs(), decoding, ahead=4 * cores())
        for sequence, image in enumerate(images):
            this.take(sequence, image)

    return Job(work)
