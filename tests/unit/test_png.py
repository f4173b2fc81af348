"""Checks of whole and valid PNGs, with Pillow as the reference."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from framecache._overlays.png import BadPng, validate_png
from outside import png_by_pillow

PNG = png_by_pillow(3)
SIGNATURE = PNG[:8]
HEADER = struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk as the PNG specification says, section 5.3."""
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


PIXELS = chunk(b"IDAT", zlib.compress(bytes(6 * (1 + 8 * 3))))
FILTERED = chunk(b"IDAT", zlib.compress((b"\5" + bytes(8 * 3)) * 6))
END = chunk(b"IEND")


@st.composite
def pngs(draw: st.DrawFn) -> tuple[bytes, tuple[int, int]]:
    """A PNG of any kind that Pillow writes, and its size."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]))
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    image: Any = Pillow.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(
        buffer,
        "PNG",
        optimize=draw(st.booleans()),
        compress_level=draw(st.integers(0, 9)),
        dpi=draw(st.sampled_from([(72, 72), (300, 300)])),
    )
    return buffer.getvalue(), (width, height)


@given(pngs())
def test_every_png_of_pillow_is_valid_with_its_size(made: tuple[bytes, tuple[int, int]]) -> None:
    png, size = made
    assert validate_png(png) == size


@given(pngs(), st.data())
def test_any_flipped_bit_is_detected(
    made: tuple[bytes, tuple[int, int]], data: st.DataObject
) -> None:
    png = bytearray(made[0])
    bit = data.draw(st.integers(0, 8 * len(png) - 1))
    png[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadPng):
        validate_png(bytes(png))


@given(pngs(), st.data())
def test_any_truncation_is_detected(
    made: tuple[bytes, tuple[int, int]], data: st.DataObject
) -> None:
    png, _ = made
    with pytest.raises(BadPng):
        validate_png(png[: data.draw(st.integers(0, len(png) - 1))])


@given(st.binary(max_size=200))
def test_random_bytes_are_not_a_png(data: bytes) -> None:
    for given_bytes in (data, SIGNATURE + data):
        with pytest.raises(BadPng):
            validate_png(given_bytes)


def test_bytes_after_the_end_chunk_are_ignored() -> None:
    assert validate_png(PNG + b"trailing") == (8, 6)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "ends after 8 bytes"),
        (PIXELS + END, "header"),
        (chunk(b"tEXt", b"a\0b") + chunk(b"IHDR", HEADER) + PIXELS + END, "header"),
        (chunk(b"IHDR", HEADER) * 2 + PIXELS + END, "header"),
        (chunk(b"IHDR", HEADER[:-1]) + PIXELS + END, "12 bytes"),
        (chunk(b"IHDR", HEADER) + END, "no pixels"),
        (chunk(b"IHDR", HEADER) + FILTERED + END, "the filter 5; PNG has 0 to 4"),
        (chunk(b"IHDR", HEADER) + PIXELS, "before its last chunk"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 6, 8, 2, 0, 0, 0)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 0, 8, 2, 0, 0, 0)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 4, 2, 0, 0, 0)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 5, 0, 0, 0)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 1, 0, 0)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 2)) + PIXELS + END, "not allow"),
        (chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 3, 0, 0, 0)) + PIXELS + END, "no palette"),
    ],
    ids=[
        "nothing",
        "no header",
        "header later",
        "two headers",
        "short header",
        "no pixels",
        "no such filter",
        "no end",
        "no width",
        "no height",
        "depth",
        "color",
        "compression",
        "interlace",
        "no palette",
    ],
)
def test_png_with_invalid_chunks_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(BadPng, match=reason):
        validate_png(SIGNATURE + body)


def test_handmade_minimal_png_is_valid_and_read_by_pillow() -> None:
    png = SIGNATURE + chunk(b"IHDR", HEADER) + PIXELS + END
    assert validate_png(png) == (8, 6)
    with Pillow.open(io.BytesIO(png)) as image:
        assert not np.asarray(image).any()
