"""Check of the sample counts that an MP4's index declares, before FFmpeg opens the file.

FFmpeg allocates memory for every declared sample, even if the file has no bytes for it: a file of
40 kB can take gigabytes. No option of FFmpeg limits this, so the boxes (ISO/IEC 14496-12) are
checked first. Other containers declare only what they contain.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._media.video import limits, mp4_fragments
from framecache._media.video.error_boundary import ByteRange, VideoFile, expect_ranges
from framecache.errors import UnreadableChunk

_CONTAINER_BOXES: Final = frozenset(
    {
        *(b"moov", b"hoov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"tref"),
        *(b"mvex", b"moof", b"traf", b"wave", b"sinf", b"schi", b"ilst", b"ipro", b"iprp", b"vexu"),
    }
)
"""Container boxes: FFmpeg looks for every kind of box inside these."""

_MAX_DEPTH: Final = 16
"""Maximum nesting of boxes that is followed; FFmpeg stops at 10."""

_MISPLACED_BOXES: Final = re.compile(rb"cmov|stsz|stz2|trun|elst")
_SCHEME_BOX: Final = re.compile(rb"schm.{4}([ -~]{4})", re.DOTALL)
_MAX_DESCRIPTION_BYTES: Final = 2**20
_BUFFER_BYTES: Final = 8 * 1024
"""Number of bytes that are read at once: the headers of neighboring boxes."""
_LARGE_MEDIA_BYTES: Final = 2**20
"""Size of media data from which on skipping it takes less time than reading it from a store."""
_FRAGMENT_HEAD_BYTES: Final = 2**14
"""Number of bytes that hold the index of a fragment and of its media data the first."""
_MAX_LIST_BYTES: Final = 2**24
"""Maximum size of a list of fragments that is read."""
_SAMPLES_PER_ENTRY: Final = 160
"""Minimum number of samples per index entry where FFmpeg groups the samples of plain audio.

