"""Read images of several timelines as tensors, into one block of memory if possible."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from framecache import InvalidValue
from framecache._read import DecodeOptions
from framecache._read.array_pool import ArrayPool
from framecache.model import Image
from framecache.torch.opened_timelines import Integers, OpenedTimeline

Channels = Literal["first", "last"]
"""``first``: ``(channels, height, width)``. ``last``: ``(height, width, channels)``."""

_CONCURRENT_READS: Final = 16
_POOL: Final = ArrayPool(max_buffers=1, largest_bytes=256 * 2**20)
"""Memory of the latest batch, if it is no longer used and no other process shares it."""


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Size, color and axes of images."""

    decoding: DecodeOptions
    channels: Channels

    def __post_init__(self) -> None:
        """Reject an order of axes that is not supported."""
        if self.channels not in get_args(Channels):
            raise InvalidValue(f'channels must be "first" or "last", not {self.channels!r}')

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of the array into which a frame of this size is decoded."""
        width, height = self.decoding.size(width, height)
        return (height, width) if self.decoding.color == "gray" else (height, width, 3)

    def arrange(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return decoded pixels with the wanted axes; copies nothing.

        The memory of images with the channels first stays in PyTorch's format "channels last".
        """
        if self.decoding.color == "gray":
            return pixels.unsqueeze(-3 if self.channels == "first" else -1)
        return pixels.movedim(-1, -3) if self.channels == "first" else pixels


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """Frames of one timeline to be read, and their places among all wanted frames."""

    opened: OpenedTimeline[Any]
    sequences: Integers
    places: Integers


@dataclass(frozen=True, slots=True)
class ReadFrame:
    """Frame read for an item of a dataset."""

    timeline_id: str
    sequence: int
    timestamp: float
    chunk_id: int
    image: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Group:
    """Frames of one timeline and size, which one call reads."""

    request: FrameRequest
    chosen: Integers
    """Frames of the request."""
    pixels: torch.Tensor | None
    """Memory to read into; None: the size is not known in advance."""


def read_frames(requests: Sequence[FrameRequest], options: ImageOptions) -> list[ReadFrame]:
    """Return the requested frames by their places.

    Raises the errors of `Timeline.batch`, except that frames may differ in size.
    """
    groups = _group_by_size(requests, options)
    if len(groups) <= 1:
        results = [_read_group(group, options) for group in groups]
    else:
        # Each group waits for its own responses, so groups are read at the same time.
        with ThreadPoolExecutor(min(_CONCURRENT_READS, len(groups)), "framecache-batch") as pool:
            results = [*pool.map(lambda group: _read_group(group, options), groups)]
    by_place = {place: frame for frames in results for place, frame in frames}
    return [by_place[place] for place in range(len(by_place))]


def allocate(shape: tuple[int, ...]) -> torch.Tensor:
    """Return an uint8 tensor of arbitrary content, in shared memory if a loader's worker calls.

    The worker then hands the tensor to the parent process without a copy.
    """
    if get_worker_info() is None:
        return torch.from_numpy(_POOL.array(shape))
    # As the default collate function of PyTorch does.
    storage = torch.UntypedStorage._new_shared(math.prod(shape))  # noqa: SLF001 -- see above
    return torch.empty(0, dtype=torch.uint8).set_(storage).reshape(shape)


def join(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return uint8 images of one shape as one tensor; copies nothing if they follow in memory.

    The images must be dense: each takes one stretch of memory, in any order of its axes.
    """
    first = images[0]
    shape = (len(images), *first.shape)
    strides = (first.numel(), *first.stride())
    if _is_in_succession(images):
        return torch.as_strided(first, shape, strides)
    joined = torch.as_strided(allocate((math.prod(shape),)), shape, strides)
    for copy, image in zip(joined, images, strict=True):
        copy.copy_(image)
    return joined


def _is_in_succession(images: Sequence[torch.Tensor]) -> bool:
    first = images[0]
    memory, size = first.untyped_storage().data_ptr(), first.numel()
    return all(
        image.untyped_storage().data_ptr() == memory
        and image.storage_offset() == first.storage_offset() + number * size
        and image.stride() == first.stride()
        for number, image in enumerate(images)
    )


def _group_by_size(requests: Sequence[FrameRequest], options: ImageOptions) -> list[_Group]:
    """Divide requests by the size of their frames, and allocate memory for each size."""
    groups: list[_Group] = []
    sizes = [_sizes_of(request) for request in requests]
    for height, width in sorted({(int(h), int(w)) for one in sizes for h, w in one}):
        masks = [(one == (height, width)).all(axis=1) for one in sizes]
        found = [
            (request, np.flatnonzero(mask))
            for request, mask in zip(requests, masks, strict=True)
            if mask.any()
        ]
        if not height or not width:
            groups += [
                _Group(request, chosen[one : one + 1], None)
                for request, chosen in found
                for one in range(len(chosen))
            ]
            continue
        count = sum(len(chosen) for _, chosen in found)
        memory = allocate((count, *options.shape(height, width)))
        begin = 0
        for request, chosen in found:
            groups.append(_Group(request, chosen, memory[begin : begin + len(chosen)]))
            begin += len(chosen)
    return groups


def _sizes_of(request: FrameRequest) -> npt.NDArray[np.int64]:
    """Return the height and width of each frame; zeros if they are unknown."""
    with request.opened.reading():
        index = request.opened.timeline.index
        positions = index.positions(request.sequences)
        sizes = np.stack([index.height[positions], index.width[positions]], axis=1)
        # Reading a frame that has no row raises the error that explains it.
        return np.where(positions[:, None] >= 0, sizes, 0).astype(np.int64)


def _read_group(group: _Group, options: ImageOptions) -> list[tuple[int, ReadFrame]]:
    request, timeline = group.request, group.request.opened.timeline
    sequences = request.sequences[group.chosen]
    with request.opened.reading():
        pixels = _read_pixels(group, sequences, options)
        index = timeline.index
        positions = index.positions(sequences)
    rows = zip(
        request.places[group.chosen].tolist(),
        sequences.tolist(),
        index.timestamp[positions].tolist(),
        index.chunk_id[positions].tolist(),
        pixels,
        strict=True,
    )
    return [
        (place, ReadFrame(timeline.timeline_id, sequence, timestamp, chunk_id, image))
        for place, sequence, timestamp, chunk_id, image in rows
    ]


def _read_pixels(
    group: _Group, sequences: Integers, options: ImageOptions
) -> Sequence[torch.Tensor]:
    timeline = group.request.opened.timeline
    decoding = options.decoding
    color, scale, max_side = decoding.color, decoding.scale, decoding.max_side
    if group.pixels is not None:
        out: Image = group.pixels.numpy()
        try:
            timeline.batch(sequences, scale=scale, max_side=max_side, color=color, out=out)
        except InvalidValue:
            pass  # replaced by frames of another size since the index was read
        else:
            return list(options.arrange(group.pixels))
    frames = (
        timeline.frame(one, scale=scale, max_side=max_side, color=color)
        for one in sequences.tolist()
    )
    return [options.arrange(torch.from_numpy(frame.image)) for frame in frames]
