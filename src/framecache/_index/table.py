"""Index in memory: one row per frame, ordered by sequence, with columns as numpy arrays."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from framecache._core import json_documents
from framecache._core.cached_property import lock_free_cached_property
from framecache._core.native_calls import native_call
from framecache._core.optional_imports import import_optional, require_extra
from framecache._index import arrow, columns, parquet, row_sources
from framecache._index.aggregates import EMPTY, Aggregates
from framecache._index.columns import COLUMNS, RENDITION_FIELDS, Columns
from framecache._index.row_sources import ColumnsSource, ConcatSource, RowSource
from framecache._index.rows import FrameRow, Rendition
from framecache._index.string_columns import HexColumn, StringColumn, TemplateColumn, freeze

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Index:
    """Frames of a timeline, ordered by sequence; undecodable ones are rows too.

    Every column is a read-only numpy array with one entry per frame, decoded at its first access.
    For a million frames, an index and all that it needs to find and read them take less than
    100 MB; each of :attr:`key` and :attr:`perceptual_hash`, accessed as a whole column, takes as
    much again. Safe to share between threads.
    """

    def __init__(self, rows: RowSource) -> None:
        self._source = rows

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"<Index of {len(self)} frames>"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the decoded columns."""
        return {"_source": self._source}

    @native_call
    def to_arrow(self) -> "pa.Table":
        """Return the whole table as a pyarrow table, with the columns of the Parquet files.

        Raises:
            MissingPackage: pyarrow is not installed.
        """
        require_extra("arrow", needed_by="Index.to_arrow")
        import pyarrow as pa  # noqa: PLC0415 -- optional

        # The aggregates would be wrong for a selection of the rows.
        kept = {
            name: text
            for name, text in self._source.metadata.items()
            if name != parquet.AGGREGATES_KEY
        }
        rows = arrow.to_table(self._source.columns, kept)
        # Unlike `pyarrow.table`, this does not import pandas.
        table: pa.Table = pa.RecordBatchReader.from_stream(rows).read_all()
        return table.combine_chunks()

    def to_pandas(self) -> "pd.DataFrame":
        """Return the whole table as a pandas DataFrame.

        Raises:
            MissingPackage: pandas is not installed.
        """
        pandas = import_optional("pandas", package="pandas", needed_by="Index.to_pandas")
        frame: pd.DataFrame = pandas.DataFrame(
            {name: self._values(name) for name in self._source.columns}
        )
        if self.is_decoded_on_demand.any():
            for name in columns.NULLABLE:
                kind = "object" if COLUMNS[name] == "string" else COLUMNS[name].capitalize()
                # pandas writes the extension types UInt32 and Int64.
                kind = kind.replace("Uint", "UInt")
                frame[name] = frame[name].astype(kind).mask(self.is_decoded_on_demand, None)
        return frame

    def to_polars(self) -> "pl.DataFrame":
        """Return the whole table as a Polars DataFrame.

        Polars does not work in a process that was forked after its parent used Polars: the call
        hangs. Start such processes with the "spawn" method.

        Raises:
            MissingPackage: Polars is not installed.
        """
        polars = import_optional("polars", package="polars", needed_by="Index.to_polars")
        table: pl.DataFrame = polars.DataFrame(arrow.to_table(self._source.columns, {}))
        return table

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Provenance: the metadata of the file that the index was read from; else empty."""
        return json_documents.decode_object(self._source.metadata.get(parquet.METADATA_KEY, b"{}"))

    @lock_free_cached_property
    def _aggregates(self) -> Aggregates:
        return self._stored_aggregates or self._compute_aggregates()

    @lock_free_cached_property
    def _stored_aggregates(self) -> Aggregates | None:
        return self._source.aggregates if len(self) else EMPTY

    def _compute_aggregates(self) -> Aggregates:
        return Aggregates(
            frame_count=len(self),
            undecodable_count=int((~self.is_ok).sum()),
            size_bytes=int(self.size.sum()) + sum(map(self._rendition_bytes, self.rendition_sides)),
            width=int(self.width[0]),
            height=int(self.height[0]),
            first_sequence=int(self.sequence[0]),
            last_sequence=int(self.sequence[-1]),
            end_seconds=float(self.timestamp[-1] + self.duration[-1]),
        )

    def _ends_before(self, other: "Index") -> bool:
        """Return True if all sequences are below those of ``other``; both must have frames."""
        mine, theirs = self._stored_aggregates, other._stored_aggregates  # noqa: SLF001 -- of its own class
        last = mine.last_sequence if mine else self.sequence[-1]
        first = theirs.first_sequence if theirs else other.sequence[0]
        return bool(last < first)

    def take(self, positions: npt.NDArray[np.int64]) -> "Index":
        """Return an index of the rows at these positions, which must ascend."""
        return _index_of(columns.take(self._source.columns, positions))

    @lock_free_cached_property
    def sequence(self) -> npt.NDArray[np.int64]:
        """Sequences, ascending and unique."""
        return self._numbers("sequence")

    @lock_free_cached_property
    def chunk_id(self) -> npt.NDArray[np.int32]:
        """Ordinal of each frame's chunk."""
        return self._numbers("chunk_id")

    @lock_free_cached_property
    def pts(self) -> npt.NDArray[np.int64]:
        """Presentation timestamps, in the time base of each frame's video."""
        return self._numbers("pts")

    @lock_free_cached_property
    def timestamp(self) -> npt.NDArray[np.float64]:
        """Timestamp of each frame, in seconds on the timeline."""
        return self._numbers("timestamp")

    @lock_free_cached_property
    def duration(self) -> npt.NDArray[np.float64]:
        """Seconds that each frame stays on screen in its video; 0.0 if unknown."""
        return self._numbers("duration")

    @lock_free_cached_property
    def width(self) -> npt.NDArray[np.int32]:
        """Widths in pixels."""
        return self._numbers("width")

    @lock_free_cached_property
    def height(self) -> npt.NDArray[np.int32]:
        """Heights in pixels."""
        return self._numbers("height")

    @lock_free_cached_property
    def key(self) -> npt.NDArray[np.object_]:
        """Key of the blob with each JPEG; empty if there is none."""
        return self._strings("key")

    @lock_free_cached_property
    def offset(self) -> npt.NDArray[np.int64]:
        """Byte offset of each JPEG in its blob."""
        return self._numbers("offset")

    @lock_free_cached_property
    def crc32c(self) -> npt.NDArray[np.uint32]:
        """CRC-32C of each JPEG; 0 if there is none, or it is unknown."""
        return self._numbers("crc32c")

    @lock_free_cached_property
    def size(self) -> npt.NDArray[np.int64]:
        """Size of each JPEG in bytes; 0 if there is none."""
        return self._numbers("size")

    @lock_free_cached_property
    def perceptual_hash(self) -> npt.NDArray[np.object_]:
        """Perceptual hashes, 16 hex digits each; empty if unknown."""
        return self._strings("perceptual_hash")

    @lock_free_cached_property
    def status(self) -> npt.NDArray[np.object_]:
        """Status of each frame: ``"ok"``, ``"undecodable"``, or ``"unknown"`` if not stored."""
        return self._strings("status")

    @lock_free_cached_property
    def reason(self) -> npt.NDArray[np.object_]:
        """Reason why a frame is undecodable; empty if it is not."""
        return self._strings("reason")

    @lock_free_cached_property
    def quality(self) -> npt.NDArray[np.int32]:
        """JPEG quality that a program requested; 0 if it is the timeline's, or unknown."""
        return self._numbers("quality")

    @lock_free_cached_property
    def picture_since(self) -> npt.NDArray[np.object_]:
        """Written part in which each picture replaced another; empty: it replaced none."""
        return self._strings("picture_since")

    @lock_free_cached_property
    def rendition_sides(self) -> tuple[int, ...]:
        """Sizes of the renditions that frames have, largest first."""
        return columns.rendition_sides(self._source.columns)

    def has_rendition(self, max_side: int) -> npt.NDArray[np.bool_]:
        """Return a mask of the frames that have a rendition of this size."""
        if max_side not in self.rendition_sides:
            return np.zeros(len(self), np.bool_)
        return self._numbers(f"size_{max_side}") > 0

    def for_size(self, max_side: int | None) -> "Index":
        """Return the same rows, each with the location of the JPEG that suffices for a size.

        That is the smallest rendition that is not smaller, or else the frame. The rows have no
        renditions themselves. Widths and heights stay those of the frames.

        Args:
            max_side: maximum width and height to which the frames are to be decoded; None: whole.
        """
        sides = self.rendition_sides
        if not sides:
            return self
        sufficient = tuple(
            side for side in reversed(sides) if max_side is not None and side >= max_side
        )
        found = self._for_sizes.get(sufficient)
        if found is None:
            found = _index_of(columns.with_locations_of(self._source.columns, sufficient))
            self._for_sizes[sufficient] = found
        return found

    def of_renditions(self, max_side: int) -> "Index":
        """Return the rows of frames that have a rendition of this size, as if it were the frame.

        Locations, widths and heights are those of the rendition.
        """
        if max_side not in self.rendition_sides:
            return type(self).empty()
        having = np.flatnonzero(self.has_rendition(max_side))
        return _index_of(
            columns.of_renditions(columns.take(self._source.columns, having), max_side)
        )

    @lock_free_cached_property
    def _for_sizes(self) -> "dict[tuple[int, ...], Index]":
        """Indexes that `for_size` returned, by the sizes of renditions that suffice."""
        return {}

    @lock_free_cached_property
    def is_ok(self) -> npt.NDArray[np.bool_]:
        """Mask of the frames that have a picture, as far as is known without decoding them."""
        values = self._column("status").equal("ok") | self.is_decoded_on_demand
        values.flags.writeable = False
        return values

    @lock_free_cached_property
    def is_decoded_on_demand(self) -> npt.NDArray[np.bool_]:
        """Mask of the frames that are not stored, and decoded from their chunk when read."""
        values = self._column("status").equal(columns.UNKNOWN_STATUS)
        values.flags.writeable = False
        return values

    @lock_free_cached_property
    def is_unindexed(self) -> bool:
        """Flag of an index made from a listing of frames, without committed lengths and CRCs."""
        return row_sources.UNINDEXED_KEY in self._source.metadata

    @lock_free_cached_property
    def is_in_time_order(self) -> bool:
        """Flag of an index whose timestamps never decrease; those of written frames may."""
        return bool((self.timestamp[1:] >= self.timestamp[:-1]).all())

    def position(self, sequence: int) -> int | None:
        """Return the row of a sequence, or None if the index has no such frame."""
        position = int(np.searchsorted(self.sequence, sequence))
        found = position < len(self.sequence) and self.sequence[position] == sequence
        return position if found else None

    def positions(self, sequences: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the rows of sequences, int64, in the given order; -1 if there is no such frame."""
        wanted = np.asarray(sequences, dtype=np.int64)
        if not len(self):
            return np.full(wanted.shape, -1)
        positions = np.minimum(np.searchsorted(self.sequence, wanted), len(self) - 1)
        return np.where(self.sequence[positions] == wanted, positions, -1)

    def position_at(self, seconds: float) -> int | None:
        """Return the row of the last frame that begins at or before a time, or None."""
        position = int(np.searchsorted(self.timestamp, seconds, side="right")) - 1
        return position if position >= 0 else None

    def row(self, position: int) -> FrameRow:
        """Return one frame by its row.

        Raises:
            IndexError: there is no such row; negative rows are not supported.
        """
        if position < 0:
            raise IndexError(f"rows are numbered from 0: there is no row {position}")
        row = FrameRow(*[column.item(position) for column in self._row_columns])
        if self.rendition_sides:
            [renditions] = self._renditions(np.array([position]))
            return replace(row, renditions=renditions)
        return row

    def rows(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> list[FrameRow]:
        """Return several frames by their rows, in the given order. Raises as :meth:`row` does."""
        wanted = np.asarray(positions, dtype=np.int64)
        if (wanted < 0).any():
            raise IndexError(f"rows are numbered from 0: there is no row {wanted.min()}")
        values = [column[wanted].tolist() for column in self._row_columns]
        if self.rendition_sides:
            values.append(self._renditions(wanted))
        return [*map(FrameRow, *values)]

    @classmethod
    def empty(cls) -> Self:
        """Return an index without frames."""
        return cls(ColumnsSource(columns.from_values(dict.fromkeys(COLUMNS, ()))))

    @classmethod
    def merged(cls, parts: "Sequence[Index]") -> "Index":
        """Merge indexes, ordered by sequence; of rows with equal sequences, the last one stays."""
        held = [part for part in parts if len(part)]
        if len(held) < 2:  # noqa: PLR2004 -- nothing to merge
            return held[0] if held else cls.empty()
        one_after_the_other = all(
            before._ends_before(after)  # noqa: SLF001 -- of its own class
            for before, after in pairwise(held)
        )
        rows = ConcatSource([part._source for part in held])  # noqa: SLF001 -- of its own class
        if one_after_the_other:
            return cls(rows)
        sequence = cls(rows).sequence
        order = np.argsort(sequence, kind="stable")
        is_last = np.append(np.diff(sequence[order]) > 0, True)
        return _index_of(columns.take(rows.columns, order[is_last]))

    @classmethod
    def from_listing(cls, found: Iterable[tuple[int, str, int]]) -> Self:
        """Return an index of frames that another program stored, from sequence, key and size."""
        return cls(row_sources.UnindexedSource(sorted(found)))

    def encode(self, metadata: bytes) -> bytes:
        """Encode as a Parquet file with a checksum, and ``metadata`` (JSON) in its schema."""
        return parquet.encode(self._source.columns, metadata, self._aggregates)

    @classmethod
    def decode(cls, body: bytes, *, key: str) -> Self:
        """Decode a stored index part.

        Raises:
            CorruptFrame: the part is damaged.
        """
        return cls(parquet.decode(body, key=key))

    @classmethod
    def decode_lazy(cls, body: bytes, *, key: str) -> Self:
        """Return a stored index part whose rows are decoded at their first access, if ever.

        Its length and its aggregates are known at once. That the part is not an index, despite its
        valid checksum, is only found at that access, which then raises CorruptFrame.

        Raises:
            CorruptFrame: the part is damaged.
        """
        return cls(parquet.decode_lazy(body, key=key))

    @lock_free_cached_property
    def _row_columns(self) -> list[Any]:
        """Columns in the order of the fields of `FrameRow`, of which renditions are the last."""
        return [self._source.columns[field.name] for field in fields(FrameRow)[:-1]]

    def _renditions(self, positions: npt.NDArray[np.int64]) -> list[tuple[Rendition, ...]]:
        """Return the renditions of each of these rows."""
        of_sizes = [self._renditions_of_size(side, positions) for side in self.rendition_sides]
        return [
            tuple(rendition for rendition in found if rendition.size)
            for found in zip(*of_sizes, strict=True)
        ]

    def _renditions_of_size(
        self, side: int, positions: npt.NDArray[np.int64]
    ) -> Iterator[Rendition]:
        named: list[Any] = [
            self._source.columns[f"{field.name}_{side}"] for field in fields(Rendition)[1:]
        ]
        values = [column[positions].tolist() for column in named]
        return map(partial(Rendition, side), *values)

    def _rendition_bytes(self, side: int) -> int:
        return int(self._numbers(f"size_{side}").sum())

    def _values(self, name: str) -> npt.NDArray[Any]:
        """Return a column by its name in a file; that of renditions, even if there are none."""
        column = self._source.columns.get(name)
        if column is None:
            column = columns.default_column(name, len(self))
        if isinstance(column, np.ndarray):
            return column.astype(columns.column_type(name))
        return column[np.arange(len(self))]

    def _numbers(self, name: str) -> npt.NDArray[Any]:
        column, kind = self._source.columns[name], columns.column_type(name)
        assert isinstance(column, np.ndarray)
        return column if column.dtype == kind else freeze(column.astype(kind))

    def _column(self, name: str) -> StringColumn:
        column = self._source.columns[name]
        assert isinstance(column, StringColumn)
        return column

    def _strings(self, name: str) -> npt.NDArray[np.object_]:
        values = self._column(name)[np.arange(len(self))]
        values.flags.writeable = False
        return values


def _index_of(rows: Columns) -> Index:
    return Index(ColumnsSource(rows))


def aggregates_of(index: Index) -> Aggregates:
    """Return the aggregates of an index; files by this version need not be decoded for them."""
    return index._aggregates  # noqa: SLF001 -- of its own module


def pack_keys(index: Index) -> set[str]:
    """Return the keys of the packs that hold frames or renditions of an index."""
    packs = set(index.key[index.offset > 0].tolist())
    for side in index.rendition_sides:
        in_packs = np.flatnonzero(index._numbers(f"offset_{side}") > 0)  # noqa: SLF001 -- of its own module
        packs |= set(index._column(f"key_{side}")[in_packs].tolist())  # noqa: SLF001 -- same
    return packs


def blob_keys(index: Index) -> set[str]:
    """Return the keys of all blobs that rows of an index name, for frames and renditions."""
    named = set(index.key.tolist())
    for side in index.rendition_sides:
        named |= set(index._values(f"key_{side}").tolist())  # noqa: SLF001 -- of its own module
    return named - {""}


def rendition_objects(index: Index) -> dict[str, npt.NDArray[np.int64]]:
    """Return the sequences of renditions that are blobs of their own, by the prefix of the keys."""
    found: dict[str, list[npt.NDArray[np.int64]]] = defaultdict(list)
    for side in index.rendition_sides:
        is_object = index.has_rendition(side) & (index._numbers(f"offset_{side}") == 0)  # noqa: SLF001 -- of its own module
        positions = np.flatnonzero(is_object)
        if not len(positions):
            continue
        column = index._column(f"key_{side}")  # noqa: SLF001 -- same
        if isinstance(column, TemplateColumn):
            found[column.prefix].append(index.sequence[positions])
            continue
        prefixes = [key.rpartition("/")[0] + "/" for key in column[positions].tolist()]
        for prefix in set(prefixes):
            of_prefix = np.array([one == prefix for one in prefixes])
            found[prefix].append(index.sequence[positions[of_prefix]])
    return {prefix: np.concatenate(parts) for prefix, parts in found.items()}


def hash_bytes(
    index: Index, positions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]] | None:
    """Return the perceptual hashes of some rows as bytes, and a mask of those that are known.

    The bytes have the shape ``(rows, 8)``. None: a hash of the index has another form.
    """
    column = index._column("perceptual_hash")  # noqa: SLF001 -- of its own module
    if not isinstance(column, HexColumn):
        return None
    return column.data[positions], ~column.is_empty[positions]


def equal_rows(one: Index, other: Index) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that equal the row at the same position of ``other``.

    Both indexes must have as many rows.
    """
    # A frame and its replacement may have the same key, so all fields are compared.
    are_same = np.ones(len(one), dtype=np.bool_)
    sides = {*one.rendition_sides, *other.rendition_sides}
    for name in columns.column_types(tuple(sorted(sides, reverse=True))):
        are_same &= (one._values(name) == other._values(name)).astype(np.bool_)  # noqa: SLF001 -- of its own module
    return are_same


def live_rows(part: Index, whole: Index) -> Index:
    """Return the rows of an index part that no later part replaced.

    Args:
        part: index part to filter.
        whole: all current rows of the timeline.
    """
    positions = whole.positions(part.sequence)
    (known,) = np.nonzero(positions >= 0)
    are_same = equal_rows(part.take(known), whole.take(positions[known]))
    if are_same.sum() == len(part):
        return part
    return part.take(known[are_same])


class PartBuilder:
    """Collector of the rows of one index part, in any order."""

    def __init__(self) -> None:
        self._rows: list[FrameRow] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: FrameRow) -> None:
        """Add one frame whose JPEG the store has acknowledged, or that has none."""
        self._rows.append(row)

    @property
    def rows(self) -> Sequence[FrameRow]:
        """Rows added so far."""
        return self._rows

    def build(self) -> Index:
        """Return the index part, ordered by sequence."""
        ordered = sorted(self._rows, key=lambda row: row.sequence)
        values = {name: [getattr(row, name) for row in ordered] for name in COLUMNS}
        for side in sorted({one.max_side for row in ordered for one in row.renditions}):
            values |= _rendition_values(ordered, side)
        return _index_of(columns.from_values(values))


def _rendition_values(rows: Sequence[FrameRow], side: int) -> dict[str, list[Any]]:
    """Return the values of the columns of renditions of one size, by column."""
    nothing = Rendition(side, key="", offset=0, size=0, crc32c=0, origin="planes")
    found = [next((one for one in row.renditions if one.max_side == side), nothing) for row in rows]
    values = {f"{name}_{side}": [getattr(one, name) for one in found] for name in RENDITION_FIELDS}
    values[f"origin_{side}"] = [one.origin if one.size else "" for one in found]
    return values
