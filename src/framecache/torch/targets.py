"""Targets from a table, joined by timeline and sequence."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from framecache import InvalidValue
from framecache._core.optional_imports import import_optional

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Literal["one", "all"]
"""``one``: at most one row for a frame. ``all``: any number."""

_REQUIRED: Final = object()
_KEYS: Final = ("timeline_id", "sequence")


class TableTarget:
    """Target function that looks up a frame's rows in a table. Call it, or give it as ``target=``.

    The values of a column are numbers, strings or lists. With ``rows="one"`` the target is a dict
    of a row's values: Python numbers and strings, and tensors for lists of one length. With
    ``rows="all"`` it is a dict of all values of each column, in the order of the table: a tensor
    for numbers and for lists of one length, else a list.
    """

    def __init__(
        self,
        table: Any,  # noqa: ANN401 -- any table
        *,
        columns: Sequence[str] | None = None,
        rows: Rows = "one",
        default: Any = _REQUIRED,  # noqa: ANN401 -- any target
    ) -> None:
        """Read the table.

        Args:
            table: a `pyarrow.Table`, a DataFrame of pandas or Polars, a relation of DuckDB, or a
                mapping of columns. It has the columns ``timeline_id`` and ``sequence``.
            columns: names of the columns to return. None: all others.
            rows: ``"one"``: the table has at most one row for a frame. ``"all"``: any number, such
                as one for each object in the frame.
            default: target of a frame without a row, for ``rows="one"``. If it is not given, such
                a frame raises InvalidValue. With ``rows="all"`` such a frame has empty columns.

        Raises:
            MissingPackage: pyarrow is not installed; the extra ``torch`` installs it.
            InvalidValue: the table is not of such a kind, lacks a column, or has several rows for a
                frame although ``rows`` is ``"one"``.
        """
        if rows not in get_args(Rows):
            raise InvalidValue(f'rows must be "one" or "all", not {rows!r}')
        source = _as_arrow(table)
        names = [name for name in source.column_names if name not in _KEYS]
        wanted = names if columns is None else [*columns]
        for name in (*_KEYS, *wanted):
            if name not in source.column_names:
                raise InvalidValue(
                    f"the table has no column {name!r}: it has {', '.join(source.column_names)}"
                )
        self._rows = rows
        self._default = default
        self._has_default = default is not _REQUIRED
        self._columns = {name: _column(source[name]) for name in wanted}
        self._places = _places_by_timeline(source)
        if rows == "one":
            self._require_unique()

    def __call__(self, timeline_id: str, sequence: int) -> Any:  # noqa: ANN401 -- a default is any target
        """Return the target of a frame.

        Raises:
            InvalidValue: the table has no row for the frame, and no default was given.
        """
        places = self._find(timeline_id, sequence)
        if self._rows == "all":
            return {name: _all_of(column[places]) for name, column in self._columns.items()}
        if len(places) == 0:
            if not self._has_default:
                raise InvalidValue(
                    f"the table has no row for frame {sequence} of timeline {timeline_id}: add "
                    "one, or give TableTarget a default"
                )
            return self._default
        return {name: _one_of(column[places[0]]) for name, column in self._columns.items()}

    def _find(self, timeline_id: str, sequence: int) -> npt.NDArray[np.int64]:
        if timeline_id not in self._places:
            return np.zeros(0, np.int64)
        sequences, places = self._places[timeline_id]
        begin, end = np.searchsorted(sequences, [sequence, sequence + 1])
        return places[begin:end]

    def _require_unique(self) -> None:
        for timeline_id, (sequences, _) in self._places.items():
            repeated = sequences[1:][np.diff(sequences) == 0]
            if len(repeated):
                raise InvalidValue(
                    f"the table has several rows for frame {repeated[0]} of timeline "
                    f'{timeline_id}: remove all but one, or give rows="all"'
                )


def _pyarrow() -> Any:  # noqa: ANN401 -- a module
    return import_optional("pyarrow", package="'framecache[torch]'", needed_by="TableTarget")


def _as_arrow(table: Any) -> Any:  # noqa: ANN401 -- any table, and a table of pyarrow
    pa = _pyarrow()
    if isinstance(table, Mapping):
        try:
            return pa.table(dict(table))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InvalidValue(
                f"the columns are not those of a table ({error}): give sequences of one length, "
                "and lists in place of arrays of several dimensions"
            ) from error
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(table).read_all()
    raise InvalidValue(
        f"a {type(table).__name__} is not a table: give a pyarrow Table, a DataFrame, a DuckDB "
        "relation or a mapping of columns"
    )


def _places_by_timeline(
    source: "pa.Table",
) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return the ascending sequences of each timeline, and their rows in the table."""
    pa = _pyarrow()
    timeline_ids = source["timeline_id"].to_pylist()
    if not all(isinstance(one, str) for one in timeline_ids):
        raise InvalidValue("the column 'timeline_id' of the table must hold strings only")
    column = source["sequence"]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise InvalidValue("the column 'sequence' of the table must hold integers only")
    sequences = column.to_numpy().astype(np.int64)
    names, numbers = np.unique(np.array(timeline_ids, np.str_), return_inverse=True)
    order = np.lexsort((sequences, numbers))
    bounds = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    return {
        str(name): (sequences[order[begin:end]], order[begin:end])
        for name, begin, end in zip(names, bounds[:-1], bounds[1:], strict=True)
    }


def _column(values: "pa.ChunkedArray[Any]") -> npt.NDArray[Any]:
    """Return a column as an array whose first axis is that of the rows.

    Arrays of numbers are shared by forked workers and need no Arrow there.
    """
    pa = _pyarrow()
    whole = values.combine_chunks()
    kind = whole.type
    if not whole.null_count:
        if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            return np.array(whole.to_numpy(zero_copy_only=False))
        rows = whole.to_pylist()
        is_list = (
            pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)
        )
        if is_list and rows:
            with suppress(ValueError):  # lists of several lengths
                matrix = np.array(rows)
                if matrix.dtype.kind in "biuf":
                    return matrix
    objects = np.empty(len(whole), dtype=object)
    objects[:] = whole.to_pylist()
    return objects


def _one_of(value: Any) -> Any:  # noqa: ANN401 -- any value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return value.item() if isinstance(value, np.generic) else value


def _all_of(values: npt.NDArray[Any]) -> Any:  # noqa: ANN401 -- any value
    return values.tolist() if values.dtype == object else torch.from_numpy(values.copy())
