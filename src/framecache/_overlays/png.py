"""PNG validation that never holds all pixels in memory."""

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
_MAX_SIDE: Final = 2**31 - 1
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS: Final = {
    _GRAY: {1, 2, 4, 8, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _GRAY_ALPHA: {8, 16},
    _RGBA: {8, 16},
}
"""Allowed bits per channel for each color type."""
_CHANNELS: Final = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_CRITICAL: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
"""Critical chunks that are accepted.

A decoder stops at any other chunk whose first letter is a capital.
"""
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Passes of an interlaced picture: first column and row, then the steps to the next ones."""
_LAST_FILTER: Final = 4
_PALETTE_BYTES: Final = 3 * 256
_INFLATE_BLOCK_BYTES: Final = 2**16

MAX_INFLATED_BYTES: Final = 2**20
"""Maximum inflated size of one color profile or text: the same limit as Pillow's."""
MAX_TOTAL_INFLATED_BYTES: Final = 16 * 2**20
"""Maximum inflated size of all color profiles and text together."""


HEADER_BYTES: Final = len(_SIGNATURE) + _LENGTH_AND_KIND.size + _HEADER.size + _CRC.size
"""Length of the beginning of a PNG that contains its width and height."""


class BadPng(ValueError):
    """Error for bytes that are not one complete, valid PNG."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Fields of a PNG's header."""

    width: int
    height: int
    depth: int
    color: int
    is_interlaced: bool

    @property
    def passes(self) -> Iterator[tuple[int, int]]:
        """Number of rows and bytes per row (filter byte included) of each pass, in order."""
        for left, top, step, step_down in _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),):
            columns = -(-(self.width - left) // step)
            rows = -(-(self.height - top) // step_down)
            if columns > 0 and rows > 0:
                yield rows, 1 + -(-columns * self.depth * _CHANNELS[self.color] // 8)


def read_header_size(data: bytes) -> tuple[int, int]:
    """Return the ``(width, height)`` from a PNG's header; nothing else of the file is checked.

    Raises:
        BadPng: there is no valid header.
    """
    header = _read_header(memoryview(data))
    return header.width, header.height


def validate_png(data: bytes) -> tuple[int, int]:
    """Check a whole PNG and return its ``(width, height)`` in pixels.

    The CRC-32 of each chunk is compared. The pixels are inflated one block at a time: their number
    must match the header, and each row must have a valid filter type. Color profiles and text are
    inflated up to `MAX_INFLATED_BYTES`. Bytes after the end of the PNG, where decoders stop, are
    not checked. The time this takes grows with the size in the header: see `read_header_size`.

    Raises:
        BadPng: it is not a PNG, is damaged, or its chunks inflate to too much.
    """
    view = memoryview(data)
    header = _read_header(view)
    pixels, others = _PixelCounter(header), _AncillaryChunks()
    kinds: set[bytes] = set()
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        before = kind
        kind, body, at = _read_chunk(view, at)
        if (kind == b"IHDR") == bool(kinds):
            raise BadPng("it does not begin with a single header")
        if kind[:1].isupper() and kind not in _CRITICAL:
            raise BadPng(f"its chunk {kind.decode()} is unknown to decoders")
        if kind == b"PLTE":
            _check_palette(body, header, kinds)
        elif kind == b"IDAT":
            if header.color == _PALETTE and b"PLTE" not in kinds:
                raise BadPng("it has no palette before its pixels")
            if kind in kinds and before != kind:
                raise BadPng("its pixels are interrupted by another chunk")
            pixels.add(body)
        else:
            others.add(kind, body)
        kinds.add(kind)
    pixels.finish()
    return header.width, header.height


class _PixelCounter:
    """Counter of the pixel bytes, which are one zlib stream over several chunks."""

    def __init__(self, header: _Header) -> None:
        self._decompressor = zlib.decompressobj()
        self._passes = list(header.passes)
        self._expected = sum(rows * row_bytes for rows, row_bytes in self._passes)
        self._count = 0
        self._passes_done = 0
        self._pass_begin = 0

    def add(self, body: memoryview) -> None:
        """Inflate the next chunk of the stream.

        Raises:
            BadPng: the stream is invalid, or does not hold the pixels that the header specifies.
        """
        pending: bytes | memoryview = body
        while not self._decompressor.eof:
            try:
                block = self._decompressor.decompress(pending, _INFLATE_BLOCK_BYTES)
            except zlib.error as error:
                raise BadPng("its pixels are not compressed as PNG requires") from error
            self._check(block)
            pending = self._decompressor.unconsumed_tail
            if not block and not pending:
                return

    def finish(self) -> None:
        """Raise BadPng unless all pixels arrived and the stream is complete."""
        if not self._count:
            raise BadPng("it has no pixels")
        if self._count != self._expected:
            raise BadPng(
                f"its pixels have {self._count:,} bytes, not {self._expected:,} as its header "
                "declares"
            )
        if not self._decompressor.eof:
            raise BadPng("its pixels are cut short: the compressed data has no end")

    def _check(self, block: bytes) -> None:
        """Count a block, and check the filter type of each row that begins in it."""
        if self._count + len(block) > self._expected:
            raise BadPng(f"it has more pixel data than the {self._expected:,} bytes it declares")
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


class _AncillaryChunks:
    """Check of color profiles and text, of which a few bytes can inflate to gigabytes."""

    def __init__(self) -> None:
        self._inflated_bytes = 0

    def add(self, kind: bytes, body: memoryview) -> None:
        """Check a chunk that holds no pixels.

        Raises:
            BadPng: it inflates to too much.
        """
        compressed = _compressed_part(kind, body)
        if compressed is None:
            return
        try:
            unfolded = zlib.decompressobj().decompress(compressed, MAX_INFLATED_BYTES + 1)
        except zlib.error:
            return  # decoders ignore such a chunk
        self._inflated_bytes += len(unfolded)
        if len(unfolded) > MAX_INFLATED_BYTES or self._inflated_bytes > MAX_TOTAL_INFLATED_BYTES:
            raise BadPng(
                f"its chunk {kind.decode()} inflates to more than {MAX_INFLATED_BYTES:,} "
                f"bytes, or all such chunks to more than {MAX_TOTAL_INFLATED_BYTES:,}"
            )


def _compressed_part(kind: bytes, body: memoryview) -> bytes | None:
    """Return the compressed part of a color profile or text; None for any other chunk."""
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
    """Raise BadPng unless a palette has a valid length and position."""
    most = 3 * 2**header.depth if header.color == _PALETTE else _PALETTE_BYTES
    if not 0 < len(body) <= most or len(body) % 3 or before & {b"PLTE", b"IDAT"}:
        raise BadPng(f"its palette of {len(body)} bytes is not valid, or is in the wrong place")


def _read_header(view: memoryview) -> _Header:
    beginning = bytes(view[: len(_SIGNATURE)])
    if beginning != _SIGNATURE:
        raise BadPng(f"it begins with {beginning!r}")
    kind, body, _ = _read_chunk(view, len(_SIGNATURE))
    if kind != b"IHDR":
        raise BadPng("it does not begin with a single header")
    return _parse_header(body)


def _read_chunk(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """Return the type and body of the chunk at an offset, and the offset of the next chunk."""
    begin = at + _LENGTH_AND_KIND.size
    if begin > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, before its last chunk")
    length, kind = _LENGTH_AND_KIND.unpack_from(view, at)
    end = begin + length
    if end + _CRC.size > len(view):
        raise BadPng(f"it ends after {len(view)} bytes, inside a chunk")
    if zlib.crc32(view[at + 4 : end]) != _CRC.unpack_from(view, end)[0]:
        raise BadPng(f"the chunk at byte {at} is damaged: its CRC differs")
    if not _KIND.fullmatch(kind):
        raise BadPng(f"the chunk at byte {at} has an invalid name")
    return kind, view[begin:end], end + _CRC.size


def _parse_header(body: memoryview) -> _Header:
    if len(body) != _HEADER.size:
        raise BadPng(f"its header has {len(body)} bytes")
    width, height, depth, color, compression, filtering, interlace = _HEADER.unpack(body)
    is_sound = (
        0 < width <= _MAX_SIDE
        and 0 < height <= _MAX_SIDE
        and depth in _DEPTHS.get(color, ())
        and compression == filtering == 0
        and interlace <= 1
    )
    if not is_sound:
        raise BadPng("its header has values that PNG does not allow")
    return _Header(width, height, depth, color, interlace == 1)
