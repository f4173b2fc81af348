"""AVIF: the track of an animation is read, and a picture of tiles is never cached as one tile."""

import io
import re
from typing import Final

import numpy as np
import pytest
from PIL import Image, features

from framecache._media import video
from framecache.errors import UnreadableChunk

SIZE: Final = (96, 64)

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="Pillow lacks AVIF")


def avif(levels: list[int]) -> bytes:
    """Encode a picture or an animation, each picture of one level."""
    first, *rest = (Image.new("RGB", SIZE, (level, level, level)) for level in levels)
    file = io.BytesIO()
    first.save(file, "AVIF", save_all=bool(rest), append_images=rest, duration=100, quality=90)
    return file.getvalue()


def test_all_frames_of_an_avif_animation_are_read() -> None:
    levels = [20, 60, 100, 140, 180]
    data = avif(levels)
    found = video.scan(io.BytesIO(data), name="animation.avif")
    seconds = [float((pts - found.pts[0]) * found.time_base) for pts in found.pts.tolist()]
    assert seconds == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    items = video.decode(io.BytesIO(data), found, found.pts, name="animation.avif", threads=1)
    shown = [item.frame.to_ndarray(format="gray") for item in items if hasattr(item, "frame")]
    assert [float(np.mean(picture)) for picture in shown] == pytest.approx(levels, abs=3)


def test_tiled_picture_is_refused_by_name() -> None:
    with pytest.raises(UnreadableChunk, match="is one picture in 2 tiles"):
        video.scan(io.BytesIO(_tiled(avif([80]))), name="tiles.avif")


def _tiled(tile: bytes) -> bytes:
    """Make a picture of twice the same tile, side by side (ISO/IEC 23008-12, 6.6.2.3)."""
    width, height = SIZE
    configuration = re.search(rb"(....av1C.{4})", tile, re.DOTALL)
    assert configuration is not None
    begin = configuration.start()
    size = int.from_bytes(tile[begin : begin + 4])
    av1_configuration = tile[begin : begin + size]
    coded = tile[tile.index(b"mdat") + 4 :]
    properties = _box(
        b"ipco",
        _box(b"ispe", _u32(0, 2 * width, height))
        + _box(b"ispe", _u32(0, width, height))
        + av1_configuration
        + _box(b"pixi", _u32(0) + b"\3\10\10\10"),
    )
    uses = _u32(0, 3)
    for item, own in ((1, (1, 4)), (2, (2, 0x83, 4)), (3, (2, 0x83, 4))):
        uses += item.to_bytes(2) + bytes([len(own), *own])
    items = b"".join(
        _box(b"infe", _u32(2 << 24) + item.to_bytes(2) + b"\0\0" + kind + b"\0")
        for item, kind in ((1, b"grid"), (2, b"av01"), (3, b"av01"))
    )
    references = b"\0\1\0\2\0\2\0\3"
    grid = b"\0\0\0\1" + (2 * width).to_bytes(2) + height.to_bytes(2)
    head = _box(b"ftyp", b"avif" + _u32(0) + b"avifmif1miaf")

    def meta(at: int) -> bytes:
        places = b"\x44\0" + (3).to_bytes(2)
        for item, method, offset, length in (
            (1, 1, 0, len(grid)),
            (2, 0, at, len(coded)),
            (3, 0, at, len(coded)),
        ):
            places += item.to_bytes(2) + method.to_bytes(2) + b"\0\0\0\1" + _u32(offset, length)
        return _box(
            b"meta",
            _u32(0)
            + _box(b"hdlr", _u32(0, 0) + b"pict" + bytes(13))
            + _box(b"pitm", _u32(0) + b"\0\1")
            + _box(b"iloc", _u32(1 << 24) + places)
            + _box(b"iinf", _u32(0) + b"\0\3" + items)
            + _box(b"iref", _u32(0) + _box(b"dimg", references))
            + _box(b"iprp", properties + _box(b"ipma", uses))
            + _box(b"idat", grid),
        )

    at = len(head) + len(meta(0)) + 8
    return head + meta(at) + _box(b"mdat", coded)


def _box(kind: bytes, body: bytes) -> bytes:
    return _u32(8 + len(body)) + kind + body


def _u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4) for number in numbers)
