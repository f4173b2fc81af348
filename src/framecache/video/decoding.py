"""The wanted frames of a video, decoded."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from framecache.errors import BadChunk
from framecache.video import limits
from framecache.video.boundary import VideoFile, typed_iteration
from framecache.video.container import (
    Container,
    DecoderError,
    VideoPacket,
    is_decoded,
)
from framecache.video.ledger import Ledger
from framecache.video.pictures import Decoded, Undecodable
from framecache.video.scanning import VideoScan

_THREADED: Final = frozenset({"av1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"})
"""Codecs whose decoders notice the same damage with several threads as with one."""

_MOST_THREADS: Final = 8

_REORDER_DEPTH: Final = 16
"""Pictures that H.264 holds back, the most it can.

Its threads note what is missing from a picture when they are done with it, and copy the note
with the picture when it is given out. A picture that waits for more others than there are
threads is given out after its thread is done.
"""
_LONG: Final = 2 * _REORDER_DEPTH
"""More pictures, in one run, than have a thread at work on them when the decoder gives out all."""

_SEEKS_EXACTLY: Final = frozenset({"mov", "matroska"})
"""Containers with an index of their keyframes. Packets of the others are read and dropped."""

_HASTE: Final = {"err_detect": "explode"}
_PATIENCE: Final[dict[str, dict[str, str]]] = {
    # Its decoder says nothing of damage, and leaves in the gaps whatever memory held before.
    "mjpeg": {"err_detect": "explode"},
}
"""Options of decoders, by codec, where there is damage."""

_NO_PTS: Final = -(2**63)

_CUT_SHORT: Final = "the file ends before it"
_DAMAGED_PACKET: Final = "damaged: the file is cut short or corrupt inside it"


@typed_iteration
def decode(
    file: VideoFile,
    scan: VideoScan,
    wanted: Sequence[int] | npt.NDArray[np.int64],
    *,
    name: str,
    threads: int,
) -> Iterator[Decoded | Undecodable]:
    """Decode the wanted frames of a video, in the order of time.

    A frame is undecodable when the decoder produces none, when it says that parts of it are
    missing, or when a picture it is built on is damaged. Frames are good again from the next
    keyframe on. Damage that the decoder does not notice, which is common with HEVC, VP8 and VP9,
    cannot be told from a sound picture.

    The result depends neither on which others are wanted nor on ``threads``. What is not needed
    is skipped: decoding goes on from one entry of the video to another, and stops once a wanted
    frame is out. What FFmpeg makes of damage depends on threads, so that several work only where
    there is none: the decoder is told to stop at the first irregularity, and a frame is given out
    once all that were decoded before it are known to be good. What remains is decoded patiently,
    by one thread.

    Args:
        file: the video that ``scan`` describes; what it raises surfaces unchanged.
        scan: what ``scan`` found.
        wanted: PTS out of ``scan.pts``, in any order.
        name: what messages call the video.
        threads: of the decoder, at least 1; more than 8 are of no use.

    Yields:
        One item for each wanted PTS, ascending, without duplicates.
    """
    remaining = deque(np.unique(np.asarray(wanted, np.int64)).tolist())
    if remaining and scan.packets is None:
        with Container(file, name=name) as container:
            runs, threads = _plan(scan, list(remaining), threads)
            container.set_up_decoder(threads=threads, options=_HASTE, reorder_depth=_REORDER_DEPTH)
            with suppress(_Irregular):
                yield from _Decoding(container, scan, remaining, name=name, patient=False).items(
                    runs
                )
    if remaining:
        with Container(file, name=name) as container:
            # Times of frames without PTS follow from how many pictures are held back.
            depth = _REORDER_DEPTH if scan.packets is None else 0
            options = _PATIENCE.get(scan.codec, {})
            container.set_up_decoder(threads=1, options=options, reorder_depth=depth)
            runs = _runs(scan, list(remaining))
            yield from _Decoding(container, scan, remaining, name=name, patient=True).items(runs)
    yield from (Undecodable(pts, _CUT_SHORT) for pts in remaining)


class _Irregular(Exception):
    """Something is not as in a sound video."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Wanted frames that are decoded in one go."""

    start: int | None
    """PTS of the keyframe to begin at; None: begin where the video does."""
    wanted: list[int]


