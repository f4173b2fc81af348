"""The values that pass between the rooms: frozen, typed, free of I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue
from framecache.instants import Seconds
from framecache.numeric import as_index, shown

Image = npt.NDArray[np.uint8]
"""Pixels, uint8: ``(height, width, 3)`` RGB, or ``(height, width)`` gray."""

Color = Literal["rgb", "gray"]
Matrix = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m"]
Status = Literal["ok", "undecodable"]
Layout = Literal["objects", "packs"]
"""``objects``: one blob a frame. ``packs``: the frames of a chunk in one tar."""

OnConflict = Literal["raise", "replace", "keep"]
"""What becomes of a frame that is cached with another picture, time, hash, chunk or quality."""

Aspect = Literal["stored", "square"]
"""``stored``: pixels as the video has them. ``square``: scaled in width to square pixels."""

QUALITIES = range(1, 101)

MAX_FRAME_PIXELS = 2**26
"""Pixels of a frame: nearly twice the most in H.264, HEVC and AV1 up to level 6 (8K)."""

MAX_FRAME_SIDE = 65_500
"""Pixels of a frame's width or height: the most a JPEG has (libjpeg's ``JPEG_MAX_DIMENSION``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture at an instant of a timeline."""

    sequence: int
    """Number on the timeline, from 0, in time order."""
    chunk_id: int
    """Ordinal of the chunk it came from, from 0."""
    timestamp: float
    """Seconds from the start of the timeline: the picture's own time, not ``index / fps``."""
    image: Image
    """``(height, width, 3)`` uint8 RGB; ``(height, width)`` when read with ``color="gray"``."""
    perceptual_hash: str = ""
    """64-bit pHash of the luma, 16 hex digits; empty when unknown."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One video of a timeline, as a caller names it."""

    url: str
    """A local path, or the URL of an object in any store (``s3://``, ``gs://``, ``az://``…)."""
    start_seconds: Seconds | Literal["pts"] | None = None
    """Where it starts on the timeline, a number of any type or a text such as ``"1:02.5"``; None:
    where the chunk before it ends, or where a clock that both share says. ``"pts"``: where that
    clock says, however long the gap."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture as the codec stored it: 4:2:0 planes and what their numbers mean."""

    y: Image
    """Luma, ``(height, width)``."""
    u: Image
    """Cb, ``(⌈height / 2⌉, ⌈width / 2⌉)``."""
    v: Image
    """Cr, the shape of ``u``."""
    matrix: Matrix
    """The coefficients between RGB and these planes."""
    full_range: bool
    """Whether luma spans 0–255 (JPEG) rather than 16–235 (broadcast)."""
    quarter_turns: int
    """Clockwise quarter turns, 0 to 3, that show the picture upright."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long operation has come."""

    frames_done: int
    frames_total: int
    chunks_elsewhere: int = 0
    """Chunks that are waited for, because other programs are extracting them; else 0."""


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class ChunkTiming:
    """The times of a chunk's frames, where they are not simply those that its video states."""

    chunk_id: int
    url: str
    times_replaced: int = 0
    """Frames whose own time is missing, repeats, goes back or strays, and was replaced."""
    clock_restarts: int = 0
    """Places at which the clock of the video begins again; time goes on from the frame before."""
    packets_not_displayed: int = 0
    """Packets of which no picture is shown: before the first keyframe, or damaged at the end."""
    placement: Literal["end", "clock", "given"] = "end"
    """Whether the chunk starts where the one before ends, where their clock says, or as given."""
    clock_gap_seconds: float | None = None
    """From the end of the chunk before, on the clock both share; below zero for an overlap."""
    sound_seconds: float = 0.0
    """From the end of its last picture to its own end, where its sound or its file goes on."""
    is_cut_short: bool = False
    """Whether its file ends before it says, so that frames are missing at its end."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was mended or left out, and the gap before the chunk, each as a sentence's part."""
        facts = [
            (self.times_replaced, "times replaced"),
            (self.clock_restarts, "clock restarts"),
            (self.packets_not_displayed, "packets not displayed"),
        ]
        notes = [f"{what}: {number:,}" for number, what in facts if number]
        gap = self.clock_gap_seconds
        if gap is not None and round(gap, _GAP_DIGITS):
            what = f"{'gap' if gap > 0 else 'overlap'} of {abs(gap):.3f} s to the chunk before"
            notes.append(what if self.placement == "clock" else f"{what}, not kept")
        if self.sound_seconds >= _LEAST_SOUND_SECONDS:
            notes.append(f"goes on for {self.sound_seconds:.3f} s after its last picture")
        if self.is_cut_short:
            notes.append("cut short: frames are missing at its end")
        return tuple(notes)


