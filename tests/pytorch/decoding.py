"""A program that reads every frame of ``watched`` twice with a loader, after a frame of its own.

Prints, for each epoch, the sequence of each frame and the sum of its picture as JSON.

    python decoding.py URL WORKERS START
"""

import json
import sys
import warnings

import torch
from torch.utils.data import DataLoader

from framecache import FrameCache
from framecache.torch import FrameDataset


def main(url: str, workers: int, start: str) -> None:
    """Read two epochs."""
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    timeline = FrameCache(url).timeline("watched")
    timeline.frame(3)  # leaves an open decoder, which a forked worker must not use
    loader = DataLoader(
        FrameDataset(timeline),
        batch_size=4,
        num_workers=workers,
        multiprocessing_context=start if workers else None,
        persistent_workers=workers > 0,
        timeout=100 if workers else 0,
    )
    for _ in range(2):
        sums = [
            [int(sequence), int(image.sum())]
            for batch in loader
            for sequence, image in zip(batch["sequence"], batch["image"], strict=True)
        ]
        print(json.dumps(sums))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