class _Decoding:
    def __init__(
        self,
        container: Container,
        scan: VideoScan,
        remaining: deque[int],
        *,
        name: str,
        patient: bool,
    ) -> None:
        self._container = container
        self._scan = scan
        self._name = name
        self._displayed = frozenset(scan.pts.tolist())
        self._remaining = remaining
        self._patient = patient
        self._keys = _PacketTimes(container, scan)
        self._shown = set[int]()
        """Times of the pictures of a run."""
        # Elsewhere a packet may take a picture away that waits to be given out.
        self._ends_anywhere = bool(scan.is_entry.any())

    def items(self, runs: list[_Run]) -> Iterator[Decoded | Undecodable]:
        """Give out the items of the remaining frames, and take these off their list.

        Raises:
            _Irregular: unless patient, at the first irregularity.
        """
        for run in runs:
            ledger = Ledger(self._displayed, floor=_first(run))
            self._shown.clear()
            for _ in self._steps(run, ledger):
                if not (self._patient or ledger.is_clean):
                    raise _Irregular
                yield from self._take(ledger)

    def _take(self, ledger: Ledger) -> Iterator[Decoded | Undecodable]:
        for item in ledger.settled():
            while self._remaining and self._remaining[0] < item.pts:
                yield Undecodable(self._remaining.popleft(), _CUT_SHORT)
            if self._remaining and self._remaining[0] == item.pts:
                self._remaining.popleft()
                yield _within_limits(item)

    def _steps(self, run: _Run, ledger: Ledger) -> Iterator[None]:
        """Feed the ledger, and yield when there may be news in it."""
        unsent = set(run.wanted)
        is_done = False
        for packet in self._packets(run.start):
            # A picture may go on in packets that begin none.
            if is_done and self._keys.of(packet):
                break
            self._send(packet, ledger)
            yield
            unsent.difference_update(self._keys.of(packet))
            is_done = not (unsent if self._ends_anywhere else self._remaining)
            if is_done and self._scan.has_one_picture_a_packet:
                break
        self._send(None, ledger)
        ledger.finish()
        yield

    def _packets(self, start: int | None) -> Iterator[VideoPacket]:
        packets = self._container.packets()
        if start is None:
            return packets
        if self._container.format in _SEEKS_EXACTLY and not self._patient:
            self._container.seek(start)
            packets = self._container.packets()
        else:
            self._container.reset_decoder()
        for packet in packets:
            if packet.is_keyframe and packet.pts is not None and packet.pts >= start:
                if packet.pts > start and not self._patient:
                    raise _Irregular
                return chain([packet], packets)
        return iter(())

    def _send(self, packet: VideoPacket | None, ledger: Ledger) -> None:
        pts = None
        if packet is not None:
            pts = self._keys.note(packet, ledger)
        try:
            frames = self._container.decode(packet)
        except DecoderError as error:
            if packet is None or not self._keys.is_without_picture(packet):
                ledger.failed(pts, f"decoder: {error}")
            frames = []
        if packet is not None and packet.is_corrupt:
            ledger.failed(pts, _DAMAGED_PACKET)
        for frame in frames:
            self._receive(frame, ledger)

    def _receive(self, frame: VideoFrame, ledger: Ledger) -> None:
        pts = self._keys.of_picture(frame)
        is_second = pts is not None and pts in self._shown
        if pts is not None:
            self._shown.add(pts)
            if ledger.came(pts, frame):
                return
        # Damage may bring a picture after it was given up, but not another in its place.
        is_new = pts is None or (pts in self._displayed and pts >= ledger.floor)
        if is_second or (is_new and ledger.is_clean):
            if not self._patient:
                raise _Irregular
            raise BadChunk(
                f"{self._name} shows a picture that no packet tells of, so its frames cannot be "
                f"numbered: encode it again with 'ffmpeg -i FILE -fps_mode passthrough COPY.mkv'"
            )


