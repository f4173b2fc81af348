"""Columns of a dataset of frames: their names, types and values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from ray.data.block import BlockAccessor

from framecache._core.numeric import format_value
from framecache._index import FrameRow, Index
from framecache._read import DecodeOptions
from framecache.errors import InvalidValue
from framecache.model import Image

INDEX_TYPES: Final[Mapping[str, "pa.DataType"]] = {
    "timeline_id": pa.string(),
    "sequence": pa.int64(),
    "chunk_id": pa.int64(),
    "timestamp": pa.float64(),
    "duration": pa.float64(),
    "perceptual_hash": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
}
"""Columns that are in the index; reading them takes no request."""

COLUMNS: Final = (*INDEX_TYPES, "jpeg", "image")
DEFAULT_COLUMNS: Final = (
    *("timeline_id", "sequence", "chunk_id", "timestamp", "perceptual_hash", "image"),
)
KNOWN_ONCE_DECODED: Final = frozenset({"perceptual_hash", "width", "height"})
"""Columns whose values are certain only once a frame that is not stored is decoded.

The index has no hash of such a frame, and the size of pictures at the beginning of the video.
"""
INDEX_SCHEMA: Final = pa.schema(INDEX_TYPES.items())

_VALUE_BYTES: Final = 16
"""About what a number or a short text takes."""


def require_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the names of columns, each once.

    Raises:
        InvalidValue: there is none, or one is not a column of frames.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        given = format_value(unknown[0]) if unknown else "none"
        raise InvalidValue(
            f"columns must be names among {', '.join(COLUMNS)}, but {given} was given"
        )
    return tuple(dict.fromkeys(names))


def index_table(timeline_id: str, index: Index, positions: Any) -> "pa.Table":  # noqa: ANN401 -- an array
    """Return some rows of an index as a table with the columns of `INDEX_TYPES`."""
    values = {
        name: pa.array(getattr(index, name)[positions], of)
        for name, of in INDEX_TYPES.items()
        if name != "timeline_id"
    }
    ids = pa.repeat(pa.scalar(timeline_id), len(positions))
    return pa.table({"timeline_id": ids, **values}, schema=INDEX_SCHEMA)


def to_block(
    columns: Sequence[str],
    timeline_id: str,
    rows: Sequence[FrameRow],
    *,
    jpegs: Sequence[bytes] = (),
    images: Image | None = None,
) -> "pa.Table":
    """Return frames of one timeline as a block of Ray Data.

    Args:
        columns: columns of the block.
        timeline_id: id of the timeline.
        rows: rows of the frames.
        jpegs: stored bytes of the frames, if the block has a column ``jpeg``.
        images: images of the frames, ``(N, H, W, 3)`` or ``(N, H, W)``, if it has a column
            ``image``.
    """
    table = {}
    for name in columns:
        if name == "image":
            table[name] = BlockAccessor.batch_to_arrow_block({name: images})[name]
        elif name == "jpeg":
            table[name] = pa.array(jpegs, pa.binary())
        elif name == "timeline_id":
            table[name] = pa.repeat(pa.scalar(timeline_id), len(rows))
        else:
            table[name] = pa.array([getattr(row, name) for row in rows], INDEX_TYPES[name])
    return pa.table(table)


def schema_of(columns: Sequence[str], shapes: Iterable[tuple[int, ...]]) -> "pa.Schema | None":
    """Return the types of columns, for images of these shapes; None if a shape is not known."""
    wanted = {*shapes} if "image" in columns else set()
    if not all(all(shape) for shape in wanted):
        return None
    fields = []
    for name in columns:
        if name == "image":
            images = [np.zeros(shape, np.uint8) for shape in sorted(wanted)]
            column = images[0][None] if len(images) == 1 else _objects(images)
            of = BlockAccessor.batch_to_arrow_block({name: column}).schema.field(name).type
        else:
            of = pa.binary() if name == "jpeg" else INDEX_TYPES[name]
        fields.append(pa.field(name, of))
    return pa.schema(fields)


def row_bytes(columns: Sequence[str], decoding: DecodeOptions, row: FrameRow) -> int:
    """Return the bytes that a frame takes in a block."""
    others = _VALUE_BYTES * len(columns)
    # The size of a JPEG that is yet to be encoded is not known.
    stored = row.width * row.height // 4 if row.is_decoded_on_demand else row.size
    jpeg = stored if "jpeg" in columns else 0
    image = math.prod(decoding.shape(row)) if "image" in columns else 0
    return others + jpeg + image


def _objects(items: Sequence[Any]) -> "np.ndarray[Any, Any]":
    """Return an array of objects; `np.array` would try to join them."""
    array = np.empty(len(items), object)
    array[:] = items
    return array
