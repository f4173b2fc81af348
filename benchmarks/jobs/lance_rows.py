"""Lance: the JPEGs as a column of a dataset in the bucket."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.contract import Image, Inputs, Job, Pass
from benchmarks.jobs.decoding import Scaling, decoder
from benchmarks.jobs.threads import cores, ordered

FILES = 8


def prepare(inputs: Inputs) -> Job:
    """Store the frames as one dataset."""

    def work(_: Pass) -> None:
        data = inputs.read_jpegs()
        table = pa.table(
            {
                "sequence": pa.array(range(len(data)), pa.int64()),
                "jpeg": pa.array(data, pa.large_binary()),
            }
        )
        lance.write_dataset(
            table,
            uri(inputs),
            mode="overwrite",
            max_rows_per_file=max(1, len(data) // FILES),
            storage_options=options(inputs.server),
        )

    return Job(work)


def read(
    inputs: Inputs,
    *,
    rows: int,
    max_side: int | None = None,
    scaling: Scaling = "after decoding",
) -> Job:
    """Batches of ``rows`` in order, fetched ahead by Lance, decoded on threads."""
    decode = decoder(max_side, scaling)
    dataset = lance.dataset(uri(inputs), storage_options=options(inputs.endpoint))
    pool = ThreadPoolExecutor(cores())

    def jpegs() -> Iterator[tuple[int, Any]]:
        batches = dataset.to_batches(columns=["sequence", "jpeg"], batch_size=rows)
        for batch in batches:
            for sequence, jpeg in zip(batch["sequence"], batch["jpeg"], strict=True):
                yield sequence.as_py(), np.frombuffer(jpeg.as_buffer(), np.uint8)

    def decoded(row: tuple[int, Any]) -> tuple[int, Image]:
        return row[0], decode(row[1])

    def work(this: Pass) -> None:
        for sequence, image in ordered(decoded, jpegs(), pool, ahead=4 * cores()):
            this.take(sequence, image)

    return Job(work)


def uri(inputs: Inputs) -> str:
    return f"s3://{inputs.bucket}/frames.lance"


def options(endpoint: str) -> dict[str, str]:
    return {"aws_endpoint": endpoint, "allow_http": "true", "aws_region": "us-east-1"}
