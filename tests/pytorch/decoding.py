"""A program that reads every frame of ``watched`` twice with a loader, after a frame of its own.

Prints, for each epoch, the sequence and the CRC-32 of the picture of each frame as JSON, in the
order of their delivery, and then the number of pictures that the loader's processes decoded.

    python decoding.py URL WORKERS START BLOCK_SIZE LOG
"""

import json
import os
import sys
import warnings
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from framecache import FrameCache
from framecache._media.video.container import Container
from framecache.torch import BlockSampler, FrameDataset


def log_decoding(log: str, _worker: int = 0) -> None:
    """Have this process append a byte to a file for each packet that it decodes."""
    decode = Container.decode
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def count(container: Container, packet: Any) -> Any:  # noqa: ANN401 -- as the method
        os.write(file, b".")
        return decode(container, packet)

    setattr(Container, "decode", count)  # noqa: B010 -- mypy refuses an assignment


def checksum(image: torch.Tensor) -> int:
    """Return the CRC-32 of a picture, as an array of height, width and color."""
    return zlib.crc32(image.movedim(0, -1).contiguous().numpy())


def main(url: str, workers: int, start: str, block_size: int, log: str) -> None:
    """Read two epochs."""
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    timeline = FrameCache(url).timeline("watched")
    timeline.frame(3)  # leaves an open decoder, which a forked worker must not use
    dataset = FrameDataset(timeline)
    sampler = BlockSampler(dataset, seed=3, block_size=block_size, mixed_blocks=1)
    loader = DataLoader(
        dataset,
        batch_size=block_size,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=start if workers else None,
        persistent_workers=workers > 0,
        worker_init_fn=partial(log_decoding, log),
        timeout=100 if workers else 0,
    )
    if not workers:
        log_decoding(log)
    for _ in range(2):
        delivered = [
            [int(sequence), checksum(image)]
            for batch in sampler.track(loader)
            for sequence, image in zip(batch["sequence"], batch["image"], strict=True)
        ]
        print(json.dumps(delivered))
    print(Path(log).stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
