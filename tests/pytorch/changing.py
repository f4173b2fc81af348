"""A program that clears or rebuilds a timeline while workers read it, and prints their error.

python changing.py FOLDER clear|rebuild fork|spawn
"""

import sys

import torch
from torch.utils.data import DataLoader

from framecache import FrameCache, FrameCacheError
from framecache.torch import FrameDataset


def main(folder: str, change: str, start: str) -> None:
    """Read until the change shows."""
    torch.set_num_threads(1)
    cache = FrameCache(folder)
    loader = DataLoader(
        FrameDataset(cache.timeline("match")),
        batch_size=2,
        num_workers=2,
        prefetch_factor=1,
        multiprocessing_context=start,
    )
    other = FrameCache(folder).timeline("match")
    try:
        for number, batch in enumerate(loader):
            print("read", batch["sequence"].tolist())
            if number == 1:
                if change == "clear":
                    other.clear()
                else:
                    other.rebuild(every=2)
    except FrameCacheError as error:
        print(f"{type(error).__name__}: {str(error).splitlines()[-1]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
