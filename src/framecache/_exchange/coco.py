"""Format ``coco-images``: a folder ``images`` and JSON with an entry for each, as of COCO."""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from framecache._core.numeric import format_value
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
    frame_from,
)
from framecache._exchange.local_files import (
    jpeg_name,
    read_json,
    read_overlays,
    read_picture,
    readable,
    write_overlay,
)
from framecache.errors import InvalidValue
from framecache.model import FolderFormat

IMAGES: Final = "images"
ANNOTATIONS: Final = "annotations"
DOCUMENT: Final = "instances_default.json"
"""Name that CVAT and Datumaro expect."""
_DOCUMENTS: Final = "*.json"


class CocoImages(ExchangeFormat):
    """Format ``coco-images``."""

    name: ClassVar[FolderFormat] = "coco-images"

    def write(
        self,
        folder: Path,
        frames: Iterator[ExchangedFrame],
        plan: ExportPlan,  # noqa: ARG002 -- takes any frames
    ) -> None:
        """See `ExchangeFormat`."""
        (folder / IMAGES).mkdir()
        (folder / ANNOTATIONS).mkdir()
        with (folder / ANNOTATIONS / DOCUMENT).open("w", encoding="utf-8") as document:
            document.write('{"info":{},"licenses":[],"categories":[],"annotations":[],"images":[')
            separator = "\n"
            for frame in frames:
                assert frame.sequence is not None  # it is exported
                name = jpeg_name(frame.sequence)
                (folder / IMAGES / name).write_bytes(frame.jpeg)
                entry = {"id": frame.sequence, "file_name": name, **frame.metadata}
                document.write(separator + json.dumps(entry, separators=(",", ":")))
                separator = ",\n"
                for overlay in frame.overlays:
                    write_overlay(folder, overlay)
            document.write("\n]}\n")

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return any((folder / ANNOTATIONS).glob(_DOCUMENTS))

    def open(self, folder: Path) -> "CocoFolder":
        """See `ExchangeFormat`."""
        return CocoFolder(folder)


class CocoFolder:
    """Folder of the format ``coco-images``; its JSON is held in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._document = _find_document(folder / ANNOTATIONS)
        with readable(self._document):
            document = read_json(self._document.read_bytes(), origin=str(self._document))
        entries = document.get("images")
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise InvalidValue(
                f"{self._document} has no list 'images' of objects: give a file in COCO's format"
            )
        self._entries: list[dict[str, Any]] = entries
        _require_distinct(entries, self._document)

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return len(self._entries)

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        images = self._folder / IMAGES
        for entry in self._entries:
            name = entry.get("file_name")
            data = read_picture(images, name, named_by=str(self._document))
            yield frame_from(entry, data, origin=str(images / str(name)))

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        return read_overlays(self._folder)


def _find_document(folder: Path) -> Path:
    own = folder / DOCUMENT
    found = [own] if own.is_file() else sorted(folder.glob(_DOCUMENTS))
    if len(found) != 1:
        raise InvalidValue(
            f"{folder} has {len(found)} JSON files, and none of them is {DOCUMENT}: leave one there"
        )
    return found[0]


def _require_distinct(entries: list[dict[str, Any]], document: Path) -> None:
    """Raise InvalidValue if two entries have one id."""
    seen: set[str] = set()
    for number in (entry["id"] for entry in entries if "id" in entry):
        if repr(number) in seen:
            raise InvalidValue(
                f"{document} has two images of the id {format_value(number)}: give each its own"
            )
        seen.add(repr(number))
