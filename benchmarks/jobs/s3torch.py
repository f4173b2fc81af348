"""s3torchconnector: objects or whole shards as datasets of torch."""

import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import simplejpeg
import torch
from s3torchconnector import S3ClientConfig, S3MapDataset
from torch.utils.data import IterableDataset, get_worker_info

from benchmarks.contract import Image, Inputs, Job, Pass
from benchmarks.jobs.decoding import Scaling, decoder
from benchmarks.jobs.loaders import Sample, loader, numbered, sequence_of
from benchmarks.jobs.shards import shard_keys
from benchmarks.jobs.threads import ordered


def read(
    inputs: Inputs,
    *,
    processes: int = 0,
    threads: int = 0,
    max_side: int | None = None,
    scaling: Scaling = "after decoding",
) -> Job:
    """One object a frame, in the processes of a DataLoader, or on threads without one."""
    dataset = mapped(inputs, inputs.keys, partial(decoded, decoder(max_side, scaling)))
    if threads:
        return on_threads(dataset, inputs.frames, threads)
    loading = loader(dataset, processes=processes)

    def work(this: Pass) -> None:
        for sequence, image in numbered(loading):
            this.take(sequence, image)

    return Job(work)


def read_shards(inputs: Inputs, *, processes: int) -> Job:
    """Tar shards, streamed whole and unpacked by tarfile."""
    keys = shard_keys()
    loading = loader(
        Shards(mapped(inputs, keys, lambda reader: reader), len(keys)), processes=processes
    )

    def work(this: Pass) -> None:
        for sequence, image in numbered(loading):
            this.take(sequence, image)

    return Job(work)


def on_threads(dataset: Any, frames: int, threads: int) -> Job:  # noqa: ANN401 -- torch is not always there
    pool = ThreadPoolExecutor(threads)

    def work(this: Pass) -> None:
        for sequence, tensor in ordered(
            dataset.__getitem__, range(frames), pool, ahead=2 * threads
        ):
            this.take(sequence, tensor.numpy())

    return Job(work)


def mapped(inputs: Inputs, keys: list[str], transform: Any) -> Any:  # noqa: ANN401 -- same
    return S3MapDataset.from_objects(
        [f"s3://{inputs.bucket}/{key}" for key in keys],
        region="us-east-1",
        endpoint=inputs.endpoint,
        transform=transform,
        s3client_config=S3ClientConfig(force_path_style=True),
    )


def decoded(decode: Callable[[bytes], Image], reader: Any) -> Sample:  # noqa: ANN401 -- same
    return sequence_of(reader.key), torch.from_numpy(decode(reader.read()))


class Shards(IterableDataset[Sample]):  # type: ignore[misc]
    """The frames in every n-th shard, for each of n processes."""

    def __init__(self, shards: Any, count: int) -> None:  # noqa: ANN401 -- same
        self._shards, self._count = shards, count

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(first, self._count, step):
            with tarfile.open(fileobj=self._shards[number], mode="r|") as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    image = simplejpeg.decode_jpeg(file.read())
                    yield sequence_of(member.name), torch.from_numpy(image)
