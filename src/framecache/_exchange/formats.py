"""The formats, by name, and recognition of the format of a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

from framecache._exchange.base import ExchangeFormat
from framecache._exchange.coco import CocoImages
from framecache._exchange.cvat import Cvat
from framecache._exchange.images import Images
from framecache._exchange.lance import Lance
from framecache._exchange.mp4 import Mp4
from framecache._exchange.parquet import Parquet
from framecache._exchange.webdataset import WebDataset
from framecache.errors import InvalidValue
from framecache.model import FolderFormat

# A folder of the format mp4 also has the table of the format images, so mp4 comes first.
_FORMATS: Final[tuple[ExchangeFormat, ...]] = (
    *(Mp4(), Images(), WebDataset(), Parquet(), Lance(), CocoImages(), Cvat()),
)

_BY_NAME: Final[Mapping[str, ExchangeFormat]] = {one.name: one for one in _FORMATS}


def format_named(name: FolderFormat) -> ExchangeFormat:
    """Return a format.

    Raises:
        InvalidValue: there is no format of that name.
    """
    found = _BY_NAME.get(str(name))
    if found is None:
        names = ", ".join(f'"{one}"' for one in get_args(FolderFormat))
        raise InvalidValue(f"format must be one of {names}, not {name!r}")
    return found


def format_of(folder: Path) -> ExchangeFormat:
    """Return the format of a folder.

    Raises:
        InvalidValue: it is of no format, or of several.
    """
    found = [one for one in _FORMATS if one.is_in(folder)]
    names = [one.name for one in found]
    if names in (["mp4"], ["mp4", "images"]) or len(found) == 1:
        return found[0]
    if not found:
        raise InvalidValue(
            f"{folder} has the files of no format that can be imported, which are "
            f"{', '.join(get_args(FolderFormat))}: give another folder"
        )
    raise InvalidValue(f"{folder} may be of the formats {' and '.join(names)}: name the format")
