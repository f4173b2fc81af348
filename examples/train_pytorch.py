"""Train a small model on cached frames, stop in the middle of an epoch, and resume.

    python examples/train_pytorch.py CLIP FOLDER

``CLIP`` is a video; the cache and the checkpoint are kept under ``FOLDER``. The model learns to
predict from a picture when in the video it was taken. Needs the extra ``torch``.
"""

import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from framecache import FrameCache
from framecache.torch import BlockSampler, FrameDataset

EPOCHS = 2
BATCHES_BEFORE_STOP = 3
SIDE = 32


@dataclass
class Training:
    """Model with its optimizer and its place in the data; all of it is in a checkpoint."""

    model: Any
    optimizer: Any
    sampler: BlockSampler
    losses: list[float]

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
        }
        torch.save(state, path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sampler.load_state_dict(state["sampler"])


def main(clip: Path, folder: Path) -> None:
    """Extract the clip, train for a few batches, then resume with other workers."""
    timeline = FrameCache(folder / ".framecache").timeline("clip")
    timeline.extract(clip, layout="packs")
    dataset = FrameDataset(timeline, transform=shrink)
    checkpoint = folder / "checkpoint.pt"

    first = new_training(dataset)
    train(first, dataset, workers=2, batches=BATCHES_BEFORE_STOP)
    first.save(checkpoint)
    print(f"stopped in epoch {first.sampler.epoch}: {len(first.sampler)} frames are left")

    second = new_training(dataset)
    second.load(checkpoint)
    while second.sampler.epoch < EPOCHS:
        epoch = second.sampler.epoch
        frames = train(second, dataset, workers=1, batches=None)
        print(f"epoch {epoch}: {frames} frames, loss {second.losses[-1]:.4f}")


def new_training(dataset: FrameDataset) -> Training:
    """Return a model that has learned nothing."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Training(model, optimizer, BlockSampler(dataset, seed=7), [])


def train(training: Training, dataset: FrameDataset, *, workers: int, batches: int | None) -> int:
    """Train for a number of batches, or to the end of the epoch; return the number of frames."""
    loader = DataLoader(dataset, batch_size=16, sampler=training.sampler, num_workers=workers)
    frames = 0
    for batch in islice(training.sampler.track(loader), batches):
        wanted = batch["timestamp"].float().unsqueeze(1)
        loss = torch.nn.functional.mse_loss(training.model(batch["image"]), wanted)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        training.losses.append(float(loss))
        frames += len(wanted)
    return frames


def shrink(image: Any) -> Any:  # noqa: ANN401 -- tensors
    """Return an image of a fixed small size, as floats from 0 to 1."""
    pixels = image.unsqueeze(0).float() / 255
    return torch.nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="area").squeeze(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
