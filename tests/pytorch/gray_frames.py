"""Timelines whose frames are each of a gray of their own, so that a mean identifies a frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framecache import Frame, FrameCache, Timeline

FRAMES = 12
HEIGHT, WIDTH = 32, 48


def gray_of(timeline: int, sequence: int) -> int:
    return 11 * sequence + 3 * (timeline % 3)


def frame(
    timeline: int,
    sequence: int,
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    seconds: float | None = None,
) -> Frame:
    """A gray frame of a timeline of 25 frames a second."""
    pixels = np.full((*size, 3), gray_of(timeline, sequence), np.uint8)
    return Frame(sequence, 0, sequence / 25 if seconds is None else seconds, pixels)


def timelines(
    url: str | Path, *, count: int = 3, sequences: Sequence[int] = range(FRAMES)
) -> list[Timeline]:
    """Timelines ``t0``, ``t1``… that were written, and not opened since."""
    for number in range(count):
        FrameCache(url).timeline(f"t{number}").write([frame(number, one) for one in sequences])
    return unopened(url, count=count)


def unopened(url: str | Path, *, count: int = 3) -> list[Timeline]:
    cache = FrameCache(url)
    return [cache.timeline(f"t{number}") for number in range(count)]


def identity(sample: dict[str, Any]) -> tuple[str, int]:
    """The timeline and sequence of an item, whose image was compared with them."""
    timeline_id, sequence = sample["timeline_id"], int(sample["sequence"])
    gray = gray_of(int(timeline_id.removeprefix("t")), sequence)
    assert abs(float(sample["image"].float().mean()) - gray) < 1.4
    return timeline_id, sequence


def identities(batch: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the identities of the items of a batch."""
    names = zip(batch["image"], batch["timeline_id"], batch["sequence"].tolist(), strict=True)
    return [
        identity({"image": image, "timeline_id": timeline_id, "sequence": sequence})
        for image, timeline_id, sequence in names
    ]


def all_frames(count: int = 3) -> list[tuple[str, int]]:
    return [(f"t{number}", sequence) for number in range(count) for sequence in range(FRAMES)]
