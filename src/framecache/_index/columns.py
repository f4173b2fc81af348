"""Columns of an index in memory, and conversion of values to their types."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from framecache._index import string_columns
from framecache._index.string_columns import (
    DictionaryColumn,
    HexColumn,
    StringBuffers,
    StringColumn,
    TemplateColumn,
    freeze,
)

COLUMNS: Final = {
    "sequence": "int64",
    "chunk_id": "int32",
    "pts": "int64",
    "timestamp": "float64",
    "duration": "float64",
    "width": "int32",
    "height": "int32",
    "key": "string",
    "offset": "int64",
    "size": "int64",
    "crc32c": "uint32",
    "perceptual_hash": "string",
    "status": "string",
    "reason": "string",
    "quality": "int32",
    "picture_since": "string",
}

DEFAULTS: Final[Mapping[str, int | str]] = {"quality": 0, "picture_since": ""}
"""Values of columns that files by earlier versions lack."""

NULLABLE: Final = frozenset({"size", "crc32c", "perceptual_hash", "status"})
"""Columns that are null in a file, all of them in the same rows, where frames are not stored."""

UNKNOWN_STATUS: Final = "unknown"
"""Status of such rows in memory; the other columns are 0 or empty."""

_NARROWED: Final = frozenset({"pts", "offset", "size"})
"""Columns of integers that are held in the narrowest type: their values are seldom large."""

NumberColumn = npt.NDArray[Any]
Columns = Mapping[str, NumberColumn | StringColumn]
"""All columns of some rows by name; they have the same length, and cannot be changed."""


def from_values(values: Mapping[str, "Sequence[Any] | npt.NDArray[Any]"]) -> Columns:
    """Return the columns of rows that are given by the values of each column."""
    sequence = number_column("sequence", np.asarray(values["sequence"], np.int64))
    return {name: _from_values(name, values[name], sequence) for name in COLUMNS}


def _from_values(
    name: str, values: "Sequence[Any] | npt.NDArray[Any]", sequence: npt.NDArray[np.int64]
) -> NumberColumn | StringColumn:
    if COLUMNS[name] != "string":
        return number_column(name, np.asarray(values, COLUMNS[name]))
    return text_column(name, [*values], sequence)


def text_column(name: str, texts: Sequence[str], sequence: npt.NDArray[np.int64]) -> StringColumn:
    """Return strings as the column holds them."""
    return string_column(name, StringBuffers.from_strings(texts), sequence) or (
        DictionaryColumn.from_strings(texts)
    )


def number_column(name: str, values: NumberColumn) -> NumberColumn:
    """Return numbers as the column holds them; of equal values, only one is stored."""
    return freeze(_narrow(values) if name in _NARROWED else values)


def string_column(
    name: str, strings: StringBuffers, sequence: npt.NDArray[np.int64]
) -> StringColumn | None:
    """Return strings in the compact form that the column usually has; None if they lack it."""
    if name == "key":
        return TemplateColumn.from_buffers(strings, sequence)
    if name == "perceptual_hash":
        return HexColumn.from_buffers(strings)
    return DictionaryColumn.from_equal(strings)


def default_column(name: str, length: int) -> NumberColumn | StringColumn:
    """Return a column that files by earlier versions lack."""
    value = DEFAULTS[name]
    if isinstance(value, str):
        return DictionaryColumn.of_one(value, length)
    return np.broadcast_to(np.array(value, COLUMNS[name]), length)


def unknown_rows(columns: Columns) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the rows whose nullable columns are null; None if there are none."""
    status = columns["status"]
    assert not isinstance(status, np.ndarray)
    mask = status.equal(UNKNOWN_STATUS)
    return mask if mask.any() else None


def take(columns: Columns, positions: npt.NDArray[np.int64]) -> Columns:
    """Return the rows at these positions, in the given order."""
    taken = {
        name: number_column(name, column[positions])
        if isinstance(column, np.ndarray)
        else column.take(positions)
        for name, column in columns.items()
    }
    return _share_sequence(taken)


def concat(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several parts, in order; of at least one part."""
    if len(parts) == 1:
        return parts[0]
    return _share_sequence({name: _concat_column(name, parts) for name in COLUMNS})


def _concat_column(name: str, parts: Sequence[Columns]) -> NumberColumn | StringColumn:
    pieces = [part[name] for part in parts]
    numbers = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if numbers:
        return number_column(name, np.concatenate(numbers))
    return string_columns.concat([piece for piece in pieces if not isinstance(piece, np.ndarray)])


def _share_sequence(columns: dict[str, NumberColumn | StringColumn]) -> Columns:
    """Let the keys refer to the column of sequences instead of to a copy of it."""
    key, sequence = columns["key"], columns["sequence"]
    if isinstance(key, TemplateColumn) and isinstance(sequence, np.ndarray):
        columns["key"] = replace(key, sequence=sequence)
    return columns


def _narrow(values: NumberColumn) -> NumberColumn:
    if not len(values):
        return values
    limits = [np.iinfo(kind) for kind in (np.int8, np.int16, np.int32, np.int64)]
    least, most = values.min(), values.max()
    narrowest = next(limit for limit in limits if limit.min <= least and most <= limit.max)
    return values.astype(narrowest.dtype)
