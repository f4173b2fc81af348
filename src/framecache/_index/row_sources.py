"""Sources of an index's rows: a table in memory, or data that is decoded to one when read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from framecache._index import columns
from framecache._index.aggregates import Aggregates

if TYPE_CHECKING:
    import pyarrow as pa

UNINDEXED_KEY: Final = b"framecache.listed"
"""Metadata key that marks an index made from a listing of frames."""
MAX_TABLE_ROWS: Final = 2**16
"""Maximum number of rows that are held as a table; a table of more would be large."""
BATCH_ROWS: Final = 2**14


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Row group: some rows of a source that can be read without the others."""

    row_count: int
    column: "Callable[[str], Iterator[pa.Array[Any]]]"
    """Function that reads a column of these rows, like `RowSource.column`."""


class RowSource(ABC):
    """Source of an index's rows."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def table(self) -> "pa.Table":
        """All rows as a table."""

    @property
    @abstractmethod
    def metadata(self) -> Mapping[bytes, bytes]:
        """Metadata of the rows' file; empty for rows of several files."""

    @property
    def aggregates(self) -> Aggregates | None:
        """Aggregates of the rows, if known without decoding them; else None."""
        return None

    @abstractmethod
    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """Yield one column in arrays of limited length; strings may be dictionary-encoded."""

    @property
    def row_groups(self) -> Sequence[RowGroup]:
        """All rows, in one piece or in several that follow each other."""
        return [RowGroup(len(self), self.column)]


class TableSource(RowSource):
    """Rows of a table in memory."""

    __slots__ = ("_table",)

    def __init__(self, table: "pa.Table") -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def table(self) -> "pa.Table":
        """See `RowSource`."""
        return self._table

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return self._table.schema.metadata or {}

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `RowSource`."""
        for chunk in self._table[name].chunks:
            for begin in range(0, len(chunk), BATCH_ROWS):
                yield chunk.slice(begin, BATCH_ROWS)


class LazyTableSource(RowSource):
    """Few rows that are decoded to a table at the first access."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        self._table: pa.Table | None = None

    @property
    def table(self) -> "pa.Table":
        """See `RowSource`."""
        # Two threads may decode it concurrently, with the same result.
        held = self._table
        if held is None:
            held = self._table = self._load_table()
        return held

    @abstractmethod
    def _load_table(self) -> "pa.Table":
        """Return all rows as a table in one piece."""

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `RowSource`."""
        return TableSource(self.table).column(name)


class UnindexedSource(LazyTableSource):
    """Listed frames that another program stored: only sequence, key and size are known."""

    __slots__ = ("_found",)

    def __init__(self, found: Sequence[tuple[int, str, int]]) -> None:
        super().__init__()
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return {UNINDEXED_KEY: b"1"}

    @property
    def aggregates(self) -> Aggregates:
        """See `RowSource`."""
        return Aggregates(
            frame_count=len(self._found),
            undecodable_count=0,
            size_bytes=sum(size for _, _, size in self._found),
            width=0,
            height=0,
            first_sequence=self._found[0][0],
            last_sequence=self._found[-1][0],
            end_seconds=0.0,
        )

    def _load_table(self) -> "pa.Table":
        sequences, names, sizes = zip(*self._found, strict=True) if self._found else ((), (), ())
        count = len(self._found)
        known = {"sequence": sequences, "key": names, "size": sizes, "status": ("ok",) * count}
        unknown = {
            name: ("" if kind == "string" else 0,) * count for name, kind in columns.COLUMNS.items()
        }
        return columns.table(unknown | known).replace_schema_metadata({**self.metadata})


def unindexed_source(found: Sequence[tuple[int, str, int]]) -> RowSource:
    """Return a source of frames that another program stored; ``found`` is ordered by sequence."""
    source = UnindexedSource(found)
    return source if len(source) <= MAX_TABLE_ROWS else TableSource(source.table)
