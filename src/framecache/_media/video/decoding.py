"""Decoding of selected frames of a video."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from framecache._media.video import limits
from framecache._media.video.container import (
    Container,
    DecoderError,
    VideoPacket,
    is_within_size_limits,
)
from framecache._media.video.decoded import Decoded, Undecodable
from framecache._media.video.error_boundary import (
    TablesContradicted,
    VideoFile,
    expect_ranges,
    translate_iteration_errors,
)
from framecache._media.video.masked_file import MaskedFile
from framecache._media.video.reorder_buffer import ReorderBuffer
from framecache._media.video.sample_check import PacketCheck, SampleCheck, SampleRanges
from framecache._media.video.sample_tables import SampleTable
from framecache._media.video.scanning import VideoScan
from framecache._media.video.scanning import scan as scan_packets
from framecache.errors import UnreadableChunk

_THREADED_CODECS: Final = frozenset({"av1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"})
"""Codecs whose decoders detect the same damage with several threads as with one."""

_MAX_THREADS: Final = 8

_REORDER_DEPTH: Final = 16
"""Number of pictures that the H.264 decoder holds back, the maximum it supports.

A decoder thread records missing parts of a picture when it finishes the picture, and the record is
copied when the picture is output. If a picture waits for more others than there are threads, its
thread has finished by the time it is output, so no record is lost.
"""
_MAX_SHORT_RUN: Final = 2 * _REORDER_DEPTH
"""Length, in frames, that a run must exceed to be decoded with several threads.

This is more pictures than threads can be working on when the decoder is drained.
"""

INDEXED_CONTAINERS: Final = frozenset({"mov", "matroska"})
"""Containers with an index of their keyframes. In others, unneeded packets are read and dropped."""

_FAST_OPTIONS: Final = {"err_detect": "explode"}
_TOLERANT_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # Otherwise the decoder reports no damage and leaves old memory contents in the gaps.
    "mjpeg": {"err_detect": "explode"},
}
"""Decoder options by codec, for the single-threaded pass over damaged videos."""

_MIN_PTS: Final = -(2**63)

_RESCANS: Final = WeakKeyDictionary[SampleTable, VideoScan]()
"""Scan of each video that is irregular, and was described by its sample tables before.

