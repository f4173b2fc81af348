"""A table of very many frames, made without a video and without a loop over frames."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from framecache._index import Index
from framecache._index.parquet import add_checksum

FRAMES_A_CHUNK = 1500
FRAMES_A_SECOND = 25
LACKING = 9_973
"""Interval of the frames without a picture."""


def key_of(sequence: int, *, layout: str) -> str:
    if layout == "objects":
        return f"cache/timelines/long/frames/{sequence}.jpg"
    return f"cache/timelines/long/packs/000000-5ca1ab1e/{sequence // FRAMES_A_CHUNK:06d}-0.tar"


def hash_of(sequence: int) -> str:
    return f"{sequence * 0x9E3779B97F4A7C15 % 2**64:016x}"


def size_of(sequence: int) -> int:
    return 40_000 + sequence * 7919 % 60_000


def is_ok(sequence: int) -> bool:
    return sequence % LACKING != LACKING - 1


def long_index(frame_count: int, *, layout: str) -> Index:
    """Frames 0, 1, … of a timeline at 25 frames a second; layout ``objects`` or ``packs``."""
    sequence = np.arange(frame_count)
    lacks = sequence % LACKING == LACKING - 1
    hashes = (sequence.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(">u8")
    columns: dict[str, Any] = {
        "sequence": sequence,
        "chunk_id": sequence // FRAMES_A_CHUNK,
        "pts": sequence % FRAMES_A_CHUNK * 512,
        "timestamp": sequence / FRAMES_A_SECOND,
        "duration": np.full(frame_count, 1 / FRAMES_A_SECOND),
        "width": np.full(frame_count, 1280),
        "height": np.full(frame_count, 720),
        "key": _keys(sequence, layout),
        "offset": sequence % FRAMES_A_CHUNK * (0 if layout == "objects" else 102_400),
        "size": 40_000 + sequence * 7919 % 60_000,
        "crc32c": sequence * 2_654_435_761 % 2**32,
        "perceptual_hash": _hexadecimal(hashes),
        "status": np.full(frame_count, "ok"),
        "reason": np.full(frame_count, ""),
        "quality": np.zeros(frame_count, np.int32),
        "picture_since": np.full(frame_count, ""),
    }
    absent: dict[str, Any] = {
        "key": "",
        "size": 0,
        "crc32c": 0,
        "perceptual_hash": "",
        "status": "undecodable",
        "reason": "the decoder gave no picture",
    }
    arrays = {name: pa.array(values) for name, values in columns.items()}
    for name, value in absent.items():
        arrays[name] = pc.if_else(pa.array(lacks), pa.scalar(value), arrays[name])
    table = pa.table(arrays).cast(Index.empty().to_arrow().schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return Index.decode(add_checksum(sink.getvalue()), key="k")


def _keys(sequence: np.ndarray, layout: str) -> Any:  # noqa: ANN401 -- an array
    if layout == "objects":
        parts: Any = ("cache/timelines/long/frames/", pa.array(sequence).cast("string"), ".jpg", "")
        return pc.binary_join_element_wise(*parts)
    chunks = range(int(sequence[-1]) // FRAMES_A_CHUNK + 1)
    packs = [key_of(chunk * FRAMES_A_CHUNK, layout=layout) for chunk in chunks]
    return pa.array(packs).take(pa.array(sequence // FRAMES_A_CHUNK))


def _hexadecimal(values: np.ndarray) -> Any:  # noqa: ANN401 -- an array
    digits = values.tobytes().hex().encode()
    bounds = np.arange(len(values) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(
        len(values), pa.py_buffer(bounds.tobytes()), pa.py_buffer(digits)
    )
