"""Format ``mp4``: a video at a constant rate whose n-th frame is the n-th line of ``frames.csv``.

The pictures are the stored JPEGs (Motion JPEG), so each is a keyframe and keeps its bytes.
"""

from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import ClassVar, Final

from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
    frame_from,
)
from framecache._exchange.table import TABLE, Table, TableWriter
from framecache._index import Index
from framecache._media import jpeg, video
from framecache._read.selection import Positions
from framecache.errors import InvalidValue, UnreadableChunk
from framecache.model import FolderFormat

VIDEO: Final = "video.mp4"


class Mp4(ExchangeFormat):
    """Format ``mp4``."""

    name: ClassVar[FolderFormat] = "mp4"
    has_overlays: ClassVar[bool] = False
    has_rate: ClassVar[bool] = True

    def require_packages(self) -> None:
        """See `ExchangeFormat`."""
        video.require_packages("the format mp4")

    def check(self, index: Index, positions: Positions) -> None:
        """See `ExchangeFormat`."""
        sides = index.width[positions].tolist(), index.height[positions].tolist()
        _require_one_size([size for size in dict.fromkeys(zip(*sides, strict=True)) if all(size)])

    def write(self, folder: Path, frames: Iterator[ExchangedFrame], plan: ExportPlan) -> None:
        """See `ExchangeFormat`."""
        first = next(frames)
        height, width = jpeg.size(first.jpeg)
        with TableWriter(folder) as table:

            def jpegs() -> Iterator[bytes]:
                for frame in chain([first], frames):
                    size = jpeg.size(frame.jpeg)
                    _require_one_size([(width, height), (size[1], size[0])])
                    table.add(frame, VIDEO)
                    yield frame.jpeg

            video.write_jpeg_stream(
                folder / VIDEO, jpegs(), rate=plan.rate, width=width, height=height
            )

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return (folder / VIDEO).is_file() and (folder / TABLE).is_file()

    def open(self, folder: Path) -> "Mp4Folder":
        """See `ExchangeFormat`."""
        return Mp4Folder(folder)


class Mp4Folder:
    """Folder of the format ``mp4``."""

    def __init__(self, folder: Path) -> None:
        self._video = folder / VIDEO
        self._table = Table(folder / TABLE)

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._table.count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        number = 0
        lines = self._table.lines()
        try:
            for number, data in enumerate(video.read_jpeg_stream(self._video), start=1):
                _, values = next(lines, ("", None))
                if values is not None:
                    origin = f"frame {number - 1} of {self._video}"
                    yield frame_from(values, data, origin=origin)
        except UnreadableChunk as error:
            raise InvalidValue(str(error)) from error
        if number != self.frame_count:
            raise InvalidValue(
                f"{self._video} has {number:,} frames, but its table has {self.frame_count:,} "
                "lines: export it again"
            )

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        return iter(())


def _require_one_size(sizes: list[tuple[int, int]]) -> None:
    for size in sizes[1:]:
        if size != sizes[0]:
            (width, height), (other_width, other_height) = sizes[0], size
            raise InvalidValue(
                f"one video cannot contain frames of {width}x{height} and "
                f"{other_width}x{other_height}: choose a range with one size, or another format"
            )
