"""What the index of an MP4 announces, checked before FFmpeg believes it.

FFmpeg makes room for every sample that is announced, whether or not the file has bytes for it: a
file of 40 kB takes gigabytes. No option of FFmpeg bounds that, so that the boxes (ISO/IEC
14496-12) are looked at beforehand. Other containers name only what they hold.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from framecache.errors import BadChunk
from framecache.video import limits
from framecache.video.boundary import VideoFile

_PARENTS: Final = frozenset(
    {
        *(b"moov", b"hoov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"tref"),
        *(b"mvex", b"moof", b"traf", b"wave", b"sinf", b"schi", b"ilst", b"ipro", b"iprp", b"vexu"),
    }
)
"""Boxes in which FFmpeg looks for any other."""

_MOST_DEPTH: Final = 16
"""Boxes within boxes; FFmpeg gives up at 10."""

_MISPLACED: Final = re.compile(rb"cmov|stsz|stz2|trun|elst")
_SCHEME: Final = re.compile(rb"schm.{4}([ -~]{4})", re.DOTALL)
_MOST_DESCRIPTION_BYTES: Final = 2**20
_SAMPLES_AT_ONCE: Final = 160
"""Samples of plain sound that FFmpeg lists as one entry, at least."""
_HANDLERS: Final = frozenset({b"vide", b"soun", b"m1a ", b"subp", b"clcp"})
"""Kinds of tracks that FFmpeg knows; it ignores others."""


@dataclass(frozen=True, slots=True)
class FileBoxes:
    """What the boxes of a file say; of what is no MP4, nothing."""

    has_fragments: bool
    """Whether it is an MP4 that announces fragments."""
    is_cut_short: bool
    """Whether the file ends inside its media data."""


def check_boxes(file: VideoFile, *, name: str) -> FileBoxes:
    """Refuse an MP4 whose index would take an unreasonable amount of memory.

    Reads the heads of boxes only, and of fragments only if there are any. What is no MP4 passes.

    Raises:
        BadChunk: it announces too many samples or boxes, or hides how many.
    """
    check = _Check(file, name)
    check.run()
    return FileBoxes(check.has_fragments, check.is_cut_short)


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    begin: int
    """Of what it holds, in the file."""
    end: int


@dataclass(slots=True)
class _Track:
    """What the tables of one track say."""

    samples: int = 0
    edits: int = 0
    chunks: int = 0
    samples_by_chunk: list[bytes] = field(default_factory=list)
    handlers: set[bytes] = field(default_factory=set)
    encryption: str | None = None
    """The scheme in which its pictures are encrypted (ISO/IEC 23001-7), such as ``cenc``."""
    has_unit_durations: bool = False
    """Whether one duration is said of all samples, of one unit of time."""

    def entries(self) -> int:
        """How many entries FFmpeg makes of it, at most."""
        is_plain_sound = self.is_sound() and self.has_unit_durations
        samples = self._plain_sound_entries() if is_plain_sound else self.samples
        return samples * max(self.edits, 1)

    def is_clear_video(self) -> bool:
        """Whether it holds pictures that are not encrypted."""
        return b"vide" in self.handlers and self.encryption is None

    def is_sound(self) -> bool:
        """Whether FFmpeg takes it for sound, whatever else may be said of it."""
        return self.handlers & _HANDLERS == {b"soun"}

    def _plain_sound_entries(self) -> int:
        entries = self.chunks
        for table in self.samples_by_chunk:
            rows = np.frombuffer(table[: len(table) // 12 * 12], ">u4").reshape(-1, 3)
            firsts = np.append(rows[:, 0], self.chunks + 1).astype(np.float64)
            chunks = np.diff(np.minimum(firsts, self.chunks + 1)).clip(min=0)
            entries += int((chunks * (rows[:, 1] // _SAMPLES_AT_ONCE)).sum())
        return entries


class _Check:
    def __init__(self, file: VideoFile, name: str) -> None:
        self._file = file
        self._name = name
        self._boxes = 0
        self._entries = 0
        self._picture_tracks = 0
        self.has_fragments = False
        self.is_cut_short = False
        self._clear_videos = 0
        self._encryption: str | None = None

    def run(self) -> None:
        size_bytes = self._file.seek(0, os.SEEK_END)
        kinds = set[bytes]()
        has_index = False
        for box in self._boxes_in(0, size_bytes):
            kinds.add(box.kind)
            if box.kind in _PARENTS and not has_index:
                outside = _Track()
                self._look_into(box, outside, depth=1)
                self._count(outside.entries())
            # FFmpeg skips a second index, and fragments unless the first one announces them.
            if box.kind == b"moov":
                self._refuse_encrypted()
                has_index = not self.has_fragments
        if self.has_fragments and not (b"moof" in kinds or self._entries):
            raise BadChunk(
                f"{self._name} is an init segment, which holds no frames: put media segments "
                f"behind it, such as by 'cat init.mp4 SEGMENT > WHOLE.mp4'"
            )

    def _refuse_encrypted(self) -> None:
        if self._encryption is not None and not self._clear_videos:
            raise BadChunk(
                f"{self._name} is encrypted ({self._encryption}): decrypt it first, such as by "
                f"'ffmpeg -decryption_key KEY -i FILE -c copy COPY.mp4'"
            )

    def _look_into(self, parent: _Box, track: _Track, *, depth: int) -> None:
        if depth > _MOST_DEPTH:
            return
        for box in self._boxes_in(parent.begin, parent.end):
            if box.kind == b"trak":
                its_own = _Track()
                self._look_into(box, its_own, depth=depth + 1)
                self._count(its_own.entries())
                self._picture_tracks += not its_own.is_sound()
                self._clear_videos += its_own.is_clear_video()
                self._encryption = self._encryption or its_own.encryption
                if self._picture_tracks > limits.MAX_PICTURE_TRACKS:
                    self._refuse(f"has more than {limits.MAX_PICTURE_TRACKS} tracks beside sound")
            elif box.kind in _PARENTS:
                self._look_into(box, track, depth=depth + 1)
            elif box.kind == b"meta":
                # Its version and flags are there in MP4 only, not in QuickTime.
                self._look_into(_Box(b"meta", box.begin, box.end), track, depth=depth + 1)
                self._look_into(_Box(b"meta", box.begin + 4, box.end), track, depth=depth + 1)
            else:
                self._read(box, track)

    def _read(self, box: _Box, track: _Track) -> None:
        match box.kind:
            case b"trex":
                self.has_fragments = True
            case b"trun":
                self._count(self._number(box, 4))
            case b"cmov":
                self._refuse("has a compressed index, which may hide any size")
            case b"stsd":
                end = min(box.end, box.begin + _MOST_DESCRIPTION_BYTES)
                if box.end > end or _MISPLACED.search(self._bytes(box.begin, end)):
                    self._refuse("has tables where the format has none")
                track.encryption = _encryption(self._bytes(box.begin, end))
            case _:
                self._read_table(box, track)

    def _read_table(self, box: _Box, track: _Track) -> None:
        match box.kind:
            case b"stsz" | b"stz2":
                track.samples += self._number(box, 8)
            case b"stts":
                track.has_unit_durations = self._number(box, 4) == self._number(box, 12) == 1
            case b"stco" | b"co64":
                track.chunks += self._number(box, 4)
            case b"stsc":
                track.samples_by_chunk.append(self._bytes(box.begin + 8, box.end))
            case b"elst":
                track.edits += min(self._number(box, 4), (box.end - box.begin) // 12)
            case b"hdlr":
                track.handlers.add(self._bytes(box.begin + 8, min(box.begin + 12, box.end)))

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > limits.MAX_INDEX_ENTRIES:
            most = limits.MAX_INDEX_ENTRIES
            self._refuse(f"announces {self._entries} samples and more, of {most} that are read")

    def _boxes_in(self, begin: int, end: int) -> Iterator[_Box]:
        while end - begin >= 8:  # noqa: PLR2004 - bytes of a size and a kind
            self._boxes += 1
            if self._boxes > limits.MAX_BOXES:
                self._refuse(f"has more than {limits.MAX_BOXES} boxes")
            head = self._bytes(begin, min(begin + 16, end))
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

    def _number(self, box: _Box, offset: int) -> int:
        """The 32-bit number at an offset in a box; 0 behind its end."""
        begin = box.begin + offset
        return int.from_bytes(self._bytes(begin, begin + 4), "big")

    def _bytes(self, begin: int, end: int) -> bytes:
        self._file.seek(begin)
        parts = []
        while begin < end and (part := self._file.read(end - begin)):
            parts.append(bytes(part))
            begin += len(part)
        return b"".join(parts)

    def _refuse(self, what: str) -> None:
        raise BadChunk(
            f"{self._name} {what}, so it is damaged or hostile: give another video, or one that is "
            f"cut into shorter chunks or copied with 'ffmpeg -i FILE -c copy COPY.mp4'"
        )


def _encryption(description: bytes) -> str | None:
    """The scheme of an encrypted video's sample description, if it is one."""
    kind = description[12:16]
    if kind == b"drmi":
        return "FairPlay"
    if kind != b"encv":
        return None
    scheme = _SCHEME.search(description)
    return scheme[1].decode("ascii") if scheme else "unknown scheme"
