"""torch's DataLoader, for the peers that are made for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.contract import Image

Sample = tuple[int, torch.Tensor]

# Every frame in flight holds a descriptor of shared memory, of which 1,024 may be open by default.
torch.multiprocessing.set_sharing_strategy("file_system")


def loader(dataset: Any, *, processes: int) -> Any:  # noqa: ANN401 -- torch is not always there
    """Return a loader: processes that fetch and decode frames, started before measuring."""
    torch.set_num_threads(1)
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=processes,
        persistent_workers=processes > 0,
        prefetch_factor=4 if processes else None,
    )


def numbered(loaded: Any) -> Iterator[tuple[int, Image]]:  # noqa: ANN401 -- same
    for sequence, tensor in loaded:
        yield int(sequence), tensor.numpy()


def sequence_of(key: str) -> int:
    return int(Path(key).stem)
