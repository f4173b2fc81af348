"""Items of the datasets, and how PyTorch's default collate function joins them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from framecache import InvalidValue
from framecache.torch.images import join

Transform = Callable[[Any], Any]
"""Function of an item's image tensor."""

Target = Callable[[str, int], Any]
"""Function of a timeline's id and a sequence, which returns the target of that frame."""


class FrameSample(dict[str, Any]):
    """Item of a dataset: a dict.

    PyTorch's ``default_collate`` joins items into a plain dict. It copies no image if no transform
    replaced them and they were read together.
    """


def collate_samples(samples: Sequence[FrameSample], *, collate_fn_map: Any) -> dict[str, Any]:  # noqa: ANN401 -- PyTorch's
    """Join samples into one dict of tensors and lists.

    Raises:
        InvalidValue: their images differ in size.
    """
    images = [sample.get("image") for sample in samples]
    _require_same_size(samples, images)
    return {
        key: join(images)
        if key == "image" and all(_is_plain(image) for image in images)
        else collate([sample[key] for sample in samples], collate_fn_map=collate_fn_map)
        for key in samples[0]
    }


# The registry is PyTorch's documented way to collate a class of items.
default_collate_fn_map[FrameSample] = collate_samples


def _is_plain(image: object) -> bool:
    """Return True for an image as this package reads it."""
    return isinstance(image, torch.Tensor) and image.dtype == torch.uint8 and _is_dense(image)


def _is_dense(image: torch.Tensor) -> bool:
    """Return True if the image takes one stretch of memory, in any order of its axes."""
    sides = sorted(zip(image.stride(), image.shape, strict=True))
    size = 1
    for stride, length in sides:
        if length > 1 and stride != size:
            return False
        size *= length
    return True


def _require_same_size(samples: Sequence[FrameSample], images: Sequence[Any]) -> None:
    if not isinstance(images[0], torch.Tensor):
        return
    for sample, image in zip(samples, images, strict=True):
        if isinstance(image, torch.Tensor) and image.shape != images[0].shape:
            raise InvalidValue(
                f"images of one batch must have the same size, but {_name(samples[0])} is "
                f"{_shape(images[0])} and {_name(sample)} is {_shape(image)}: resize them in "
                "transform=, or put timelines of one size into a dataset"
            )


def _name(sample: Mapping[str, Any]) -> str:
    sequence = sample.get("sequence")
    first = sequence.tolist()[0] if isinstance(sequence, torch.Tensor) else sequence
    return f"frame {first} of timeline {sample.get('timeline_id')}"


def _shape(image: torch.Tensor) -> str:
    return "x".join(map(str, image.shape))
