"""Whether bytes are one whole, sound PNG, told without holding its pixels."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">IIBBBBB")
_LENGTH_AND_KIND: Final = struct.Struct(">I4s")
_CRC: Final = struct.Struct(">I")
_KIND: Final = re.compile(rb"[A-Za-z]{4}")
_MOST: Final = 2**31 - 1
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS: Final = {
    _GRAY: {1, 2, 4, 8, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _GRAY_ALPHA: {8, 16},
    _RGBA: {8, 16},
}
"""Bits a channel that each kind of pixels may have."""
_CHANNELS: Final = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_CRITICAL: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
"""A decoder stops at any other chunk whose first letter is a capital."""
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Of an interlaced picture, each pass: first column and row, and the steps to the next."""
_LAST_FILTER: Final = 4
_PALETTE_BYTES: Final = 3 * 256
_INFLATED_AT_ONCE: Final = 2**16

MAX_UNFOLDED_BYTES: Final = 2**20
"""Of one color profile or text, once it is inflated: as much as Pillow takes."""
MAX_ALL_UNFOLDED_BYTES: Final = 16 * 2**20
"""Of all of them together."""


HEADER_BYTES: Final = len(_SIGNATURE) + _LENGTH_AND_KIND.size + _HEADER.size + _CRC.size
"""With which a PNG begins, and which tell its size."""