_GAP_DIGITS: Final = 3
_LEAST_SOUND_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What an extraction did."""

    timeline_id: str
    chunks_extracted: int
    """Chunks this call decoded and committed."""
    chunks_cached: int
    """Chunks that were committed already."""
    frames_extracted: int
    """Frames this call stored."""
    frames_undecodable: int
    """Frames of the extracted chunks that the decoder could not produce."""
    frame_count: int
    """Frames on the whole timeline, undecodable ones included."""
    bytes_stored: int
    """Bytes of JPEG this call stored."""
    seconds: float
    """Wall time of the call."""
    timing: tuple[ChunkTiming, ...] = ()
    """Chunks asked for whose times were mended, or beside which there is a gap or an overlap."""


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests of a store something takes, as S3 counts them."""

    puts: int = 0
    """PUT and POST: each part of a multipart upload is one, and so are its begin and its end."""
    lists: int = 0
    gets: int = 0
    deletes: int = 0

    @property
    def total(self) -> int:
        """Of all kinds."""
        return self.puts + self.lists + self.gets + self.deletes

    def __add__(self, other: "Requests") -> "Requests":
        """Both."""
        return Requests(
            self.puts + other.puts,
            self.lists + other.lists,
            self.gets + other.gets,
            self.deletes + other.deletes,
        )

    def __mul__(self, times: int) -> "Requests":
        """So many times."""
        return Requests(
            self.puts * times,
            self.lists * times,
            self.gets * times,
            self.deletes * times,
        )


@dataclass(frozen=True, slots=True)
class JpegSettings:
    """How frames are encoded. Chroma is always stored at 4:2:0."""

    quality: int = 85
    """1 (smallest) to 100 (best), on libjpeg's scale."""
    aspect: Aspect = "stored"
    """Whether pixels that are not square are kept as the video has them."""

    def __post_init__(self) -> None:
        """Take a whole number of any type; refuse what no encoder has."""
        if self.aspect not in get_args(Aspect):
            raise InvalidValue(f'aspect is "stored" or "square", not {self.aspect!r}')
        quality = as_index(self.quality)
        if quality is None or quality not in QUALITIES:
            raise InvalidValue(
                f"quality is a whole number from 1 to 100, not {shown(self.quality)}"
            )
        object.__setattr__(self, "quality", quality)

    def changed(self, *, quality: int | None, aspect: Aspect | None) -> "JpegSettings":
        """These settings, with what is given in place of their own."""
        return JpegSettings(
            self.quality if quality is None else quality, self.aspect if aspect is None else aspect
        )


class WriteReport(int):
    """How many frames were given to one call, each sequence counted once, and what became of them.

    The sum of the frames stored, replaced, kept and unchanged.
    """

    stored: int
    """Frames that were not cached before."""
    replaced: int
    """Frames that took the place of others, in picture or in what is said of it."""
    kept: int
    """Frames that were left as they are cached, whatever was given (``on_conflict="keep"``)."""

    def __new__(cls, given: int, *, stored: int, replaced: int, kept: int) -> Self:
        """Tell what became of ``given`` frames."""
        report = super().__new__(cls, given)
        report.stored, report.replaced, report.kept = stored, replaced, kept
        return report

    @property
    def unchanged(self) -> int:
        """Frames that were cached just so."""
        return self - self.stored - self.replaced - self.kept

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, int]]:
        """Copy and pickle with what became of the frames."""
        became = {"stored": self.stored, "replaced": self.replaced, "kept": self.kept}
        return (int(self),), became


def require_on_conflict(on_conflict: OnConflict) -> OnConflict:
    """Return what to do on a conflict unchanged, if it is known; else raise InvalidValue."""
    if on_conflict in get_args(OnConflict):
        return on_conflict
    raise InvalidValue(f'on_conflict is "raise", "replace" or "keep", not {on_conflict!r}')


def as_layout(layout: Layout | None) -> Layout | None:
    """Return a layout unchanged, if it is one or None; else raise InvalidValue."""
    return None if layout is None else require_layout(layout)


def require_layout(layout: Layout) -> Layout:
    """Return a layout unchanged, if it is one; else raise InvalidValue."""
    if layout in get_args(Layout):
        return layout
    raise InvalidValue(f'layout is "objects" or "packs", not {layout!r}')
