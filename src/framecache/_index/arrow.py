"""Conversion between the columns of an index and Arrow data."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from framecache._core.native_calls import native_call
from framecache._index import columns
from framecache._index.columns import COLUMNS, DEFAULTS, Columns, NumberColumn
from framecache._index.string_columns import DictionaryColumn, StringBuffers, StringColumn

if TYPE_CHECKING:
    import arro3.core as arrow

BATCH_ROWS: Final = 2**16
"""Maximum number of rows that are converted together."""


@cache
def schema() -> "arrow.Schema":
    """Return the schema of an index file."""
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    types: dict[str, arrow.DataType] = {
        "int32": arrow.DataType.int32(),
        "int64": arrow.DataType.int64(),
        "uint32": arrow.DataType.uint32(),
        "float64": arrow.DataType.float64(),
        "string": arrow.DataType.string(),
    }
    return arrow.Schema([arrow.Field(name, types[kind]) for name, kind in COLUMNS.items()])


def check_columns(stored: "arrow.Schema") -> None:
    """Raise KeyError or TypeError if a file's columns are not those of an index."""
    names = set(stored.names)
    for name in COLUMNS:
        if name in DEFAULTS and name not in names:
            continue
        if name not in names:
            raise KeyError(name)
        if stored.field(name).type != schema().field(name).type:
            raise TypeError(name)


@native_call
def to_columns(batches: "Iterable[arrow.RecordBatch]") -> Columns:
    """Return the rows of batches that have the columns of an index, in order."""
    parts = [_batch_columns(batch) for batch in batches if batch.num_rows]
    return columns.concat(parts) if parts else columns.from_values(dict.fromkeys(COLUMNS, ()))


def _batch_columns(batch: "arrow.RecordBatch") -> Columns:
    names = set(batch.column_names)
    sequence = _numbers("sequence", batch.column("sequence"))
    return {
        name: columns.default_column(name, batch.num_rows)
        if name not in names
        else _strings(name, batch.column(name), sequence)
        if kind == "string"
        else _numbers(name, batch.column(name))
        for name, kind in COLUMNS.items()
    }


def _numbers(name: str, array: "arrow.Array") -> NumberColumn:
    _require_no_nulls(name, array)
    return columns.number_column(name, np.array(array.to_numpy(), COLUMNS[name]))


def _strings(name: str, array: "arrow.Array", sequence: NumberColumn) -> StringColumn:
    from framecache._index.lazy_arrow import nanoarrow  # noqa: PLC0415 -- see there

    _require_no_nulls(name, array)
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


def _require_no_nulls(name: str, array: "arrow.Array") -> None:
    if array.null_count:
        raise TypeError(f"{name} has nulls")


@native_call
def to_table(rows: Columns, metadata: Mapping[bytes, bytes]) -> "arrow.Table":
    """Return rows as an Arrow table with the columns of an index file, and its metadata."""
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    described = schema().with_metadata(dict(metadata)) if metadata else schema()
    return arrow.Table.from_batches([*_to_batches(rows, described)], schema=described)


def _to_batches(rows: Columns, described: "arrow.Schema") -> "Iterator[arrow.RecordBatch]":
    from framecache._index.lazy_arrow import arrow  # noqa: PLC0415 -- see there

    row_count = len(rows["sequence"])
    for begin in range(0, row_count, BATCH_ROWS):
        positions = np.arange(begin, min(begin + BATCH_ROWS, row_count))
        arrays = [_to_array(name, rows[name], positions) for name in COLUMNS]
        yield arrow.RecordBatch.from_arrays(arrays, schema=described)


def _to_array(
    name: str, column: NumberColumn | StringColumn, positions: "np.ndarray[Any, Any]"
) -> "arrow.Array":
    from framecache._index.lazy_arrow import arrow, nanoarrow  # noqa: PLC0415 -- see there

    if isinstance(column, np.ndarray):
        return arrow.Array.from_numpy(column[positions].astype(COLUMNS[name]))
    strings = column.to_buffers(positions)
    return arrow.Array.from_arrow(
        nanoarrow.c_array_from_buffers(
            nanoarrow.string(), len(positions), [None, strings.bounds, strings.data], null_count=0
        )
    )
