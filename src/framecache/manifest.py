"""The description of a timeline: what its chunks, settings and epoch are. Pure: no I/O.

Descriptions are numbered and never changed: the highest version is current. The next version
is made by the functions here and stored by :mod:`framecache.index`.
"""

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final, Literal, Self

import google_crc32c

from framecache import keys, sampling
from framecache._version import __version__
from framecache.errors import BadChunk, CorruptFrame, SettingsConflict
from framecache.model import (
    MAX_FRAME_PIXELS,
    MAX_FRAME_SIDE,
    Aspect,
    ChunkTiming,
    JpegSettings,
    Layout,
)
from framecache.sampling import EveryFrame, Sampling

FORMAT: Final = 1
_SEAL: Final = "crc32c"
"""The entry that holds the checksum; it is the last one in documents of every format."""
_END: Final = b"\n}"


Placement = Literal["end", "clock", "given"]
"""Why a chunk starts where it does: the one before ends there, their clock says so, or the caller.
"""


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk of a described timeline, with the numbers it was given before any decoding."""

    chunk_id: int
    url: str
    etag: str
    size_bytes: int
    start: Fraction
    """Seconds of its first displayed frame on the timeline."""
    end: Fraction
    """Seconds at which its last frame leaves the screen."""
    start_is_given: bool
    """Whether the caller placed it, rather than the end of the chunk before it."""
    first_sequence: int
    frame_count: int
    """Sampled frames; its sequences are ``first_sequence … first_sequence + frame_count - 1``."""
    first_source_frame: int
    source_frame_count: int
    """Displayed frames of the video, sampled or not."""
    width: int
    height: int
    codec: str
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width by height of a pixel of the video, as seen."""
    scan_rules: int = 1
    """The version of the rules by which its frames were counted and timed."""
    placement: Placement = "end"
    last_frame_start: Fraction | None = None
    """Seconds of its last displayed frame on the timeline; None in older manifests."""
    sound_seconds: Fraction = Fraction(0)
    """The part of its end in which no new picture is shown, but sound or the file goes on."""
    sampled_from: Fraction | None = None
    """Instants of the timeline before this belong to the chunk before; None: all are its own."""
    stream_clock: str | None = None
    """``mpegts`` or ``fmp4``: the clock that other files of the same stream share."""
    clock_start: Fraction | None = None
    """Seconds of its first displayed frame on its own clock."""
    clock_end: Fraction | None = None
    """Seconds at which its last frame leaves the screen, on its own clock."""
    clock_gap: Fraction | None = None
    """Seconds from ``clock_end`` of the chunk before to its own start; None: no common clock."""
    times_replaced: int = 0
    """Frames whose own time is missing, repeats, goes back or strays."""
    clock_restarts: int = 0
    """Places in it at which its clock begins again."""
    packets_not_displayed: int = 0
    """Packets of which no picture is shown, though none is hidden by design."""
    is_cut_short: bool = False
    """Whether its file ends before it says, so that frames are missing at its end."""

    @property
    def given_start(self) -> Fraction | Literal["pts"] | None:
        """The start that the caller gave it."""
        if not self.start_is_given:
            return None
        return self.start if self.placement == "given" else "pts"

    @property
    def timing(self) -> ChunkTiming:
        """What was mended of its times, and where they come from."""
        return ChunkTiming(
            chunk_id=self.chunk_id,
            url=self.url,
            times_replaced=self.times_replaced,
            clock_restarts=self.clock_restarts,
            packets_not_displayed=self.packets_not_displayed,
            placement=self.placement,
            clock_gap_seconds=None if self.clock_gap is None else float(self.clock_gap),
            sound_seconds=float(self.sound_seconds),
            is_cut_short=self.is_cut_short,
        )

    def frame_width(self, aspect: Aspect, *, width: int | None = None) -> int:
        """The width in which a frame is stored, rounded down as ffmpeg's scale=iw*sar:ih does.

        Args:
            aspect: whether pixels are made square.
            width: of the picture as the video has it; None: of the chunk's first one.

        Raises:
            BadChunk: it is wider than a picture may be.
        """
        wide = self.width if width is None else width
        if aspect == "stored":
            return wide
        square = max(1, math.floor(wide * self.sample_aspect_ratio))
        if square > MAX_FRAME_SIDE or square * self.height > MAX_FRAME_PIXELS:
            raise BadChunk(
                f"{self.url} has pixels of {self.sample_aspect_ratio} to 1, and would take "
                f'{square}x{self.height} square ones: extract it with aspect "stored"'
            )
        return square

    def pixel_aspect_ratio(self, aspect: Aspect) -> Fraction:
        """Width by height of a pixel of the frames as they are stored."""
        return self.sample_aspect_ratio if aspect == "stored" else Fraction(1)

    @property
    def part(self) -> str:
        """The name of the index part that commits this chunk."""
        return keys.chunk_part(self.chunk_id)

    @property
    def stop_sequence(self) -> int:
        """One past its last sequence."""
        return self.first_sequence + self.frame_count


