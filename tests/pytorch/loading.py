"""A program that reads every frame of ``t0``, ``t1`` and ``t2`` twice with a loader.

Prints, for each epoch, the names of the frames as JSON: their pictures are compared with them.

    python loading.py URL WORKERS START OPENED
"""

import json
import sys
import warnings

import torch
from gray_frames import identities, unopened
from torch.utils.data import DataLoader

from framecache.torch import BlockSampler, FrameDataset


def main(url: str, workers: int, start: str, *, opened: bool) -> None:
    """Read two epochs."""
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    timelines = unopened(url)
    if opened:
        timelines[0].frame(0)  # before the workers start
    dataset = FrameDataset(timelines)
    shuffled = BlockSampler(dataset, seed=1, block_size=4, mixed_blocks=2) if opened else None
    loader = DataLoader(
        dataset,
        batch_size=5,
        sampler=shuffled,
        num_workers=workers,
        multiprocessing_context=start if workers else None,
        persistent_workers=workers > 0,
        timeout=100 if workers else 0,
    )
    for _ in range(2):
        batches = loader if shuffled is None else shuffled.track(loader)
        names = [name for batch in batches for name in identities(batch)]
        print(json.dumps(names))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], opened=sys.argv[4] == "opened")
