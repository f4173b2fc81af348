"""Orientation that the Exif metadata of a JPEG states. Pure: no I/O."""

import struct
from collections.abc import Iterator
from typing import Final

UPRIGHT: Final = 1
"""Orientation of a picture that is shown as its pixels are stored."""

_SOI: Final = 0xD8
_SOS: Final = 0xDA
_APP1: Final = 0xE1
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment."""
_EXIF: Final = b"Exif\0\0"
_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}
_TAG: Final = 0x0112
_ENTRY_BYTES: Final = 12
_ORIENTATIONS: Final = range(1, 9)


def read_orientation(data: bytes) -> int:
    """Return the orientation of a JPEG, 1 to 8; :data:`UPRIGHT` if none is stated or it is invalid.

    The numbers are those of Exif: 3 is turned by 180°, 6 by 90° clockwise, 8 by 270°, and the
    others are mirrored.
    """
    for marker, body in _segments(data):
        if marker == _APP1 and body.startswith(_EXIF):
            found = _orientation_in(body[len(_EXIF) :])
            return found if found in _ORIENTATIONS else UPRIGHT
    return UPRIGHT


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the body of each segment before the picture's data."""
    at = 0
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 -- begins every marker
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 -- padding
            at += 1
        elif marker == _SOI or marker in _STANDALONE:
            at += 2
        elif marker == _SOS:
            return
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            yield marker, data[at + 4 : at + 2 + length]
            at += 2 + length


def _orientation_in(tiff: bytes) -> int:
    """Return the orientation in the first directory of Exif's TIFF; 0 if there is none."""
    order = _BYTE_ORDERS.get(tiff[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(count):
            entry = directory + 2 + number * _ENTRY_BYTES
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _TAG:
                return int(value)
    except struct.error:
        return 0
    return 0
