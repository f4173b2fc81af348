"""Rows in the bytes of a Parquet file with a checksum.

All columns of a file are decoded when one of its rows is first read. The file itself stays in
memory, because an index is sent to another process as its file. A million rows take about 12 MB
as a file, and 50 MB when they are decoded; as a table of Arrow, they would take 150 MB.

Parquet's own checksums cover only the pages, not the footer that describes them. This checksum is
between the last page and the footer: 4 bytes, the little-endian CRC-32C of all other bytes::

    PAR1 pages | checksum | footer | length of the footer, 4 bytes | PAR1

Parquet readers find the footer from the end of the file, and the pages by the footer's offsets. All
pages come before the checksum, so readers treat it as an unused gap.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

import google_crc32c

from framecache._core import json_documents, keys
from framecache._core.native_calls import native_call
from framecache._core.threads import PerProcess
from framecache._index import arrow
from framecache._index.aggregates import Aggregates
from framecache._index.columns import Columns, frame_column
from framecache._index.row_sources import LazySource, RowSource
from framecache.errors import CorruptFrame

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader

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
"""Rows per row group. Readers of many timelines skip groups outside of the requested sequences or
times."""

_DICTIONARIES: Final = frozenset(
    {"chunk_id", "width", "height", "quality", "status", "reason", "picture_since", "origin"}
)
_ENCODINGS: Final = {
    "sequence": "delta_binary_packed",
    "pts": "delta_binary_packed",
    "timestamp": "byte_stream_split",
    "duration": "byte_stream_split",
    "key": "delta_byte_array",
    "offset": "delta_binary_packed",
    "size": "delta_binary_packed",
    "crc32c": "plain",
    "perceptual_hash": "plain",
}
"""Encodings of columns whose values mostly differ. They make files a fifth smaller, and save most
of the time for decoding sequences and times."""

_decode_locks: Final = PerProcess(lambda: tuple(Lock() for _ in range(64)))
"""Locks held while a file is decoded, so that threads that need the same wait for each other."""


class FileSource(LazySource):
    """Rows of a Parquet file whose checksum was verified."""

    __slots__ = ("_body", "_key", "_metadata")

    def __init__(self, body: bytes, *, key: str) -> None:
        super().__init__()
        self._body = body
        self._key = key
        self._metadata: Mapping[bytes, bytes] | None = None

    def __len__(self) -> int:
        return len(self.columns["sequence"])

    @property
    def columns(self) -> Columns:
        """See `RowSource`."""
        if self._decoded is not None:
            return self._decoded
        locks = _decode_locks.value
        # Of a tuple, because ids of sources are multiples of their size.
        with locks[hash((id(self),)) % len(locks)]:
            return super().columns

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """See `RowSource`."""
        held = self._metadata
        if held is None:
            with _translate_errors(self._key):
                held = _open_parquet(self._body).schema.metadata
                json_documents.decode_object(held.get(METADATA_KEY, b"{}"))
            self._metadata = held
        return held

    @property
    def aggregates(self) -> Aggregates | None:
        """See `RowSource`."""
        return _aggregates_of(self.metadata)

    def _decode(self) -> Columns:
        with _translate_errors(self._key):
            return arrow.to_columns(_open_parquet(self._body))


class UnopenedFileSource(FileSource):
    """Rows of a Parquet file whose aggregates are known before it is opened.

    They are all that a listing needs. To open the file takes many times as long.
    """

    __slots__ = ("_aggregates",)

    def __init__(self, body: bytes, *, key: str, aggregates: Aggregates) -> None:
        super().__init__(body, key=key)
        self._aggregates = aggregates

    def __len__(self) -> int:
        return self._aggregates.frame_count

    @property
    def aggregates(self) -> Aggregates:
        """See `RowSource`."""
        return self._aggregates

    def _decode(self) -> Columns:
        rows = super()._decode()
        known = self._aggregates
        if known != _aggregates_of(self.metadata) or len(self) != len(rows["sequence"]):
            raise _corrupt_error(self._key, "its aggregates are not those of its rows")
        return rows


@native_call
def encode(rows: Columns, metadata: bytes, aggregates: Aggregates | None = None) -> bytes:
    """Encode rows as a Parquet file with a checksum.

    Args:
        rows: rows of the file.
        metadata: JSON object to store in the schema.
        aggregates: aggregates of the rows to store in the schema too; None: none.
    """
    from framecache._index.lazy_arrow import write_parquet  # noqa: PLC0415 -- see there

    entries = {METADATA_KEY: metadata}
    if aggregates is not None:
        entries[AGGREGATES_KEY] = aggregates.to_json()
    fields = {name: frame_column(name) for name in rows}
    encodings = {name: _ENCODINGS[field] for name, field in fields.items() if field in _ENCODINGS}
    sink = io.BytesIO()
    write_parquet(
        arrow.to_table(rows, {}),
        sink,
        key_value_metadata={name.decode(): text.decode() for name, text in entries.items()},
        skip_arrow_metadata=True,  # it would hide those entries from readers of the schema
        max_row_group_size=_ROWS_PER_GROUP,
        compression="zstd(1)",
        column_dictionary_enabled={name: field in _DICTIONARIES for name, field in fields.items()},
        column_encoding=encodings,  # type: ignore[arg-type]  # its keys may also be tuples
    )
    return add_checksum(sink.getvalue())


def decode(body: bytes, *, key: str) -> RowSource:
    """Verify a stored file's checksum and schema, and return its rows, decoded on demand.

    Raises:
        CorruptFrame: the file is damaged, or not an index.
    """
    _verify_checksum(body, key=key)
    source = FileSource(body, key=key)
    _ = source.metadata
    return source


def decode_lazy(body: bytes, *, key: str) -> RowSource:
    """Verify a stored file's checksum and return its rows, to be opened when they are read.

    Files by earlier versions lack the aggregates, and are decoded to count their rows.

    Raises:
        CorruptFrame: the file is damaged. That it is not an index is only found when it is opened.
    """
    _verify_checksum(body, key=key)
    known = _aggregates_in_footer(body)
    if known is None:
        return decode(body, key=key)
    return UnopenedFileSource(body, key=key, aggregates=known)


def _verify_checksum(body: bytes, *, key: str) -> None:
    if difference := find_damage(body):
        raise _corrupt_error(key, difference)


@native_call
def _open_parquet(body: bytes) -> "RecordBatchReader":
    from framecache._index.lazy_arrow import read_parquet  # noqa: PLC0415 -- see there

    reader = read_parquet(body, batch_size=arrow.BATCH_ROWS)
    arrow.check_columns(reader.schema)
    return reader


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
    try:
        yield
    except Exception as error:  # the reader raises no narrower class
        raise _corrupt_error(key, f"it is not an index ({type(error).__name__})") from error
    except BaseException as error:
        # A panic of the reader, whose class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise _corrupt_error(key, "it is not an index (the reader failed)") from None


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
