"""Values that pass between the packages: frozen, typed, free of I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from framecache._core import pixels
from framecache._core.numeric import as_index, format_value
from framecache._core.times import Seconds
from framecache.errors import InvalidValue

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Image = npt.NDArray[np.uint8]
"""Pixels, uint8: ``(height, width, 3)`` RGB or BGR, or ``(height, width)`` gray."""

Color = Literal["rgb", "bgr", "gray"]
"""``bgr``: OpenCV's order of channels."""

COLORS = get_args(Color)

Matrix = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m"]
Status = Literal["ok", "undecodable", "unknown"]
"""``unknown``: nothing of the frame is stored, so it is decoded when it is read."""
Layout = Literal["objects", "packs", "video"]
"""``objects``: one blob per frame. ``packs``: those of a segment in one tar. ``video``: nothing
is stored; frames are decoded from their chunks when they are read."""

DEFAULT_LAYOUT: Layout = "objects"
"""Layout of new timelines."""

UNINDEXED_LAYOUT: Layout = "objects"
"""Layout of frames that another program stored, without a manifest."""

OnConflict = Literal["raise", "replace", "keep"]
"""Action for a frame that is cached with another picture, time, hash, chunk or quality."""

FolderFormat = Literal["images", "mp4", "webdataset", "parquet", "lance", "coco-images", "cvat"]
"""Format of a folder of frames for other programs."""

Missing = Literal["raise", "skip"]
"""Action for a wanted frame that is not cached or undecodable."""

Follow = bool | Literal["complete"]
"""``True``: wait for more frames. ``"complete"``: until every chunk of the timeline is cached."""

Aspect = Literal["stored", "square"]
"""``stored``: pixels as in the video. ``square``: width scaled so that pixels are square."""

Chroma = Literal["420", "444"]
"""``420``: one color sample for 2×2 pixels. ``444``: one for each pixel."""

RenditionOrigin = Literal["planes", "jpeg"]
"""``planes``: the picture that the decoder returned. ``jpeg``: the frame as it is stored."""

QUALITIES = range(1, 101)

MAX_FRAME_PIXELS = 2**26
"""Maximum pixels of a frame: nearly twice that of H.264, HEVC and AV1 up to level 6 (8K)."""

MAX_FRAME_SIDE = 65_500
"""Maximum width or height of a frame in pixels: that of a JPEG (libjpeg's ``JPEG_MAX_DIMENSION``).
"""

MAX_RENDITIONS = 8
"""Maximum number of smaller sizes at which each frame of a timeline is stored."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """Picture at an instant of a timeline."""

    sequence: int
    """Number on the timeline, from 0, in time order."""
    chunk_id: int
    """Ordinal of its chunk, from 0."""
    timestamp: float
    """Seconds from the start of the timeline: the picture's own time, not ``index / fps``."""
    image: Image
    """``(height, width, 3)`` uint8 RGB; BGR or ``(height, width)`` if read with such a color."""
    perceptual_hash: str = ""
    """64-bit pHash of the luma, 16 hex digits; empty if unknown."""
    color: Color = "rgb"
    """Meaning of the channels of ``image``."""

    def __repr__(self) -> str:
        """Return one line without the pixels."""
        return (
            f"Frame(sequence={format_value(self.sequence)}, "
            f"chunk_id={format_value(self.chunk_id)}, timestamp={format_value(self.timestamp)}, "
            f"image={_summarize_image(self.image)}, "
            f"perceptual_hash={format_value(self.perceptual_hash)}, "
            f"color={format_value(self.color)})"
        )

    @property
    def pil(self) -> "PilImage":
        """Pillow image in mode ``RGB`` or ``L``, for any ``color``; created at each access.

        Raises:
            MissingPackage: Pillow is not installed.
            InvalidValue: the image is not a uint8 array of RGB, BGR or gray.
        """
        return pixels.as_pillow(self.image, is_bgr=self.color == "bgr")

    def _repr_png_(self) -> bytes | None:
        """Return a PNG that a notebook shows."""
        return pixels.as_png(self.image, is_bgr=self.color == "bgr")


