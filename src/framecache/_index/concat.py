"""Concatenation of several row sources to one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from framecache._core.native_calls import native_call
from framecache._index import aggregates
from framecache._index.aggregates import Aggregates
from framecache._index.arrow import combine_chunks
from framecache._index.parquet import FileSource, LazyFileSource, decode, encode
from framecache._index.row_sources import (
    MAX_TABLE_ROWS,
    LazyTableSource,
    RowGroup,
    RowSource,
    TableSource,
)

if TYPE_CHECKING:
    import pyarrow as pa


class _SmallConcatSource(LazyTableSource):
    """Rows of several small sources, in sequence."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[RowSource]) -> None:
        super().__init__()
        self._sources = tuple(sources)

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return {}

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        return _combined_aggregates(self._sources)

    def _load_table(self) -> "pa.Table":
        return combine_chunks(_concat_tables(self._sources))


class ConcatSource(RowSource):
    """Rows of several sources, in sequence."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[RowSource]) -> None:
        self._sources = tuple(sources)

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    @property
    def table(self) -> "pa.Table":
        """See `RowSource`."""
        return _concat_tables(self._sources)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return {}

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        return _combined_aggregates(self._sources)

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `RowSource`."""
        for source in self._sources:
            yield from source.column(name)

    @property
    def row_groups(self) -> Sequence[RowGroup]:
        """See `RowSource`."""
        return [piece for source in self._sources for piece in source.row_groups]


def concat_sources(sources: Iterable[RowSource]) -> RowSource:
    """Join sources in order; files stay files, and runs of smaller sources become one source."""
    pieces: list[RowSource] = []
    for is_file, some in groupby(sources, _is_large_file):
        run = [*some]
        pieces += run if is_file else [_concat_small(run)]
    return pieces[0] if len(pieces) == 1 else ConcatSource(pieces)


def _is_large_file(source: RowSource) -> bool:
    is_unopened = isinstance(source, LazyFileSource) and len(source) > MAX_TABLE_ROWS
    return is_unopened or isinstance(source, FileSource)


def _concat_small(run: Sequence[RowSource]) -> RowSource:
    """Join small sources to one."""
    if len(run) == 1:
        return run[0]
    if sum(map(len, run)) > MAX_TABLE_ROWS:
        return source_from_table(_concat_tables(run))
    return _SmallConcatSource(run)


def _combined_aggregates(joined: Sequence[RowSource]) -> Aggregates | None:
    parts = [part for source in joined if (part := source.aggregates) is not None]
    return aggregates.combine(parts) if len(parts) == len(joined) else None


def source_from_table(table: "pa.Table") -> RowSource:
    """Return a table as a source: in one piece, or encoded as a file if it has many rows."""
    if table.num_rows > MAX_TABLE_ROWS:
        return decode(encode(table, b"{}"), key="")
    return TableSource(combine_chunks(table))


@native_call
def _concat_tables(sources: Iterable[RowSource]) -> "pa.Table":
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    return pa.concat_tables([source.table.replace_schema_metadata() for source in sources])
