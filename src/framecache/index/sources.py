"""Where an index has its rows: in a table in memory, or in the bytes of a sealed Parquet file.

A file stays as it was stored, and a column of it is decoded when somebody asks for it: a million
rows are about 16 MB so, and 180 MB as a table.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from framecache import keys
from framecache.errors import CorruptFrame
from framecache.index import seal

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

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
"""Of columns that files by earlier versions lack."""

METADATA_KEY: Final = b"framecache"
_FEW_ROWS: Final = 2**16
"""What is held as a table; of more, the table would be large."""
_ROWS_AT_ONCE: Final = 2**14
_ROWS_A_GROUP: Final = 2**17
"""Texts are decoded by groups; readers of many timelines skip those whose sequences or times are
not asked for."""

_FEW_NUMBERS: Final = ["chunk_id", "width", "height", "quality"]
_FEW_TEXTS: Final = ["status", "reason", "picture_since"]
_ENCODINGS: Final = {
    "sequence": "DELTA_BINARY_PACKED",
    "pts": "DELTA_BINARY_PACKED",
    "timestamp": "BYTE_STREAM_SPLIT",
    "duration": "BYTE_STREAM_SPLIT",
    "key": "DELTA_BYTE_ARRAY",
    "offset": "DELTA_BINARY_PACKED",
    "size": "DELTA_BINARY_PACKED",
    "crc32c": "PLAIN",
    "perceptual_hash": "PLAIN",
}
"""Of columns whose values mostly differ. They take a fifth off the file, and most of the time to
decode sequences and times away."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a source, which are read without the others."""

    row_count: int
    column: "Callable[[str], Iterator[pa.Array[Any]]]"
    """As of a source."""


class Source(ABC):
    """The rows of an index."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @property
    @abstractmethod
    def table(self) -> "pa.Table":
        """All of them."""

    @property
    @abstractmethod
    def metadata(self) -> Mapping[bytes, bytes]:
        """What was said of all of them; nothing of rows from several files."""

    @abstractmethod
    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """The values of one column, a limited number at once; texts may be dictionaries."""

    @property
    def pieces(self) -> Sequence[Piece]:
        """All rows, in one piece or in several that follow each other."""
        return [Piece(len(self), self.column)]


class TableSource(Source):
    """Rows in memory."""

    __slots__ = ("_table",)

    def __init__(self, table: "pa.Table") -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def table(self) -> "pa.Table":
        """See `Source`."""
        return self._table

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `Source`."""
        return self._table.schema.metadata or {}

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `Source`."""
        for chunk in self._table[name].chunks:
            for begin in range(0, len(chunk), _ROWS_AT_ONCE):
                yield chunk.slice(begin, _ROWS_AT_ONCE)


class FileSource(Source):
    """The rows of a sealed Parquet file that was found sound."""

    __slots__ = ("_body", "_key", "_metadata", "_row_count")

    def __init__(
        self, body: bytes, *, key: str, row_count: int, metadata: Mapping[bytes, bytes]
    ) -> None:
        self._body = body
        self._key = key
        self._row_count = row_count
        self._metadata = metadata

    def __len__(self) -> int:
        return self._row_count

    @property
    def table(self) -> "pa.Table":
        """All rows; decoded at each call."""
        with _reading(self._key):
            return _read(_open(self._body))

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `Source`."""
        return self._metadata

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `Source`."""
        return self._column_of(None, name)

    @property
    def pieces(self) -> Sequence[Piece]:
        """See `Source`."""
        with _reading(self._key):
            file = _open(self._body).metadata
            counts = [file.row_group(group).num_rows for group in range(file.num_row_groups)]
        return [Piece(count, partial(self._column_of, [n])) for n, count in enumerate(counts)]

    def _column_of(self, groups: list[int] | None, name: str) -> "Iterator[pa.Array[Any]]":
        """A column, of some row groups or of all."""
        import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

        with _reading(self._key):
            file = _open(self._body, read_dictionary=[name] if name in _FEW_TEXTS else None)
            if name not in file.schema_arrow.names:
                chosen = range(file.num_row_groups) if groups is None else groups
                for group in chosen:
                    yield _default(name, file.metadata.row_group(group).num_rows)
                return
            for batch in file.iter_batches(
                _ROWS_AT_ONCE, row_groups=groups, columns=[name], use_threads=False
            ):
                yield batch.column(0)
        # What Arrow keeps for the next time would be more than the column itself.
        pa.default_memory_pool().release_unused()


class JoinedSource(Source):
    """The rows of several sources, one after the other."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    @property
    def table(self) -> "pa.Table":
        """See `Source`."""
        return _concatenated(self._sources)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `Source`."""
        return {}

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `Source`."""
        for source in self._sources:
            yield from source.column(name)

    @property
    def pieces(self) -> Sequence[Piece]:
        """See `Source`."""
        return [piece for source in self._sources for piece in source.pieces]