@dataclass(frozen=True, slots=True)
class Scene:
    """Frames between two cuts."""

    start: int
    """Sequence of its first frame."""
    stop: int
    """Sequence of the first frame of the next scene; of the last scene: one past its last frame."""
    start_seconds: float
    """Time at which its first frame begins."""
    stop_seconds: float
    """Time at which the next scene begins; of the last scene: at which its last frame ends."""
    change: int | None
    """Bits by which the hash of its first frame differs from that of the frame before; None for
    the first scene."""


SequenceRange = tuple[int | None, int | None] | Scene
"""Half-open range of sequences; None: unbounded."""

SecondsRange = tuple[Seconds | None, Seconds | None] | Scene
"""Half-open range of times."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One video of a timeline, as given by a caller."""

    url: str
    """Local path, or URL of an object in any store (``s3://``, ``gs://``, ``az://``…)."""
    start_seconds: Seconds | Literal["pts"] | None = None
    """Start on the timeline, a number of any type or a string such as ``"1:02.5"``. None: the end
    of the chunk before it, or its place on a clock that both share. ``"pts"``: its place on that
    clock, however long the gap."""
    trim_start: Seconds | None = None
    """Take only frames that begin at or after this time, in seconds of the video's own clock, which
    ``ffprobe -show_frames`` prints as ``pts_time``. None: from the first one. ``start_seconds`` is
    then the place of the first frame taken."""
    trim_stop: Seconds | None = None
    """Take only frames that begin before this time, on the same clock. None: to the last one."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Decoded picture as stored by the codec: planes and the meaning of their values."""

    y: Image
    """Luma, ``(height, width)``."""
    u: Image
    """Cb, ``(⌈height / 2⌉, ⌈width / 2⌉)`` at 4:2:0; finer chroma has as many samples as luma along
    one side or both."""
    v: Image
    """Cr, same shape as ``u``."""
    matrix: Matrix
    """Conversion matrix between RGB and these planes."""
    full_range: bool
    """True if luma spans 0–255 (JPEG) rather than 16–235 (broadcast)."""
    quarter_turns: int
    """Clockwise quarter turns, 0 to 3, that bring the picture upright."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a long operation."""

    frames_done: int
    frames_total: int
    chunks_elsewhere: int = 0
    """Chunks whose segments other programs extract, while this operation waits for them; else 0."""
    segments_done: int = 0
    """Segments of chunks that are committed, by this program or another."""
    segments_total: int = 0
    """Segments of all chunks; 0 for an operation without chunks."""


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class ChunkTiming:
    """Deviations of a chunk's frame times from those that its video states."""

    chunk_id: int
    url: str
    times_replaced: int = 0
    """Frames whose PTS is missing, repeats, goes back or strays, and was replaced."""
    clock_restarts: int = 0
    """Places where the video's clock restarts; time continues from the frame before."""
    packets_not_displayed: int = 0
    """Packets that yield no displayed picture: before the first keyframe, or damaged at the end."""
    placement: Literal["end", "clock", "given"] = "end"
    """Start of the chunk: the end of the chunk before, a clock that both share, or as given."""
    clock_gap_seconds: float | None = None
    """Gap to the end of the chunk before, on the clock that both share; negative if they overlap.
    """
    sound_seconds: float = 0.0
    """Time from the end of the last picture to the end of the chunk's audio or file."""
    is_cut_short: bool = False
    """True if the file is shorter than it states, so that frames are missing at its end."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Phrases that describe repairs, omissions and the gap before the chunk."""
        facts = [
            (self.times_replaced, "times replaced"),
            (self.clock_restarts, "clock restarts"),
            (self.packets_not_displayed, "packets not displayed"),
        ]
        notes = [f"{what}: {number:,}" for number, what in facts if number]
        gap = self.clock_gap_seconds
        if gap is not None and round(gap, _GAP_DIGITS):
            what = f"{'gap' if gap > 0 else 'overlap'} of {abs(gap):.3f} s to the previous chunk"
            notes.append(what if self.placement == "clock" else f"{what}, not kept")
        if self.sound_seconds >= _MIN_SOUND_SECONDS:
            notes.append(f"continues for {self.sound_seconds:.3f} s after its last picture")
        if self.is_cut_short:
            notes.append("cut short: frames are missing at its end")
        return tuple(notes)


