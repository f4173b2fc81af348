"""Format ``cvat``: pictures, and the manifest with which CVAT reads a set of images in its order.

``manifest.jsonl`` has a line with its version, one with its type, and one for each image with its
name and extension. CVAT ignores what it does not know, so ``meta`` also has the frame's metadata.
"""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from framecache._core.numeric import format_value
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
    frame_from,
)
from framecache._exchange.local_files import jpeg_name, read_json, read_picture, readable
from framecache.errors import InvalidValue
from framecache.model import FolderFormat

MANIFEST: Final = "manifest.jsonl"
_IMAGES: Final = "images"
_VERSION: Final = "1.1"
_VERSIONS: Final = ("1.0", "1.1")
_TYPE: Final = "images"
_METADATA: Final = "framecache"


class Cvat(ExchangeFormat):
    """Format ``cvat``."""

    name: ClassVar[FolderFormat] = "cvat"
    has_overlays: ClassVar[bool] = False

    def write(
        self,
        folder: Path,
        frames: Iterator[ExchangedFrame],
        plan: ExportPlan,  # noqa: ARG002 -- takes any frames
    ) -> None:
        """See `ExchangeFormat`."""
        (folder / _IMAGES).mkdir()
        with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
            _write_line(manifest, {"version": _VERSION})
            _write_line(manifest, {"type": _TYPE})
            for frame in frames:
                assert frame.sequence is not None  # it is exported
                path = Path(_IMAGES, jpeg_name(frame.sequence))
                (folder / path).write_bytes(frame.jpeg)
                entry = {
                    "name": path.with_suffix("").as_posix(),
                    "extension": path.suffix,
                    "width": frame.width,
                    "height": frame.height,
                    "meta": {"related_images": [], _METADATA: frame.metadata},
                }
                _write_line(manifest, entry)

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return (folder / MANIFEST).is_file()

    def open(self, folder: Path) -> "CvatFolder":
        """See `ExchangeFormat`."""
        return CvatFolder(folder)


class CvatFolder:
    """Folder of the format ``cvat``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifest = folder / MANIFEST
        self._count = sum(1 for _ in self._entries())

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        for origin, entry in self._entries():
            name = f"{entry['name']}{entry['extension']}"
            data = read_picture(self._folder, name, named_by=origin)
            meta = entry.get("meta")
            metadata = meta.get(_METADATA) if isinstance(meta, dict) else None
            known = metadata if isinstance(metadata, dict) else {}
            yield frame_from(known, data, origin=str(self._folder / name))

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        return iter(())

    def _entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the place of each image's line, for messages, and the line."""
        with readable(self._manifest), self._manifest.open(encoding="utf-8") as manifest:
            lines = self._lines(manifest)
            (_, version), (_, kind) = next(lines, ("", {})), next(lines, ("", {}))
            if version.get("version") not in _VERSIONS or kind.get("type") != _TYPE:
                raise InvalidValue(
                    f"{self._manifest} does not begin with a version ({' or '.join(_VERSIONS)}) "
                    f"and the type {_TYPE}: give a manifest of images"
                )
            for origin, entry in lines:
                # CVAT leaves out the images that a job does not use.
                if not entry:
                    continue
                for name in ("name", "extension"):
                    if not isinstance(entry.get(name), str):
                        raise InvalidValue(
                            f"{origin} has the {name} {format_value(entry.get(name))}, not a string"
                        )
                yield origin, entry

    def _lines(self, manifest: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        number = 0
        try:
            for number, line in enumerate(manifest, start=1):
                if line.strip():
                    origin = f"line {number} of {self._manifest}"
                    yield origin, read_json(line, origin=origin)
        except UnicodeDecodeError as error:
            raise InvalidValue(f"{self._manifest} is not text after line {number}") from error


def _write_line(manifest: IO[str], document: dict[str, Any]) -> None:
    manifest.write(json.dumps(document, separators=(",", ":")) + "\n")
