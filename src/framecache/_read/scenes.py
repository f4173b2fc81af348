"""Scenes of a timeline: its frames, divided where the perceptual hash changes abruptly."""

from contextlib import closing
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._core.times import require_duration
from framecache._read.frame_source import FrameSource
from framecache._read.hash_distance import Hashes
from framecache._read.positions import Range, positions_in_range
from framecache._read.read import fetch_in_order
from framecache._read.selection import require_min_change
from framecache.model import Scene

CUT_CHANGE: Final = 20
"""Default least distance in bits of the hashes on both sides of a cut."""
MIN_SCENE_SECONDS: Final = 0.5
"""Default least duration of a scene."""
_CERTAIN_CHANGE: Final = 30
"""Distance from which a change is a cut in any surroundings; unrelated pictures have about 32."""
_NEIGHBORS: Final = 3
"""Changes on each side with which a change is compared: fast motion changes every frame."""


def find_scenes(
    source: FrameSource, wanted: Range, *, min_change: int, min_seconds: float
) -> list[Scene]:
    """Return the scenes of a range of frames.

    A scene begins at the first frame, and at each cut, unless the scene so far is shorter than
    ``min_seconds``. A cut is a frame whose hash differs from that of the frame before in at least
    ``min_change`` bits, and in at least twice the median of the changes around it, or 30 bits.
    Frames without a picture are ignored. Frames that are not stored are decoded.

    Raises:
        InvalidValue: ``min_change`` or ``min_seconds`` is out of its range.
    """
    least_change = require_min_change(min_change)
    least_seconds = require_duration(min_seconds, what="min_seconds")
    index = source.snapshot.index
    positions = positions_in_range(index, wanted)
    if not len(positions):
        return []
    sequence, timestamp = index.sequence[positions], index.timestamp[positions]
    changes = _hashes(source, positions).distances_to_previous()
    starts = [0]
    for change in np.flatnonzero(changes >= least_change).tolist():
        place = change + 1
        if not _exceeds_neighbors(changes, change):
            continue
        if timestamp[place] - timestamp[starts[-1]] >= least_seconds:
            starts.append(place)
    last = positions[-1]
    stop_sequences = [*sequence[starts[1:]].tolist(), int(index.sequence[last]) + 1]
    stop_times = [
        *timestamp[starts[1:]].tolist(),
        float(index.timestamp[last] + index.duration[last]),
    ]
    return [
        Scene(
            start=int(sequence[place]),
            stop=stop,
            start_seconds=float(timestamp[place]),
            stop_seconds=stop_seconds,
            change=int(changes[place - 1]) if place else None,
        )
        for place, stop, stop_seconds in zip(starts, stop_sequences, stop_times, strict=True)
    ]


def _hashes(source: FrameSource, positions: npt.NDArray[np.int64]) -> Hashes:
    index = source.snapshot.index
    if not index.is_decoded_on_demand[positions].any():
        return Hashes.of_rows(index, positions)
    with closing(fetch_in_order(source, positions)) as fetched:
        return Hashes.parse([one.row.perceptual_hash for one in fetched])


def _exceeds_neighbors(changes: npt.NDArray[np.int64], place: int) -> bool:
    """Return True if a change stands out from those around it, or is certain."""
    before = changes[max(0, place - _NEIGHBORS) : place]
    around = np.concatenate([before, changes[place + 1 : place + 1 + _NEIGHBORS]])
    if changes[place] >= _CERTAIN_CHANGE or not len(around):
        return True
    return bool(changes[place] >= 2 * np.median(around))
