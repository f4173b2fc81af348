"""Interface of a format: the files of frames and overlays in a folder."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from framecache._index import Index
from framecache._read.selection import Positions
from framecache.model import FolderFormat

METADATA: Final[Mapping[str, type]] = {
    "sequence": int,
    "chunk_id": int,
    "timestamp": float,
    "perceptual_hash": str,
    "duration": float,
    "width": int,
    "height": int,
    "quality": int,
}
"""Names and types of the metadata of a frame, the same in every format."""


@dataclass(frozen=True, slots=True, eq=False)
class ExchangedOverlay:
    """Overlay on its way to or from a folder; the values of a folder are checked later."""

    sequence: Any
    job_id: Any
    stage: Any
    name: Any
    png: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ExchangedFrame:
    """Frame on its way to or from a folder."""

    jpeg: bytes
    """Its stored bytes."""
    sequence: int | None
    """None: the folder does not number its frames."""
    timestamp: float | None
    """Seconds on the timeline; None: the folder states no times."""
    chunk_id: int = 0
    duration: float = 0.0
    """Seconds; 0.0 if unknown."""
    width: int = 0
    """Pixels; 0 if unknown."""
    height: int = 0
    quality: int = 0
    """JPEG quality; 0 if unknown."""
    perceptual_hash: str = ""
    overlays: tuple[ExchangedOverlay, ...] = ()
    """Overlays to export; frames that are imported have none."""
    origin: str = ""
    """Place that it was read from, for messages."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the frame, by name, in the order of :data:`METADATA`."""
        return {name: getattr(self, name) for name in METADATA}


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Facts about an export that are known before the first frame is read."""

    with_overlays: bool
    rate: Fraction
    """Frames per second, for a format with a constant rate."""
    shard_bytes: int
    """Size of a shard at which the next frame goes to another one, in a format with shards."""


class FrameFolder(Protocol):
    """Folder of a format, open for reading."""

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        ...

    def frames(self) -> Generator[ExchangedFrame]:
        """Yield the frames in the order of the folder.

        Raises:
            InvalidValue: a part of the folder is missing, damaged, or not as the format has it.
        """
        ...

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """Yield the overlays of all frames. Raises the errors of :meth:`frames`."""
        ...


class ExchangeFormat(ABC):
    """A format. Its name is public."""

    name: ClassVar[FolderFormat]
    has_overlays: ClassVar[bool] = True
    """True if it can hold overlays."""
    has_shards: ClassVar[bool] = False
    """True if it has several files of a limited size."""
    has_rate: ClassVar[bool] = False
    """True if it has a constant number of frames per second."""

    def require_packages(self) -> None:  # noqa: B027 -- most formats need none
        """Import what the format needs.

        Raises:
            MissingPackage: a package is not installed.
        """

    def check(self, index: Index, positions: Positions) -> None:  # noqa: B027 -- most take any
        """Raise InvalidValue if the format cannot hold these frames together."""

    @abstractmethod
    def write(self, folder: Path, frames: Iterator[ExchangedFrame], plan: ExportPlan) -> None:
        """Write frames, at least one, into an empty folder that no other program sees yet."""

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Return True if a folder has the files of this format; reads none of them."""

    @abstractmethod
    def open(self, folder: Path) -> FrameFolder:
        """Open a folder for reading.

        Raises:
            InvalidValue: it is not a folder of this format.
        """


def frame_from(metadata: Mapping[str, Any], jpeg: bytes, *, origin: str) -> ExchangedFrame:
    """Return a frame with those of the named metadata that are given; other names are ignored."""
    known = {name: metadata[name] for name in METADATA if metadata.get(name) is not None}
    given = {"sequence": None, "timestamp": None} | known
    return ExchangedFrame(jpeg=jpeg, origin=origin, **given)
