"""Comparison of frames that are decoded when they are read with those that are stored."""

import random
from itertools import zip_longest
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np

from framecache import FrameCache, FrameCacheError, InvalidValue, Timeline, UndecodableFrame
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import pictures
from framecache.model import Image

_SHUFFLED: Final = 12
"""Frames that are read in shuffled order, before all are read in order."""
_BATCH: Final = 5
"""Frames of a shuffled batch."""


def difference_of_layouts(path: Path) -> str:
    """Return how frames of a file in layout ``video`` differ from those in layout ``objects``.

    Empty: they have the same JPEGs, in any order of reading, and the same images, times and hashes.
    """
    cache = FrameCache(f"memory://{uuid4().hex}")
    stored, watched = cache.timeline("stored"), cache.timeline("watched")
    try:
        stored.extract([path])
    except FrameCacheError:
        return ""  # it is refused in either
    watched.extract([path], layout="video")
    sequences = stored.index.sequence.tolist()
    shuffled = random.Random(7).sample(sequences, min(len(sequences), _SHUFFLED))
    return (
        _difference_of_batches(stored, watched, shuffled)
        or _difference_of_jpegs(stored, watched, [*shuffled, *sequences])
        or _difference_of_frames(stored, watched)
    )


def _difference_of_batches(stored: Timeline, watched: Timeline, shuffled: list[int]) -> str:
    for start in range(0, len(shuffled), _BATCH):
        batch = shuffled[start : start + _BATCH]
        if not np.array_equal(_batch(watched, batch), _batch(stored, batch)):
            return f"the batch of the frames {batch} differs"
    return ""


def _difference_of_jpegs(stored: Timeline, watched: Timeline, sequences: list[int]) -> str:
    chunk_pool.value.clear()
    pictures.value.clear()
    for sequence in sequences:
        if _jpeg(watched, sequence) != _jpeg(stored, sequence):
            return f"the JPEG of frame {sequence} differs"
    return ""


def _difference_of_frames(stored: Timeline, watched: Timeline) -> str:
    for one, other in zip_longest(stored.frames(), watched.frames()):
        if one is None or other is None:
            return "the number of frames differs"
        known = (one.sequence, one.timestamp, one.perceptual_hash)
        if known != (other.sequence, other.timestamp, other.perceptual_hash):
            return f"{known} differs from frame {other.sequence}"
        if not (one.image == other.image).all():
            return f"the image of frame {one.sequence} differs"
    return ""


def _batch(timeline: Timeline, sequences: list[int]) -> Image:
    """Return the images of some frames; empty if they differ in size, or none has a picture."""
    try:
        return timeline.batch(sequences, missing="skip")
    except (InvalidValue, UndecodableFrame):
        return np.empty(0, np.uint8)


def _jpeg(timeline: Timeline, sequence: int) -> bytes | None:
    try:
        return timeline.jpeg(sequence)
    except UndecodableFrame:
        return None
