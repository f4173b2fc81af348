"""Several VP9 pictures in one packet (VP9 bitstream specification, annex B). No I/O."""

from typing import Final

_MARKER: Final = 0b110
_THREE: Final = 3


def shown_pictures(packet: bytes) -> int:
    """Return how many pictures of a VP9 packet are shown; 1 where its bytes do not tell."""
    try:
        return sum(_is_shown(head) for head in _heads(packet))
    except IndexError:
        return 1


def _heads(packet: bytes) -> list[bytes]:
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
    """Read ``show_existing_frame`` and ``show_frame`` (6.2)."""
    skipped = 5 if head[0] >> 4 & _THREE == _THREE else 4
    is_repeated = head[0] >> (7 - skipped) & 1
    return bool(is_repeated or head[0] >> (5 - skipped) & 1)
