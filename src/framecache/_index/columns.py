"""Columns of an index, and conversion of values to their types."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from framecache._core.native_calls import native_call
from framecache._index.arrow import from_numpy, from_strings

if TYPE_CHECKING:
    import pyarrow as pa

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


@cache
def schema() -> "pa.Schema":
    """Return the schema of an index file."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    types: dict[str, pa.DataType] = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "uint32": pa.uint32(),
        "float64": pa.float64(),
        "string": pa.string(),
    }
    return pa.schema([(name, types[alias]) for name, alias in COLUMNS.items()])


def column(name: str, values: "Sequence[Any] | npt.NDArray[Any]") -> "pa.Array[Any]":
    """Return values as an array of the column's type."""
    if COLUMNS[name] == "string":
        return from_strings([*values])
    return from_numpy(np.asarray(values, COLUMNS[name]), schema().field(name).type)


def empty_table() -> "pa.Table":
    """Return a table without rows."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    # Like Schema.empty_table, but without its imports: see `framecache._index.arrow`.
    return pa.Table.from_batches([], schema())


@native_call
def table(columns: Mapping[str, Sequence[Any]]) -> "pa.Table":
    """Return a table of the values of all columns."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    arrays = [column(name, values) for name, values in columns.items()]
    return pa.Table.from_arrays(arrays, schema=schema())


@native_call
def default(name: str, length: int) -> "pa.Array[Any]":
    """Return the default values of a column that a file by an earlier version lacks."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    scalar = column(name, [DEFAULTS[name]])[0]
    values: pa.Array[Any] = pa.repeat(scalar, length)
    return values