_GAP_DIGITS: Final = 3
_MIN_SOUND_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """Result of an extraction."""

    timeline_id: str
    chunks_extracted: int
    """Chunks of which this call decoded and committed all segments, or some."""
    chunks_cached: int
    """Chunks of which other calls committed all segments."""
    frames_extracted: int
    """Frames that this call stored."""
    frames_undecodable: int
    """Frames of the extracted chunks that could not be decoded."""
    frame_count: int
    """Frames on the whole timeline, undecodable ones included."""
    bytes_stored: int
    """Bytes of JPEG that this call stored, renditions included."""
    seconds: float
    """Wall time of the call."""
    timing: tuple[ChunkTiming, ...] = ()
    """Requested chunks whose times were corrected, or that have a gap or an overlap next to them.
    """
    segments_extracted: int = 0
    """Segments of chunks that this call decoded and committed."""
    segments_cached: int = 0
    """Segments that other calls committed."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Number of requests to a store, as S3 counts them."""

    puts: int = 0
    """PUT and POST: a multipart upload counts one for each part, its creation and its completion.
    """
    lists: int = 0
    gets: int = 0
    deletes: int = 0

    @property
    def total(self) -> int:
        """Number of requests of all kinds."""
        return self.puts + self.lists + self.gets + self.deletes

    def __add__(self, other: "Requests") -> "Requests":
        """Return the sum."""
        return Requests(
            self.puts + other.puts,
            self.lists + other.lists,
            self.gets + other.gets,
            self.deletes + other.deletes,
        )

    def __mul__(self, times: int) -> "Requests":
        """Return the requests of ``times`` repetitions."""
        return Requests(
            self.puts * times,
            self.lists * times,
            self.gets * times,
            self.deletes * times,
        )


@dataclass(frozen=True, slots=True)
class JpegSettings:
    """Settings that determine the size and the encoding of frames."""

    quality: int = 85
    """1 (smallest) to 100 (best), on libjpeg's scale."""
    aspect: Aspect = "stored"
    """Treatment of pixels that are not square: kept, or scaled to square ones."""
    max_side: int | None = None
    """Maximum width and height in pixels; None: no limit, as is that of all frames, 65,500."""
    chroma: Chroma = "420"
    """Resolution of color in the JPEG."""
    renditions: tuple[int, ...] = ()
    """Maximum width and height of each smaller copy of a frame that is stored with it, descending;
    a frame that is not larger has none of that size."""

    def __post_init__(self) -> None:
        """Convert numbers to ints; reject values that the encoder does not support."""
        if self.aspect not in get_args(Aspect):
            raise InvalidValue(f'aspect must be "stored" or "square", not {self.aspect!r}')
        quality = as_index(self.quality)
        if quality is None or quality not in QUALITIES:
            raise InvalidValue(
                f"quality must be an integer from 1 to 100, not {format_value(self.quality)}"
            )
        object.__setattr__(self, "quality", quality)
        if self.chroma not in get_args(Chroma):
            raise InvalidValue(f'chroma must be "420" or "444", not {format_value(self.chroma)}')
        if self.max_side is not None:
            max_side = require_max_side(self.max_side)
            object.__setattr__(self, "max_side", None if max_side == MAX_FRAME_SIDE else max_side)
        object.__setattr__(self, "renditions", require_renditions(self.renditions))

    def with_changes(
        self,
        *,
        quality: int | None = None,
        aspect: Aspect | None = None,
        max_side: int | None = None,
        chroma: Chroma | None = None,
        renditions: Iterable[int] | None = None,
    ) -> "JpegSettings":
        """Return a copy with the values that are not None replaced."""
        return JpegSettings(
            quality=self.quality if quality is None else quality,
            aspect=self.aspect if aspect is None else aspect,
            max_side=self.max_side if max_side is None else max_side,
            chroma=self.chroma if chroma is None else chroma,
            renditions=self.renditions if renditions is None else require_renditions(renditions),
        )


