"""Frames that a video shows, in display order, with ascending times."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Final

import numpy as np

from framecache._media.video.decoder_outputs import (
    DecoderOutputs,
    OutputPicture,
    list_decoder_outputs,
)
from framecache._media.video.error_boundary import VideoFile
from framecache._media.video.packet_table import INFINITE_PTS, NO_PTS, PacketTable, ShownFrame
from framecache._media.video.time_repair import SUBDIVISIONS, repair_times
from framecache.errors import UnreadableChunk

_MAX_REORDERED: Final = 16


class BestEffortClock:
    """FFmpeg's best-effort timestamps for pictures in the order in which a decoder outputs them.

    Containers such as AVI state only DTS. The decoder outputs pictures in display order, each with
    the DTS of the packet after which it was output. These DTS ascend as the PTS would. PTS are
    used until they have failed to ascend more often than the DTS.
    """

    def __init__(self) -> None:
        """Start before the first picture."""
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0

    def next_time(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the next picture; None if it has neither PTS nor DTS."""
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        trusted = pts if dts is None or self._faulty_pts <= self._faulty_dts else dts
        return trusted if trusted is not None else dts


@dataclass(frozen=True, slots=True)
class PacketCounts:
    """Number of packets of a video by outcome; each packet is counted once."""

    total: int
    shown: int
    """Packets with at least one picture that is shown."""
    second_fields: int
    """Packets that continue a picture begun by another packet: second fields."""
    undecodable: int
    """Packets that the decoder refuses, whose frames keep their place on the timeline."""
    hidden: int
    """Packets whose pictures are not to be shown: excluded by an edit list, or hidden."""
    leading: int
    """Packets before the first one that can be decoded, as in a video cut out of a longer one."""
    rejected: int
    """Other packets that the decoder refuses: no shown picture follows, or the time is unknown."""
    without_output: int
    """Packets for which the decoder outputs no picture and reports no error."""

    @property
    def not_displayed(self) -> int:
        """Number of packets that hold a picture, as far as is known, that is not shown."""
        return self.leading + self.rejected + self.without_output


@dataclass(frozen=True, slots=True)
class DisplayOrder:
    """Frames that a video shows, in display order."""

    frames: tuple[ShownFrame, ...]
    time_base: Fraction
    """Duration of one unit of their PTS in seconds."""
    has_packet_pts: bool
    """True if each frame has the PTS that its packet states, and no other packet states it."""
    times_replaced: int
    """Number of frames whose time was replaced, not counting shifts by restarts of the clock."""
    clock_restarts: int
    final_offset: int | None
    """Offset added to the PTS that packets state at the end of the video; None if unknown."""
    packet_counts: PacketCounts


def display_order(file: VideoFile, packets: PacketTable, *, name: str) -> DisplayOrder:
    """Find the frames that a video shows.

    Decode only the part of the video for which the packets leave a doubt.

    Raises:
        UnreadableChunk: times do not ascend and cannot be repaired, or the outcome of some packets
            is unknown.
    """
    until = packets.ambiguous_until()
    order: DisplayOrder | None = None
    if until == NO_PTS:
        order = _order_by_pts(packets, packets.frames())
    elif until < INFINITE_PTS:
        beginning = list_decoder_outputs(file, name=name, end_pts=until)
        if _has_unique_pts(beginning.pictures, packets):
            frames = [*_frames_by_pts(beginning, packets), *packets.frames(min_pts=until)]
            order = _order_by_pts(packets, frames, rejected=frozenset(beginning.rejected))
    if order is None:
        outputs = list_decoder_outputs(file, name=name)
        if _has_unique_pts(outputs.pictures, packets):
            frames = _frames_by_pts(outputs, packets)
            order = _order_by_pts(packets, frames, rejected=frozenset(outputs.rejected))
        else:
            order = _repair_order(outputs, packets, name)
        _check_pictures(order, outputs, name)
    elif until == NO_PTS and order.packet_counts.shown < int(packets.is_shown.sum()):
        raise UnreadableChunk(
            f"{name} has packets that are not accounted for: {order.packet_counts}"
        )
    return order


