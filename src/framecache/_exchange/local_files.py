"""Files of a folder that is imported, none of which lies outside it, and names of exported ones."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from framecache._core import keys
from framecache._core.numeric import format_value
from framecache._exchange.base import ExchangedOverlay
from framecache.errors import InvalidValue, StoreUnavailable

MAX_FILE_BYTES: Final = 256 * 2**20
"""Largest picture that is read: larger than any JPEG of a frame, or PNG of an overlay."""

OVERLAYS: Final = "overlays"
"""Folder of the overlays."""
_PNG: Final = ".png"


def as_folder(folder: object) -> Path:
    """Return the path of a local folder.

    Raises:
        InvalidValue: it is not a path, or the URL of a store.
    """
    try:
        text = os.fsdecode(folder)  # type: ignore[arg-type]  # checked here
    except TypeError as error:
        raise InvalidValue(
            f"the folder must be a local path, not {format_value(folder)}"
        ) from error
    if not text or "\0" in text or "://" in text:
        raise InvalidValue(f"the folder must be a local path, not {format_value(text)}")
    return Path(text)


def jpeg_name(sequence: int) -> str:
    """Return the file name of a frame; names of up to a million frames sort in time order."""
    return f"{sequence:06d}.jpg"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Convert an error of the operating system while ``path`` is read.

    Raises:
        InvalidValue: the file is missing.
        StoreUnavailable: it cannot be read.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidValue(f"{path} is missing: give a complete folder") from error
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error.strerror or error}") from error


def read_picture(folder: Path, name: object, *, named_by: str) -> bytes:
    """Return the bytes of a picture, given its name relative to a folder.

    Args:
        folder: folder of the pictures.
        name: relative path, with slashes.
        named_by: file that names the picture, for messages.

    Raises:
        InvalidValue: it is missing, larger than :data:`MAX_FILE_BYTES`, or outside the folder.
    """
    path = folder / _inside(folder, name, named_by=named_by)
    if not path.is_file():
        raise InvalidValue(f"{named_by} names {path}, which is missing: give a complete folder")
    with readable(path):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidValue(
                f"{path} has more than {MAX_FILE_BYTES:,} bytes, which no frame has: leave it out"
            )
        return path.read_bytes()


def read_json(text: str | bytes, *, origin: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        InvalidValue: it is not JSON, or not an object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{origin} is not JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise InvalidValue(f"{origin} is not a JSON object, but {type(document).__name__}")
    return document


def write_overlay(folder: Path, overlay: ExchangedOverlay) -> None:
    """Write an overlay to ``overlays/JOB/STAGE/SEQ_NAME.png``."""
    place = folder / OVERLAYS / overlay.job_id / overlay.stage
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{overlay.sequence}_{overlay.name}{_PNG}").write_bytes(overlay.png)


def read_overlays(folder: Path) -> Iterator[ExchangedOverlay]:
    """Yield the overlays that :func:`write_overlay` writes; other files are ignored.

    Raises:
        InvalidValue: a PNG has another name.
    """
    root = folder / OVERLAYS
    for path in sorted(root.glob(f"*/*/*{_PNG}")):
        parsed = keys.parse_overlay(path.name)
        if parsed is None:
            raise InvalidValue(
                f"{path} is not named SEQ_NAME.png: give it the number of its frame and a name"
            )
        name = "/".join(path.relative_to(root).parts)
        yield ExchangedOverlay(
            sequence=parsed[0],
            job_id=path.parts[-3],
            stage=path.parts[-2],
            name=parsed[1],
            png=read_picture(root, name, named_by=os.fspath(root)),
        )


def _inside(folder: Path, name: object, *, named_by: str) -> PurePosixPath:
    """Return a relative path, if it leads to a place inside the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidValue(f"{named_by} names {format_value(name)}, which is not a file name")
    path = PurePosixPath(name)
    if not path.is_absolute() and ".." not in path.parts:
        try:
            if (folder / path).resolve().is_relative_to(folder.resolve()):
                return path
        except (OSError, RuntimeError):  # links in a circle
            pass
    raise InvalidValue(
        f"{named_by} names {format_value(name)}, which is outside the folder: give a relative path "
        "without '..'"
    )
