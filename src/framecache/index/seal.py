"""A Parquet file in which no byte can change unnoticed.

Parquet's own checksums cover its pages, and not the footer that says what the pages mean. So four
bytes stand between the last page and the footer: the CRC-32C, little endian, of all other bytes::

    PAR1 pages | seal | footer | length of the footer, 4 bytes | PAR1

Parquet readers go from the end to the footer, and by its offsets to the pages, all of which come
before the seal: to them it is an unused gap.
"""

from typing import Final

import google_crc32c

_MAGIC: Final = b"PAR1"
_SEAL_BYTES: Final = 4
_END_BYTES: Final = 4 + len(_MAGIC)
_LEAST_BYTES: Final = len(_MAGIC) + _SEAL_BYTES + _END_BYTES


def sealed(file: bytes) -> bytes:
    """A Parquet file with a seal before its footer."""
    start = _footer_start(file)
    pages, footer = file[:start], file[start:]
    return pages + _seal(pages, footer) + footer


def damage(body: bytes) -> str:
    """What shows that a sealed file is not as it was written; empty when it is.

    One flipped bit outside the footer's length always shows. Of other damage, one in 2**32 cases
    does not.
    """
    if len(body) < _LEAST_BYTES:
        return f"it has {len(body)} bytes"
    if not (body.startswith(_MAGIC) and body.endswith(_MAGIC)):
        return "it does not begin and end as a Parquet file does"
    start = _footer_start(body)
    seal_start = start - _SEAL_BYTES
    if seal_start < len(_MAGIC):
        return "its footer is longer than the file"
    if _seal(body[:seal_start], body[start:]) != body[seal_start:start]:
        return "its CRC-32C differs"
    return ""


def _footer_start(file: bytes) -> int:
    end = len(file) - _END_BYTES
    return end - int.from_bytes(file[end : end + 4], "little")


def _seal(pages: bytes, footer: bytes) -> bytes:
    crc32c: int = google_crc32c.extend(google_crc32c.value(pages), footer)
    return crc32c.to_bytes(_SEAL_BYTES, "little")