def _check_pictures(order: DisplayOrder, outputs: DecoderOutputs, name: str) -> None:
    """Check that each decoded picture is a frame and that all other frames are undecodable."""
    pictures = len(outputs.pictures)
    if len(order.frames) != pictures + order.packet_counts.undecodable:
        raise UnreadableChunk(
            f"{name} shows {pictures} pictures, of which not all are accounted for: "
            f"{order.packet_counts}"
        )


def _order_by_pts(
    packets: PacketTable, frames: Sequence[ShownFrame], *, rejected: frozenset[int] = frozenset()
) -> DisplayOrder:
    return DisplayOrder(
        frames=tuple(frames),
        time_base=packets.stream.time_base,
        has_packet_pts=True,
        times_replaced=0,
        clock_restarts=0,
        final_offset=0,
        packet_counts=_count_packets(packets, frames, rejected),
    )


def _has_unique_pts(pictures: Sequence[OutputPicture], packets: PacketTable) -> bool:
    """Return True if pictures ascend by the PTS of their packets, and each PTS is unique."""
    if not packets.has_pts:
        return False
    named = packets.has_unique_pts()
    is_own = all(
        picture.pts == packets.pts[picture.packet] and named[picture.packet] for picture in pictures
    )
    return is_own and all(
        packets.pts[before.packet] < packets.pts[after.packet]
        for before, after in pairwise(pictures)
    )


def _frames_by_pts(outputs: DecoderOutputs, packets: PacketTable) -> list[ShownFrame]:
    """Return the frames of the pictures and of the undecodable packets, ordered by PTS."""
    frames = [
        ShownFrame(int(packets.pts[one.packet]), one.duration, one.is_key, one.packet)
        for one in outputs.pictures
    ]
    frames += [packets.frame(packet) for packet in _find_undecodable(outputs, packets)]
    return sorted(frames, key=lambda frame: frame.pts)


def _find_undecodable(outputs: DecoderOutputs, packets: PacketTable) -> list[int]:
    """Return the refused packets that are frames on the timeline although they have no picture.

    Such a packet lies between two decoded packets, states a PTS of its own, and is not the second
    field of a picture.
    """
    if not outputs.pictures:
        return []
    named = packets.has_unique_pts()
    decoded = {picture.packet for picture in outputs.pictures}
    first, last = min(decoded), max(decoded)
    return [
        packet
        for packet in outputs.rejected
        if first < packet < last
        and named[packet]
        and packet not in decoded
        and not (packet - 1 in decoded and not packets.is_progressive)
    ]


def _repair_order(outputs: DecoderOutputs, packets: PacketTable, name: str) -> DisplayOrder:
    """Return the pictures in the order of the decoder, with times that are made to ascend."""
    frames = _stated_times(outputs, packets)
    frames = _insert_undecodable(
        frames, [packets.frame(one) for one in _find_undecodable(outputs, packets)]
    )
    times = [None if frame.pts == NO_PTS else frame.pts for frame in frames]
    mended = repair_times(times, average_step=packets.stream.average_step)
    if mended is None:
        raise UnreadableChunk(
            f"{name} has pictures closer together than its timestamps can represent, so they "
            "are damaged: encode it again with 'ffmpeg -i FILE -fps_mode cfr COPY.mp4'"
        )
    parts = 1 if all(time.denominator == 1 for time in mended.times) else SUBDIVISIONS
    frames = [
        replace(frame, pts=int(time * parts), duration=frame.duration * parts)
        for frame, time in zip(frames, mended.times, strict=True)
    ]
    return DisplayOrder(
        frames=tuple(frames),
        time_base=packets.stream.time_base / parts,
        has_packet_pts=False,
        times_replaced=mended.replaced if packets.has_pts else 0,
        clock_restarts=mended.restarts,
        final_offset=None if mended.final_offset is None else mended.final_offset * parts,
        packet_counts=_count_packets(packets, frames, frozenset(outputs.rejected)),
    )


