"""Format ``parquet``: Parquet files that Hugging Face's ``datasets`` loads with decoded images."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from framecache._core.optional_imports import require_extra
from framecache._exchange import arrow_rows
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
)
from framecache._exchange.local_files import readable
from framecache.errors import InvalidValue
from framecache.model import FolderFormat

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_FILES: Final = "*.parquet"
_ROWS_AT_ONCE: Final = 64
_BUFFER_BYTES: Final = 2**20
"""Bytes of a column that are read at once; 0 would read each column of a row group as a whole."""


class Parquet(ExchangeFormat):
    """Format ``parquet``."""

    name: ClassVar[FolderFormat] = "parquet"
    has_shards: ClassVar[bool] = True

    def require_packages(self) -> None:
        """See `ExchangeFormat`."""
        require_extra("arrow", needed_by="the format parquet")

    def write(self, folder: Path, frames: Iterator[ExchangedFrame], plan: ExportPlan) -> None:
        """See `ExchangeFormat`."""
        schema = arrow_rows.schema(with_overlays=plan.with_overlays)
        rows = arrow_rows.batches(frames, schema, max_bytes=plan.shard_bytes)
        number, batch = 0, next(rows, None)
        while batch is not None:
            path = folder / f"frames-{number:05d}.parquet"
            with _writer(path, schema) as writer:
                size_bytes = 0
                while batch is not None and size_bytes < plan.shard_bytes:
                    writer.write_batch(batch)
                    size_bytes += batch.nbytes
                    batch = next(rows, None)
            number += 1

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return any(folder.glob(_FILES))

    def open(self, folder: Path) -> "ParquetFolder":
        """See `ExchangeFormat`."""
        return ParquetFolder(folder)


class ParquetFolder:
    """Folder of the format ``parquet``."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob(_FILES))
        if not self._paths:
            raise InvalidValue(f"{folder} has no Parquet file: give a folder that has")
        self._count = 0
        for path in self._paths:
            with _open(path) as file:
                self._count += file.metadata.num_rows

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        for path in self._paths:
            with _open(path) as file:
                columns = arrow_rows.frame_columns(file.schema_arrow, origin=str(path))
                for first_row, batch in _batches(file, columns):
                    yield from arrow_rows.frames_of(batch, first_row=first_row, origin=str(path))

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        for path in self._paths:
            with _open(path) as file:
                columns = arrow_rows.overlay_columns(file.schema_arrow)
                for first_row, batch in _batches(file, columns) if columns else ():
                    yield from arrow_rows.overlays_of(batch, first_row=first_row, origin=str(path))


def _writer(path: Path, schema: "pa.Schema") -> "pq.ParquetWriter":
    import pyarrow.parquet as pq  # noqa: PLC0415 -- optional

    numbers = [name for name in schema.names if name not in (arrow_rows.IMAGE, arrow_rows.OVERLAYS)]
    # JPEGs and PNGs are compressed already, and statistics and dictionaries would copy them.
    return pq.ParquetWriter(
        path, schema, compression="none", use_dictionary=False, write_statistics=numbers
    )


def _batches(file: "pq.ParquetFile", columns: list[str]) -> "Iterator[tuple[int, pa.RecordBatch]]":
    first_row = 0
    # Over several row groups, pyarrow keeps the memory of those that were read.
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns):
            yield first_row, batch
            first_row += batch.num_rows


@contextmanager
def _open(path: Path) -> "Iterator[pq.ParquetFile]":
    import pyarrow as pa  # noqa: PLC0415 -- optional
    import pyarrow.parquet as pq  # noqa: PLC0415 -- same

    try:
        with readable(path), pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            yield file
    except (pa.ArrowException, StopIteration) as error:
        raise InvalidValue(f"{path} is not a complete Parquet file: {error}") from error
