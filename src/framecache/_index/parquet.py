"""Rows in the bytes of a Parquet file with a checksum.

The file is kept in memory as it was stored, and its columns are decoded on demand: a million rows
take about 16 MB this way, but 180 MB as a table.

Parquet's own checksums cover only the pages, not the footer that describes them. This checksum is
between the last page and the footer: 4 bytes, the little-endian CRC-32C of all other bytes::

    PAR1 pages | checksum | footer | length of the footer, 4 bytes | PAR1

Parquet readers find the footer from the end of the file, and the pages by the footer's offsets. All
pages come before the checksum, so readers treat it as an unused gap.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import google_crc32c

from framecache._core import json_documents, keys
from framecache._core.native_calls import native_call
from framecache._index.aggregates import Aggregates
from framecache._index.arrow import combine_chunks
from framecache._index.columns import COLUMNS, DEFAULTS, default, schema
from framecache._index.row_sources import (
    BATCH_ROWS,
    MAX_TABLE_ROWS,
    LazyTableSource,
    RowGroup,
    RowSource,
)
from framecache.errors import CorruptFrame

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_MAGIC: Final = b"PAR1"
_CHECKSUM_BYTES: Final = 4
_TRAILER_BYTES: Final = 4 + len(_MAGIC)
_MIN_BYTES: Final = len(_MAGIC) + _CHECKSUM_BYTES + _TRAILER_BYTES

METADATA_KEY: Final = b"framecache"
AGGREGATES_KEY: Final = b"framecache.sums"
"""Metadata key of the aggregates of a file's rows; files by earlier versions lack it."""
_AGGREGATES_FIELD: Final = b"\x18" + bytes([len(AGGREGATES_KEY)]) + AGGREGATES_KEY + b"\x18"
"""Start of the aggregates in a footer: their name as field 1, a string after its length, and the
type of field 2, also a string."""
_MAX_VARINT_BYTES: Final = 4
_ROW_LIMIT: Final = 2**63
_ROWS_PER_GROUP: Final = 2**17
"""Rows per row group. Strings are decoded by row group, and readers of many timelines skip groups
outside of the requested sequences or times."""

_DICTIONARY_NUMBERS: Final = ["chunk_id", "width", "height", "quality"]
_DICTIONARY_STRINGS: Final = ["status", "reason", "picture_since"]
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
"""Encodings of columns whose values mostly differ. They make files a fifth smaller, and save most
of the time for decoding sequences and times."""


class SmallFileSource(LazyTableSource):
    """Rows of a Parquet file with few rows, whose checksum was verified."""

    __slots__ = ("_body", "_key", "_metadata", "_row_count")

    def __init__(
        self, body: bytes, *, key: str, row_count: int, metadata: Mapping[bytes, bytes]
    ) -> None:
        super().__init__()
        self._body = body
        self._key = key
        self._row_count = row_count
        self._metadata = metadata

    def __len__(self) -> int:
        return self._row_count

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return self._metadata

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        return _aggregates_of(self._metadata)

    def _load_table(self) -> "pa.Table":
        with _translate_errors(self._key):
            return combine_chunks(_read_table(_open_parquet(self._body)))


