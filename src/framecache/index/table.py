"""The index in memory: one row a frame, ordered by sequence, columns as numpy arrays."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from framecache.index import packing, sources
from framecache.index.packing import FewTexts, Number, SmallIntegers, Texts
from framecache.index.rows import FrameRow
from framecache.index.sources import Piece, Source, TableSource

if TYPE_CHECKING:
    import pyarrow as pa

_LISTED: Final = b"framecache.listed"


class Index:
    """The frames of a timeline, ordered by sequence; undecodable ones are rows too.

    Every column is a read-only numpy array with one entry a frame, made when it is first asked
    for. Of a million frames, an index and all it needs to find and read them take less than
    100 MB; each of :attr:`key` and :attr:`perceptual_hash`, asked for as a whole, takes as much
    again. Safe to share between threads.
    """

    def __init__(self, rows: "pa.Table | Source") -> None:
        self._source = rows if isinstance(rows, Source) else TableSource(rows)

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"<Index of {len(self)} frames>"

    def __getstate__(self) -> dict[str, Any]:
        """Columns are made anew elsewhere."""
        return {"_source": self._source}

    def to_arrow(self) -> "pa.Table":
        """The whole table, columns as the Parquet files have them."""
        return self._source.table

    @property
    def about(self) -> Mapping[str, Any]:
        """What the file it was read from tells of how it was made; empty for any other."""
        about: dict[str, Any] = json.loads(self._source.metadata.get(sources.METADATA_KEY, b"{}"))
        return about

    @cached_property
    def sequence(self) -> npt.NDArray[np.int64]:
        """Ascending, unique."""
        return self._numbers("sequence", np.int64)

    @cached_property
    def chunk_id(self) -> npt.NDArray[np.int32]:
        """Ordinal of the chunk each frame came from."""
        return self._numbers("chunk_id", np.int32)

    @cached_property
    def pts(self) -> npt.NDArray[np.int64]:
        """In the time base of each frame's video."""
        return packing.widened(self._pts)

    @cached_property
    def timestamp(self) -> npt.NDArray[np.float64]:
        """Seconds on the timeline."""
        return self._numbers("timestamp", np.float64)

    @cached_property
    def duration(self) -> npt.NDArray[np.float64]:
        """Seconds on screen in the video; 0.0 when unknown."""
        return self._numbers("duration", np.float64)

    @cached_property
    def width(self) -> npt.NDArray[np.int32]:
        """Pixels."""
        return self._numbers("width", np.int32)

    @cached_property
    def height(self) -> npt.NDArray[np.int32]:
        """Pixels."""
        return self._numbers("height", np.int32)

    @cached_property
    def key(self) -> npt.NDArray[np.object_]:
        """Where each JPEG lies in the store; empty when undecodable."""
        return self._all(self._keys)

    @cached_property
    def offset(self) -> npt.NDArray[np.int64]:
        """Where in its blob each JPEG begins, bytes."""
        return packing.widened(self._offset)

    @cached_property
    def crc32c(self) -> npt.NDArray[np.uint32]:
        """CRC-32C of each JPEG; 0 when undecodable or unknown."""
        return self._numbers("crc32c", np.uint32)

    @cached_property
    def size(self) -> npt.NDArray[np.int64]:
        """Bytes of each JPEG; 0 when undecodable."""
        return packing.widened(self._size)

    @cached_property
    def perceptual_hash(self) -> npt.NDArray[np.object_]:
        """16 hex digits each; empty when unknown."""
        return self._all(self._hashes)

    @cached_property
    def status(self) -> npt.NDArray[np.object_]:
        """``"ok"`` or ``"undecodable"``."""
        return self._all(self._statuses)

    @cached_property
    def reason(self) -> npt.NDArray[np.object_]:
        """Why a frame is undecodable; empty when it is not."""
        return self._all(self._reasons)

    @cached_property
    def quality(self) -> npt.NDArray[np.int32]:
        """JPEG quality a program asked for; 0 where it is the timeline's, or unknown."""
        return self._numbers("quality", np.int32)

    @cached_property
    def picture_since(self) -> npt.NDArray[np.object_]:
        """The written part that put each picture in the place of another; empty: none did."""
        return self._all(self._picture_since)

    @cached_property
    def is_ok(self) -> npt.NDArray[np.bool_]:
        """Whether each frame has a picture."""
        values = self._statuses.equal("ok")
        values.flags.writeable = False
        return values

    @cached_property
    def is_listed(self) -> bool:
        """Whether it was made from a listing of frames, so that no length or CRC is known."""
        return _LISTED in self._source.metadata

    @cached_property
    def is_in_time_order(self) -> bool:
        """Whether timestamps never decrease, as those of frames a program wrote may."""
        return bool((self.timestamp[1:] >= self.timestamp[:-1]).all())

    def position(self, sequence: int) -> int | None:
        """The row of a sequence, or None when the index has no such frame."""
        position = int(np.searchsorted(self.sequence, sequence))
        found = position < len(self) and self.sequence[position] == sequence
        return position if found else None

    def positions(self, sequences: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The rows of sequences, int64, in the order given; -1 where there is no such frame."""
        wanted = np.asarray(sequences, dtype=np.int64)
        if not len(self):
            return np.full(wanted.shape, -1)
        positions = np.minimum(np.searchsorted(self.sequence, wanted), len(self) - 1)
        return np.where(self.sequence[positions] == wanted, positions, -1)

    def position_at(self, seconds: float) -> int | None:
        """The row of the last frame that begins at or before a time, or None before the first."""
        position = int(np.searchsorted(self.timestamp, seconds, side="right")) - 1
        return position if position >= 0 else None

    def row(self, position: int) -> FrameRow:
        """One frame, by row.

        Raises:
            IndexError: there is no such row; none is counted from the end.
        """
        if position < 0:
            raise IndexError(f"rows are counted from 0: there is no row {position}")
        return FrameRow(*[column.item(position) for column in self._row_columns])

    def rows(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> list[FrameRow]:
        """Several frames, by row, in the order given. Raises what :meth:`row` raises."""
        wanted = np.asarray(positions, dtype=np.int64)
        if (wanted < 0).any():
            raise IndexError(f"rows are counted from 0: there is no row {wanted.min()}")
        return [*map(FrameRow, *[column[wanted].tolist() for column in self._row_columns])]

    @classmethod
    def empty(cls) -> Self:
        """An index without frames."""
        return cls(sources.schema().empty_table())

    @classmethod
    def merged(cls, parts: "Sequence[Index]") -> "Index":
        """One index of several, ordered by sequence; of rows with one sequence, the last stays."""
        held = [part for part in parts if len(part)]
        if len(held) < 2:  # noqa: PLR2004 -- nothing to merge
            return held[0] if held else cls.empty()
        one_after_the_other = all(
            before.sequence[-1] < after.sequence[0] for before, after in pairwise(held)
        )
        rows = sources.joined([part._source for part in held])  # noqa: SLF001 -- of its own class
        if one_after_the_other:
            return cls(rows)
        sequence = packing.numbers(rows.column("sequence"), len(rows), np.int64)
        order = np.argsort(sequence, kind="stable")
        is_last = np.append(np.diff(sequence[order]) > 0, True)
        return cls(sources.in_memory(rows.table.take(order[is_last])))

    @classmethod
    def listed(cls, found: Iterable[tuple[int, str, int]]) -> Self:
        """The index of frames another program stored: sequence, key and size are all it knows."""
        ordered = sorted(found)
        sequences, names, sizes = zip(*ordered, strict=True) if ordered else ((), (), ())
        unknown: dict[str, Any] = {
            "key": names,
            "offset": 0,
            "size": sizes,
            "perceptual_hash": "",
            "status": "ok",
            "reason": "",
            "picture_since": "",
        }
        columns = {
            name: value if isinstance(value, tuple) else (value,) * len(ordered)
            for name, value in ({"sequence": sequences} | unknown).items()
        }
        zeros = (0,) * len(ordered)
        table = _table({name: columns.get(name, zeros) for name in sources.COLUMNS})
        return cls(table.replace_schema_metadata({_LISTED: b"1"}))

    def encode(self, metadata: bytes) -> bytes:
        """The sealed Parquet file that is stored, with ``metadata`` (JSON) in its schema."""
        return sources.encode(self.to_arrow(), metadata)

    @classmethod
    def decode(cls, body: bytes, *, key: str) -> Self:
        """Read a stored part.

        Raises:
            CorruptFrame: it is damaged.
        """
        return cls(sources.decode(body, key=key))

    @cached_property
    def _row_columns(self) -> list[Any]:
        """By the fields of a row."""
        packed = {
            "pts": self._pts,
            "offset": self._offset,
            "size": self._size,
            "key": self._keys,
            "perceptual_hash": self._hashes,
            "status": self._statuses,
            "reason": self._reasons,
            "picture_since": self._picture_since,
        }
        names = [field.name for field in fields(FrameRow)]
        return [packed[name] if name in packed else getattr(self, name) for name in names]

    @cached_property
    def _pts(self) -> SmallIntegers:
        return packing.small_integers(self._source.column("pts"))

    @cached_property
    def _offset(self) -> SmallIntegers:
        return packing.small_integers(self._source.column("offset"))

    @cached_property
    def _size(self) -> SmallIntegers:
        return packing.small_integers(self._source.column("size"))

    @cached_property
    def _pieces(self) -> Sequence[Piece]:
        return self._source.pieces

    @cached_property
    def _keys(self) -> Texts:
        sequence = self.sequence

        def make(piece: Piece, rows: slice) -> Texts:
            return packing.keys(partial(piece.column, "key"), sequence[rows])

        return packing.in_pieces(self._pieces, make)

    @cached_property
    def _hashes(self) -> Texts:
        def make(piece: Piece, _: slice) -> Texts:
            return packing.hashes(partial(piece.column, "perceptual_hash"), piece.row_count)

        return packing.in_pieces(self._pieces, make)

    @cached_property
    def _statuses(self) -> FewTexts:
        return FewTexts.of(self._source.column("status"), len(self))

    @cached_property
    def _reasons(self) -> FewTexts:
        return FewTexts.of(self._source.column("reason"), len(self))

    @cached_property
    def _picture_since(self) -> FewTexts:
        return FewTexts.of(self._source.column("picture_since"), len(self))

    def _numbers(self, name: str, dtype: type[Number]) -> npt.NDArray[Number]:
        return packing.numbers(self._source.column(name), len(self), dtype)

    def _all(self, texts: Texts) -> npt.NDArray[np.object_]:
        values = texts[np.arange(len(self))]
        values.flags.writeable = False
        return values


def pack_keys(index: Index) -> set[str]:
    """The packs that hold frames of an index."""
    return set(index.key[index.offset > 0].tolist())


def rows_that_count(part: Index, whole: Index) -> Index:
    """The rows of an index part that no later part took the place of, given all that count."""
    positions = whole.positions(part.sequence)
    (known,) = np.nonzero(positions >= 0)
    ours, theirs = known, positions[known]
    # A frame and the one that took its place may have the same key.
    are_same = np.ones(len(ours), dtype=np.bool_)
    for name in (field.name for field in fields(FrameRow)):
        are_same &= (getattr(part, name)[ours] == getattr(whole, name)[theirs]).astype(np.bool_)
    if are_same.sum() == len(part):
        return part
    return Index(part.to_arrow().take(ours[are_same]))


class PartBuilder:
    """Collects the rows of one index part, in any order."""

    def __init__(self) -> None:
        self._rows: list[FrameRow] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: FrameRow) -> None:
        """Add one frame whose JPEG the store has acknowledged, or that has none."""
        self._rows.append(row)

    @property
    def rows(self) -> Sequence[FrameRow]:
        """What was added so far."""
        return self._rows

    def build(self) -> Index:
        """The part, ordered by sequence."""
        ordered = sorted(self._rows, key=lambda row: row.sequence)
        columns = {name: [getattr(row, name) for row in ordered] for name in sources.COLUMNS}
        return Index(_table(columns))


def _table(columns: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    return pa.table(columns, schema=sources.schema())
