"""Frames as rows of Arrow, the same in the formats ``parquet`` and ``lance``.

The columns ``image`` and, if there are overlays, ``overlays`` are as Hugging Face's ``datasets``
has its feature ``Image``: a struct of the bytes and a path. The schema's metadata name the
features, so ``datasets`` decodes the pictures.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from framecache._exchange.base import METADATA, ExchangedFrame, ExchangedOverlay, frame_from
from framecache._exchange.local_files import jpeg_name
from framecache.errors import InvalidValue

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE: Final = "image"
OVERLAYS: Final = "overlays"
_TYPES: Final = {int: "int64", float: "float64", str: "string"}
"""Name of the Arrow type of each type of metadata."""
_OVERLAY_NAMES: Final = ("job_id", "stage", "name")
_MAX_BATCH_BYTES: Final = 32 * 2**20
"""Bytes of pictures that are collected for one batch."""
_MAX_BATCH_ROWS: Final = 1000


def schema(*, with_overlays: bool) -> "pa.Schema":
    """Return the schema of the rows."""
    import pyarrow as pa  # noqa: PLC0415 -- optional

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields: list[Any] = [(IMAGE, image)]
    as_type: Any = pa.type_for_alias  # its stubs list every name
    fields += [(name, as_type(_TYPES[kind])) for name, kind in METADATA.items()]
    features: dict[str, Any] = {IMAGE: {"_type": "Image"}}
    features |= {name: _value(_TYPES[kind]) for name, kind in METADATA.items()}
    if with_overlays:
        names = [(name, pa.string()) for name in _OVERLAY_NAMES]
        fields.append((OVERLAYS, pa.list_(pa.struct([*names, (IMAGE, image)]))))
        named = {name: _value("string") for name in _OVERLAY_NAMES}
        features[OVERLAYS] = [named | {IMAGE: {"_type": "Image"}}]
    document = json.dumps({"info": {"features": features}})
    return pa.schema(fields).with_metadata({"huggingface": document})


def batches(
    frames: Iterable[ExchangedFrame], schema: "pa.Schema", *, max_bytes: int = _MAX_BATCH_BYTES
) -> "Iterator[pa.RecordBatch]":
    """Yield frames as batches of rows, each of about ``max_bytes`` of pictures at most."""
    import pyarrow as pa  # noqa: PLC0415 -- optional

    limit = min(max_bytes, _MAX_BATCH_BYTES)
    rows: list[dict[str, Any]] = []
    size_bytes = 0
    for frame in frames:
        rows.append(_row(frame))
        size_bytes += len(frame.jpeg) + sum(len(one.png) for one in frame.overlays)
        if size_bytes >= limit or len(rows) >= _MAX_BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows, size_bytes = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def frame_columns(schema: "pa.Schema", *, origin: str) -> list[str]:
    """Return the columns of a schema that :func:`frames_of` reads.

    Raises:
        InvalidValue: there is no column of pictures.
    """
    image = schema.field(IMAGE).type if IMAGE in schema.names else None
    if image is None or not _is_picture(image):
        raise InvalidValue(
            f"{origin} has no column {IMAGE!r} of pictures, as bytes or as the feature Image of "
            "Hugging Face: give one that has"
        )
    return [IMAGE, *(name for name in METADATA if name in schema.names)]


def frames_of(batch: "pa.RecordBatch", *, first_row: int, origin: str) -> Iterator[ExchangedFrame]:
    """Yield the frames of a batch, whose first row has a number in ``origin``."""
    for number, row in enumerate(batch.to_pylist(), start=first_row):
        place = f"row {number} of {origin}"
        yield frame_from(row, _bytes(row[IMAGE], place), origin=place)


def overlays_of(
    batch: "pa.RecordBatch", *, first_row: int, origin: str
) -> Iterator[ExchangedOverlay]:
    """Yield the overlays of a batch with the columns ``sequence`` and ``overlays``."""
    for number, row in enumerate(batch.to_pylist(), start=first_row):
        place = f"row {number} of {origin}"
        for one in row[OVERLAYS] or ():
            try:
                names = {name: one[name] for name in _OVERLAY_NAMES}
                png = _bytes(one[IMAGE], f"an overlay in {place}")
            except (KeyError, TypeError) as error:
                raise InvalidValue(
                    f"{place} has overlays without {error}: export it again"
                ) from error
            yield ExchangedOverlay(sequence=row.get("sequence"), png=png, **names)


def overlay_columns(schema: "pa.Schema") -> list[str]:
    """Return the columns that :func:`overlays_of` reads; empty if there are no overlays."""
    return ["sequence", OVERLAYS] if {"sequence", OVERLAYS} <= set(schema.names) else []


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


def _row(frame: ExchangedFrame) -> dict[str, Any]:
    assert frame.sequence is not None  # it is exported
    overlays = [
        {name: getattr(one, name) for name in _OVERLAY_NAMES}
        | {IMAGE: {"bytes": one.png, "path": None}}
        for one in frame.overlays
    ]
    image = {"bytes": frame.jpeg, "path": jpeg_name(frame.sequence)}
    return {IMAGE: image, **frame.metadata, OVERLAYS: overlays}


def _is_picture(kind: "pa.DataType") -> bool:
    import pyarrow as pa  # noqa: PLC0415 -- optional

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes(value: object, place: str) -> bytes:
    """Return the bytes of a picture, which may be in a struct."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise InvalidValue(
            f"{place} has no bytes of a picture: store the pictures in the rows, not their paths"
        )
    return data
