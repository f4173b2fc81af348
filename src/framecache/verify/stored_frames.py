"""Stored frames, each compared with its row in the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Semaphore
from typing import Final

import google_crc32c

from framecache import jpeg
from framecache.index import FrameRow, stored_jpeg
from framecache.store import BlobMissing, BlobOutside, Store
from framecache.verify.report import Kind

OUTSIDE: Final = "a link on its way leads out of the store: remove the link"

_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing one frame."""

    row: FrameRow
    kind: Kind
    detail: str
    """What was met; empty when it is ok."""
    bytes_read: int


Look = Callable[[FrameRow, bytes], str]
"""What is wrong with the picture of a frame whose bytes are right; empty when nothing is."""


def compare(store: Store, look: Look, row: FrameRow) -> Verdict:
    """Fetch a frame and compare it; twice when it differs, for it may be damaged on the way."""
    if row.status == "undecodable":
        return Verdict(row, "undecodable", row.reason, 0)
    kind: Kind = "ok"
    detail, bytes_read = "", 0
    for _ in range(_ATTEMPTS):
        try:
            data = stored_jpeg(store, row)
        except BlobMissing:
            kind, detail = "missing", "it is gone"
            continue
        except BlobOutside:
            return Verdict(row, "corrupt", OUTSIDE, bytes_read)
        bytes_read += len(data)
        kind, detail = _difference(row, data)
        if kind == "ok":
            return _looked_at(look, row, data, bytes_read=bytes_read)
    return Verdict(row, kind, detail, bytes_read)


def compare_range(store: Store, look: Look, rows: Sequence[FrameRow]) -> list[Verdict]:
    """Compare frames that one range of a pack holds; each that differs is looked at alone."""
    if len(rows) == 1:
        return [compare(store, look, rows[0])]
    start, end = rows[0].offset, rows[-1].offset + rows[-1].size
    try:
        data = store.get_range(rows[0].key, start=start, length=end - start)
    except (BlobMissing, BlobOutside):
        data = b""  # each frame finds out what that means
    pieces = [data[row.offset - start : row.offset - start + row.size] for row in rows]
    return [
        _looked_at(look, row, piece, bytes_read=len(piece))
        if is_committed(row, piece)
        else compare(store, look, row)
        for row, piece in zip(rows, pieces, strict=True)
    ]


def compare_listed(store: Store, look: Look, row: FrameRow) -> Verdict:
    """Fetch a frame another program stored, of which nobody knows length or CRC."""
    try:
        data = store.get(row.key)
    except BlobMissing:
        return Verdict(row, "missing", "it went since it was listed", 0)
    return _looked_at(look, row, data, bytes_read=len(data))


def trust(_row: FrameRow, _data: bytes) -> str:
    """A `Look` that takes bytes for the picture they were committed as."""
    return ""


def decoding(pictures: int) -> Look:
    """A `Look` that decodes each JPEG; at most ``pictures`` at once, which take memory."""
    limit = Semaphore(pictures)

    def look(row: FrameRow, data: bytes) -> str:
        try:
            with limit:
                height, width = jpeg.decode(data, color="gray").shape
        except jpeg.BadJpeg as error:
            return f"it is not a JPEG that can be decoded: {error}"
        if row.width and (width, height) != (row.width, row.height):
            return f"its picture is {width}×{height}; the index says {row.width}×{row.height}"
        return ""

    return look


def is_committed(row: FrameRow, data: bytes) -> bool:
    """Whether bytes are those of a row."""
    return _difference(row, data)[0] == "ok"


def _looked_at(look: Look, row: FrameRow, data: bytes, *, bytes_read: int) -> Verdict:
    fault = look(row, data)
    return Verdict(row, "corrupt" if fault else "ok", fault, bytes_read)


def _difference(row: FrameRow, data: bytes) -> tuple[Kind, str]:
    if len(data) != row.size:
        kind: Kind = "truncated" if len(data) < row.size else "corrupt"
        return kind, f"it has {len(data)} bytes instead of {row.size}"
    if google_crc32c.value(data) != row.crc32c:
        return "corrupt", "its CRC-32C differs"
    return "ok", ""
