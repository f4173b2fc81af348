"""VP9 packets with several pictures (VP9 bitstream specification, annex B). Does no I/O."""

from typing import Final

_MARKER: Final = 0b110
_PROFILE_3: Final = 3


def count_shown_pictures(packet: bytes) -> int:
    """Return the number of shown pictures in a VP9 packet; 1 if its bytes cannot be parsed."""
    try:
        return sum(_is_shown(head) for head in _frame_headers(packet))
    except IndexError:
        return 1


def _frame_headers(packet: bytes) -> list[bytes]:
    marker = packet[-1]
    count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index_bytes = 2 + count * size_bytes
    if marker >> 5 != _MARKER or packet[-index_bytes] != marker:
        return [packet[:1]]
    heads, begin = list[bytes](), 0
    for number in range(count):
        at = len(packet) - index_bytes + 1 + number * size_bytes
        size = int.from_bytes(packet[at : at + size_bytes], "little")
        if size:
            heads.append(packet[begin : begin + 1])
        begin += size
    return heads


def _is_shown(head: bytes) -> bool:
    """Return True if ``show_existing_frame`` or ``show_frame`` is set (6.2)."""
    skipped = 5 if head[0] >> 4 & _PROFILE_3 == _PROFILE_3 else 4
    is_repeated = head[0] >> (7 - skipped) & 1
    return bool(is_repeated or head[0] >> (5 - skipped) & 1)