Plain audio is a sound track in which every sample lasts one unit of time.
"""
_HANDLER_TYPES: Final = frozenset({b"vide", b"soun", b"m1a ", b"subp", b"clcp"})
"""Kinds of tracks that FFmpeg recognizes; it ignores others."""


@dataclass(frozen=True, slots=True)
class Mp4Info:
    """Facts that the boxes of a file state; all false if the file is not an MP4."""

    has_fragments: bool
    """True if the file is an MP4 that declares fragments."""
    is_cut_short: bool
    """True if the file ends inside its media data."""
    media: tuple[ByteRange, ...] = ()
    """Offsets ``[begin, end)`` of the media data in the file, ascending."""


def check_mp4(file: VideoFile, *, name: str) -> Mp4Info:
    """Refuse an MP4 whose index would take an unreasonable amount of memory.

    Also refuse an encrypted MP4 and an init segment without media segments. Only the box headers
    and the tables that state counts are read. A file that is not an MP4 passes.

    Raises:
        UnreadableChunk: the file declares too many samples, boxes or tracks, hides how many there
            are, is encrypted, or is an init segment.
    """
    check = _Mp4Checker(file, name)
    check.run()
    return Mp4Info(check.has_fragments, check.is_cut_short, tuple(check.media))


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    begin: int
    """Offset of its content in the file."""
    end: int


@dataclass(slots=True)
class _Track:
    """Counts and properties from the tables of one track."""

    samples: int = 0
    edits: int = 0
    chunks: int = 0
    samples_by_chunk: list[bytes] = field(default_factory=list)
    handlers: set[bytes] = field(default_factory=set)
    encryption: str | None = None
    """Encryption scheme of its pictures (ISO/IEC 23001-7), such as ``cenc``."""
    has_unit_durations: bool = False
    """True if one table entry gives all samples a duration of one unit of time."""

    def max_entries(self) -> int:
        """Return the maximum number of index entries that FFmpeg creates for this track."""
        is_plain_sound = self.is_sound() and self.has_unit_durations
        samples = self._plain_sound_entries() if is_plain_sound else self.samples
        return samples * max(self.edits, 1)

    def is_clear_video(self) -> bool:
        """Return True if the track holds pictures that are not encrypted."""
        return b"vide" in self.handlers and self.encryption is None

    def is_sound(self) -> bool:
        """Return True if sound is the only kind that FFmpeg recognizes in its handlers."""
        return self.handlers & _HANDLER_TYPES == {b"soun"}

    def _plain_sound_entries(self) -> int:
        entries = self.chunks
        for table in self.samples_by_chunk:
            rows = np.frombuffer(table[: len(table) // 12 * 12], ">u4").reshape(-1, 3)
            firsts = np.append(rows[:, 0], self.chunks + 1).astype(np.float64)
            chunks = np.diff(np.minimum(firsts, self.chunks + 1)).clip(min=0)
            entries += int((chunks * (rows[:, 1] // _SAMPLES_PER_ENTRY)).sum())
        return entries


class _Mp4Checker:
    def __init__(self, file: VideoFile, name: str) -> None:
        self._file = file
        self._name = name
        self._size_bytes = file.seek(0, os.SEEK_END)
        self._buffer = b""
        self._buffer_begin = 0
        self._box_count = 0
        self._entry_count = 0
        self._picture_track_count = 0
        self.has_fragments = False
        self.is_cut_short = False
        self.media: list[ByteRange] = []
        self._has_announced = False
        self._clear_video_count = 0
        self._encryption: str | None = None

    def run(self) -> None:
        kinds = set[bytes]()
        has_index = False
        for box in self._iter_boxes(0, self._size_bytes):
            kinds.add(box.kind)
            self._announce(box)
            if box.kind in _CONTAINER_BOXES and not has_index:
                outside = _Track()
                self._walk(box, outside, depth=1)
                self._add_entries(outside.max_entries())
            if box.kind == b"mdat" and box.end > box.begin:
                self.media.append((box.begin, box.end))
            # FFmpeg ignores a second index, and ignores fragments that the first does not declare.
            if box.kind == b"moov":
                self._reject_encrypted()
                has_index = not self.has_fragments
        if self.has_fragments and not (b"moof" in kinds or self._entry_count):
            raise UnreadableChunk(
                f"{self._name} is an init segment, which contains no frames: append media "
                "segments to it, for example with 'cat init.mp4 SEGMENT > WHOLE.mp4'"
            )

    def _announce(self, box: _Box) -> None:
        """Announce to the file which bytes are read next, if a top-level box shows it."""
        match box.kind:
            case b"moov":
                expect_ranges(self._file, [(box.begin, box.end)], keep=True)
            case b"sidx":
                data = self._read_bytes(box.begin, min(box.end, box.begin + _MAX_LIST_BYTES))
                self._announce_fragments(mp4_fragments.parse_segment_index(data, box.end))
            case b"moof" if not self.media:
                self._announce_fragments(self._read_fragment_list())
            case b"mdat" if not self._has_announced:
                # Small fragments are read as a whole: that takes less time than skipping them.
                is_large = box.end - box.begin > _LARGE_MEDIA_BYTES
                expect_ranges(self._file, () if is_large else None, keep=True)

    def _announce_fragments(self, begins: npt.NDArray[np.int64]) -> None:
        """Announce the beginnings of fragments, if these are large."""
        begins = np.unique(begins[(begins >= 0) & (begins < self._size_bytes)])
        if len(begins) < 2 or np.diff(begins).mean() <= _LARGE_MEDIA_BYTES:  # noqa: PLR2004
            return
        ranges = [(begin, begin + _FRAGMENT_HEAD_BYTES) for begin in begins.tolist()]
        expect_ranges(self._file, ranges, keep=True)
        self._has_announced = True

    def _read_fragment_list(self) -> npt.NDArray[np.int64]:
        """Return the offsets of the fragments that the end of the file lists."""
        if self._has_announced:
            return np.array([], np.int64)
        expect_ranges(self._file, (), keep=True)
        end = self._size_bytes
        tail = self._read_file(max(end - mp4_fragments.TAIL_BYTES, 0), end)
        size = min(mp4_fragments.parse_tail(tail), end, _MAX_LIST_BYTES)
        begins = mp4_fragments.parse_random_access(self._read_file(end - size, end))
        expect_ranges(self._file, None)
        return begins

    def _reject_encrypted(self) -> None:
        if self._encryption is not None and not self._clear_video_count:
            raise UnreadableChunk(
                f"{self._name} is encrypted ({self._encryption}): decrypt it first, for "
                "example with 'ffmpeg -decryption_key KEY -i FILE -c copy COPY.mp4'"
            )

    def _walk(self, parent: _Box, track: _Track, *, depth: int) -> None:
        if depth > _MAX_DEPTH:
            return
        for box in self._iter_boxes(parent.begin, parent.end):
            if box.kind == b"trak":
                its_own = _Track()
                self._walk(box, its_own, depth=depth + 1)
                self._add_entries(its_own.max_entries())
                self._picture_track_count += not its_own.is_sound()
                self._clear_video_count += its_own.is_clear_video()
                self._encryption = self._encryption or its_own.encryption
                if self._picture_track_count > limits.MAX_PICTURE_TRACKS:
                    self._reject(f"has more than {limits.MAX_PICTURE_TRACKS} tracks besides sound")
            elif box.kind in _CONTAINER_BOXES:
                self._walk(box, track, depth=depth + 1)
            elif box.kind == b"meta":
                # Version and flags precede the content in MP4 but not in QuickTime: try both.
                self._walk(_Box(b"meta", box.begin, box.end), track, depth=depth + 1)
                self._walk(_Box(b"meta", box.begin + 4, box.end), track, depth=depth + 1)
            else:
                self._read_box(box, track)

    def _read_box(self, box: _Box, track: _Track) -> None:
        match box.kind:
            case b"trex":
                self.has_fragments = True
            case b"trun":
                self._add_entries(self._read_uint32(box, 4))
            case b"cmov":
                self._reject("has a compressed index, which may hide any size")
            case b"stsd":
                end = min(box.end, box.begin + _MAX_DESCRIPTION_BYTES)
                if box.end > end or _MISPLACED_BOXES.search(self._read_bytes(box.begin, end)):
                    self._reject("has tables in unexpected places")
                track.encryption = _find_encryption(self._read_bytes(box.begin, end))
            case _:
                self._read_table(box, track)

    def _read_table(self, box: _Box, track: _Track) -> None:
        match box.kind:
            case b"stsz" | b"stz2":
                track.samples += self._read_uint32(box, 8)
            case b"stts":
                track.has_unit_durations = (
                    self._read_uint32(box, 4) == self._read_uint32(box, 12) == 1
                )
            case b"stco" | b"co64":
                track.chunks += self._read_uint32(box, 4)
            case b"stsc":
                track.samples_by_chunk.append(self._read_bytes(box.begin + 8, box.end))
            case b"elst":
                track.edits += min(self._read_uint32(box, 4), (box.end - box.begin) // 12)
            case b"hdlr":
                track.handlers.add(self._read_bytes(box.begin + 8, min(box.begin + 12, box.end)))

    def _add_entries(self, entries: int) -> None:
        self._entry_count += entries
        if self._entry_count > limits.MAX_INDEX_ENTRIES:
            most = limits.MAX_INDEX_ENTRIES
            self._reject(
                f"declares at least {self._entry_count} samples, more than the {most} that are read"
            )

    def _iter_boxes(self, begin: int, end: int) -> Iterator[_Box]:
        while end - begin >= 8:  # noqa: PLR2004 - bytes of a size and a kind
            self._box_count += 1
            if self._box_count > limits.MAX_BOXES:
                self._reject(f"has more than {limits.MAX_BOXES} boxes")
            head = self._read_bytes(begin, min(begin + 16, end))
            size, kind, body = int.from_bytes(head[:4], "big"), head[4:8], begin + 8
            if size == 1:
                size, body = int.from_bytes(head[8:16], "big"), begin + 16
            elif size == 0:
                size = end - begin
            if size < body - begin:
                return
            self.is_cut_short |= kind == b"mdat" and begin + size > end
            yield _Box(kind, body, min(begin + size, end))
            begin += size

    def _read_uint32(self, box: _Box, offset: int) -> int:
        """Return the 32-bit number at an offset in a box; 0 at the end of the file."""
        begin = box.begin + offset
        return int.from_bytes(self._read_bytes(begin, begin + 4), "big")

    def _read_bytes(self, begin: int, end: int) -> bytes:
        """Return the bytes of a range, fewer at the end of the file."""
        length = max(end - begin, 0)
        if length > _BUFFER_BYTES:
            return self._read_file(begin, end)
        start = begin - self._buffer_begin
        if not 0 <= start <= len(self._buffer) - length:
            self._buffer = self._read_file(begin, begin + _BUFFER_BYTES)
            self._buffer_begin, start = begin, 0
        return self._buffer[start : start + length]

    def _read_file(self, begin: int, end: int) -> bytes:
        self._file.seek(begin)
        parts = []
        while begin < end and (part := self._file.read(end - begin)):
            parts.append(bytes(part))
            begin += len(part)
        return b"".join(parts)

    def _reject(self, what: str) -> None:
        raise UnreadableChunk(
            f"{self._name} {what}, so it is damaged or hostile: give another video, or one that is "
            f"cut into shorter chunks or copied with 'ffmpeg -i FILE -c copy COPY.mp4'"
        )


def _find_encryption(description: bytes) -> str | None:
    """Return the encryption scheme in a sample description; None if it is not encrypted."""
    kind = description[12:16]
    if kind == b"drmi":
        return "FairPlay"
    if kind != b"encv":
        return None
    scheme = _SCHEME_BOX.search(description)
    return scheme[1].decode("ascii") if scheme else "unknown scheme"
