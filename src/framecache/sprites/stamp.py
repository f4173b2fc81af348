"""What a stored sheet says of itself: which frames it shows, and that it is undamaged.

It stands in a JPEG comment before the picture, which every decoder passes over.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import google_crc32c

from framecache.index import FrameRow

_START: Final = b"\xff\xd8"
_COMMENT: Final = b"\xff\xfe"
_NAME: Final = b"framecache sprites 1 "


def fingerprint(rows: Iterable[FrameRow], tile: tuple[int, int], columns: int) -> str:
    """What tells the frames of a sheet from all others: their numbers, lengths and CRCs."""
    digest = hashlib.sha256(f"{tile} {columns}".encode())
    for row in rows:
        digest.update(f"\n{row.sequence} {row.status} {row.size} {row.crc32c}".encode())
    return digest.hexdigest()[:32]


def stamped(jpeg: bytes, shows: str) -> bytes:
    """A JPEG that says what it shows."""
    return _stamp(jpeg[len(_START) :], shows) + jpeg[len(_START) :]


def is_stamped(jpeg: bytes, shows: str) -> bool:
    """Whether a stored sheet shows certain frames, and is as it was stored."""
    length = len(_stamp(b"", shows))
    return jpeg[:length] == _stamp(jpeg[length:], shows)


def _stamp(picture: bytes, shows: str) -> bytes:
    text = _NAME + f"{shows} {google_crc32c.value(picture):08x}".encode()
    return _START + _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
