"""Conversion between the columns of an index and Arrow data."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from framecache._core.native_calls import native_call
from framecache._index import columns
from framecache._index.columns import (
    COLUMNS,
    DEFAULTS,
    NULLABLE,
    UNKNOWN_STATUS,
    Columns,
    NumberColumn,
)
from framecache._index.string_columns import DictionaryColumn, StringBuffers, StringColumn

if TYPE_CHECKING:
    import arro3.core as arrow

BATCH_ROWS: Final = 2**16
"""Maximum number of rows that are converted together."""


@cache
def schema(sides: tuple[int, ...] = ()) -> "arrow.Schema":
    """Return the schema of an index file whose rows may have renditions of these sizes."""
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    types: dict[str, arrow.DataType] = {
        "int32": arrow.DataType.int32(),
        "int64": arrow.DataType.int64(),
        "uint32": arrow.DataType.uint32(),
        "float64": arrow.DataType.float64(),
        "string": arrow.DataType.string(),
    }
    named = columns.column_types(sides)
    return arrow.Schema([arrow.Field(name, types[kind]) for name, kind in named.items()])


def check_columns(stored: "arrow.Schema") -> None:
    """Raise KeyError or TypeError if a file's columns are not those of an index."""
    names = set(stored.names)
    expected = schema(columns.rendition_sides(names))
    for name in expected.names:
        if name in DEFAULTS and name not in names:
            continue
        if name not in names:
            raise KeyError(name)
        if stored.field(name).type != expected.field(name).type:
            raise TypeError(name)


@native_call
def to_columns(batches: "Iterable[arrow.RecordBatch]") -> Columns:
    """Return the rows of batches that have the columns of an index, in order."""
    parts = [_batch_columns(batch) for batch in batches if batch.num_rows]
    return columns.concat(parts) if parts else columns.from_values(dict.fromkeys(COLUMNS, ()))


def _batch_columns(batch: "arrow.RecordBatch") -> Columns:
    names = set(batch.column_names)
    _require_equal_nulls(batch)
    sequence = _numbers("sequence", batch.column("sequence"))
    return {
        name: columns.default_column(name, batch.num_rows)
        if name not in names
        else _strings(name, batch.column(name), sequence)
        if kind == "string"
        else _numbers(name, batch.column(name))
        for name, kind in columns.column_types(columns.rendition_sides(names)).items()
    }


def _numbers(name: str, array: "arrow.Array") -> NumberColumn:
    kind, nulls = columns.column_type(name), _nulls(name, array)
    if nulls is None:
        return columns.number_column(name, np.array(array.to_numpy(), kind))
    from framecache._index.lazy_arrow import nanoarrow  # noqa: PLC0415 -- see there

    view = nanoarrow.c_array(array).view()
    stored = np.frombuffer(view.buffer(1), kind)[view.offset : view.offset + len(array)]
    return columns.number_column(name, np.where(nulls, 0, stored).astype(kind))


def _strings(name: str, array: "arrow.Array", sequence: NumberColumn) -> StringColumn:
    from framecache._index.lazy_arrow import nanoarrow  # noqa: PLC0415 -- see there

    nulls = _nulls(name, array)
    if nulls is not None:
        unknown = UNKNOWN_STATUS if name == "status" else ""
        if nulls.all():
            return DictionaryColumn.of_one(unknown, len(array))
        texts = [unknown if text is None else str(text) for text in array.to_pylist()]
        return columns.text_column(name, texts, sequence)
    view = nanoarrow.c_array(array).view()
    bounds = np.frombuffer(view.buffer(1), np.int32)[view.offset : view.offset + len(array) + 1]
    strings = StringBuffers(bounds, memoryview(view.buffer(2)).cast("B"))
    return columns.string_column(name, strings, sequence) or _dictionary(array)


def _dictionary(array: "arrow.Array") -> DictionaryColumn:
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    kind = arrow.DataType.dictionary(arrow.DataType.int32(), arrow.DataType.string())
    encoded = array.cast(kind)
    values: list[Any] = [*arrow.dictionary_dictionary(encoded).to_pylist()]
    return DictionaryColumn.from_codes(values, arrow.dictionary_indices(encoded).to_numpy())


def _nulls(name: str, array: "arrow.Array") -> "np.ndarray[Any, np.dtype[np.bool_]] | None":
    """Return a mask of the nulls of an array; None if it has none.

    Raises:
        TypeError: it has nulls, and the column may not.
    """
    if not array.null_count:
        return None
    if name not in NULLABLE:
        raise TypeError(f"{name} has nulls")
    from framecache._index.lazy_arrow import nanoarrow  # noqa: PLC0415 -- see there

    view = nanoarrow.c_array(array).view()
    bits = np.unpackbits(np.frombuffer(view.buffer(0), np.uint8), bitorder="little")
    valid = bits[view.offset : view.offset + len(array)].astype(np.bool_)
    return ~valid


def _require_equal_nulls(batch: "arrow.RecordBatch") -> None:
    """Raise TypeError unless the nullable columns are null in the same rows."""
    names = sorted(NULLABLE)
    if not any(batch.column(name).null_count for name in names):
        return
    first = _nulls(names[0], batch.column(names[0]))
    for name in names:
        nulls = _nulls(name, batch.column(name))
        if first is None or nulls is None or not np.array_equal(nulls, first):
            raise TypeError("its nulls differ between columns")


@native_call
def to_table(rows: Columns, metadata: Mapping[bytes, bytes]) -> "arrow.Table":
    """Return rows as an Arrow table with the columns of an index file, and its metadata."""
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    described = schema(columns.rendition_sides(rows))
    if metadata:
        described = described.with_metadata(dict(metadata))
    return arrow.Table.from_batches([*_to_batches(rows, described)], schema=described)


def _to_batches(rows: Columns, described: "arrow.Schema") -> "Iterator[arrow.RecordBatch]":
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    row_count = len(rows["sequence"])
    unknown = columns.unknown_rows(rows)
    for begin in range(0, row_count, BATCH_ROWS):
        positions = np.arange(begin, min(begin + BATCH_ROWS, row_count))
        nulls = None if unknown is None else unknown[positions]
        arrays = [
            _to_array(name, rows[name], positions, nulls if name in NULLABLE else None)
            for name in described.names
        ]
        yield arrow.RecordBatch.from_arrays(arrays, schema=described)


def _to_array(
    name: str,
    column: NumberColumn | StringColumn,
    positions: "np.ndarray[Any, Any]",
    nulls: "np.ndarray[Any, np.dtype[np.bool_]] | None",
) -> "arrow.Array":
    from framecache._index.lazy_arrow import arrow, nanoarrow  # noqa: PLC0415 -- see there

    valid = None if nulls is None else np.packbits(~nulls, bitorder="little")
    null_count = 0 if nulls is None else int(nulls.sum())
    if isinstance(column, np.ndarray):
        values = column[positions].astype(columns.column_type(name))
        if valid is None:
            return arrow.Array.from_numpy(values)
        kind = nanoarrow.uint32() if values.dtype == np.uint32 else nanoarrow.int64()
        buffers: list[Any] = [valid, values]
    else:
        strings = column.to_buffers(positions)
        kind = nanoarrow.string()
        buffers = [valid, strings.bounds, strings.data]
    return arrow.Array.from_arrow(
        nanoarrow.c_array_from_buffers(kind, len(positions), buffers, null_count=null_count)
    )
