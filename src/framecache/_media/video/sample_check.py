"""Samples that some frames need, and checks of what the sample tables state. Does no I/O.

Tables may be wrong where only the media data decides. A sample is checked when it is read: sync
samples are random-access points, no others are keyframes, and pictures come in order of their PTS.
Whether each sample is one shown picture follows from the pictures that the decoder outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np

from framecache._media.video.container import VideoPacket
from framecache._media.video.error_boundary import ByteRange
from framecache._media.video.random_access import RandomAccessFinder
from framecache._media.video.sample_tables import SampleTable

_SMALL_GAP_BYTES: Final = 4096
_MAX_GAP_SHARE: Final = 1 / 8
"""A gap between two samples is read too if it is small, or at most this share of the bytes before.
"""


class SampleRanges:
    """Ranges of the media data that some runs of frames need."""

    def __init__(
        self, samples: SampleTable, runs: Sequence[tuple[int | None, Sequence[int]]]
    ) -> None:
        """Plan for runs, each given as the PTS to begin at, None for the start, and wanted PTS."""
        self._samples = samples
        by_pts = np.argsort(samples.pts)
        ascending = samples.pts[by_pts]
        is_needed = np.zeros(len(samples.pts), np.bool_)
        for start, wanted in runs:
            packets = by_pts[np.searchsorted(ascending, wanted)]
            first = 0 if start is None else by_pts[np.searchsorted(ascending, start)]
            is_needed[first : packets.max() + 1] = True
        needed = np.flatnonzero(is_needed)
        needed = needed[np.argsort(samples.offset[needed], kind="stable")]
        begins = samples.offset[needed]
        ends = begins + samples.size_bytes[needed]
        self.ranges: Sequence[ByteRange] = _merge(zip(begins.tolist(), ends.tolist(), strict=True))
        """Ranges to decode, ascending and disjoint."""
        self.offsets = dict(zip(samples.pts[needed].tolist(), begins.tolist(), strict=True))
        """Offset of each needed sample, by PTS."""

    def with_beginning(self) -> list[ByteRange]:
        """Return the ranges to decode, and those that opening and seeking take, in order.

        To seek in a fragmented file, FFmpeg reads what is between the parts of the media data.
        """
        media = self._samples.media
        between = [(end, begin) for (_, end), (begin, _) in pairwise(media) if begin > end]
        return _merge(sorted([self._samples.beginning(), *between, *self.ranges]))

    def unneeded(self) -> list[ByteRange]:
        """Return the ranges of the media data that are not read, ascending and disjoint."""
        unneeded, number = list[ByteRange](), 0
        for begin, end in self._samples.media:
            while number < len(self.ranges) and self.ranges[number][1] <= begin:
                number += 1
            position = begin
            # A range may reach into the next part of the media data.
            for needed_begin, needed_end in islice(self.ranges, number, None):
                if needed_begin >= end:
                    break
                if needed_begin > position:
                    unneeded.append((position, needed_begin))
                position = needed_end
            if position < end:
                unneeded.append((position, end))
        return unneeded


class PacketCheck(ABC):
    """Checks of what sample tables state, while packets are decoded."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        """Start before the first run."""
        self._finder = RandomAccessFinder(codec, extradata)
        self._last_output: int | None = None

    def begin_run(self) -> None:
        """Start a run of pictures."""
        self._last_output = None

    @abstractmethod
    def admits(self, packet: VideoPacket) -> bool:
        """Return True if a packet is what the tables say."""

    def admits_picture(self, pts: int | None) -> bool:
        """Return True if the next picture is later than all of its run before it."""
        if pts is None or (self._last_output is not None and pts <= self._last_output):
            return False
        self._last_output = pts
        return True

    def _is_random_access(self, packet: VideoPacket) -> bool:
        has_new_extradata = packet.has_sidedata("new_extradata")
        self._finder.inspect(bytes(packet), has_new_extradata=has_new_extradata)
        return self._finder.is_last_random_access()


class EntryCheck(PacketCheck):
    """Checks for a reader that has no sample tables: runs begin where decoding can, and ascend."""

    _is_first = True

    def begin_run(self) -> None:
        """See `PacketCheck`."""
        super().begin_run()
        self._is_first = True

    def admits(self, packet: VideoPacket) -> bool:
        """See `PacketCheck`."""
        is_first, self._is_first = self._is_first, False
        return not is_first or self._is_random_access(packet)


class SampleCheck(PacketCheck):
    """Checks of the samples that are read in one pass."""

    def __init__(
        self,
        samples: SampleTable,
        needed: SampleRanges,
        codec: str,
        extradata: bytes | None,
    ) -> None:
        """Start a pass that reads the needed samples only."""
        super().__init__(codec, extradata)
        self._needed = needed
        self._sync = frozenset(samples.pts[samples.is_sync].tolist())

    def admits(self, packet: VideoPacket) -> bool:
        """See `PacketCheck`."""
        pts = packet.pts
        if pts is None or packet.pos != self._needed.offsets.get(pts):
            return False
        is_random_access = self._is_random_access(packet)
        is_sync = pts in self._sync
        if packet.is_keyframe != is_sync:
            return False
        return not is_sync or is_random_access


def _merge(needed: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the disjoint ranges that cover ranges, which are given in order."""
    ranges = list[ByteRange]()
    for begin, end in needed:
        if ranges:
            first, last = ranges[-1]
            if begin - last <= max(_SMALL_GAP_BYTES, (last - first) * _MAX_GAP_SHARE):
                ranges[-1] = first, max(last, end)
                continue
        ranges.append((begin, end))
    return ranges
