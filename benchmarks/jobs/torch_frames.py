"""Batches of frames for training: framecache.torch, and a dataset of JPEG objects."""

from typing import Any

import simplejpeg
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.video import QUALITY
from framecache import FrameCache, Timeline
from framecache.torch import BlockSampler, FrameDataset

BATCH = 32
SEED = 3


def batch_locally(inputs: Inputs) -> Job:
    """``batch()`` by ``batch()`` of a local folder."""
    timeline = _local(inputs, "batch")

    def work(this: Pass) -> None:
        for begin in range(0, inputs.frames, BATCH):
            sequences = inputs.sequences[begin : begin + BATCH]
            for sequence, image in zip(sequences, timeline.batch(sequences), strict=True):
                this.take(sequence, image)

    return Job(work)


def load_locally(inputs: Inputs) -> Job:
    """``FrameDataset`` of a local folder, in a loader without workers."""
    return _load(FrameDataset(_local(inputs, "dataset"), channels="last"), processes=0)


def load(inputs: Inputs, *, layout: str, order: str, processes: int, start: str = "spawn") -> Job:
    """``FrameDataset`` of the bucket, in the order of the frames, shuffled, or in blocks."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(layout)
    dataset = FrameDataset(timeline, channels="last")
    sampler = BlockSampler(dataset, seed=SEED) if order == "blocks" else None
    return _load(
        dataset, processes=processes, start=start, sampler=sampler, shuffle=order == "shuffled"
    )


def load_objects(inputs: Inputs, *, processes: int) -> Job:
    """Dataset that gets each JPEG by boto3, shuffled."""
    return _load(Objects(inputs), processes=processes, shuffle=True)


class Objects(Dataset[Any]):  # type: ignore[misc]
    """JPEG objects, as users of boto3 write such a dataset."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._client: Any = None

    def __len__(self) -> int:
        return self._inputs.frames

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._client is None:  # in the worker: a client cannot be sent there
            self._client = s3.client(self._inputs.endpoint)
        jpeg = s3.get(self._client, self._inputs.bucket, self._inputs.key(number))
        return {"image": torch.from_numpy(simplejpeg.decode_jpeg(jpeg)), "sequence": number}


def _local(inputs: Inputs, name: str) -> Timeline:
    timeline = FrameCache(inputs.path(name)).timeline("clip")
    timeline.extract(inputs.clip, quality=QUALITY)
    return timeline


def _load(
    dataset: Any,  # noqa: ANN401 -- torch is not always there
    *,
    processes: int,
    start: str = "spawn",
    sampler: Any = None,  # noqa: ANN401 -- same
    shuffle: bool = False,
) -> Job:
    torch.set_num_threads(1)
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        sampler=sampler,
        shuffle=shuffle if sampler is None else None,
        num_workers=processes,
        multiprocessing_context=start if processes else None,
        persistent_workers=processes > 0,
        generator=torch.Generator().manual_seed(SEED),
    )

    def work(this: Pass) -> None:
        for batch in loader:
            for sequence, image in zip(batch["sequence"].tolist(), batch["image"], strict=True):
                this.take(sequence, image.numpy())

    return Job(work)
