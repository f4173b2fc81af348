"""File that lists the chunks of many timelines: CSV with a row for each chunk."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from framecache._core import keys
from framecache.errors import InvalidId, InvalidValue, UnreadableChunk
from framecache.model import Chunk
from framecache.store import normalized_url, path_of_url

_REQUIRED: Final = ("timeline_id", "chunk")
_OPTIONAL: Final = ("start_seconds", "trim_start", "trim_stop")


def read_timelines(path: Path) -> dict[str, list[Chunk]]:
    """Return the chunks of each timeline, in the order of the rows.

    The rows of a timeline follow each other. Paths of chunks are relative to the working folder.

    Raises:
        InvalidId: a timeline's id is invalid.
        InvalidValue: the file cannot be read, has other columns or no rows, or a timeline's rows
            are in several places.
        UnreadableChunk: a chunk is a local file that does not exist.
    """
    timelines: dict[str, list[Chunk]] = {}
    latest = None
    for place, row in _rows(path):
        timeline_id = _require_id(row["timeline_id"], place)
        if timeline_id != latest and timeline_id in timelines:
            raise InvalidValue(
                f"{place}: timeline {timeline_id} begins again: put the rows of a timeline together"
            )
        latest = timeline_id
        given = {name: row.get(name) or None for name in _OPTIONAL}
        chunk = Chunk(_require_chunk(row["chunk"], place), **given)
        timelines.setdefault(timeline_id, []).append(chunk)
    if not timelines:
        raise InvalidValue(f"{path} has no rows: give one for each chunk")
    return timelines


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows, each with its place for messages."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, list(reader.fieldnames or ()))
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise InvalidValue(f"{place} has not as many fields as the first line")
                yield place, {name: value.strip() for name, value in row.items()}
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidValue(f"{path} is not a CSV file in UTF-8: {error}") from error


def _check_columns(path: Path, names: list[str]) -> None:
    unknown = [name for name in names if name not in (*_REQUIRED, *_OPTIONAL)]
    missing = [name for name in _REQUIRED if name not in names]
    repeated = [name for name in names if names.count(name) > 1]
    for found, what in ((unknown, "unknown"), (missing, "no"), (repeated, "several times the")):
        if found:
            raise InvalidValue(
                f"{path} has {what} column {found[0]!r}: its first line must be "
                f"{','.join(_REQUIRED)}, and {', '.join(_OPTIONAL)} if wanted"
            )


def _require_id(timeline_id: str, place: str) -> str:
    try:
        return keys.check_id(timeline_id, what="timeline_id")
    except InvalidId as error:
        raise InvalidId(f"{place}: {error}") from error


def _require_chunk(chunk: str, place: str) -> str:
    if not chunk:
        raise InvalidValue(f"{place} names no chunk")
    try:
        url = normalized_url(chunk)
    except InvalidValue as error:
        raise InvalidValue(f"{place}: {error}") from error
    if url.startswith("file:") and not Path(path_of_url(url)).is_file():
        raise UnreadableChunk(f"{place}: there is no file {chunk}")
    return chunk
