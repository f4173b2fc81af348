"""Datasets and a sampler for PyTorch: see ``docs/how-to/pytorch.md``. Needs the extra ``torch``.

- `FrameDataset`: frames of any number of timelines, read in batches.
- `ClipDataset`: windows of frames, such as every fourth frame of the last second.
- `BlockSampler`: shuffled order that reads neighboring frames together; saved and resumed.
- `TableTarget`: targets from any table, joined by timeline and sequence.
- `FrameSample`: class of the items, a dict.
"""

from framecache._core.optional_imports import import_supported

import_supported("torch")

from framecache.torch.clip_dataset import ClipDataset  # noqa: E402 -- they import PyTorch
from framecache.torch.frame_dataset import FrameDataset  # noqa: E402 -- same
from framecache.torch.sampler import BlockSampler  # noqa: E402 -- same
from framecache.torch.samples import FrameSample  # noqa: E402 -- same
from framecache.torch.targets import TableTarget  # noqa: E402 -- same

__all__ = ["BlockSampler", "ClipDataset", "FrameDataset", "FrameSample", "TableTarget"]