Its segments are decoded one by one, and each would scan the whole video.
"""

_FILE_ENDED: Final = "the file ends before it"
_DAMAGED_PACKET: Final = "damaged: the file is cut short or corrupt inside it"


@translate_iteration_errors
def decode(
    file: VideoFile,
    scan: VideoScan,
    wanted: Sequence[int] | npt.NDArray[np.int64],
    *,
    name: str,
    threads: int,
) -> Iterator[Decoded | Undecodable]:
    """Decode the wanted frames of a video, in order of time.

    A frame is undecodable if the decoder outputs no picture for it, if the decoder reports missing
    parts, or if a picture it depends on is damaged. Frames are good again from the next keyframe
    on. Damage that the decoder does not detect, which is common with HEVC, VP8 and VP9, cannot be
    distinguished from an undamaged picture.

    The result for a frame depends neither on the other wanted frames nor on ``threads``. Frames
    that are not needed are skipped: decoding jumps from one entry (a packet at which decoding can
    begin) to another, and stops once the last wanted frame of a run is output. FFmpeg's treatment
    of damage depends on the number of threads, so several threads are used only for undamaged
    video: the first pass stops at the first irregularity, and yields a frame once all frames
    decoded before it are known to be good. A second pass decodes the rest with one thread and
    tolerates damage.

    Of a video that was described by its sample tables, only the groups of pictures that the wanted
    frames need are read, and what the tables state is checked. At the first irregularity the video
    is scanned. If it has the frames that the tables list, the second pass continues.

    Args:
        file: the video that ``scan`` describes; errors that it raises pass unchanged.
        scan: the result of ``scan`` or ``describe`` for this video.
        wanted: PTS out of ``scan.pts``, in any order.
        name: name of the video in error messages.
        threads: number of decoder threads, at least 1; more than 8 have no effect.

    Yields:
        One item for each distinct wanted PTS, in ascending order.

    Raises:
        TablesContradicted: sample tables list frames that differ from those of the video.
    """
    remaining = deque(np.unique(np.asarray(wanted, np.int64)).tolist())
    if scan.samples is not None:
        scan = _RESCANS.get(scan.samples, scan)
    if remaining and scan.samples is not None:
        yield from _decode_samples(file, scan, scan.samples, remaining, name=name, threads=threads)
        if remaining:
            scan = rescan(file, scan, name=name)
    elif remaining and scan.packet_numbers is None:
        runs, threads = _choose_runs(scan, list(remaining), threads)
        with Container(file, name=name) as container:
            _configure_fast_pass(container, threads)
            with suppress(_FastPassFailed):
                yield from _DecodePass(
                    container, scan, remaining, name=name, is_tolerant=False
                ).items(runs)
    if remaining:
        yield from decode_tolerantly(file, scan, remaining, name=name)


def decode_tolerantly(
    file: VideoFile, scan: VideoScan, remaining: deque[int], *, name: str
) -> Iterator[Decoded | Undecodable]:
    """Decode the remaining frames with one thread, and tolerate damage: the second pass."""
    with Container(file, name=name) as container:
        # Times of frames without PTS depend on how many pictures the decoder holds back, so
        # the decoder must keep the depth that it had during the scan.
        depth = _REORDER_DEPTH if scan.packet_numbers is None else 0
        options = _TOLERANT_OPTIONS.get(scan.codec, {})
        container.configure_decoder(threads=1, options=options, reorder_depth=depth)
        runs = _split_runs(scan, list(remaining))
        yield from _DecodePass(container, scan, remaining, name=name, is_tolerant=True).items(runs)
    yield from (Undecodable(pts, _FILE_ENDED) for pts in remaining)


def _decode_samples(
    file: VideoFile,
    scan: VideoScan,
    samples: SampleTable,
    remaining: deque[int],
    *,
    name: str,
    threads: int,
) -> Iterator[Decoded | Undecodable]:
    """Decode frames of a video that was described by its sample tables.

    Only the samples that the runs need are read. Stop where the video differs from what the tables
    state, or is damaged, with the frames from there on in ``remaining``.
    """
    runs, threads = _choose_runs(scan, list(remaining), threads)
    needed = SampleRanges(samples, [(run.start, run.wanted) for run in runs])
    masked = MaskedFile(file, samples.media)
    expect_ranges(file, needed.with_beginning())
    with Container(masked, name=name) as container:
        masked.hide(needed.unneeded())
        _configure_fast_pass(container, threads)
        sample_check = SampleCheck(samples, needed, container.codec, container.extradata)
        with suppress(_FastPassFailed):
            yield from _DecodePass(
                container, scan, remaining, name=name, is_tolerant=False, sample_check=sample_check
            ).items(runs)


def rescan(file: VideoFile, scan: VideoScan, *, name: str) -> VideoScan:
    """Scan a video that its sample tables may describe wrongly.

    Raises:
        TablesContradicted: its frames differ from those that the tables list.
    """
    expect_ranges(file, None)
    found = scan_packets(file, name=name)
    if not found.has_same_frames(scan):
        raise TablesContradicted(
            f"{name} has an index that does not match its pictures, so its frames are numbered "
            "wrongly: rebuild the timeline, which then reads the whole video to number them"
        )
    if scan.samples is not None:
        _RESCANS[scan.samples] = found
    return found


def _configure_fast_pass(container: Container, threads: int) -> None:
    container.configure_decoder(
        threads=threads, options=_FAST_OPTIONS, reorder_depth=_REORDER_DEPTH
    )


class _FastPassFailed(Exception):
    """Signal that the video differs from an undamaged one; ends the first pass."""


@dataclass(frozen=True, slots=True)
class _DecodeRun:
    """Wanted frames that are decoded without a seek between them."""

    start: int | None
    """PTS of the keyframe to begin at; None: begin at the start of the video."""
    wanted: list[int]


class _DecodePass:
    def __init__(
        self,
        container: Container,
        scan: VideoScan,
        remaining: deque[int],
        *,
        name: str,
        is_tolerant: bool,
        sample_check: PacketCheck | None = None,
        seekable: AbstractSet[str] = INDEXED_CONTAINERS,
    ) -> None:
        self._sample_check = sample_check
        self._seekable = seekable
        self._container = container
        self._scan = scan
        self._name = name
        self._displayed = frozenset(scan.pts.tolist())
        self._remaining = remaining
        self._is_tolerant = is_tolerant
        self._packet_times = _PacketTimes(container, scan)
        self._output_pts = set[int]()
        """PTS of the pictures that the decoder has output in the current run."""
        # A run ends early only in a video with entries. In others, a later packet may remove a
        # picture that waits to be output.
        self._is_early_end_allowed = bool(scan.is_random_access.any())

    def items(self, runs: list[_DecodeRun]) -> Iterator[Decoded | Undecodable]:
        """Yield the items of the remaining frames, and remove these from ``remaining``.

        Raises:
            _Irregular: something is irregular, and this is not the patient (second) pass.
        """
        for run in runs:
            reorder_buffer = ReorderBuffer(self._displayed, min_pts=_first_pts(run))
            self._output_pts.clear()
            if self._sample_check is not None:
                self._sample_check.begin_run()
            for _ in self._feed(run, reorder_buffer):
                if not (self._is_tolerant or reorder_buffer.is_clean):
                    raise _FastPassFailed
                yield from self._take_ready(reorder_buffer)

    def _take_ready(self, buffer: ReorderBuffer) -> Iterator[Decoded | Undecodable]:
        for item in buffer.pop_ready():
            while self._remaining and self._remaining[0] < item.pts:
                yield Undecodable(self._remaining.popleft(), _FILE_ENDED)
            if self._remaining and self._remaining[0] == item.pts:
                self._remaining.popleft()
                yield _within_limits(item)

    def _feed(self, run: _DecodeRun, buffer: ReorderBuffer) -> Iterator[None]:
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
                    raise _FastPassFailed
                return chain([packet], packets)
        return iter(())

    def _seek_target(self, start: int) -> int:
        """Return the time to seek to; without an index, FFmpeg compares it with decoding times."""
        if self._container.format in INDEXED_CONTAINERS:
            return start
        position = int(np.searchsorted(self._scan.pts, start))
        return int(self._scan.pts[max(0, position - _REORDER_DEPTH)])

    def _send_packet(self, packet: VideoPacket | None, buffer: ReorderBuffer) -> None:
        pts = None
        if packet is not None:
            if self._sample_check is not None and not self._sample_check.admits(packet):
                raise _FastPassFailed
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
        if self._sample_check is not None and not self._sample_check.admits_picture(pts):
            raise _FastPassFailed
        is_second = pts is not None and pts in self._output_pts
        if pts is not None:
            self._output_pts.add(pts)
            if buffer.add_picture(pts, frame):
                return
        # With damage, a picture may arrive after it was given up, but no second one for its PTS.
        is_new = pts is None or (pts in self._displayed and pts >= buffer.min_pts)
        if is_second or (is_new and buffer.is_clean):
            if not self._is_tolerant:
                raise _FastPassFailed
            raise UnreadableChunk(
                f"{self._name} shows a picture that belongs to no packet, so its frames "
                "cannot be numbered: encode it again with 'ffmpeg -i FILE -fps_mode "
                "passthrough COPY.mkv'"
            )


class _PacketTimes:
    """PTS, as listed by the scan, of packets and of the pictures decoded from them."""

    def __init__(self, container: Container, scan: VideoScan) -> None:
        self._container = container
        self._displayed = frozenset(scan.pts.tolist())
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


def _first_pts(run: _DecodeRun) -> int:
    return _MIN_PTS if run.start is None else run.start


def _choose_runs(scan: VideoScan, wanted: list[int], threads: int) -> tuple[list[_DecodeRun], int]:
    """Choose the runs and the number of threads that decode ascending ``wanted`` fastest."""
    runs, long_runs = _split_runs(scan, wanted), _split_runs(scan, wanted, min_skip=_MAX_SHORT_RUN)
    is_long = bool((_run_lengths(scan, long_runs) > _MAX_SHORT_RUN).all())
    most = min(threads, _MAX_THREADS) if is_long and scan.codec in _THREADED_CODECS else 1
    # An additional thread counts as half a thread, since pictures wait for their references.
    return min(
        [(runs, 1), (long_runs, most)],
        key=lambda plan: int(_run_lengths(scan, plan[0]).sum()) / (plan[1] + 1),
    )


def _run_lengths(scan: VideoScan, runs: list[_DecodeRun]) -> npt.NDArray[np.int64]:
    """Return how many frames each run decodes, as if the decoding order were that of time."""
    first = np.searchsorted(scan.pts, [_first_pts(run) for run in runs])
    last = np.searchsorted(scan.pts, [run.wanted[-1] for run in runs])
    return last - first + 1


def _split_runs(scan: VideoScan, wanted: list[int], *, min_skip: int = 1) -> list[_DecodeRun]:
    """Split ascending ``wanted`` wherever that skips at least ``min_skip`` frames.

    A restart costs less than decoding one frame, even a small one.
    """
    positions = np.searchsorted(scan.pts, wanted)
    entries = np.flatnonzero(scan.is_random_access)
    # The last entry at or before each wanted frame; -1 if there is none.
    entry = np.concatenate([entries, [-1]])[np.searchsorted(entries, positions, "right") - 1]
    following = np.concatenate([[0], positions[:-1] + 1])
    # A leading picture is shown before its entry but decoded after it. If the previous wanted
    # frame is one, decoding has already passed this entry: do not go back to it.
    is_behind = np.searchsorted(scan.pts, scan.earliest_pts[entry]) >= following
    skips = (entry - following >= min_skip) & is_behind
    runs = [_DecodeRun(None, [])]
    for pts, begin, skip in zip(wanted, entry.tolist(), skips.tolist(), strict=True):
        if skip:
            runs.append(_DecodeRun(int(scan.pts[begin]), []))
        runs[-1].wanted.append(pts)
    return [run for run in runs if run.wanted]
