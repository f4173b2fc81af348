"""The table ``frames.csv``: a line for each frame, in the order of the frames."""

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Final, Self

from framecache._core.numeric import format_value
from framecache._exchange.base import METADATA, ExchangedFrame
from framecache._exchange.local_files import readable
from framecache.errors import InvalidValue

TABLE: Final = "frames.csv"
FILE_COLUMN: Final = "file"
_COLUMNS: Final[Mapping[str, type]] = {**METADATA, FILE_COLUMN: str}
"""Type of each column."""


class TableWriter:
    """Writer of the table; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / TABLE).open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, _COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, frame: ExchangedFrame, file: str) -> None:
        """Add the line of a frame, which is stored in ``file``."""
        self._writer.writerow(frame.metadata | {FILE_COLUMN: file})


@dataclass(frozen=True, slots=True)
class Table:
    """Table of a folder, open for reading."""

    path: Path
    count: int = field(init=False)
    """Number of lines."""

    def __post_init__(self) -> None:
        """Count the lines, and check that the last one is complete."""
        with readable(self.path), self.path.open("rb") as file:
            file.seek(-min(1, self.path.stat().st_size), os.SEEK_END)
            if file.read() != b"\n":
                raise InvalidValue(f"{self.path} does not end with its last line: export it again")
        object.__setattr__(self, "count", sum(1 for _ in self.lines()))

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the place of each line, for messages, and its values by column.

        Columns that are missing or empty have no value, and others than those of frames are
        ignored.

        Raises:
            InvalidValue: the file is not such a table, or a value is not of its column's type.
        """
        with readable(self.path), self.path.open(newline="", encoding="utf-8") as file:
            yield from self._parse(file)

    def _parse(self, file: IO[str] | TextIOWrapper) -> Iterator[tuple[str, dict[str, Any]]]:
        reader = csv.DictReader(file, strict=True)
        try:
            if FILE_COLUMN not in (reader.fieldnames or ()):
                raise InvalidValue(f"{self.path} has no column {FILE_COLUMN!r}: export it again")
            for line in reader:
                origin = f"line {reader.line_num} of {self.path}"
                if None in line or None in line.values():
                    raise InvalidValue(f"{origin} has not as many values as the first line")
                yield origin, _values(line, origin)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidValue(f"{self.path} is not a table (CSV): {error}") from error


def _values(line: dict[str, str], origin: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parse in _COLUMNS.items():
        text = line.get(name)
        if text:
            try:
                values[name] = parse(text)
            except ValueError as error:
                raise InvalidValue(
                    f"{origin} has the {name} {format_value(text)}, which is not a number"
                ) from error
    return values
