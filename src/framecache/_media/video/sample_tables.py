"""Packets of an MP4 as its sample tables describe them, without reading the media data.

FFmpeg demuxes the tables, so packets have the times, edits and order of a full read. What only the
media data determines is unknown or assumed: that a sync sample is a random-access point, and that a
packet is one shown picture. This is checked for some samples here, and for the others while they
are decoded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from framecache._media.video.container import Container, VideoPacket
from framecache._media.video.error_boundary import ByteRange, VideoFile, expect_ranges
from framecache._media.video.masked_file import MaskedFile
from framecache._media.video.mp4 import Mp4Info
from framecache._media.video.packet_table import (
    NO_PTS,
    PacketTable,
    count_shown_pictures,
    decode_first,
    is_progressive,
)
from framecache._media.video.picture_order import PictureOrderParser
from framecache._media.video.random_access import RandomAccessFinder
from framecache._media.video.stream_properties import StreamProperties
from framecache.errors import UnreadableChunk

_CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1"})
"""Codecs whose tables can be trusted: every packet is one picture, in files as encoders write them.
"""

_BEGINNING_BYTES: Final = 2**20 - 2**16
"""Number of bytes of media data that are usually enough to obtain the first picture.

Where the media data is before the index, the first request for an object has them.
"""
_MAX_FIRST_PACKETS: Final = 64
"""Maximum number of packets that are read to obtain the first picture."""
_PROBES: Final = 3
"""Number of sync samples whose bytes are checked, evenly spaced."""
_PROBE_BYTES: Final = 2**16
"""Number of leading bytes of a sync sample that are checked; its first slice begins in them."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SampleTable:
    """Samples of a video track, in decoding order: one packet each."""

    offset: npt.NDArray[np.int64]
    """Offset of the sample in the file."""
    size_bytes: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    is_sync: npt.NDArray[np.bool_]
    """True if the tables mark the sample as one at which decoding can begin."""
    media: tuple[ByteRange, ...]
    """Ranges of the media data in the file; the samples are in these."""

    def beginning(self) -> ByteRange:
        """Return the range of media data that is usually enough to open the file."""
        return _beginning(self.media)


def read_tables(
    file: VideoFile, boxes: Mp4Info, *, name: str
) -> tuple[PacketTable, SampleTable] | None:
    """Describe a video by its sample tables; return None if they cannot be trusted.

    Reads the index, the beginning of the media data up to the first picture, and the beginnings of
    a few sync samples. Errors that ``file`` raises pass unchanged.
    """
    if not boxes.media or boxes.is_cut_short:
        return None
    expect_ranges(file, [_beginning(boxes.media)], keep=True)
    masked = MaskedFile(file, boxes.media)
    try:
        with Container(masked, name=name) as container:
            if container.format != "mov" or container.codec not in _CODECS:
                return None
            return _TableReader(file, masked, container, boxes.media).read()
    except UnreadableChunk:
        # The scan finds out whether the video is readable, and what is wrong with it.
        return None


