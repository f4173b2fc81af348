"""Format ``images``: a JPEG for each frame, and the table ``frames.csv``."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import ClassVar

from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
    frame_from,
)
from framecache._exchange.local_files import (
    jpeg_name,
    read_overlays,
    read_picture,
    write_overlay,
)
from framecache._exchange.table import FILE_COLUMN, TABLE, Table, TableWriter
from framecache.model import FolderFormat


class Images(ExchangeFormat):
    """Format ``images``."""

    name: ClassVar[FolderFormat] = "images"

    def write(
        self,
        folder: Path,
        frames: Iterator[ExchangedFrame],
        plan: ExportPlan,  # noqa: ARG002 -- takes any frames
    ) -> None:
        """See `ExchangeFormat`."""
        with TableWriter(folder) as table:
            for frame in frames:
                assert frame.sequence is not None  # it is exported
                name = jpeg_name(frame.sequence)
                (folder / name).write_bytes(frame.jpeg)
                table.add(frame, name)
                for overlay in frame.overlays:
                    write_overlay(folder, overlay)

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return (folder / TABLE).is_file()

    def open(self, folder: Path) -> "ImageFolder":
        """See `ExchangeFormat`."""
        return ImageFolder(folder)


class ImageFolder:
    """Folder of the format ``images``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._table = Table(folder / TABLE)

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._table.count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        for origin, values in self._table.lines():
            file = values.get(FILE_COLUMN)
            data = read_picture(self._folder, file, named_by=origin)
            yield frame_from(values, data, origin=str(self._folder / str(file)))

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        return read_overlays(self._folder)
