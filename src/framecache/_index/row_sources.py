"""Sources of an index's rows: columns in memory, or data that is decoded to them when read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from framecache._index import aggregates, columns
from framecache._index.aggregates import Aggregates
from framecache._index.columns import Columns

UNINDEXED_KEY: Final = b"framecache.listed"
"""Metadata key that marks an index made from a listing of frames."""


class RowSource(ABC):
    """Source of an index's rows."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """All rows."""

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """Metadata of the rows' file; empty for rows of several files."""
        return {}

    @property
    def aggregates(self) -> Aggregates | None:
        """Aggregates of the rows, if known without decoding them; else None."""
        return None


class ColumnsSource(RowSource):
    """Rows in memory."""

    __slots__ = ("_columns",)

    def __init__(self, rows: Columns) -> None:
        self._columns = rows

    def __getstate__(self) -> Columns:
        """Return the rows alone."""
        return self._columns

    def __setstate__(self, rows: Columns) -> None:
        """Make the numbers read-only again, which pickling forgets."""
        self._columns = {
            name: columns.number_column(name, column) if isinstance(column, np.ndarray) else column
            for name, column in rows.items()
        }

    def __len__(self) -> int:
        return len(self._columns["sequence"])

    @property
    def columns(self) -> Columns:
        """See `RowSource`."""
        return self._columns


class LazySource(RowSource):
    """Rows that are decoded at the first access."""

    __slots__ = ("_decoded",)

    def __init__(self) -> None:
        self._decoded: Columns | None = None

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Leave out the decoded rows."""
        names = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        return None, {name: getattr(self, name) for name in names} | {"_decoded": None}

    @property
    def columns(self) -> Columns:
        """See `RowSource`."""
        # Two threads may decode them concurrently, with the same result.
        held = self._decoded
        if held is None:
            held = self._decoded = self._decode()
        return held

    @abstractmethod
    def _decode(self) -> Columns:
        """Return all rows."""


class ConcatSource(LazySource):
    """Rows of several sources, in sequence; once decoded, it no longer refers to them."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[RowSource]) -> None:
        super().__init__()
        self._sources = tuple(sources)

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        sources = self._sources  # another thread may replace them
        parts = [part for source in sources if (part := source.aggregates) is not None]
        return aggregates.combine(parts) if len(parts) == len(sources) else None

    def _decode(self) -> Columns:
        rows = columns.concat([source.columns for source in self._sources])
        # Their rows would be held twice, and an index that grows part by part would hold a chain.
        self._sources = (ColumnsSource(rows),)
        return rows


class UnindexedSource(LazySource):
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

    def _decode(self) -> Columns:
        sequences, names, sizes = zip(*self._found, strict=True) if self._found else ((), (), ())
        count = len(self._found)
        known = {"sequence": sequences, "key": names, "size": sizes, "status": ("ok",) * count}
        unknown = {
            name: ("" if kind == "string" else 0,) * count for name, kind in columns.COLUMNS.items()
        }
        return columns.from_values(unknown | known)