def _stated_times(outputs: DecoderOutputs, packets: PacketTable) -> list[ShownFrame]:
    """Return the pictures with the PTS of their packets, or with times from the DTS."""
    times: Sequence[int | None]
    if packets.has_pts:
        first_of = dict[int, int]()
        for position, one in enumerate(outputs.pictures):
            first_of.setdefault(one.packet, position)
        times = [
            int(packets.pts[one.packet]) if first_of[one.packet] == position else None
            for position, one in enumerate(outputs.pictures)
        ]
    else:
        times = _derive_times_from_dts(outputs.pictures, packets)
    return [
        ShownFrame(NO_PTS if time is None else time, one.duration, one.is_key, one.packet)
        for one, time in zip(outputs.pictures, times, strict=True)
    ]


def _derive_times_from_dts(
    pictures: Sequence[OutputPicture], packets: PacketTable
) -> Sequence[int | None]:
    """Return the times of pictures whose container states no PTS.

    If each packet is one picture, the sorted DTS of all packets are the times of all pictures,
    apart from the decoding delay. Otherwise the times are FFmpeg's best-effort timestamps.
    """
    dts = packets.dts[packets.is_shown]
    if len(pictures) == len(dts) == len(np.unique(dts)) and (dts > NO_PTS).all():
        return [int(time) for time in np.sort(dts)]
    clock = BestEffortClock()
    return [clock.next_time(one.pts, one.dts) for one in pictures]


def _insert_undecodable(
    frames: Sequence[ShownFrame], undecodable: Sequence[ShownFrame]
) -> list[ShownFrame]:
    """Insert frames without a picture, first by packet number and then by time."""
    by_packet = sorted((frame.packet, position) for position, frame in enumerate(frames))
    latest = list(accumulate((position for _, position in by_packet), max))
    placed: list[tuple[int, int, ShownFrame]] = []
    for frame in undecodable:
        place = 1 + latest[bisect_left(by_packet, (frame.packet, -1)) - 1]
        for _ in range(_MAX_REORDERED):
            if place and frames[place - 1].pts > frame.pts:
                place -= 1
        placed.append((place, frame.packet, frame))
    placed.sort(key=itemgetter(0, 1))
    merged, begin = list[ShownFrame](), 0
    for place, _, frame in placed:
        merged += [*frames[begin:place], frame]
        begin = place
    return merged + list(frames[begin:])


def _count_packets(
    packets: PacketTable, frames: Sequence[ShownFrame], rejected: frozenset[int]
) -> PacketCounts:
    count = len(packets.pts)
    numbers = np.array([frame.packet for frame in frames], np.int64)
    is_listed = np.zeros(count, np.bool_)
    is_listed[numbers] = True
    is_refused = np.zeros(count, np.bool_)
    is_refused[[packet for packet in rejected if packet < count]] = True
    rest = packets.is_shown & ~is_listed
    after_listed = np.concatenate([[False], is_listed[:-1]])
    parts = rest & after_listed & ~is_refused & (not packets.is_progressive)
    rest &= ~parts
    leading = rest & (np.arange(count) < (numbers.min() if len(numbers) else count))
    rest &= ~leading
    return PacketCounts(
        total=count,
        shown=int((is_listed & ~is_refused).sum()),
        second_fields=int(parts.sum()),
        undecodable=int((is_listed & is_refused).sum()),
        hidden=int((~packets.is_shown & ~is_listed).sum()),
        leading=int(leading.sum()),
        rejected=int((rest & is_refused).sum()),
        without_output=int((rest & ~is_refused).sum()),
    )