class _PacketTimes:
    """The PTS, as the scan has them, of packets and of the pictures that come of them."""

    def __init__(self, container: Container, scan: VideoScan) -> None:
        self._container = container
        self._displayed = frozenset(scan.pts.tolist())
        self._has_one_picture_a_packet = scan.has_one_picture_a_packet
        self._by_packet: dict[int, list[int]] | None = None
        if scan.packets is not None:
            self._by_packet = defaultdict(list)
            for packet, pts in zip(scan.packets.tolist(), scan.pts.tolist(), strict=True):
                self._by_packet[packet].append(pts)
        self._pictures = Counter[int]()
        """How many have come of each packet."""

    def of(self, packet: VideoPacket) -> Sequence[int]:
        """The PTS of the frames that begin in a packet, mostly one."""
        if self._by_packet is not None:
            return self._by_packet.get(self._container.number_of(packet), ())
        pts = packet.pts
        is_frame = pts in self._displayed and self._container.shows(packet)
        return (pts,) if pts is not None and is_frame else ()

    def is_without_picture(self, packet: VideoPacket) -> bool:
        """Whether a packet holds messages alone, or leads to no picture that is shown."""
        is_whole = self._by_packet is None and self._has_one_picture_a_packet
        return is_whole and self._container.shows(packet) and not self.of(packet)

    def note(self, packet: VideoPacket, ledger: Ledger) -> int | None:
        """Tell a ledger that a packet goes to the decoder; returns its first PTS."""
        key = packet.is_keyframe
        if self._by_packet is None:
            ledger.sent(packet.pts, key=key, shown=self._container.shows(packet))
            return packet.pts
        frames = self.of(packet)
        for pts in frames:
            ledger.sent(pts, key=key)
        if not frames:
            ledger.sent(None, key=key)
        return frames[0] if frames else None

    def of_picture(self, frame: VideoFrame) -> int | None:
        """The PTS of a picture from the decoder; None when no frame of the scan is meant."""
        if self._by_packet is None:
            return frame.pts
        packet = self._container.number_of(frame)
        nth, frames = self._pictures[packet], self._by_packet.get(packet, ())
        self._pictures[packet] += 1
        return frames[nth] if nth < len(frames) else None


def _within_limits(item: Decoded | Undecodable) -> Decoded | Undecodable:
    """The item itself, unless pictures have grown on the way beyond what is decoded."""
    if isinstance(item, Undecodable) or is_decoded(item.frame.width, item.frame.height):
        return item
    return Undecodable(
        item.pts,
        f"too large: {item.frame.width}x{item.frame.height} pixels, where "
        f"{limits.MAX_PIXELS}, and {limits.MAX_SIDE} a side, are the most",
    )


def _first(run: _Run) -> int:
    return _NO_PTS if run.start is None else run.start


def _plan(scan: VideoScan, wanted: list[int], threads: int) -> tuple[list[_Run], int]:
    """How to decode ascending ``wanted`` soonest: in which runs, and on how many threads."""
    runs, long_runs = _runs(scan, wanted), _runs(scan, wanted, skipping=_LONG)
    is_long = bool((_lengths(scan, long_runs) > _LONG).all())
    most = min(threads, _MOST_THREADS) if is_long and scan.codec in _THREADED else 1
    # Each further thread is worth half a thread: pictures wait for those they are built on.
    return min(
        [(runs, 1), (long_runs, most)],
        key=lambda plan: int(_lengths(scan, plan[0]).sum()) / (plan[1] + 1),
    )


def _lengths(scan: VideoScan, runs: list[_Run]) -> npt.NDArray[np.int64]:
    """How many frames each run decodes, as if they were decoded in the order of time."""
    first = np.searchsorted(scan.pts, [_first(run) for run in runs])
    last = np.searchsorted(scan.pts, [run.wanted[-1] for run in runs])
    return last - first + 1


def _runs(scan: VideoScan, wanted: list[int], *, skipping: int = 1) -> list[_Run]:
    """Split ascending ``wanted`` wherever that skips so many frames or more.

    To begin anew costs less than to decode one frame, however small it is.
    """
    positions = np.searchsorted(scan.pts, wanted)
    entries = np.flatnonzero(scan.is_entry)
    # The last entry not after each wanted frame; -1 where there is none.
    entry = np.concatenate([entries, [-1]])[np.searchsorted(entries, positions, "right") - 1]
    following = np.concatenate([[0], positions[:-1] + 1])
    # A frame that is decoded after an entry, though shown before it, is no reason to go back.
    is_behind = np.searchsorted(scan.pts, scan.leads_from[entry]) >= following
    skips = (entry - following >= skipping) & is_behind
    runs = [_Run(None, [])]
    for pts, begin, skip in zip(wanted, entry.tolist(), skips.tolist(), strict=True):
        if skip:
            runs.append(_Run(int(scan.pts[begin]), []))
        runs[-1].wanted.append(pts)
    return [run for run in runs if run.wanted]
