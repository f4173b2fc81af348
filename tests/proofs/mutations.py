"""Damage to video files, random or aimed at elements of the formats. Pure."""

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

Mutation = Callable[[bytearray, bytes, Random], None]
"""Changes a file in place; the bytes are another file, to take parts from."""

EXTREMES: Final = (
    *(0, 1, 2, 7, 2**7 - 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**20, 2**24, 2**26),
    *(2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
_HEADER_BYTES: Final = 4096
_MP4_BOXES: Final = (
    *(b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr"),
    *(b"minf", b"stbl", b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"co64"),
    *(b"avc1", b"avcC", b"hvc1", b"hvcC", b"av01", b"av1C", b"vp09", b"vpcC", b"udta", b"mdat"),
    *(b"mvex", b"moof", b"traf", b"tfhd", b"tfdt", b"trun", b"sidx", b"colr", b"pasp", b"sgpd"),
)
_MP4_TABLES: Final = {
    **dict.fromkeys((b"stts", b"ctts", b"stss", b"stsc", b"stco", b"elst"), 12),
    b"stsz": 16,
    b"co64": 12,
    b"trun": 12,
    b"sidx": 28,
}
"""Tables of samples, with the distance from the name to the first entry, after the count."""
_EBML_ELEMENTS: Final = tuple(
    bytes.fromhex(identifier)
    for identifier in (
        # EBML, Segment, SeekHead, Info, TimestampScale, Duration, Tracks, TrackEntry,
        *("1a45dfa3", "18538067", "114d9b74", "1549a966", "2ad7b1", "4489", "1654ae6b", "ae"),
        # DefaultDuration, CodecPrivate, Video, PixelWidth, PixelHeight, Cluster, Timestamp,
        *("23e383", "63a2", "e0", "b0", "ba", "1f43b675", "e7"),
        # SimpleBlock, BlockGroup, Block, BlockDuration, Cues, ContentEncodings
        *("a3", "a0", "a1", "9b", "1c53bb6b", "6d80"),
    )
)
_AVI_CHUNKS: Final = (
    *(b"RIFF", b"LIST", b"hdrl", b"avih", b"strl", b"strh", b"strf", b"vids", b"movi", b"00dc"),
    *(b"idx1", b"indx", b"JUNK", b"odml"),
)
_MXF_KEYS: Final = (
    # Universal labels (SMPTE ST 336), of essence elements, of sets, of index tables.
    *(b"\x06\x0e\x2b\x34", b"\x06\x0e\x2b\x34\x01\x02", b"\x06\x0e\x2b\x34\x02\x53"),
    b"\x06\x0e\x2b\x34\x02\x53\x01\x01\x0d\x01\x02\x01\x01\x10",
)
_MARKERS: Final = {
    b"FLV": (
        *(b"FLV", b"\x00\x00\x00\x00\x09", b"onMetaData", b"width", b"height", b"keyframes"),
        *(b"filepositions\x0a", b"times\x0a"),
    ),
    b"GIF8": (b"GIF8", b"\x21\xf9\x04", b"\x00\x2c\x00\x00", b"NETSCAPE2.0"),
    b"\x89PNG": (b"IHDR", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"PLTE"),
    b"\x30\x26\xb2\x75": (b"\xb7\xdc\x07\x91", b"\xa1\xdc\xab\x8c", b"\x36\x26\xb2\x75"),
    b"\x06\x0e\x2b\x34": _MXF_KEYS,
    b"DKIF": (b"DKIF", b"VP80"),
    b"YUV4": (b" W", b" H", b" F", b" C", b"FRAME"),
    b"\x00\x00\x01\xba": (b"\x00\x00\x01\xba", b"\x00\x00\x01\xe0", b"\x00\x00\x01\xb3"),
    b"ftyp": _MP4_BOXES,
    b"\x1a\x45\xdf\xa3": _EBML_ELEMENTS,
    b"RIFF": _AVI_CHUNKS,
    b"OggS": (b"OggS", b"\x80theora", b"\x81theora", b"\x82theora"),
    b"G": (b"\x00\x00\x01\xe0", b"\x47\x01\x00", b"\x47\x41\x00", b"\x47\x40\x00", b"\x47\x50\x00"),
}
"""Offsets of fields that decide how much is read, by the first bytes of each format."""


def mutate(
    data: bytes, donor: bytes, dice: Random, weights: Mapping[Mutation, int] | None = None
) -> bytes:
    """A file like ``data`` with one to four mutations; the same for the same dice."""
    mutated, weights = bytearray(data), weights or _WEIGHTED
    count = dice.choice((1, 1, 1, 2, 3, 4))
    for mutation in dice.choices([*weights], weights=[*weights.values()], k=count):
        mutation(mutated, donor, dice)
    return bytes(mutated)


def _flip_bits(data: bytearray, _: bytes, dice: Random) -> None:
    for _n in range(dice.choice((1, 2, 8, 64, 512))):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _blank(data: bytearray, _: bytes, dice: Random) -> None:
    begin, end = _range(data, dice)
    data[begin:end] = bytes(end - begin)


def _noise(data: bytearray, _: bytes, dice: Random) -> None:
    begin, end = _range(data, dice)
    data[begin:end] = dice.randbytes(end - begin)


def _truncate(data: bytearray, _: bytes, dice: Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _cut_out(data: bytearray, _: bytes, dice: Random) -> None:
    begin, end = _range(data, dice)
    del data[begin:end]


def _duplicate(data: bytearray, _: bytes, dice: Random) -> None:
    begin, end = _range(data, dice)
    data[end:end] = data[begin:end] * dice.choice((1, 1, 2, 20))


def _swap(data: bytearray, _: bytes, dice: Random) -> None:
    begin, middle, end = sorted(dice.randrange(len(data) + 1) for _n in range(3))
    data[begin:end] = data[middle:end] + data[begin:middle]


def _spoil_header(data: bytearray, _: bytes, dice: Random) -> None:
    """An extreme number anywhere in the first or last bytes."""
    reach = min(len(data), _HEADER_BYTES)
    offset = dice.randrange(reach + 1)
    _write_extreme(data, offset if dice.random() < 2 / 3 else len(data) - offset, dice)


def _spoil_field(data: bytearray, _: bytes, dice: Random) -> None:
    """An extreme number in, or as the size of, an element that the format defines."""
    offset, marker = _element(data, dice)
    if offset is None:
        _spoil_header(data, b"", dice)
    elif dice.random() < 1 / 4:
        _write_extreme(data, offset - 4, dice)
    else:
        _write_extreme(data, offset + len(marker) + dice.choice((0, 1, *range(4, 64, 4))), dice)


def _spoil_table(data: bytearray, _: bytes, dice: Random) -> None:
    """Change an entry of a table of samples, or the number of its entries."""
    tables = [
        (found.start(), kind)
        for kind in _MP4_TABLES
        for found in re.finditer(re.escape(kind), data)
    ]
    if not tables:
        return
    begin, kind = dice.choice(tables)
    head = _MP4_TABLES[kind]
    count = int.from_bytes(data[begin + head - 4 : begin + head])
    words = min(count, (len(data) - begin - head) // 4, 2**16)
    if words < 2 or dice.random() < 1 / 8:
        changed = dice.choice((0, 1, count - 1, count + 1, count + 1000, 2**31, 2**32 - 1))
        data[begin + head - 4 : begin + head] = (changed % 2**32).to_bytes(4)
        return
    place, other = (begin + head + 4 * dice.randrange(words) for _n in range(2))
    entry = int.from_bytes(data[place : place + 4])
    match dice.randrange(5):
        case 0:  # two entries have each other's place
            data[place : place + 4], data[other : other + 4] = (
                data[other : other + 4],
                data[place : place + 4],
            )
        case 1:  # the same entry twice
            data[place : place + 4] = data[other : other + 4]
        case 2:  # an entry of another table, as of another track
            alike = [start for start, one in tables if one == kind]
            place_there = dice.choice(alike) + place - begin
            data[place : place + 4] = data[place_there : place_there + 4].ljust(4, b"\0")
        case 3:  # a little more or less
            step = dice.choice((-1, 1)) * dice.choice((1, 2, 16, 512, 1000, 2**16, len(data)))
            data[place : place + 4] = ((entry + step) % 2**32).to_bytes(4)
        case _:
            data[place : place + 4] = (dice.choice(EXTREMES) % 2**32).to_bytes(4)


def _rename_element(data: bytearray, _: bytes, dice: Random) -> None:
    offset, marker = _element(data, dice)
    if offset is not None:
        alike = [one for one in _markers(data) if len(one) == len(marker)]
        data[offset : offset + len(marker)] = dice.choice(alike)


def _nest_element(data: bytearray, _: bytes, dice: Random) -> None:
    """An element within itself, many levels deep."""
    offset, marker = _element(data, dice)
    if offset is None or offset < 4:
        return
    depth, body = dice.choice((2, 10, 1000)), bytes(data[offset - 4 : offset + 300])
    heads = b"".join(
        (8 * (depth - n) + len(body)).to_bytes(4, "big") + marker[:4].ljust(4, b"\0")
        for n in range(depth)
    )
    data[offset - 4 : offset - 4] = heads + body


def _splice(data: bytearray, donor: bytes, dice: Random) -> None:
    """Part of another file over part of this one."""
    begin, end = _range(data, dice)
    other = dice.randrange(len(donor))
    data[begin:end] = donor[other : other + end - begin]


def _insert(data: bytearray, donor: bytes, dice: Random) -> None:
    """Part of another file in between."""
    offset = dice.randrange(len(data) + 1)
    begin, end = _range(bytearray(donor), dice)
    data[offset:offset] = donor[begin:end]


_WEIGHTED: Final[dict[Mutation, int]] = {
    _flip_bits: 3,
    _blank: 1,
    _noise: 1,
    _truncate: 1,
    _cut_out: 2,
    _duplicate: 2,
    _swap: 1,
    _spoil_header: 4,
    _spoil_field: 8,
    _rename_element: 1,
    _nest_element: 1,
    _splice: 2,
    _insert: 1,
}
TABLE_MUTATIONS: Final[dict[Mutation, int]] = {
    _spoil_table: 12,
    _spoil_field: 3,
    _flip_bits: 3,
    _blank: 2,
    _noise: 1,
    _cut_out: 1,
    _swap: 1,
    _truncate: 1,
    _nest_element: 1,
}
"""Mutations of files with sample tables, most of them of the tables."""


def _range(data: bytearray, dice: Random) -> tuple[int, int]:
    begin = dice.randrange(len(data) + 1)
    length = dice.choice((1, 4, 188, 1024, 8192, len(data) // 3))
    return begin, min(begin + length, len(data))


def _write_extreme(data: bytearray, offset: int, dice: Random) -> None:
    width = dice.choice((1, 2, 4, 4, 4, 8))
    number = dice.choice(EXTREMES) % 2 ** (8 * width)
    begin = max(offset, 0)
    data[begin : begin + width] = number.to_bytes(width, dice.choice(("big", "big", "little")))


def _element(data: bytearray, dice: Random) -> tuple[int | None, bytes]:
    """Position of an element of the file's own format, and its first bytes."""
    markers = list(_markers(data))
    dice.shuffle(markers)
    for marker in markers:
        if found := [match.start() for match in re.finditer(re.escape(marker), data)]:
            return dice.choice(found), marker
    return None, b""


def _markers(data: bytearray) -> tuple[bytes, ...]:
    head = bytes(data[:16])
    return next((markers for start, markers in _MARKERS.items() if start in head), _MP4_BOXES)
