"""Format ``lance``: a Lance dataset, with random access to frames."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from framecache._core.optional_imports import import_optional
from framecache._exchange import arrow_rows
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
)
from framecache.errors import InvalidValue, MissingPackage
from framecache.model import FolderFormat

if TYPE_CHECKING:
    import pyarrow as pa

LOWEST_VERSION: Final = (14, 0)
"""Lowest version of pylance that the tests cover; the same as in ``pyproject.toml``."""
_VERSIONS: Final = "_versions"
"""Folder that every Lance dataset has."""
_ROWS_AT_ONCE: Final = 64
_BUFFER_BYTES: Final = 64 * 2**20
"""Bytes that Lance reads ahead."""


class Lance(ExchangeFormat):
    """Format ``lance``."""

    name: ClassVar[FolderFormat] = "lance"

    def require_packages(self) -> None:
        """See `ExchangeFormat`."""
        _lance()

    def write(self, folder: Path, frames: Iterator[ExchangedFrame], plan: ExportPlan) -> None:
        """See `ExchangeFormat`."""
        import pyarrow as pa  # noqa: PLC0415 -- optional

        schema = arrow_rows.schema(with_overlays=plan.with_overlays)
        rows = _Batches(arrow_rows.batches(frames, schema))
        reader = pa.RecordBatchReader.from_batches(schema, rows)
        try:
            _lance().write_dataset(reader, str(folder), mode="create")
        except OSError:
            # Lance reports an error of the frames as text.
            if rows.failure is not None:
                raise rows.failure from None
            raise

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return (folder / _VERSIONS).is_dir()

    def open(self, folder: Path) -> "LanceFolder":
        """See `ExchangeFormat`."""
        return LanceFolder(folder)


class LanceFolder:
    """Folder of the format ``lance``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder
        with _errors(folder):
            self._dataset = _lance().dataset(str(folder))
            self._count = int(self._dataset.count_rows())

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        origin = str(self._path)
        columns = arrow_rows.frame_columns(self._dataset.schema, origin=origin)
        for first_row, batch in self._batches(columns):
            yield from arrow_rows.frames_of(batch, first_row=first_row, origin=origin)

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        columns = arrow_rows.overlay_columns(self._dataset.schema)
        for first_row, batch in self._batches(columns) if columns else ():
            yield from arrow_rows.overlays_of(batch, first_row=first_row, origin=str(self._path))

    def _batches(self, columns: list[str]) -> "Iterator[tuple[int, pa.RecordBatch]]":
        first_row = 0
        with _errors(self._path):
            for batch in self._dataset.to_batches(
                columns=columns,
                batch_size=_ROWS_AT_ONCE,
                batch_readahead=2,
                fragment_readahead=1,
                io_buffer_size=_BUFFER_BYTES,
                scan_in_order=True,
            ):
                yield first_row, batch
                first_row += batch.num_rows


class _Batches:
    """Iterator of batches that remembers the error with which it ended."""

    def __init__(self, batches: "Iterator[pa.RecordBatch]") -> None:
        self._batches = batches
        self.failure: BaseException | None = None

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return self

    def __next__(self) -> "pa.RecordBatch":
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise


def _lance() -> Any:  # noqa: ANN401 -- Lance is optional
    """Import Lance.

    Raises:
        MissingPackage: it is not installed, or older than `LOWEST_VERSION`.
    """
    needed = f"the format lance needs pylance {'.'.join(map(str, LOWEST_VERSION))} or newer"
    try:
        lance = import_optional("lance", package="pylance", needed_by="the format lance")
    except MissingPackage as error:
        raise MissingPackage(f"{needed}: pip install 'framecache[lance]'") from error
    installed = str(lance.__version__)
    found = re.match(r"(\d+)\.(\d+)", installed)
    if found is None or tuple(map(int, found.groups())) < LOWEST_VERSION:
        raise MissingPackage(
            f"{needed}, but {installed} is installed: pip install --upgrade 'framecache[lance]'"
        )
    return lance


@contextmanager
def _errors(folder: Path) -> Iterator[None]:
    """Convert the errors of Lance, which have Python's own types."""
    try:
        yield
    except InvalidValue:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition(", ")[0][:200]
        raise InvalidValue(f"{folder} is not a complete Lance dataset: {reason}") from error
