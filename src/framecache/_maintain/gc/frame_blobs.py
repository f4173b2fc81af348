"""Collections of a timeline's frames, of which there may be millions; pure."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import numpy as np

from framecache._ingest.deletion import DeletionSummary
from framecache._maintain.inventory import BoolArray, IntArray, is_member
from framecache.store import BlobInfo

_BATCH_SIZE: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class FrameBlobs:
    """Frames by sequence; 16 bytes for each, since there may be millions."""

    sequences: IntArray
    """Frame numbers, ascending."""
    sizes: IntArray
    """Size of each frame in bytes."""

    @classmethod
    def from_arrays(cls, sequences: IntArray, sizes: IntArray) -> Self:
        """Create an instance from frames in any order."""
        order = np.argsort(sequences, kind="stable")
        return cls(sequences[order], sizes[order])

    @classmethod
    def from_pairs(cls, found: Iterable[tuple[int, int]]) -> Self:
        """Create an instance from pairs of sequence and size, in any order."""
        sequences, sizes = array("q"), array("q")
        for sequence, size in found:
            sequences.append(sequence)
            sizes.append(size)
        return cls.from_arrays(np.array(sequences), np.array(sizes))

    @property
    def amount(self) -> DeletionSummary:
        """Number of frames and their total size."""
        return DeletionSummary(len(self.sequences), int(self.sizes.sum()))

    def __len__(self) -> int:
        return len(self.sequences)

    def between(self, start: int, stop: int) -> "FrameBlobs":
        """Return the frames with sequences from `start` to before `stop`."""
        first, last = np.searchsorted(self.sequences, [start, stop])
        return self.at(int(first), int(last))

    def at(self, first: int, last: int) -> "FrameBlobs":
        """Return the frames at a range of positions."""
        return FrameBlobs(self.sequences[first:last], self.sizes[first:last])

    def contains(self, wanted: IntArray) -> BoolArray:
        """Return a mask of the given sequences that are among these frames."""
        return is_member(self.sequences, wanted)

    def where(self, chosen: BoolArray) -> "FrameBlobs":
        """Return the frames that a mask selects."""
        return FrameBlobs(self.sequences[chosen], self.sizes[chosen])


NO_FRAMES: Final = FrameBlobs(np.empty(0, np.int64), np.empty(0, np.int64))


class UnreferencedFrames:
    """Collector of frames that drops the committed ones."""

    def __init__(self, referenced: IntArray, before: datetime) -> None:
        """Start without frames.

        Args:
            referenced: the committed frames, ascending.
            before: frames stored later are young.
        """
        self.has_young = False
        """True if an unreferenced frame is young."""
        self._named = referenced
        self._before = before
        self._kept: list[FrameBlobs] = []
        self._sequences, self._sizes, self._are_old = array("q"), array("q"), array("b")

    def add(self, sequence: int, blob: BlobInfo) -> None:
        """Add a frame."""
        self._sequences.append(sequence)
        self._sizes.append(blob.size_bytes)
        self._are_old.append(blob.modified_at <= self._before)
        if len(self._sequences) == _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Process the frames added since the last call."""
        frames = FrameBlobs(np.array(self._sequences), np.array(self._sizes))
        are_old = np.array(self._are_old, dtype=np.bool_)
        are_unnamed = ~is_member(self._named, frames.sequences)
        self.has_young |= bool((are_unnamed & ~are_old).any())
        self._kept.append(frames.where(are_unnamed & are_old))
        self._sequences, self._sizes, self._are_old = array("q"), array("q"), array("b")

    @property
    def old(self) -> FrameBlobs:
        """Unreferenced frames older than the grace period."""
        sequences = np.concatenate([frames.sequences for frames in self._kept])
        return FrameBlobs.from_arrays(
            sequences, np.concatenate([frames.sizes for frames in self._kept])
        )
