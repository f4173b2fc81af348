"""Comparison of frames that are decoded when they are read with those that are stored."""

import random
from itertools import zip_longest
from pathlib import Path
from typing import Final
from uuid import uuid4

from framecache import FrameCache, FrameCacheError, Timeline, UndecodableFrame

_SHUFFLED: Final = 12
"""Frames that are read in shuffled order, before all are read in order."""


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
    for sequence in [*shuffled, *sequences]:
        if _jpeg(watched, sequence) != _jpeg(stored, sequence):
            return f"the JPEG of frame {sequence} differs"
    for one, other in zip_longest(stored.frames(), watched.frames()):
        if one is None or other is None:
            return "the number of frames differs"
        known = (one.sequence, one.timestamp, one.perceptual_hash)
        if known != (other.sequence, other.timestamp, other.perceptual_hash):
            return f"{known} differs from frame {other.sequence}"
        if not (one.image == other.image).all():
            return f"the image of frame {one.sequence} differs"
    return ""


def _jpeg(timeline: Timeline, sequence: int) -> bytes | None:
    try:
        return timeline.jpeg(sequence)
    except UndecodableFrame:
        return None
