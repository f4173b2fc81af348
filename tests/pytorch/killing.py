"""A program that kills a worker in the middle of an epoch, and finishes the epoch with others.

Prints the loader's error, then the name of each frame that a loader delivered.

    python killing.py URL
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gray_frames import identities, unopened
from torch.utils.data import DataLoader

from framecache.torch import BlockSampler, FrameDataset


class Fatal(FrameDataset):
    """Frames of which the sixth batch that a worker reads kills it."""

    reads = 0

    def __getitems__(self, numbers: Any) -> Any:  # noqa: ANN401 -- as in the class above
        """Read items."""
        self.reads += 1
        if self.reads == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitems__(numbers)


def delivered(sampler: BlockSampler, loader: Any) -> Iterator[str]:  # noqa: ANN401 -- of PyTorch
    """The names of the frames in each batch."""
    for batch in sampler.track(loader):
        yield from (f"{name} {sequence}" for name, sequence in identities(batch))


@contextmanager
def only_one_error() -> Iterator[None]:
    """Let the loader report a killed worker once.

    It does so when it receives the signal of the worker's end, or earlier, when the connection over
    which the worker sends it tensors ends. PyTorch then reports the signal, too, wherever the
    program is.
    """
    try:
        yield
    except (OSError, EOFError):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise


def main(url: str) -> None:
    """Read an epoch in two parts."""
    torch.set_num_threads(1)
    names: list[str] = []
    dataset = Fatal(unopened(url))
    sampler = BlockSampler(dataset, seed=1, block_size=4, mixed_blocks=2)
    try:
        with only_one_error():
            for name in delivered(sampler, DataLoader(dataset, 2, sampler=sampler, num_workers=2)):
                names.append(name)  # noqa: PERF402 -- those before an error stay
    except (RuntimeError, OSError, EOFError) as error:
        print(type(error).__name__, str(error).replace("\n", " "))
    state = sampler.state_dict()
    whole = FrameDataset(unopened(url))
    resumed = BlockSampler(whole, seed=1, block_size=4, mixed_blocks=2)
    resumed.load_state_dict(state)
    names += delivered(resumed, DataLoader(whole, 3, sampler=resumed, num_workers=3))
    print("\n".join(names))


if __name__ == "__main__":
    main(sys.argv[1])
