"""Fingerprint of a stored sheet: the frames that it shows, and a checksum.

It is stored in a JPEG comment before the picture, which every decoder skips.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import google_crc32c

from framecache._index import FrameRow

_START: Final = b"\xff\xd8"
_COMMENT: Final = b"\xff\xfe"
_NAME: Final = b"framecache sprites 1 "


def compute_fingerprint(rows: Iterable[FrameRow], tile: tuple[int, int], columns: int) -> str:
    """Return a hash of the frames of a sheet: their sequences, statuses, lengths and CRCs."""
    digest = hashlib.sha256(f"{tile} {columns}".encode())
    for row in rows:
        digest.update(f"\n{row.sequence} {row.status} {row.size} {row.crc32c}".encode())
    return digest.hexdigest()[:32]


def add_fingerprint(jpeg: bytes, fingerprint: str) -> bytes:
    """Return a JPEG with the fingerprint of what it shows."""
    return _encode_header(jpeg[len(_START) :], fingerprint) + jpeg[len(_START) :]


def has_fingerprint(jpeg: bytes, fingerprint: str) -> bool:
    """Return True if a stored sheet is intact and shows the frames of a fingerprint."""
    length = len(_encode_header(b"", fingerprint))
    return jpeg[:length] == _encode_header(jpeg[length:], fingerprint)


def _encode_header(picture: bytes, fingerprint: str) -> bytes:
    text = _NAME + f"{fingerprint} {google_crc32c.value(picture):08x}".encode()
    return _START + _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