class BadPng(ValueError):
    """Bytes that are not one whole, sound PNG."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a PNG announces of its pixels."""

    width: int
    height: int
    depth: int
    color: int
    is_interlaced: bool

    @property
    def passes(self) -> Iterator[tuple[int, int]]:
        """Rows, and bytes of each with the filter before it, as they follow each other."""
        for left, top, step, step_down in _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),):
            columns = -(-(self.width - left) // step)
            rows = -(-(self.height - top) // step_down)
            if columns > 0 and rows > 0:
                yield rows, 1 + -(-columns * self.depth * _CHANNELS[self.color] // 8)


def announced_size(data: bytes) -> tuple[int, int]:
    """The ``(width, height)`` that a PNG's header announces; nothing else of it is looked at.

    Raises:
        BadPng: there is no such header.
    """
    header = _first_header(memoryview(data))
    return header.width, header.height


def png_size(data: bytes) -> tuple[int, int]:
    """The ``(width, height)`` of a PNG, in pixels, after a walk over all of its chunks.

    Each chunk's CRC-32 is compared, and the pixels are inflated, a block at a time: they are as
    many as the header announces, and each row has a filter that there is. Color profiles and texts
    are inflated up to `MAX_UNFOLDED_BYTES`. What follows the PNG's end, where decoders stop, is
    not looked at. The time it takes grows with the announced size: see `announced_size`.

    Raises:
        BadPng: it is none, or is damaged, or its chunks unfold to too much.
    """
    view = memoryview(data)
    header = _first_header(view)
    pixels, others = _Pixels(header), _Others()
    kinds: set[bytes] = set()
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        before = kind
        kind, body, at = _chunk(view, at)
        if (kind == b"IHDR") == bool(kinds):
            raise BadPng("it does not begin with its one header")
        if kind[:1].isupper() and kind not in _CRITICAL:
            raise BadPng(f"no decoder knows its chunk {kind.decode()}")
        if kind == b"PLTE":
            _check_palette(body, header, kinds)
        elif kind == b"IDAT":
            if header.color == _PALETTE and b"PLTE" not in kinds:
                raise BadPng("it has no palette, and so no pixels")
            if kind in kinds and before != kind:
                raise BadPng("its pixels are interrupted by another chunk")
            pixels.add(body)
        else:
            others.add(kind, body)
        kinds.add(kind)
    pixels.finish()
    return header.width, header.height


class _Pixels:
    """The pixels, which are one zlib stream over several chunks: counted while inflated."""

    def __init__(self, header: _Header) -> None:
        self._inflating = zlib.decompressobj()
        self._passes = list(header.passes)
        self._expected = sum(rows * row_bytes for rows, row_bytes in self._passes)
        self._count = 0
        self._passes_done = 0
        self._pass_begin = 0

    def add(self, body: memoryview) -> None:
        """Take the next chunk of the stream.

        Raises:
            BadPng: it is no such stream, or does not hold the pixels that are announced.
        """
        pending: bytes | memoryview = body
        while not self._inflating.eof:
            try:
                block = self._inflating.decompress(pending, _INFLATED_AT_ONCE)
            except zlib.error as error:
                raise BadPng("its pixels are not compressed as those of a PNG") from error
            self._check(block)
            pending = self._inflating.unconsumed_tail
            if not block and not pending:
                return

    def finish(self) -> None:
        """Raise BadPng unless all pixels came, and the stream came to its end."""
        if not self._count:
            raise BadPng("it has no pixels")
        if self._count != self._expected:
            raise BadPng(
                f"its pixels take {self._count:,} bytes, and not {self._expected:,} as its header "
                f"announces"
            )
        if not self._inflating.eof:
            raise BadPng("its pixels have no end: what is compressed was cut short")

    def _check(self, block: bytes) -> None:
        """Count a block, and look at the filter of each row that begins in it."""
        if self._count + len(block) > self._expected:
            raise BadPng(f"it has more pixels than the {self._expected:,} bytes it announces")
        end = self._count + len(block)
        while self._passes_done < len(self._passes):
            rows, row_bytes = self._passes[self._passes_done]
            pass_end = self._pass_begin + rows * row_bytes
            start = max(self._count, self._pass_begin)
            first = start + -(start - self._pass_begin) % row_bytes
            filters = block[first - self._count : min(end, pass_end) - self._count : row_bytes]
            if filters and max(filters) > _LAST_FILTER:
                raise BadPng(
                    f"a row of its pixels has the filter {max(filters)}; "
                    f"PNG has 0 to {_LAST_FILTER}"
                )
            if end < pass_end:
                break
            self._passes_done += 1
            self._pass_begin = pass_end
        self._count = end


class _Others:
    """Color profiles and texts, of which a few bytes can unfold to gigabytes."""

    def __init__(self) -> None:
        self._unfolded = 0

    def add(self, kind: bytes, body: memoryview) -> None:
        """Take another chunk than pixels.

        Raises:
            BadPng: it unfolds to too much.
        """
        compressed = _compressed(kind, body)
        if compressed is None:
            return
        try:
            unfolded = zlib.decompressobj().decompress(compressed, MAX_UNFOLDED_BYTES + 1)
        except zlib.error:
            return  # decoders pass over it
        self._unfolded += len(unfolded)
        if len(unfolded) > MAX_UNFOLDED_BYTES or self._unfolded > MAX_ALL_UNFOLDED_BYTES:
            raise BadPng(
                f"its chunk {kind.decode()} unfolds to more than {MAX_UNFOLDED_BYTES:,} bytes, or "
                f"all such chunks to more than {MAX_ALL_UNFOLDED_BYTES:,}"
            )


def _compressed(kind: bytes, body: memoryview) -> bytes | None:
    """The compressed part of a color profile or text; None of any other chunk."""
    data = bytes(body) if kind in (b"iCCP", b"zTXt", b"iTXt") else b""
    _, found, rest = data.partition(b"\0")
    if not found:
        return None
    if kind != b"iTXt":
        return rest[1:]
    if rest[:1] != b"\1":
        return None
    _, _, after_language = rest[2:].partition(b"\0")
    return after_language.partition(b"\0")[2]


def _check_palette(body: memoryview, header: _Header, before: set[bytes]) -> None:
    """Raise BadPng unless a palette is one, in its place."""
    most = 3 * 2**header.depth if header.color == _PALETTE else _PALETTE_BYTES
    if not 0 < len(body) <= most or len(body) % 3 or before & {b"PLTE", b"IDAT"}:
        raise BadPng(f"its palette of {len(body)} bytes is none, or is not in its place")


def _first_header(view: memoryview) -> _Header:
    beginning = bytes(view[: len(_SIGNATURE)])
    if beginning != _SIGNATURE:
        raise BadPng(f"it begins with {beginning!r}")
    kind, body, _ = _chunk(view, len(_SIGNATURE))
    if kind != b"IHDR":
        raise BadPng("it does not begin with its one header")
    return _header(body)


def _chunk(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """The kind and body of the chunk at a place, and where the next one begins."""
    begin = at + _LENGTH_AND_KIND.size
    if begin > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, before its last chunk")
    length, kind = _LENGTH_AND_KIND.unpack_from(view, at)
    end = begin + length
    if end + _CRC.size > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, in the midst of a chunk")
    if zlib.crc32(view[at + 4 : end]) != _CRC.unpack_from(view, end)[0]:
        raise BadPng(f"the chunk at byte {at} is damaged: its CRC differs")
    if not _KIND.fullmatch(kind):
        raise BadPng(f"the chunk at byte {at} has a name that none has")
    return kind, view[begin:end], end + _CRC.size


def _header(body: memoryview) -> _Header:
    if len(body) != _HEADER.size:
        raise BadPng(f"its header has {len(body)} bytes")
    width, height, depth, color, compression, filtering, interlace = _HEADER.unpack(body)
    is_sound = (
        0 < width <= _MOST
        and 0 < height <= _MOST
        and depth in _DEPTHS.get(color, ())
        and compression == filtering == 0
        and interlace <= 1
    )
    if not is_sound:
        raise BadPng("its header announces what no PNG is")
    return _Header(width, height, depth, color, interlace == 1)