class _TableReader:
    def __init__(
        self,
        file: VideoFile,
        masked: MaskedFile,
        container: Container,
        media: tuple[ByteRange, ...],
    ) -> None:
        self._file = file
        self._masked = masked
        self._container = container
        self._media = media
        extradata = container.extradata
        self._extradata = extradata
        self._parser = PictureOrderParser(container.codec, extradata)

    def read(self) -> tuple[PacketTable, SampleTable] | None:
        container = self._container
        container.configure_decoder(threads=1, options={})
        packets = container.packets()
        beginning, first = self._read_beginning(packets)
        if first is None:
            return None
        rows = [_row(packet) for packet in beginning]
        has_new_extradata = any(packet.has_sidedata("new_extradata") for packet in beginning)
        for packet in packets:
            has_new_extradata |= packet.has_sidedata("new_extradata")
            rows.append(_row(packet))
        samples = self._match_index(rows)
        if samples is None or has_new_extradata or container.has_corrupt_packets:
            return None
        durations = np.array([row[4] for row in rows], np.int64)
        is_shown = np.array([row[5] for row in rows], np.bool_)
        if not (self._is_consistent(samples, durations) and self._begins_as_stated(beginning)):
            return None
        stream = container.stream_properties()
        if stream is None:
            return None
        table = self._packet_table(first, stream, samples, durations, is_shown)
        is_certain = table.is_progressive and table.ambiguous_until() == NO_PTS
        if not (is_certain and table.is_reorder_bounded() and self._passes_probes(samples)):
            return None
        return table, samples

    def _read_beginning(
        self, packets: Iterator[VideoPacket]
    ) -> tuple[list[VideoPacket], VideoFrame | None]:
        """Read packets with their bytes until one makes the decoder output a picture."""
        self._masked.hide(())
        beginning = list[VideoPacket]()
        first: VideoFrame | None = None
        for packet in packets:
            beginning.append(packet)
            first = decode_first(self._container, packet)
            if first is not None:
                self._masked.hide(self._media)
                return beginning, first
            if len(beginning) == _MAX_FIRST_PACKETS:
                return beginning, None
        return beginning, decode_first(self._container, None)

    def _match_index(self, rows: list[tuple[int, int, int, int, int, bool]]) -> SampleTable | None:
        """Return the samples with the marks of the index; None if it lists others."""
        entries = [entry for entry in self._container.index_entries() if entry[1] > 0]
        if not rows or [(row[2], row[3]) for row in rows] != [entry[:2] for entry in entries]:
            return None
        pts, dts, offset, size_bytes = (
            np.array([row[column] for row in rows], np.int64) for column in range(4)
        )
        is_sync = np.array([entry[2] for entry in entries], np.bool_)
        return SampleTable(offset, size_bytes, pts, dts, is_sync, self._media)

    def _is_consistent(self, samples: SampleTable, durations: npt.NDArray[np.int64]) -> bool:
        """Return True if samples are in media data, overlap no others, and times ascend."""
        has_times = bool((samples.pts > NO_PTS).all()) and bool((samples.dts > NO_PTS).all())
        if not has_times or (durations < 0).any() or (np.diff(samples.dts) <= 0).any():
            return False
        begins, ends = np.array(self._media, np.int64).T
        place = np.searchsorted(begins, samples.offset, "right") - 1
        stop = samples.offset + samples.size_bytes
        if (place < 0).any() or (stop > ends[place]).any():
            return False
        in_order = np.argsort(samples.offset)
        first, last = samples.offset[in_order], stop[in_order]
        if (first[1:] < last[:-1]).any():
            return False
        others = np.array(self._container.other_index_entries(), np.int64).reshape(-1, 2)
        others = others[others[:, 1] > 0]
        before = np.searchsorted(first, others.sum(axis=1)) - 1
        return not ((before >= 0) & (last[before] > others[:, 0])).any()

    def _begins_as_stated(self, beginning: list[VideoPacket]) -> bool:
        """Return True if the packets that were read are what the tables say."""
        entries = self._container.index_entries()
        marks = [is_sync for _, size, is_sync in entries if size > 0]
        is_vp9 = self._container.codec == "vp9"
        finder = RandomAccessFinder(self._container.codec, self._extradata)
        for packet, is_sync in zip(beginning, marks, strict=False):
            data = bytes(packet)
            finder.inspect(data, has_new_extradata=False)
            said = self._parser.parse(data)
            if packet.is_keyframe != is_sync or (is_sync and not finder.is_last_random_access()):
                return False
            if not said.has_picture or (is_vp9 and count_shown_pictures(data) != 1):
                return False
        return not self._parser.may_have_fields

    def _passes_probes(self, samples: SampleTable) -> bool:
        """Return True if decoding can begin at each of some sync samples, by their bytes."""
        sync = np.flatnonzero(samples.is_sync)
        chosen = sync[np.unique(np.linspace(0, len(sync) - 1, _PROBES).astype(int))]
        begins = samples.offset[chosen]
        ends = begins + np.minimum(samples.size_bytes[chosen], _PROBE_BYTES)
        ranges = sorted(zip(begins.tolist(), ends.tolist(), strict=True))
        expect_ranges(self._file, ranges, keep=True)
        finder = RandomAccessFinder(self._container.codec, self._extradata)
        for begin, end in ranges:
            finder.inspect(_read_range(self._file, begin, end), has_new_extradata=False)
        return bool(finder.mask().all())

    def _packet_table(
        self,
        first: VideoFrame,
        stream: StreamProperties,
        samples: SampleTable,
        durations: npt.NDArray[np.int64],
        is_shown: npt.NDArray[np.bool_],
    ) -> PacketTable:
        return PacketTable(
            first_picture=first,
            stream=stream,
            pts=samples.pts,
            dts=samples.dts,
            duration=durations,
            is_key=samples.is_sync,
            is_shown=is_shown,
            is_random_access=samples.is_sync,
            is_damaged=False,
            has_backward_wrap=False,
            is_in_order=None,
            has_packed_pictures=False,
            is_progressive=is_progressive(self._container, first)
            and not self._parser.may_have_fields,
            is_cut_short=False,
            has_inter_keyframes=None,
            has_one_format=None,
        )


def _beginning(media: Sequence[ByteRange]) -> ByteRange:
    begin, end = media[0]
    return begin, min(begin + _BEGINNING_BYTES, end)


def _row(packet: VideoPacket) -> tuple[int, int, int, int, int, bool]:
    """Return PTS, DTS, offset, size, duration, and whether the picture is to be shown."""
    pts = NO_PTS if packet.pts is None else packet.pts
    dts = NO_PTS if packet.dts is None else packet.dts
    offset = -1 if packet.pos is None else packet.pos
    return pts, dts, offset, packet.size, packet.duration or 0, not packet.is_discard


def _read_range(file: VideoFile, begin: int, end: int) -> bytes:
    file.seek(begin)
    parts = list[bytes]()
    while begin < end and (part := file.read(end - begin)):
        parts.append(bytes(part))
        begin += len(parts[-1])
    return b"".join(parts)
