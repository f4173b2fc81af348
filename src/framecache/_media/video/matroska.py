"""Matroska metadata that FFmpeg does not expose. Nothing is decoded."""

import os
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, Protocol

_EBML: Final = bytes.fromhex("1a45dfa3")
_SEGMENT: Final = bytes.fromhex("18538067")
_ID_BYTES: Final = 4
_DURATION: Final = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)")
"""Format of a track's ``DURATION`` tag, as mkvmerge and FFmpeg write it."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


def is_cut_short(file: _Readable) -> bool:
    """Return True if a Matroska file ends before its segment; False if the end is not stated.

    The position in the file is restored. Elements are those of RFC 8794, section 11, and RFC 9559,
    section 5.
    """
    position = file.tell()
    try:
        size_bytes = file.seek(0, os.SEEK_END)
        end = _segment_end(file)
    finally:
        file.seek(position)
    return end is not None and end > size_bytes


def parse_duration(tags: Mapping[str, str]) -> Fraction | None:
    """Return the duration in seconds from time 0 that a track's tags state; None if they do not."""
    match = _DURATION.fullmatch(tags.get("DURATION", ""))
    if match is None:
        return None
    return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3])


def _segment_end(file: _Readable) -> int | None:
    at = 0
    for element in (_EBML, _SEGMENT):
        file.seek(at)
        head = bytes(file.read(_ID_BYTES + 8) or b"")
        if not head.startswith(element):
            return None
        size, length = _read_vint(head[_ID_BYTES:])
        if size is None:
            return None
        at += _ID_BYTES + length + size
    return at


def _read_vint(data: bytes) -> tuple[int | None, int]:
    """Return a variable-size integer, or None for "unknown", and its length in bytes."""
    if not data or not data[0]:
        return None, 0
    length = 9 - data[0].bit_length()
    value = int.from_bytes(data[:length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), length
