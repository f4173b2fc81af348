"""Columns of an index in memory, and conversion of values to their types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from framecache._core.frame_size import limit_size
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

RENDITION_FIELDS: Final = {
    "key": "string",
    "offset": "int64",
    "size": "int64",
    "crc32c": "uint32",
    "origin": "string",
}
"""Columns of each size of rendition, whose names end in ``_`` and the size: ``key_640``."""
_RENDITION_COLUMN: Final = re.compile(rf"({'|'.join(RENDITION_FIELDS)})_([1-9][0-9]{{0,4}})")

NULLABLE: Final = frozenset({"size", "crc32c", "perceptual_hash", "status"})
"""Columns that are null in a file, all of them in the same rows, where frames are not stored."""

UNKNOWN_STATUS: Final = "unknown"
"""Status of such rows in memory; the other columns are 0 or empty."""

_NARROWED: Final = frozenset({"pts", "offset", "size"})
"""Columns of integers that are held in the narrowest type: their values are seldom large."""

NumberColumn = npt.NDArray[Any]
Columns = Mapping[str, NumberColumn | StringColumn]
"""All columns of some rows by name; they have the same length, and cannot be changed."""


@cache
def column_types(sides: tuple[int, ...] = ()) -> Mapping[str, str]:
    """Return the type of each column of rows that may have renditions of these sizes."""
    of_renditions = {
        f"{name}_{side}": kind for side in sides for name, kind in RENDITION_FIELDS.items()
    }
    return COLUMNS | of_renditions


def rendition_sides(names: Iterable[str]) -> tuple[int, ...]:
    """Return the sizes of renditions that have columns among these, descending."""
    found = (_RENDITION_COLUMN.fullmatch(name) for name in names)
    return tuple(sorted({int(match[2]) for match in found if match}, reverse=True))


def frame_column(name: str) -> str:
    """Return the column of frames that has the same values as this column of renditions."""
    match = _RENDITION_COLUMN.fullmatch(name)
    return match[1] if match else name


def column_type(name: str) -> str:
    """Return the type of a column."""
    field = frame_column(name)
    return COLUMNS[name] if field == name else RENDITION_FIELDS[field]


def from_values(values: Mapping[str, "Sequence[Any] | npt.NDArray[Any]"]) -> Columns:
    """Return the columns of rows that are given by the values of each column."""
    sequence = number_column("sequence", np.asarray(values["sequence"], np.int64))
    types = column_types(rendition_sides(values))
    return {name: _from_values(name, kind, values[name], sequence) for name, kind in types.items()}


def _from_values(
    name: str,
    kind: str,
    values: "Sequence[Any] | npt.NDArray[Any]",
    sequence: npt.NDArray[np.int64],
) -> NumberColumn | StringColumn:
    if kind != "string":
        return number_column(name, np.asarray(values, kind))
    return text_column(name, [*values], sequence)


def text_column(name: str, texts: Sequence[str], sequence: npt.NDArray[np.int64]) -> StringColumn:
    """Return strings as the column holds them."""
    return string_column(name, StringBuffers.from_strings(texts), sequence) or (
        DictionaryColumn.from_strings(texts)
    )


def number_column(name: str, values: NumberColumn) -> NumberColumn:
    """Return numbers as the column holds them; of equal values, only one is stored."""
    return freeze(_narrow(values) if frame_column(name) in _NARROWED else values)


def string_column(
    name: str, strings: StringBuffers, sequence: npt.NDArray[np.int64]
) -> StringColumn | None:
    """Return strings in the compact form that the column usually has; None if they lack it."""
    if frame_column(name) == "key":
        return TemplateColumn.from_buffers(strings, sequence)
    if name == "perceptual_hash":
        return HexColumn.from_buffers(strings)
    return DictionaryColumn.from_equal(strings)


def default_column(name: str, length: int) -> NumberColumn | StringColumn:
    """Return a column that files by earlier versions lack, or rows without such renditions."""
    kind = column_type(name)
    value = DEFAULTS.get(name, "" if kind == "string" else 0)
    if isinstance(value, str):
        return DictionaryColumn.of_one(value, length)
    return np.broadcast_to(np.array(value, kind), length)


def with_locations_of(columns: Columns, sides: Sequence[int]) -> Columns:
    """Return rows that locate, of each frame, the first of some renditions that it has.

    Frames without any of them are located themselves. The columns of renditions are left out.

    Args:
        columns: rows.
        sides: sizes of renditions, in order of preference.
    """
    located = {name: columns[name] for name in COLUMNS}
    sequence = located["sequence"]
    assert isinstance(sequence, np.ndarray)
    for side in reversed(sides):
        size = columns[f"size_{side}"]
        assert isinstance(size, np.ndarray)
        has_rendition = size > 0
        if not has_rendition.any():
            continue
        for name in ("key", "offset", "size", "crc32c"):
            rendition = columns[f"{name}_{side}"]
            located[name] = (
                rendition
                if has_rendition.all()
                else _choose(name, has_rendition, rendition, located[name], sequence)
            )
    return located


def of_renditions(columns: Columns, side: int) -> Columns:
    """Return rows, all of which have a rendition of a size, as if it were the frame."""
    located = dict(with_locations_of(columns, [side]))
    sizes = [
        limit_size(width, height, max_side=side)
        for width, height in zip(
            *(cast("NumberColumn", columns[name]).tolist() for name in ("width", "height")),
            strict=True,
        )
    ]
    widths, heights = zip(*sizes, strict=True) if sizes else ((), ())
    located["width"] = number_column("width", np.array(widths, COLUMNS["width"]))
    located["height"] = number_column("height", np.array(heights, COLUMNS["height"]))
    return located


def _choose(
    name: str,
    mask: npt.NDArray[np.bool_],
    chosen: NumberColumn | StringColumn,
    other: NumberColumn | StringColumn,
    sequence: npt.NDArray[np.int64],
) -> NumberColumn | StringColumn:
    """Return a column with one of two values for each row."""
    if isinstance(chosen, np.ndarray) and isinstance(other, np.ndarray):
        return number_column(name, np.where(mask, chosen, other))
    assert not isinstance(chosen, np.ndarray)
    assert not isinstance(other, np.ndarray)
    every = np.arange(len(mask))
    return text_column(name, np.where(mask, chosen[every], other[every]).tolist(), sequence)


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
    sides = rendition_sides(name for part in parts for name in part)
    return _share_sequence({name: _concat_column(name, parts) for name in column_types(sides)})


def _concat_column(name: str, parts: Sequence[Columns]) -> NumberColumn | StringColumn:
    pieces = [
        part[name] if name in part else default_column(name, len(part["sequence"]))
        for part in parts
    ]
    numbers = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if numbers:
        return number_column(name, np.concatenate(numbers))
    return string_columns.concat([piece for piece in pieces if not isinstance(piece, np.ndarray)])


def _share_sequence(columns: dict[str, NumberColumn | StringColumn]) -> Columns:
    """Let the keys refer to the column of sequences instead of to a copy of it."""
    sequence = columns["sequence"]
    for name, key in columns.items():
        if isinstance(key, TemplateColumn) and isinstance(sequence, np.ndarray):
            columns[name] = replace(key, sequence=sequence)
    return columns


def _narrow(values: NumberColumn) -> NumberColumn:
    if not len(values):
        return values
    limits = [np.iinfo(kind) for kind in (np.int8, np.int16, np.int32, np.int64)]
    least, most = values.min(), values.max()
    narrowest = next(limit for limit in limits if limit.min <= least and most <= limit.max)
    return values.astype(narrowest.dtype)