def joined(sources: Iterable[Source]) -> Source:
    """Rows of several sources, one after the other: files as files, and tables between as one."""
    pieces: list[Source] = []
    for is_file, some in groupby(sources, lambda source: isinstance(source, FileSource)):
        run = [*some]
        pieces += run if is_file else [in_memory(_concatenated(run))]
    return pieces[0] if len(pieces) == 1 else JoinedSource(pieces)


def in_memory(table: "pa.Table") -> Source:
    """Rows of a table: in one piece, and as a file where they are many."""
    if table.num_rows > _FEW_ROWS:
        return decode(encode(table, b"{}"), key="")
    return TableSource(table.combine_chunks())


def _concatenated(sources: Iterable[Source]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    return pa.concat_tables([source.table.replace_schema_metadata() for source in sources])


def schema() -> "pa.Schema":
    """The columns of every index file."""
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    types: dict[str, pa.DataType] = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "uint32": pa.uint32(),
        "float64": pa.float64(),
        "string": pa.string(),
    }
    return pa.schema([(name, types[alias]) for name, alias in COLUMNS.items()])


def encode(table: "pa.Table", metadata: bytes) -> bytes:
    """The sealed Parquet file of a table, with ``metadata`` (JSON) in its schema."""
    import pyarrow.parquet as pq  # noqa: PLC0415 -- loaded when an index is

    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: metadata}),
        sink,
        row_group_size=_ROWS_A_GROUP,
        compression="zstd",
        use_dictionary=[*_FEW_NUMBERS, *_FEW_TEXTS],  # type: ignore[arg-type]  # or their names
        column_encoding=_ENCODINGS,
        write_page_checksum=True,  # for other readers, which do not know the seal
    )
    return seal.sealed(sink.getvalue())


def decode(body: bytes, *, key: str) -> Source:
    """The rows of a stored file.

    Raises:
        CorruptFrame: it is damaged, or no index.
    """
    if difference := seal.damage(body):
        raise _damaged(key, difference)
    with _reading(key):
        file = _open(body)
        for field in schema():
            if field.name in DEFAULTS and field.name not in file.schema_arrow.names:
                continue
            if file.schema_arrow.field(field.name).type != field.type:
                raise TypeError(field.name)
        row_count = file.metadata.num_rows
        if row_count > _FEW_ROWS:
            metadata = file.schema_arrow.metadata or {}
            return FileSource(body, key=key, row_count=row_count, metadata=metadata)
        return TableSource(_read(file))


def _open(body: bytes, **settings: Any) -> "pq.ParquetFile":  # noqa: ANN401 -- the reader's own
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is
    import pyarrow.parquet as pq  # noqa: PLC0415 -- likewise

    return pq.ParquetFile(pa.BufferReader(body), **settings)


def _read(file: "pq.ParquetFile") -> "pa.Table":
    # On one thread: Arrow's own threads may let go of a buffer while Python ends, which aborts
    # the process.
    names = file.schema_arrow.names
    table = file.read(columns=[name for name in COLUMNS if name in names], use_threads=False)
    for position, name in enumerate(COLUMNS):
        if name not in names:
            table = table.add_column(position, schema().field(name), _default(name, len(table)))
    return table


def _default(name: str, length: int) -> "pa.Array[Any]":
    """A column that a file does not have."""
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    values: pa.Array[Any] = pa.repeat(pa.scalar(DEFAULTS[name], schema().field(name).type), length)
    return values


@contextmanager
def _reading(key: str) -> Iterator[None]:
    """Around what fails when a sound seal is around something else than an index."""
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(key, f"it is no index ({type(error).__name__})") from error


def _damaged(key: str, difference: str) -> CorruptFrame:
    timeline_id = keys.timeline_id_of(key) or "TIMELINE"
    return CorruptFrame(
        f"the index part {key} is damaged: {difference}; run 'framecache verify {timeline_id} "
        f"--repair', or rebuild the timeline from its chunks"
    )
