"""Change the times in an MPEG-TS byte by byte (ISO/IEC 13818-1, 2.4.3)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

PACKET_BYTES: Final = 188
VIDEO_PID: Final = 0x100
"""PID of the first stream that ffmpeg writes."""

TICKS: Final = 90_000
"""PTS in a second."""


def with_times(data: bytes, change: Callable[[int, int], int]) -> bytes:
    """Replace the PTS of each picture by ``change(place, pts)``. Streams have no DTS.

    ``place`` is the picture's, in order of decoding.
    """
    changed = bytearray(data)
    for place, begin in enumerate(_stamps(data)):
        pts = change(place, _read(data[begin : begin + 5]))
        changed[begin : begin + 5] = _write(pts)
    return bytes(changed)


def with_replaced_times(data: bytes, times: Mapping[int, Callable[[int], int]]) -> bytes:
    """Replace the PTS of single pictures, by their places."""
    return with_times(data, lambda place, pts: times.get(place, int)(pts))


def _stamps(data: bytes) -> Iterator[int]:
    """Yield the offsets of the PTS of all pictures."""
    for begin in range(0, len(data), PACKET_BYTES):
        packet = data[begin : begin + PACKET_BYTES]
        begins_picture = packet[1] & 0x40
        if begins_picture and _pid(packet) == VIDEO_PID:
            has_adaptation_field = packet[3] & 0x20
            pes = begin + 4 + (packet[4] + 1 if has_adaptation_field else 0)
            assert data[pes : pes + 3] == b"\0\0\1"
            assert data[pes + 7] & 0xC0 == 0x80, "a PTS alone"
            yield pes + 9


def _pid(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def _read(stamp: bytes) -> int:
    high, middle, low = stamp[0] >> 1 & 7, stamp[1:3], stamp[3:5]
    return high << 30 | int.from_bytes(middle) >> 1 << 15 | int.from_bytes(low) >> 1


def _write(pts: int) -> bytes:
    pts %= 1 << 33
    high, middle, low = pts >> 30, pts >> 15 & 0x7FFF, pts & 0x7FFF
    return bytes([0x21 | high << 1]) + (middle << 1 | 1).to_bytes(2) + (low << 1 | 1).to_bytes(2)