class WriteReport(int):
    """Number of frames given to one call, each sequence counted once, broken down by outcome.

    It is the sum of the stored, replaced, kept and unchanged frames.
    """

    stored: int
    """Frames that were not cached before."""
    replaced: int
    """Frames that replaced cached ones, in picture or in metadata."""
    kept: int
    """Frames whose cached version was kept although another was given (``on_conflict="keep"``)."""

    def __new__(cls, given: int, *, stored: int, replaced: int, kept: int) -> Self:
        """Create a report on ``given`` frames."""
        report = super().__new__(cls, given)
        report.stored, report.replaced, report.kept = stored, replaced, kept
        return report

    @property
    def unchanged(self) -> int:
        """Number of frames that were already cached with the same content."""
        return self - self.stored - self.replaced - self.kept

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, int]]:
        """Return the arguments with which `copy` and `pickle` recreate the report."""
        became = {"stored": self.stored, "replaced": self.replaced, "kept": self.kept}
        return (int(self),), became


def require_max_side(max_side: object) -> int:
    """Return the limit of a frame's sides as an int.

    Raises:
        InvalidValue: it is not an integer from 1 to `MAX_FRAME_SIDE`.
    """
    number = as_index(max_side)
    if number is None or not 1 <= number <= MAX_FRAME_SIDE:
        raise InvalidValue(
            f"max_side must be an integer from 1 to {MAX_FRAME_SIDE}, not {format_value(max_side)}"
        )
    return number


def require_renditions(renditions: object) -> tuple[int, ...]:
    """Return the sizes of renditions as ints.

    Raises:
        InvalidValue: they are not integers from 1 to `MAX_FRAME_SIDE`, each less than the one
            before it, or there are more than `MAX_RENDITIONS`.
    """
    given: list[object] = [None]
    if isinstance(renditions, Iterable) and not isinstance(renditions, bytes | bytearray):
        given = [*renditions]
    sides = [as_index(side) for side in given]
    known = [side for side in sides if side is not None and 1 <= side <= MAX_FRAME_SIDE]
    is_descending = all(before > after for before, after in pairwise(known))
    if len(known) < len(given) or not is_descending:
        raise InvalidValue(
            f"renditions must be integers from {MAX_FRAME_SIDE} down to 1, each once and the "
            f"largest first, not {format_value(renditions)}"
        )
    if len(known) > MAX_RENDITIONS:
        raise InvalidValue(
            f"a timeline has at most {MAX_RENDITIONS} renditions of a frame, not {len(known)}"
        )
    return tuple(known)


def require_color(color: Color) -> Color:
    """Return ``color`` if it is valid; otherwise raise InvalidValue."""
    if color in COLORS:
        return color
    raise InvalidValue(f'color must be "rgb", "bgr" or "gray", not {color!r}')


def require_on_conflict(on_conflict: OnConflict) -> OnConflict:
    """Return ``on_conflict`` if it is valid; otherwise raise InvalidValue."""
    if on_conflict in get_args(OnConflict):
        return on_conflict
    raise InvalidValue(f'on_conflict must be "raise", "replace" or "keep", not {on_conflict!r}')


def as_layout(layout: Layout | None) -> Layout | None:
    """Return ``layout`` if it is valid or None; otherwise raise InvalidValue."""
    return None if layout is None else require_layout(layout)


def require_layout(layout: Layout) -> Layout:
    """Return ``layout`` if it is valid; otherwise raise InvalidValue."""
    if layout in get_args(Layout):
        return layout
    raise InvalidValue(f'layout must be "objects", "packs" or "video", not {layout!r}')


def _summarize_image(image: object) -> str:
    """Return an image's type, dtype and shape, without its pixels."""
    if not isinstance(image, np.ndarray):
        return f"<{type(image).__name__}>"
    return f"<{image.dtype} {'x'.join(map(str, image.shape))}>"