class FileSource(RowSource):
    """Rows of a Parquet file with many rows, whose checksum was verified."""

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
        """All rows; decoded at each access."""
        with _translate_errors(self._key):
            return _read_table(_open_parquet(self._body))

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return self._metadata

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        return _aggregates_of(self._metadata)

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `RowSource`."""
        return self._column_of(None, name)

    @property
    def row_groups(self) -> Sequence[RowGroup]:
        """See `RowSource`."""
        with _translate_errors(self._key):
            file = _open_parquet(self._body).metadata
            counts = [file.row_group(group).num_rows for group in range(file.num_row_groups)]
        return [RowGroup(count, partial(self._column_of, [n])) for n, count in enumerate(counts)]

    def _column_of(self, groups: list[int] | None, name: str) -> "Iterator[pa.Array[Any]]":
        """Yield the arrays of a column, for some row groups or for all."""
        from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

        with _translate_errors(self._key):
            file = _open_parquet(
                self._body, read_dictionary=[name] if name in _DICTIONARY_STRINGS else None
            )
            if name not in file.schema_arrow.names:
                chosen = range(file.num_row_groups) if groups is None else groups
                for group in chosen:
                    yield default(name, file.metadata.row_group(group).num_rows)
                return
            batches = file.iter_batches(
                BATCH_ROWS, row_groups=groups, columns=[name], use_threads=False
            )
            while (batch := _next_batch(batches)) is not None:
                yield batch.column(0)
        # Otherwise Arrow would keep more memory for reuse than the column itself takes.
        native_call(pa.default_memory_pool().release_unused)()


class LazyFileSource(RowSource):
    """Rows of a Parquet file whose checksum was verified; it is opened when its rows are read.

    The aggregates in its footer are known before, which is all that a listing needs. To open the
    file takes many times as long.
    """

    __slots__ = ("_aggregates", "_body", "_key", "_loaded")

    def __init__(self, body: bytes, *, key: str, aggregates: Aggregates) -> None:
        self._body = body
        self._key = key
        self._aggregates = aggregates
        self._loaded: RowSource | None = None

    def __len__(self) -> int:
        return self._aggregates.frame_count

    @property
    def table(self) -> "pa.Table":
        """See `RowSource`."""
        return self._source.table

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        return self._source.metadata

    @property
    def aggregates(self) -> Aggregates:
        """See `RowSource`."""
        return self._aggregates

    def column(self, name: str) -> "Iterator[pa.Array[Any]]":
        """See `RowSource`."""
        return self._source.column(name)

    @property
    def row_groups(self) -> Sequence[RowGroup]:
        """See `RowSource`."""
        return self._source.row_groups

    @property
    def _source(self) -> RowSource:
        # Two threads may open it concurrently, with the same result.
        held = self._loaded
        if held is None:
            held = self._loaded = _open_source(self._body, key=self._key)
            if held.aggregates != self._aggregates or len(held) != len(self):
                raise _corrupt_error(self._key, "its aggregates are not those of its rows")
        return held


@native_call
def encode(table: "pa.Table", metadata: bytes, aggregates: Aggregates | None = None) -> bytes:
    """Encode a table as a Parquet file with a checksum.

    Args:
        table: rows of the file.
        metadata: JSON object to store in the schema.
        aggregates: aggregates of the rows to store in the schema too; None: none.
    """
    from framecache._index.lazy_arrow import pq  # noqa: PLC0415 -- loaded when an index is

    sums_of_rows = {} if aggregates is None else {AGGREGATES_KEY: aggregates.to_json()}
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: metadata} | sums_of_rows),
        sink,
        row_group_size=_ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=[*_DICTIONARY_NUMBERS, *_DICTIONARY_STRINGS],  # type: ignore[arg-type]  # or their names
        column_encoding=_ENCODINGS,
        write_page_checksum=True,  # for other readers, which do not know the file's checksum
    )
    return add_checksum(sink.getvalue())


def decode(body: bytes, *, key: str) -> RowSource:
    """Verify a stored file's checksum and return its rows, decoded on demand.

    Raises:
        CorruptFrame: the file is damaged, or not an index.
    """
    _verify_checksum(body, key=key)
    return _open_source(body, key=key)


def decode_lazy(body: bytes, *, key: str) -> RowSource:
    """Verify a stored file's checksum and return its rows, to be opened when they are read.

    Files by earlier versions lack the aggregates, and are opened at once.

    Raises:
        CorruptFrame: the file is damaged. That it is not an index is only found when it is opened.
    """
    _verify_checksum(body, key=key)
    known = _aggregates_in_footer(body)
    return (
        _open_source(body, key=key)
        if known is None
        else LazyFileSource(body, key=key, aggregates=known)
    )


def _verify_checksum(body: bytes, *, key: str) -> None:
    if difference := find_damage(body):
        raise _corrupt_error(key, difference)


def _open_source(body: bytes, *, key: str) -> RowSource:
    with _translate_errors(key):
        file = _open_parquet(body)
        stored = file.schema_arrow
        _check_columns(stored)
        metadata = stored.metadata or {}
        json_documents.decode_object(metadata.get(METADATA_KEY, b"{}"))
        row_count = file.metadata.num_rows
        kind = FileSource if row_count > MAX_TABLE_ROWS else SmallFileSource
        return kind(body, key=key, row_count=row_count, metadata=metadata)


def _check_columns(stored: "pa.Schema") -> None:
    """Raise KeyError or TypeError if the columns are not those of an index."""
    expected = schema()
    if stored.equals(expected):
        return
    for field in expected:
        if field.name in DEFAULTS and field.name not in stored.names:
            continue
        if stored.field(field.name).type != field.type:
            raise TypeError(field.name)


@native_call
def _open_parquet(body: bytes, **settings: Any) -> "pq.ParquetFile":  # noqa: ANN401 -- the reader's own
    from framecache._index.lazy_arrow import pa, pq  # noqa: PLC0415 -- loaded when an index is

    return pq.ParquetFile(pa.BufferReader(body), **settings)


@native_call
def _read_table(file: "pq.ParquetFile") -> "pa.Table":
    # On one thread: Arrow's own threads may release a buffer while Python shuts down, which aborts
    # the process.
    names = file.schema_arrow.names
    table = file.read(columns=[name for name in COLUMNS if name in names], use_threads=False)
    for position, name in enumerate(COLUMNS):
        if name not in names:
            table = table.add_column(position, schema().field(name), default(name, len(table)))
    # The aggregates would be wrong for a selection of the rows.
    kept = {
        key: text for key, text in (table.schema.metadata or {}).items() if key != AGGREGATES_KEY
    }
    return table.replace_schema_metadata(kept)


@native_call
def _next_batch(batches: "Iterator[pa.RecordBatch]") -> "pa.RecordBatch | None":
    return next(batches, None)


def _aggregates_of(metadata: Mapping[bytes, bytes]) -> Aggregates | None:
    body = metadata.get(AGGREGATES_KEY)
    return None if body is None else Aggregates.from_json(body)


def _aggregates_in_footer(body: bytes) -> Aggregates | None:
    """Return the aggregates in a footer without parsing it; None if it has none.

    The footer is a Thrift structure in the compact protocol. Its metadata, strings by name, follow
    all of its statistics, so only the last occurrence of the name can be that of the aggregates.
    """
    start = body.rfind(_AGGREGATES_FIELD, footer_start(body))
    if start < 0:
        return None
    start += len(_AGGREGATES_FIELD)
    length, shift = 0, 0
    for byte in body[start : start + _MAX_VARINT_BYTES]:
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 -- the highest bit says that another byte follows
            break
    known = Aggregates.from_json(body[start : start + length])
    return known if known is not None and 0 <= known.frame_count < _ROW_LIMIT else None


@contextmanager
def _translate_errors(key: str) -> Iterator[None]:
    """Convert errors that occur if a file has a valid checksum, but is not an index."""
    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt_error(key, f"it is not an index ({type(error).__name__})") from error


def _corrupt_error(key: str, difference: str) -> CorruptFrame:
    timeline_id = keys.timeline_id_of(key) or "TIMELINE"
    return CorruptFrame(
        f"the index part {key} is damaged: {difference}; run 'framecache verify {timeline_id} "
        f"--repair', or rebuild the timeline from its chunks"
    )


def add_checksum(file: bytes) -> bytes:
    """Return a Parquet file with the checksum inserted before its footer."""
    start = footer_start(file)
    pages, footer = file[:start], file[start:]
    return pages + _checksum(pages, footer) + footer


def footer_start(file: bytes) -> int:
    """Return the offset of a Parquet file's footer, which may be wrong if the file is damaged."""
    end = len(file) - _TRAILER_BYTES
    return end - int.from_bytes(file[end : end + 4], "little")


def find_damage(body: bytes) -> str:
    """Check a file with a checksum; return a description of the damage, or an empty string.

    A single flipped bit outside the footer's length is always detected. Other damage is missed in
    one of 2**32 cases.
    """
    if len(body) < _MIN_BYTES:
        return f"it has {len(body)} bytes"
    if not (body.startswith(_MAGIC) and body.endswith(_MAGIC)):
        return "it does not begin and end as a Parquet file does"
    start = footer_start(body)
    checksum_start = start - _CHECKSUM_BYTES
    if checksum_start < len(_MAGIC):
        return "its footer is longer than the file"
    if _checksum(body[:checksum_start], body[start:]) != body[checksum_start:start]:
        return "its CRC-32C differs"
    return ""


def _checksum(pages: bytes, footer: bytes) -> bytes:
    crc32c: int = google_crc32c.extend(google_crc32c.value(pages), footer)
    return crc32c.to_bytes(_CHECKSUM_BYTES, "little")
