"""The index in memory: one row a frame, ordered by sequence, columns as numpy arrays."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.errors import CorruptFrame
from framecache.index import seal
from framecache.model import Status

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS: Final = {
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
}
Number = TypeVar("Number", np.uint32, np.int32, np.int64, np.float64)

_METADATA_KEY: Final = b"framecache"
_LISTED: Final = b"framecache.listed"


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What the index knows of one frame."""

    sequence: int
    chunk_id: int
    timestamp: float
    """Seconds on the timeline."""
    duration: float
    """Seconds it stays on screen in its video; 0.0 when unknown."""
    width: int
    height: int
    key: str
    """Where its JPEG lies in the store; empty when undecodable."""
    offset: int
    """Where in that blob the JPEG begins."""
    size: int
    """Bytes of the JPEG."""
    crc32c: int
    perceptual_hash: str
    status: Status
    pts: int = 0
    """In the time base of its video."""
    reason: str = ""
    """Why there is no picture; empty when there is one."""


class Index:
    """The frames of a timeline, ordered by sequence; undecodable ones are rows too.

    Every column is a read-only numpy array with one entry a frame.
    """

    def __init__(self, table: "pa.Table") -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def __repr__(self) -> str:
        return f"<Index of {len(self)} frames>"

    def to_arrow(self) -> "pa.Table":
        """The whole table, columns as the Parquet files have them."""
        return self._table

    @property
    def is_listed(self) -> bool:
        """Whether it was made from a listing of frames, so that no length or CRC is known."""
        return _LISTED in (self._table.schema.metadata or {})

    @property
    def about(self) -> Mapping[str, Any]:
        """What the file it was read from tells of how it was made; empty for any other."""
        metadata = self._table.schema.metadata or {}
        about: dict[str, Any] = json.loads(metadata.get(_METADATA_KEY, b"{}"))
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
        return self._numbers("pts", np.int64)

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
        return self._texts("key")

    @cached_property
    def offset(self) -> npt.NDArray[np.int64]:
        """Where in its blob each JPEG begins, bytes."""
        return self._numbers("offset", np.int64)

    @cached_property
    def crc32c(self) -> npt.NDArray[np.uint32]:
        """CRC-32C of each JPEG; 0 when undecodable or unknown."""
        return self._numbers("crc32c", np.uint32)

    @cached_property
    def size(self) -> npt.NDArray[np.int64]:
        """Bytes of each JPEG; 0 when undecodable."""
        return self._numbers("size", np.int64)

    @cached_property
    def perceptual_hash(self) -> npt.NDArray[np.object_]:
        """16 hex digits each; empty when unknown."""
        return self._texts("perceptual_hash")

    @cached_property
    def status(self) -> npt.NDArray[np.object_]:
        """``"ok"`` or ``"undecodable"``."""
        return self._texts("status")

    @cached_property
    def reason(self) -> npt.NDArray[np.object_]:
        """Why a frame is undecodable; empty when it is not."""
        return self._texts("reason")

    @cached_property
    def is_ok(self) -> npt.NDArray[np.bool_]:
        """Whether each frame has a picture."""
        import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is
        import pyarrow.compute as pc  # noqa: PLC0415 -- likewise

        return np.asarray(pc.equal(self._table["status"], pa.scalar("ok")), dtype=np.bool_)

    @cached_property
    def is_in_time_order(self) -> bool:
        """Whether timestamps never decrease, as those of frames a program wrote may."""
        return bool((np.diff(self.timestamp) >= 0).all())

    def position(self, sequence: int) -> int | None:
        """The row of a sequence, or None when the index has no such frame."""
        position = int(np.searchsorted(self.sequence, sequence))
        found = position < len(self) and self.sequence[position] == sequence
        return position if found else None

    def position_at(self, seconds: float) -> int | None:
        """The row of the last frame that begins at or before a time, or None before the first."""
        position = int(np.searchsorted(self.timestamp, seconds, side="right")) - 1
        return position if position >= 0 else None

    def row(self, position: int) -> FrameRow:
        """One frame, by row."""
        values = {name: self._table[name][position].as_py() for name in _COLUMNS}
        return FrameRow(**values)

    def rows(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> "list[FrameRow]":
        """Several frames, by row, in the order given."""
        taken = self._table.take(np.asarray(positions, dtype=np.int64))
        columns = [taken[name].to_pylist() for name in _COLUMNS]
        return [
            FrameRow(**dict(zip(_COLUMNS, values, strict=True)))
            for values in zip(*columns, strict=True)
        ]

    @classmethod
    def empty(cls) -> Self:
        """An index without frames."""
        return cls(_schema().empty_table())

    @classmethod
    def merged(cls, parts: "Sequence[Index]") -> Self:
        """One index of several, ordered by sequence; of rows with one sequence, the last stays."""
        import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

        if not parts:
            return cls.empty()
        table = pa.concat_tables([part.to_arrow().replace_schema_metadata() for part in parts])
        sequence = table["sequence"].to_numpy()
        if (np.diff(sequence) > 0).all():
            return cls(table)
        order = np.argsort(sequence, kind="stable")
        is_last = np.append(np.diff(sequence[order]) > 0, True)
        return cls(table.take(order[is_last]))

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
        }
        columns = {
            name: value if isinstance(value, tuple) else (value,) * len(ordered)
            for name, value in ({"sequence": sequences} | unknown).items()
        }
        zeros = (0,) * len(ordered)
        table = _table({name: columns.get(name, zeros) for name in _COLUMNS})
        return cls(table.replace_schema_metadata({_LISTED: b"1"}))

    def encode(self, metadata: bytes) -> bytes:
        """The sealed Parquet file that is stored, with ``metadata`` (JSON) in its schema."""
        import pyarrow.parquet as pq  # noqa: PLC0415 -- loaded when an index is

        table = self._table.replace_schema_metadata({_METADATA_KEY: metadata})
        sink = io.BytesIO()
        # For other readers, which do not know the seal.
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        return seal.sealed(sink.getvalue())

    @classmethod
    def decode(cls, body: bytes, *, key: str) -> Self:
        """Read a stored part.

        Raises:
            CorruptFrame: it is damaged.
        """
        import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is
        import pyarrow.parquet as pq  # noqa: PLC0415 -- likewise

        if difference := seal.damage(body):
            raise _damaged(key, difference)
        try:
            # On one thread: Arrow's own threads may let go of a buffer while Python ends, which
            # aborts the process.
            file = pq.ParquetFile(pa.BufferReader(body))
            table = file.read(columns=list(_COLUMNS), use_threads=False)
            return cls(table.cast(_schema().with_metadata(table.schema.metadata)))
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise _damaged(key, f"it is no index ({type(error).__name__})") from error

    def _numbers(self, name: str, dtype: type[Number]) -> npt.NDArray[Number]:
        values = self._table[name].to_numpy().astype(dtype, copy=False)
        values.flags.writeable = False
        return values

    def _texts(self, name: str) -> npt.NDArray[np.object_]:
        values = cast("npt.NDArray[np.object_]", self._table[name].to_numpy(zero_copy_only=False))
        values.flags.writeable = False
        return values


def pack_keys(index: Index) -> set[str]:
    """The packs that hold frames of an index."""
    return set(index.key[index.offset > 0].tolist())


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
        return Index(_table({name: [getattr(row, name) for row in ordered] for name in _COLUMNS}))


def _damaged(key: str, difference: str) -> CorruptFrame:
    timeline_id = keys.timeline_id_of(key) or "TIMELINE"
    return CorruptFrame(
        f"the index part {key} is damaged: {difference}; run 'framecache verify {timeline_id} "
        f"--repair', or rebuild the timeline from its chunks"
    )


def _schema() -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    types: dict[str, pa.DataType] = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "uint32": pa.uint32(),
        "float64": pa.float64(),
        "string": pa.string(),
    }
    return pa.schema([(name, types[alias]) for name, alias in _COLUMNS.items()])


def _table(columns: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    return pa.table(columns, schema=_schema())