@dataclass(frozen=True, slots=True)
class Compaction:
    """One index file that holds the rows of several committed parts."""

    number: int
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the frames of a timeline, beside its chunks."""

    sampling: Sampling = field(default_factory=EveryFrame)
    jpeg: JpegSettings = field(default_factory=JpegSettings)
    layout: Layout = "objects"

    def __str__(self) -> str:
        aspect = ", square pixels" if self.jpeg.aspect == "square" else ""
        return f"{self.sampling}, JPEG quality {self.jpeg.quality}{aspect}, layout {self.layout}"


@dataclass(frozen=True, slots=True)
class Description:
    """One version of what a timeline is."""

    timeline_id: str
    version: int
    write_id: str
    """Random: tells a writer whose answer was lost that the stored version is its own."""
    epoch: str
    settings: Settings
    chunks: tuple[ChunkEntry, ...] = ()
    written_parts: tuple[str, ...] = ()
    """Index parts of frames that programs wrote, oldest first."""
    compaction: Compaction | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    """Of each index part that was repaired, the generation that counts; 0 of all others."""
    begun: bool = False
    """Whether the epoch is to get, or has, committed chunks: only a clear or a rebuild ends it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Every index part that belongs to the timeline, committed yet or not."""
        return (*(chunk.part for chunk in self.chunks), *self.written_parts)

    @property
    def frame_count(self) -> int:
        """Sampled frames of all chunks; frames that programs wrote are not counted."""
        return self.chunks[-1].stop_sequence if self.chunks else 0

    def index_key(self, part: str) -> str:
        """The key of the index part that counts."""
        return keys.index_part(
            self.timeline_id,
            epoch=self.epoch,
            part=part,
            generation=self.generations.get(part, 0),
        )

    def next_version(self, **changes: Any) -> Self:  # noqa: ANN401 -- the fields' own types
        """The following version, with ``changes``, ready to be stored."""
        return replace(self, version=self.version + 1, write_id=new_write_id(), **changes)

    def next_epoch(self, **changes: Any) -> Self:  # noqa: ANN401 -- the fields' own types
        """The following version as the start of a new epoch, in which nothing is committed."""
        return self.next_version(
            **{
                "epoch": _epoch_after(self.epoch),
                "written_parts": (),
                "compaction": None,
                "generations": {},
                "begun": False,
            }
            | changes
        )

    def after_lost(self, version: int) -> Self:
        """The version that follows one that is lost, as a new epoch of these chunks.

        Each version lost since this one may have begun an epoch; the new one is later than all.
        """
        lost = version - self.version
        return replace(
            self.next_epoch(epoch=_epoch_after(self.epoch, passing_over=lost)),
            version=version + 1,
        )

    def encode(self) -> bytes:
        """The JSON that is stored."""
        chunks = [_chunk_to_json(chunk) for chunk in self.chunks]
        compaction = self.compaction and {
            "number": self.compaction.number,
            "parts": list(self.compaction.parts),
        }
        document = {
            "format": FORMAT,
            "framecache_version": __version__,
            "timeline_id": self.timeline_id,
            "version": self.version,
            "write_id": self.write_id,
            "epoch": self.epoch,
            "layout": self.settings.layout,
            "sampling": sampling.to_json(self.settings.sampling),
            "jpeg": {"quality": self.settings.jpeg.quality, "subsampling": "4:2:0"},
            "aspect": self.settings.jpeg.aspect,
            "chunks": chunks,
            "written_parts": list(self.written_parts),
            "compaction": compaction,
            "generations": dict(self.generations),
            "begun": self.begun,
        }
        return _sealed(document)


def first_description(
    timeline_id: str,
    settings: Settings,
    *,
    chunks: tuple[ChunkEntry, ...] = (),
    written_parts: tuple[str, ...] = (),
) -> Description:
    """Version 1 of a timeline, and its first epoch."""
    return Description(
        timeline_id=timeline_id,
        version=1,
        write_id=new_write_id(),
        epoch=_epoch_after(None),
        settings=settings,
        chunks=chunks,
        written_parts=written_parts,
    )


def decode(body: bytes, *, key: str) -> Description:
    """Read a stored description.

    Raises:
        SettingsConflict: a newer framecache wrote it.
        CorruptFrame: it is damaged.
    """
    try:
        document = json.loads(body)
        _check_seal(body)
        stored_format = int(document["format"])
        if stored_format > FORMAT:
            raise SettingsConflict(
                f"{key} is in format {stored_format}, newer than this framecache reads "
                f"({FORMAT}): upgrade framecache"
            )
        return _from_document(document)
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise CorruptFrame(
            f"the description {key} is damaged ({type(error).__name__}): run 'framecache verify "
            f"{keys.timeline_id_of(key) or 'TIMELINE'} --repair'"
        ) from error


def new_write_id() -> str:
    """A random name for one attempt to write one blob."""
    return secrets.token_hex(16)


def _sealed(document: dict[str, Any]) -> bytes:
    """The document as it is stored: its last entry is a checksum of all others."""
    bare = json.dumps(document, indent=1).encode()
    return bare.removesuffix(_END) + _seal(bare)


def _check_seal(body: bytes) -> None:
    """Refuse other bytes than those that were stored, without encoding the document again."""
    begin = len(body) - len(_seal(b""))
    if body[begin:] != _seal(body[:begin] + _END):
        raise ValueError(body[begin:])


def _seal(bare: bytes) -> bytes:
    return f',\n "{_SEAL}": "{google_crc32c.value(bare):08x}"'.encode() + _END


def _epoch_after(epoch: str | None, *, passing_over: int = 0) -> str:
    """A new epoch; its random tail keeps a timeline that was deleted and made anew apart."""
    ordinal = int(epoch.partition("-")[0]) + 1 + passing_over if epoch else 0
    return f"{ordinal:06d}-{secrets.token_hex(4)}"


def _from_document(document: dict[str, Any]) -> Description:
    compaction = document["compaction"]
    return Description(
        timeline_id=str(document["timeline_id"]),
        version=int(document["version"]),
        write_id=str(document["write_id"]),
        epoch=str(document["epoch"]),
        settings=Settings(
            sampling=sampling.from_json(document["sampling"]),
            jpeg=JpegSettings(
                quality=document["jpeg"]["quality"], aspect=document.get("aspect", "stored")
            ),
            layout=document["layout"],
        ),
        chunks=tuple(_chunk_from_json(chunk) for chunk in document["chunks"]),
        written_parts=tuple(document["written_parts"]),
        compaction=compaction
        and Compaction(number=int(compaction["number"]), parts=tuple(compaction["parts"])),
        generations=dict(document["generations"]),
        # An earlier framecache does not say so: what it committed shows it.
        begun=bool(document.get("begun", False)),
    )


def _chunk_to_json(chunk: ChunkEntry) -> dict[str, Any]:
    return {name: _plain(getattr(chunk, name)) for name in ChunkEntry.__slots__}


def _plain(value: Any) -> Any:  # noqa: ANN401 -- any field of a chunk
    return str(value) if isinstance(value, Fraction) else value


def _chunk_from_json(document: dict[str, Any]) -> ChunkEntry:
    """Read a chunk; an entry by an earlier framecache lacks the fields that have defaults."""
    values = {name: document[name] for name in ChunkEntry.__slots__ if name in document}
    values.setdefault("placement", "given" if document["start_is_given"] else "end")
    fractions = {
        name: Fraction(values[name])
        for name in _FRACTIONS_OF_A_CHUNK
        if values.get(name) is not None
    }
    return ChunkEntry(**values | fractions)


_FRACTIONS_OF_A_CHUNK: Final = (
    *("start", "end", "sample_aspect_ratio", "last_frame_start", "sound_seconds", "sampled_from"),
    *("clock_start", "clock_end", "clock_gap"),
)
