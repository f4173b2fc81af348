"""WebDataset: shards that curl streams, in the processes of a DataLoader."""

from typing import Any

import simplejpeg
import torch
import webdataset

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.loaders import Sample, loader, numbered
from benchmarks.jobs.shards import shard_keys


def read(inputs: Inputs, *, processes: int) -> Job:
    # The shards may be read by anyone, so that no signing takes time.
    urls = [f"pipe:curl -sf {inputs.endpoint}/{inputs.bucket}/{key}" for key in shard_keys()]
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).map(decoded)
    loading = loader(dataset, processes=processes)

    def work(this: Pass) -> None:
        for sequence, image in numbered(loading):
            this.take(sequence, image)

    return Job(work)


def decoded(sample: dict[str, Any]) -> Sample:
    return int(sample["__key__"]), torch.from_numpy(simplejpeg.decode_jpeg(sample["jpg"]))
