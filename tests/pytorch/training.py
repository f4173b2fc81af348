"""A rank of a program that trains on all timelines, with PyTorch's own process group.

Prints the name of each frame that it was given, and saves the states of all ranks if it stops.

    python training.py FOLDER RANK RANKS BATCHES
"""

import json
import sys
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from gray_frames import identities, unopened
from torch.utils.data import DataLoader

from framecache.torch import BlockSampler, FrameDataset


def main(folder: Path, rank: int, ranks: int, batches: int | None) -> None:
    """Read a part of an epoch, or the rest of it."""
    torch.set_num_threads(1)
    group = (folder / f"group-{ranks}").as_uri()
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=ranks)
    dataset = FrameDataset(unopened(folder / "store"))
    sampler = BlockSampler(dataset, seed=1, block_size=4, mixed_blocks=2)
    checkpoint = folder / "states.json"
    if checkpoint.exists():
        sampler.load_state_dict(json.loads(checkpoint.read_text()))
    loader = DataLoader(dataset, batch_size=3, sampler=sampler, num_workers=ranks % 2 + 1)
    for batch in islice(sampler.track(loader), batches):
        for name, sequence in identities(batch):
            print(name, sequence)
    states: list[object] = [None] * ranks
    dist.all_gather_object(states, sampler.state_dict())
    if rank == 0 and batches is not None:
        checkpoint.write_text(json.dumps(states))
    dist.destroy_process_group()


if __name__ == "__main__":
    rank, ranks, batches = map(int, sys.argv[2:])
    main(Path(sys.argv[1]), rank, ranks, batches or None)
