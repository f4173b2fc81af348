"""Pass over a video that decodes the frames of some runs: the first stops at an irregularity."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final

import numpy as np
from av.video.frame import VideoFrame

from framecache._media.video import limits
from framecache._media.video.container import (
    Container,
    DecoderError,
    VideoPacket,
    is_within_size_limits,
)
from framecache._media.video.decode_runs import REORDER_DEPTH, DecodeRun
from framecache._media.video.decoded import Decoded, Undecodable
from framecache._media.video.reorder_buffer import ReorderBuffer
from framecache._media.video.sample_check import PacketCheck
from framecache._media.video.scanning import VideoScan
from framecache.errors import UnreadableChunk

INDEXED_CONTAINERS: Final = frozenset({"mov", "matroska"})
"""Containers with an index of their keyframes. In others, unneeded packets are read and dropped."""

_FAST_OPTIONS: Final = {"err_detect": "explode"}
FILE_ENDED: Final = "the file ends before it"
_DAMAGED_PACKET: Final = "damaged: the file is cut short or corrupt inside it"


class FastPassFailed(Exception):
    """Signal that the video differs from an undamaged one; ends the first pass."""


def configure_fast_pass(container: Container, threads: int) -> None:
    """Configure the decoder of a container for the first pass."""
    container.configure_decoder(threads=threads, options=_FAST_OPTIONS, reorder_depth=REORDER_DEPTH)


class DecodePass:
    """Pass of one decoder over the frames of some runs."""

    def __init__(
        self,
        container: Container,
        scan: VideoScan,
        remaining: deque[int],
        *,
        name: str,
        is_tolerant: bool,
        check: PacketCheck | None = None,
        seekable: AbstractSet[str] = INDEXED_CONTAINERS,
    ) -> None:
        """Start before the first packet.

        Args:
            container: the open video.
            scan: its scan.
            remaining: PTS of the frames that no pass has yielded, ascending; shared with the next.
            name: name of the video in error messages.
            is_tolerant: False for the first pass, which stops at the first irregularity.
            check: checks of what sample tables state.
            seekable: containers in which the first pass seeks to the start of a run.
        """
        self._check = check
        self._seekable = seekable
        self._container = container
        self._scan = scan
        self._name = name
        self._displayed = frozenset(scan.pts.tolist())
        self._remaining = remaining
        self._is_tolerant = is_tolerant
        self._packet_times = _PacketTimes(container, scan, self._displayed)
        self._output_pts = set[int]()
        """PTS of the pictures that the decoder has output in the current run."""
        # A run ends early only in a video with entries. In others, a later packet may remove a
        # picture that waits to be output.
        self._is_early_end_allowed = bool(scan.is_random_access.any())

    def items(self, runs: list[DecodeRun]) -> Iterator[Decoded | Undecodable]:
        """Yield the items of the remaining frames, and remove these from ``remaining``.

        Raises:
            FastPassFailed: something is irregular, and this is not the second pass.
        """
        for run in runs:
            reorder_buffer = ReorderBuffer(self._displayed, min_pts=run.first_pts)
            self._output_pts.clear()
            if self._check is not None:
                self._check.begin_run()
            for _ in self._feed(run, reorder_buffer):
                if not (self._is_tolerant or reorder_buffer.is_clean):
                    raise FastPassFailed
                yield from self._take_ready(reorder_buffer)

    def _take_ready(self, buffer: ReorderBuffer) -> Iterator[Decoded | Undecodable]:
        for item in buffer.pop_ready():
            while self._remaining and self._remaining[0] < item.pts:
                yield Undecodable(self._remaining.popleft(), FILE_ENDED)
            if self._remaining and self._remaining[0] == item.pts:
                self._remaining.popleft()
                yield _within_limits(item)

    def _feed(self, run: DecodeRun, buffer: ReorderBuffer) -> Iterator[None]:
        """Feed the buffer, and yield whenever it may have released more frames."""
        unsent = set(run.wanted)
        is_done = False
        for packet in self._packets(run.start):
            # A picture may continue in packets that begin no picture.
            if is_done and self._packet_times.pts_of(packet):
                break
            self._send_packet(packet, buffer)
            yield
            unsent.difference_update(self._packet_times.pts_of(packet))
            is_done = not (unsent if self._is_early_end_allowed else self._remaining)
            if is_done and self._scan.has_one_picture_per_packet:
                break
        self._send_packet(None, buffer)
        buffer.flush()
        yield

    def _packets(self, start: int | None) -> Iterator[VideoPacket]:
        packets = self._container.packets()
        if start is None:
            return packets
        if self._container.format in self._seekable and not self._is_tolerant:
            self._container.seek(self._seek_target(start))
            packets = self._container.packets()
        else:
            self._container.reset_decoder()
        for packet in packets:
            if packet.is_keyframe and packet.pts is not None and packet.pts >= start:
                if packet.pts > start and not self._is_tolerant:
                    raise FastPassFailed
                return chain([packet], packets)
        return iter(())

    def _seek_target(self, start: int) -> int:
        """Return the time to seek to; without an index, FFmpeg compares it with decoding times."""
        if self._container.format in INDEXED_CONTAINERS:
            return start
        position = int(np.searchsorted(self._scan.pts, start))
        return int(self._scan.pts[max(0, position - REORDER_DEPTH)])

    def _send_packet(self, packet: VideoPacket | None, buffer: ReorderBuffer) -> None:
        pts = None
        if packet is not None:
            if self._check is not None and not self._check.admits(packet):
                raise FastPassFailed
            pts = self._packet_times.record(packet, buffer)
        try:
            frames = self._container.decode(packet)
        except DecoderError as error:
            if packet is None or not self._packet_times.is_without_picture(packet):
                buffer.mark_damaged(pts, f"decoder: {error}")
            frames = []
        if packet is not None and packet.is_corrupt:
            buffer.mark_damaged(pts, _DAMAGED_PACKET)
        for frame in frames:
            self._receive_picture(frame, buffer)

    def _receive_picture(self, frame: VideoFrame, buffer: ReorderBuffer) -> None:
        pts = self._packet_times.pts_of_picture(frame)
        if self._check is not None and not self._check.admits_picture(pts):
            raise FastPassFailed
        is_second = pts is not None and pts in self._output_pts
        if pts is not None:
            self._output_pts.add(pts)
            if buffer.add_picture(pts, frame):
                return
        # With damage, a picture may arrive after it was given up, but no second one for its PTS.
        is_new = pts is None or (pts in self._displayed and pts >= buffer.min_pts)
        if is_second or (is_new and buffer.is_clean):
            if not self._is_tolerant:
                raise FastPassFailed
            raise UnreadableChunk(
                f"{self._name} shows a picture that belongs to no packet, so its frames "
                "cannot be numbered: encode it again with 'ffmpeg -i FILE -fps_mode "
                "passthrough COPY.mkv'"
            )


class _PacketTimes:
    """PTS, as listed by the scan, of packets and of the pictures decoded from them."""

    def __init__(self, container: Container, scan: VideoScan, displayed: AbstractSet[int]) -> None:
        self._container = container
        self._displayed = displayed
        self._has_one_picture_a_packet = scan.has_one_picture_per_packet
        self._by_packet: dict[int, list[int]] | None = None
        if scan.packet_numbers is not None:
            self._by_packet = defaultdict(list)
            for packet, pts in zip(scan.packet_numbers.tolist(), scan.pts.tolist(), strict=True):
                self._by_packet[packet].append(pts)
        self._pictures = Counter[int]()
        """Number of pictures decoded so far, by packet."""

    def pts_of(self, packet: VideoPacket) -> Sequence[int]:
        """Return the PTS of the frames that begin in a packet, usually one."""
        if self._by_packet is not None:
            return self._by_packet.get(self._container.packet_number(packet), ())
        pts = packet.pts
        is_frame = pts in self._displayed and self._container.is_shown(packet)
        return (pts,) if pts is not None and is_frame else ()

    def is_without_picture(self, packet: VideoPacket) -> bool:
        """Return True if a packet holds metadata only, or no picture that is shown."""
        is_whole = self._by_packet is None and self._has_one_picture_a_packet
        return is_whole and self._container.is_shown(packet) and not self.pts_of(packet)

    def record(self, packet: VideoPacket, buffer: ReorderBuffer) -> int | None:
        """Record in the ledger that a packet goes to the decoder; return its first PTS."""
        key = packet.is_keyframe
        if self._by_packet is None:
            buffer.add_packet(
                packet.pts, is_keyframe=key, is_shown=self._container.is_shown(packet)
            )
            return packet.pts
        frames = self.pts_of(packet)
        for pts in frames:
            buffer.add_packet(pts, is_keyframe=key)
        if not frames:
            buffer.add_packet(None, is_keyframe=key)
        return frames[0] if frames else None

    def pts_of_picture(self, frame: VideoFrame) -> int | None:
        """Return the PTS of a decoded picture; None if it is not a frame of the scan."""
        if self._by_packet is None:
            return frame.pts
        packet = self._container.packet_number(frame)
        nth, frames = self._pictures[packet], self._by_packet.get(packet, ())
        self._pictures[packet] += 1
        return frames[nth] if nth < len(frames) else None


def _within_limits(item: Decoded | Undecodable) -> Decoded | Undecodable:
    """Return the item, or an undecodable one if its picture exceeds the size limits.

    The picture size can change in the course of a video.
    """
    if isinstance(item, Undecodable) or is_within_size_limits(item.frame.width, item.frame.height):
        return item
    return Undecodable(
        item.pts,
        f"too large: {item.frame.width}x{item.frame.height} pixels, where "
        f"{limits.MAX_PIXELS}, and {limits.MAX_SIDE} a side, are the most",
    )
