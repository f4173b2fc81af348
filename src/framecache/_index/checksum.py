"""Checksum of a whole Parquet file.

Parquet's own checksums cover only the pages, not the footer that describes them. This checksum is
between the last page and the footer: 4 bytes, the little-endian CRC-32C of all other bytes::

    PAR1 pages | checksum | footer | length of the footer, 4 bytes | PAR1

Parquet readers find the footer from the end of the file, and the pages by the footer's offsets. All
pages come before the checksum, so readers treat it as an unused gap.
"""

from typing import Final

import google_crc32c

_MAGIC: Final = b"PAR1"
_CHECKSUM_BYTES: Final = 4
_TRAILER_BYTES: Final = 4 + len(_MAGIC)
_MIN_BYTES: Final = len(_MAGIC) + _CHECKSUM_BYTES + _TRAILER_BYTES


def add_checksum(file: bytes) -> bytes:
    """Return a Parquet file with the checksum inserted before its footer."""
    start = footer_start(file)
    pages, footer = file[:start], file[start:]
    return pages + _checksum(pages, footer) + footer


def footer_start(file: bytes) -> int:
    """Return the offset of a Parquet file's footer, which may be wrong if the file is damaged."""
    end = len(file) - _TRAILER_BYTES
    return end - int.from_bytes(file[end : end + 4], "little")


def find_damage(body: bytes) -> str:
    """Check a file with a checksum; return a description of the damage, or an empty string.

    A single flipped bit outside the footer's length is always detected. Other damage is missed in
    one of 2**32 cases.
    """
    if len(body) < _MIN_BYTES:
        return f"it has {len(body)} bytes"
    if not (body.startswith(_MAGIC) and body.endswith(_MAGIC)):
        return "it does not begin and end as a Parquet file does"
    start = footer_start(body)
    seal_start = start - _CHECKSUM_BYTES
    if seal_start < len(_MAGIC):
        return "its footer is longer than the file"
    if _checksum(body[:seal_start], body[start:]) != body[seal_start:start]:
        return "its CRC-32C differs"
    return ""


def _checksum(pages: bytes, footer: bytes) -> bytes:
    crc32c: int = google_crc32c.extend(google_crc32c.value(pages), footer)
    return crc32c.to_bytes(_CHECKSUM_BYTES, "little")
