"""Conversion to and from pyarrow arrays without pyarrow's own converters, which import pandas.

If pandas is installed, importing it would take most of the time of a first read, and a Ctrl-C
during the import would be lost.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from framecache._core.native_calls import native_call

if TYPE_CHECKING:
    import pyarrow as pa


def as_numpy(array: "pa.Array[Any]") -> npt.NDArray[Any]:
    """Return the values of an array of numbers without nulls."""
    return np.from_dlpack(array)


@native_call
def as_booleans(array: "pa.Array[Any]") -> npt.NDArray[np.bool_]:
    """Return the values of an array of booleans without nulls."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    return as_numpy(array.cast(pa.uint8())).view(np.bool_)


@native_call
def combine_chunks(table: "pa.Table") -> "pa.Table":
    """Return a table in one piece."""
    return table.combine_chunks()


@native_call
def take(table: "pa.Table", positions: npt.NDArray[np.int64]) -> "pa.Table":
    """Return the rows at these positions."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    return table.take(from_numpy(np.asarray(positions, np.int64), pa.int64()))


@native_call
def dictionary_encode(array: "pa.Array[Any]") -> Any:  # noqa: ANN401 -- its type has parameters in the stubs only
    """Return the distinct values of an array, and the position of each of its values in them."""
    return array.dictionary_encode()


@native_call
def equal_rows(
    left: "pa.ChunkedArray[Any]", right: "pa.ChunkedArray[Any]"
) -> npt.NDArray[np.bool_]:
    """Return in which rows two columns without nulls have the same value."""
    import pyarrow.compute as pc  # noqa: PLC0415 -- loaded when an index is

    return as_booleans(pc.equal(left.combine_chunks(), right.combine_chunks()))


def from_numpy(numbers: npt.NDArray[np.generic], of_type: "pa.DataType") -> "pa.Array[Any]":
    """Return an array of the same values, whose numpy type must correspond to ``of_type``."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    values = pa.py_buffer(np.ascontiguousarray(numbers).data)
    return pa.Array.from_buffers(of_type, len(numbers), [None, values])


def from_strings(texts: Sequence[str]) -> "pa.Array[Any]":
    """Return an array of strings, which must take less than 2 GiB; otherwise raise ValueError."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    encoded = [text.encode() for text in texts]
    bounds = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([*map(len, encoded)], out=bounds[1:])
    if bounds[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{bounds[-1]} bytes of strings are too many for one column")
    buffers = [None, pa.py_buffer(bounds.astype(np.int32).data), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def string_scalar(text: str) -> "pa.StringScalar":
    """Return a string as a pyarrow scalar."""
    scalar: pa.StringScalar = from_strings([text])[0]
    return scalar
