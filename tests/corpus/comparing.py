"""What framecache makes of a file, beside what ffmpeg does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np

from corpus.pictures import Image, as_jpeg, number_shown, thumbnail
from corpus.truth import Truth, truth
from framecache import FrameCache, FrameCacheError

_QUALITY: Final = 95


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where framecache and ffmpeg agree on a file, and where not."""

    truth: Truth
    refusal: str = ""
    """Why framecache does not read the file."""
    frames: int = 0
    """On the timeline, undecodable ones among them."""
    undecodable: int = 0
    misplaced: list[tuple[int, float, float]] = field(default_factory=list)
    """Frames at another time: their number, their time and the right one."""
    missized: list[int] = field(default_factory=list)
    """Frames of another size."""
    distances: list[float] = field(default_factory=list)
    """Mean differences of the thumbnails, of 255."""
    strangers: list[tuple[int, int]] = field(default_factory=list)
    """Frames that look more like another of ffmpeg's: their number and the other's."""
    numbers: list[int] = field(default_factory=list)
    """What the pictures show."""


def compare(path: Path) -> Comparison:
    """Extract a file into an empty store, and compare all of its frames."""
    expected = truth(path)
    timeline = FrameCache(f"memory://{uuid4().hex}").timeline("corpus")
    try:
        timeline.extract([path], quality=_QUALITY)
    except FrameCacheError as error:
        return Comparison(expected, refusal=f"{type(error).__name__}: {error}")
    index = timeline.index
    images = {frame.sequence: frame.image for frame in timeline.frames()}
    times = index.timestamp.tolist()
    right = [float(seconds) for seconds in expected.times]
    return Comparison(
        truth=expected,
        frames=len(times),
        undecodable=len(times) - len(images),
        misplaced=[
            (sequence, time, true)
            for sequence, (time, true) in enumerate(zip(times, right, strict=False))
            if time != true
        ],
        missized=[
            sequence
            for sequence, image in images.items()
            if sequence < len(expected.pictures)
            and image.shape != expected.pictures[sequence].shape
        ],
        distances=_distances(images, expected),
        strangers=_strangers(images, expected),
        numbers=[number_shown(image) for image in images.values()],
    )


def _distances(images: dict[int, Image], expected: Truth) -> list[float]:
    return [
        float(np.abs(thumbnail(image) - thumbnail(as_jpeg(expected.pictures[sequence], _QUALITY))).mean())
        for sequence, image in images.items()
        if sequence < len(expected.pictures)
    ]


def _strangers(images: dict[int, Image], expected: Truth) -> list[tuple[int, int]]:
    """Find frames that are nearer to another of ffmpeg's pictures than to their own."""
    if not expected.pictures:
        return []
    candidates = np.stack([thumbnail(as_jpeg(image, _QUALITY)) for image in expected.pictures])
    strangers = []
    for sequence, image in images.items():
        distances = np.abs(candidates - thumbnail(image)).mean(axis=(1, 2, 3))
        nearest = int(distances.argmin())
        if sequence >= len(distances) or distances[nearest] < distances[sequence]:
            strangers.append((sequence, nearest))
    return strangers
