"""Description of a video that is kept, so that single frames are decoded without a scan."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from framecache._core.json_documents import parse_fraction
from framecache._media.video import limits
from framecache._media.video.container import Container
from framecache._media.video.decode_pass import INDEXED_CONTAINERS
from framecache._media.video.display import PacketCounts
from framecache._media.video.error_boundary import (
    ByteRange,
    VideoFile,
    translate_read_errors,
)
from framecache._media.video.scanning import SCAN_RULES, VideoScan

_MAX_GAP_BYTES: Final = 64 * 1024
"""Gap between two reads that is fetched with them."""
_MAX_RANGES: Final = 64
_ITEM_BYTES: Final = 8


class InvalidDescription(ValueError):
    """Description that is damaged, or was made by other rules."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoDescription:
    """Frames of a video, and the bytes that are read before the first of them is decoded."""

    scan: VideoScan
    opening_ranges: tuple[ByteRange, ...]
    """Bytes that FFmpeg reads to open the file, ascending."""


@translate_read_errors
def describe_opening(file: VideoFile, *, scan: VideoScan, name: str) -> VideoDescription:
    """Open a video once, and return what is read for that together with its scan.

    Raises:
        UnreadableChunk: the video cannot be opened.
    """
    recorder = _ReadRecorder(file)
    with Container(recorder, name=name) as container:
        if container.format in INDEXED_CONTAINERS and scan.is_random_access.any():
            container.seek(int(scan.pts[scan.is_random_access][-1]))
    return VideoDescription(scan, _join(recorder.ranges))


def to_document(described: VideoDescription) -> dict[str, Any]:
    """Return a description as values of JSON."""
    scan = described.scan
    document: dict[str, Any] = {
        "scan_rules": SCAN_RULES,
        "opening_ranges": [list(one) for one in described.opening_ranges],
        "pts": _encode_numbers(scan.pts),
        "is_key": _encode_mask(scan.is_key),
        "is_random_access": _encode_mask(scan.is_random_access),
        "leading": _encode_numbers(scan.pts - scan.earliest_pts),
        "packet_numbers": (
            None if scan.packet_numbers is None else _encode_numbers(scan.packet_numbers)
        ),
        "packet_counts": [getattr(scan.packet_counts, name) for name in PacketCounts.__slots__],
    }
    for name in _FRACTIONS:
        value = getattr(scan, name)
        document[name] = None if value is None else str(value)
    return document | {name: getattr(scan, name) for name in _PLAIN}


def from_document(document: Mapping[str, Any]) -> VideoDescription:
    """Return what `to_document` was given.

    Raises:
        InvalidDescription: it is damaged, or was made by other rules.
    """
    if document.get("scan_rules") != SCAN_RULES:
        raise InvalidDescription("it was made by other rules")
    try:
        pts = _decode_numbers(document["pts"])
        count = len(pts)
        packets = document["packet_numbers"]
        scan = VideoScan(
            pts=pts,
            is_key=_decode_mask(document["is_key"], count),
            is_random_access=_decode_mask(document["is_random_access"], count),
            earliest_pts=pts - _decode_numbers(document["leading"], count),
            packet_numbers=None if packets is None else _decode_numbers(packets, count),
            packet_counts=PacketCounts(*map(int, document["packet_counts"])),
            **_plain_values(document),
        )
        ranges = [(int(start), int(stop)) for start, stop in document["opening_ranges"]]
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InvalidDescription(f"it is damaged ({type(error).__name__})") from error
    return VideoDescription(scan, tuple(ranges))


def _plain_values(document: Mapping[str, Any]) -> dict[str, Any]:
    fractions = {
        name: None if document[name] is None else parse_fraction(document[name])
        for name in _FRACTIONS
    }
    return {name: document[name] for name in _PLAIN} | fractions


_PLAIN: Final = (
    *("end_pts", "picture_end_pts", "width", "height", "codec", "container"),
    *("has_one_picture_per_packet", "times_replaced", "clock_restarts", "is_cut_short"),
    *("has_inter_keyframes", "has_one_format", "has_other_video", "stream_clock"),
)
_FRACTIONS: Final = (
    *("time_base", "sample_aspect_ratio", "file_start_seconds"),
    *("clock_start_seconds", "clock_end_seconds"),
)


def _encode_numbers(values: npt.NDArray[np.int64]) -> str:
    """Encode numbers as their differences: at a constant frame rate they are equal."""
    steps = np.diff(values.astype("<i8"), prepend=np.int64(0))
    return base64.b64encode(zlib.compress(steps.tobytes())).decode()


def _decode_numbers(text: str, count: int | None = None) -> npt.NDArray[np.int64]:
    data = _decompress(text, most=_ITEM_BYTES * limits.MAX_FRAMES)
    steps = np.frombuffer(data, "<i8").astype(np.int64)
    if count not in {None, len(steps)}:
        raise ValueError(len(steps))
    return np.cumsum(steps, dtype=np.int64)


def _encode_mask(mask: npt.NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def _decode_mask(text: str, count: int) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(_decompress(text, most=limits.MAX_FRAMES), np.uint8)
    mask = np.unpackbits(bits)[:count].astype(np.bool_)
    if len(mask) != count:
        raise ValueError(len(mask))
    return mask


def _decompress(text: str, *, most: int) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(base64.b64decode(text, validate=True), most)
    if not inflater.eof:
        raise ValueError(len(data))
    return data


class _ReadRecorder:
    """File that records which bytes are read."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self.ranges: list[ByteRange] = []

    def read(self, size: int) -> bytes | None:
        start = self._file.tell()
        data = self._file.read(size)
        if data:
            self.ranges.append((start, start + len(data)))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _join(ranges: Sequence[ByteRange]) -> tuple[ByteRange, ...]:
    """Join ranges that overlap or are close, from the start of the file on."""
    joined: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if joined and start - joined[-1][1] <= _MAX_GAP_BYTES:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return tuple(joined[:_MAX_RANGES])
