"""Comparison of stored frames with their rows in the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Semaphore
from typing import Final

import google_crc32c

from framecache._index import FrameRow
from framecache._maintain.verify.report import FindingKind
from framecache._media import jpeg
from framecache._read.frame_source import read_stored_jpeg
from framecache.store import BlobMissing, BlobOutsideRoot, Store

LINK_OUTSIDE_ROOT: Final = "a link in its path leads out of the store: remove the link"

_MAX_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of comparing one frame."""

    row: FrameRow
    kind: FindingKind
    detail: str
    """Description of the fault; empty when the frame is ok."""
    bytes_read: int


PictureCheck = Callable[[FrameRow, bytes], str]
"""Function that returns what is wrong with a picture whose bytes are right; empty if nothing."""


def compare_frame(store: Store, check: PictureCheck, row: FrameRow) -> CheckResult:
    """Fetch a frame and compare it; twice if it differs, as the transfer may have failed."""
    if row.status == "undecodable":
        return CheckResult(row, "undecodable", row.reason, 0)
    if row.is_decoded_on_demand:
        return CheckResult(row, "ok", "", 0)  # nothing is stored
    kind: FindingKind = "ok"
    detail, bytes_read = "", 0
    for _ in range(_MAX_ATTEMPTS):
        try:
            data = read_stored_jpeg(store, row)
        except BlobMissing:
            kind, detail = "missing", "it is missing"
            continue
        except BlobOutsideRoot:
            return CheckResult(row, "corrupt", LINK_OUTSIDE_ROOT, bytes_read)
        bytes_read += len(data)
        kind, detail = _compare_bytes(row, data)
        if kind == "ok":
            return _check_picture(check, row, data, bytes_read=bytes_read)
    return CheckResult(row, kind, detail, bytes_read)


def compare_range(store: Store, check: PictureCheck, rows: Sequence[FrameRow]) -> list[CheckResult]:
    """Compare frames that one range of a pack holds; one that differs is fetched again alone."""
    if len(rows) == 1:
        return [compare_frame(store, check, rows[0])]
    start, end = rows[0].offset, rows[-1].offset + rows[-1].size
    try:
        data = store.get_range(rows[0].key, start=start, length=end - start)
    except (BlobMissing, BlobOutsideRoot):
        data = b""  # each frame is then fetched alone, which determines the reason
    pieces = [data[row.offset - start : row.offset - start + row.size] for row in rows]
    return [
        _check_picture(check, row, piece, bytes_read=len(piece))
        if is_committed(row, piece)
        else compare_frame(store, check, row)
        for row, piece in zip(rows, pieces, strict=True)
    ]


def compare_unindexed(store: Store, check: PictureCheck, row: FrameRow) -> CheckResult:
    """Fetch a frame that another program stored, whose length and CRC are not known."""
    try:
        data = store.get(row.key)
    except BlobMissing:
        return CheckResult(row, "missing", "it was removed after it was listed", 0)
    return _check_picture(check, row, data, bytes_read=len(data))


def accept_undecoded(_row: FrameRow, _data: bytes) -> str:
    """Accept the bytes without decoding them: the `PictureCheck` of a quick verification."""
    return ""


def make_decode_check(max_concurrent: int) -> PictureCheck:
    """Return a `PictureCheck` that decodes JPEGs, at most ``max_concurrent`` at once."""
    limit = Semaphore(max_concurrent)

    def look(row: FrameRow, data: bytes) -> str:
        try:
            with limit:
                height, width = jpeg.decode(data, color="gray").shape
        except jpeg.InvalidJpeg as error:
            return f"it is not a JPEG that can be decoded: {error}"
        if row.width and (width, height) != (row.width, row.height):
            return f"its picture is {width}×{height}; the index says {row.width}×{row.height}"
        return ""

    return look


def is_committed(row: FrameRow, data: bytes) -> bool:
    """Return True if the bytes are those that a row commits."""
    return _compare_bytes(row, data)[0] == "ok"


def _check_picture(
    check: PictureCheck, row: FrameRow, data: bytes, *, bytes_read: int
) -> CheckResult:
    fault = check(row, data)
    return CheckResult(row, "corrupt" if fault else "ok", fault, bytes_read)


def _compare_bytes(row: FrameRow, data: bytes) -> tuple[FindingKind, str]:
    if len(data) != row.size:
        kind: FindingKind = "truncated" if len(data) < row.size else "corrupt"
        return kind, f"it has {len(data)} bytes instead of {row.size}"
    if google_crc32c.value(data) != row.crc32c:
        return "corrupt", "its CRC-32C differs"
    return "ok", ""
