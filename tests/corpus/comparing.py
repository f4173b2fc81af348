"""Comparison of framecache's frames of a file with ffmpeg's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from corpus.pictures import THUMBNAIL, Image, as_jpeg, number_shown, thumbnail
from corpus.truth import Truth, truth
from framecache import FrameCache, FrameCacheError

QUALITY: Final = 95
_EVERY: Final = 4
"""Interval of the frames of a file that are extracted a second time."""

MOST_DISTANCE: Final = 2.5
"""Mean difference of two thumbnails, of 255, up to which they are of one picture.

Both programs decode the same bits, and both pictures pass a JPEG encoder at 4:2:0, so that the loss
of the video's codec is in neither. What remains is rounding, and how chroma is averaged: 0.8 at
most where the video has 4:2:0 or 4:4:4, 1.8 at odd sizes, 2.1 with 4:1:0. A wrong matrix makes more
than 4 in some picture, a wrong range more than 10, and a neighboring picture more than 20.
"""

Thumbnails = npt.NDArray[np.int16]
Distances = Mapping[int, npt.NDArray[np.float64]]
"""Mean differences from each of ffmpeg's pictures, by sequence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing framecache and ffmpeg on a file."""

    is_mended: bool
    """True if the file's own times do not ascend."""
    refusal: str = ""
    """Reason for which framecache does not read the file; empty if it does."""
    differences: tuple[tuple[str, str], ...] = ()
    """Each aspect in which they differ, and how."""
    layouts: str = ""
    """Difference between frames that are stored and frames that are decoded when they are read."""

    @property
    def aspects(self) -> frozenset[str]:
        """The aspects in which they differ."""
        return frozenset(aspect for aspect, _ in self.differences)


def compare(path: Path, numbers: Sequence[int] | None) -> Comparison:
    """Compare the frames of a file with those of ffmpeg.

    ``numbers``: what its pictures show, where that is known.
    """
    return compare_with(truth(path), path, numbers)


def compare_with(expected: Truth, path: Path, numbers: Sequence[int] | None) -> Comparison:
    """Extract a file into an empty store, and compare all of its frames with what is expected."""
    try:
        found, sparse = _extracted(path, every=1), _extracted(path, every=_EVERY)
    except FrameCacheError as error:
        return Comparison(expected.is_mended, refusal=f"{type(error).__name__}: {error}")
    distances = _distances(found, expected)
    checks = {
        "frames": _frames(found, expected),
        "times": _times(found, expected),
        "report": _report(found, expected),
        "sizes": _sizes(found, expected),
        "pictures": _pictures(distances),
        "order": _order(distances) or _numbers(found, numbers),
        "some": _some(found, sparse),
    }
    differences = tuple((aspect, how) for aspect, how in checks.items() if how)
    return Comparison(expected.is_mended, differences=differences)


@dataclass(frozen=True, slots=True)
class _Found:
    """The frames of the extracted file."""

    replaced: int
    restarts: int
    times: list[float]
    images: dict[int, Image]
    """Those that are not undecodable, by sequence."""


def _extracted(path: Path, *, every: int) -> _Found:
    timeline = FrameCache(f"memory://{uuid4().hex}").timeline("corpus")
    report = timeline.extract([path], quality=QUALITY, every=every)
    return _Found(
        replaced=sum(chunk.times_replaced for chunk in report.timing),
        restarts=sum(chunk.clock_restarts for chunk in report.timing),
        times=timeline.index.timestamp.tolist(),
        images={frame.sequence: frame.image for frame in timeline.frames()},
    )


def _frames(found: _Found, expected: Truth) -> str:
    count, undecodable = len(found.times), len(found.times) - len(found.images)
    if count == len(expected.pictures) and not undecodable:
        return ""
    return f"{count} ({undecodable} undecodable) of {len(expected.pictures)}"


def _times(found: _Found, expected: Truth) -> str:
    right = [float(seconds) for seconds in expected.times]
    wrong = [
        f"{sequence} at {time}, not {true}"
        for sequence, (time, true) in enumerate(zip(found.times, right, strict=False))
        if time != true
    ]
    return ", ".join(wrong[:3])


def _report(found: _Found, expected: Truth) -> str:
    """Check the corrections that the report lists."""
    is_mended = bool(found.replaced or found.restarts)
    if found.restarts == expected.restarts and is_mended == expected.is_mended:
        return ""
    return f"{found.replaced} replaced, {found.restarts} restarts of {expected.restarts}"


def _sizes(found: _Found, expected: Truth) -> str:
    wrong = [
        f"{sequence} is {image.shape}"
        for sequence, image in found.images.items()
        if sequence < len(expected.pictures) and image.shape != expected.pictures[sequence].shape
    ]
    return ", ".join(wrong[:3])


def _pictures(distances_of: Distances) -> str:
    """Compare each frame with the picture of the same number."""
    wrong = [
        f"{sequence} differs by {distance:.1f}"
        for sequence, distances in distances_of.items()
        if sequence < len(distances) and (distance := distances[sequence]) > MOST_DISTANCE
    ]
    return ", ".join(wrong[:3])


def _order(distances_of: Distances) -> str:
    """Find frames that look more like another picture than that of their number."""
    wrong = [
        f"{sequence} looks like {nearest}"
        for sequence, distances in distances_of.items()
        if len(distances) and (nearest := int(distances.argmin())) != sequence
    ]
    return ", ".join(wrong[:3])


def _numbers(found: _Found, numbers: Sequence[int] | None) -> str:
    """Read the numbers in the pictures."""
    if numbers is None:
        return ""
    wrong = [
        f"{sequence} shows {shown}"
        for sequence, image in found.images.items()
        if (shown := number_shown(image)) != dict(enumerate(numbers)).get(sequence)
    ]
    return ", ".join(wrong[:3])


def _some(found: _Found, sparse: _Found) -> str:
    """Check that frames are the same, to the bit, when frames around them are not wanted."""
    if sparse.times != found.times[::_EVERY]:
        return f"{len(sparse.times)} frames at other times"
    wrong = [
        str(sequence * _EVERY)
        for sequence in range(len(sparse.times))
        if not np.array_equal(sparse.images.get(sequence), found.images.get(sequence * _EVERY))  # type: ignore[arg-type]  # None equals None
    ]
    return ", ".join(wrong[:3])


def _distances(found: _Found, expected: Truth) -> Distances:
    """Return how far each frame is from each of ffmpeg's pictures."""
    stored = [thumbnail(as_jpeg(image, QUALITY)) for image in expected.pictures]
    candidates = np.array(stored, np.int16).reshape(-1, *THUMBNAIL, 3)
    return {
        sequence: np.abs(candidates - thumbnail(image)).mean(axis=(1, 2, 3))
        for sequence, image in found.images.items()
    }
