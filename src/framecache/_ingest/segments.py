"""Division of a chunk's frames into segments. Pure: no I/O.

A segment begins at a random-access point, so that extracting it decodes nothing of the segment
before it, apart from pictures that are decoded after that point and shown before it.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._media import video

_MAX_DECODED_TWICE: Final = Fraction(1, 32)
"""Maximum share of a segment's frames that the next segment decodes, too."""
_JPEG_BYTES_PER_PIXEL: Final = Fraction(1, 8)
"""Estimated size of a JPEG; that of a detailed picture at quality 85."""


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """Lengths at which a segment ends, at the next random-access point."""

    seconds: Fraction = Fraction(30)
    """Length of most segments, if they then have at least ``min_frames``."""
    min_frames: int = 256
    max_frames: int = 1_000
    """Sampled frames after which a segment ends even if it is shorter than ``seconds``."""
    max_bytes: int = 64_000_000
    """Estimated size of its JPEGs after which it ends, too."""


LIMITS = SegmentLimits()
"""Limits of segments that are planned from now on."""


def is_divisible(scan: "video.VideoScan") -> bool:
    """Return True if decoding can begin inside a video without reading all that comes before."""
    return scan.container in video.INDEXED_CONTAINERS and bool(scan.is_random_access[1:].any())


def find_segment_starts(
    scan: "video.VideoScan", chosen: npt.NDArray[np.int64], limits: SegmentLimits
) -> tuple[int, ...]:
    """Return the position, among the sampled frames, of the first frame of each segment.

    Args:
        scan: scan of the chunk.
        chosen: positions of the sampled frames among all frames, ascending.
        limits: lengths at which a segment ends.
    """
    if len(chosen) <= min(limits.min_frames, _max_frames(scan, limits)) or not is_divisible(scan):
        return (0,)
    entries = np.flatnonzero(scan.is_random_access)
    # A segment can begin with each sampled frame that has an entry between it and the one before.
    entry = np.concatenate([[-1], entries])[np.searchsorted(entries, chosen, "right")]
    candidates = 1 + np.flatnonzero(entry[1:] > chosen[:-1])
    entry_of = entry[candidates]
    decoded_twice = entry_of - np.searchsorted(scan.pts, scan.earliest_pts[entry_of])
    pts, step = scan.pts[chosen], ceil(limits.seconds / scan.time_base)
    starts = [0]
    while True:
        start = starts[-1]
        is_long = max(start + limits.min_frames, int(np.searchsorted(pts, pts[start] + step)))
        target = min(is_long, start + _max_frames(scan, limits))
        following = int(np.searchsorted(candidates, target))
        shares = (entry_of[following:] - chosen[start]) * _MAX_DECODED_TWICE.numerator
        suits = decoded_twice[following:] * _MAX_DECODED_TWICE.denominator <= shares
        if not suits.any():
            return tuple(starts)
        starts.append(int(candidates[following + int(suits.argmax())]))


def _max_frames(scan: "video.VideoScan", limits: SegmentLimits) -> int:
    frame_bytes = scan.width * scan.height * _JPEG_BYTES_PER_PIXEL
    return max(1, min(limits.max_frames, ceil(limits.max_bytes / frame_bytes)))
