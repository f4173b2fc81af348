"""H.264 whose frames are coded as two fields each (PAFF), as AVCHD cameras and broadcasters do.

ffmpeg has no encoder for it. All macroblocks are I_PCM, samples without compression, so that
little syntax is needed (ITU-T H.264, 7.3). Each picture shows its number in both fields.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from corpus.bits import BitWriter, unit
from corpus.muxing import mux, timed
from corpus.pictures import picture

WIDTH, HEIGHT = 64, 64
_BLOCK: Final = 16
_GROUP: Final = 4
"""Frames from one IDR picture to the next."""
_WHOLE: Final = 2
"""The place of a frame in its group that is coded as a whole, if any is."""
_FIELD_SECONDS: Final = Fraction(1, 50)
_FIELD_ROWS: Final = HEIGHT // 2
_I_PCM: Final = 25

_DELIMITER: Final = unit(b"\x09", b"\x10")


def write(path: Path, numbers: Sequence[int], *, is_apart: bool, is_mixed: bool) -> None:
    """Write a stream of field pairs into a container.

    ``is_apart``: each field in its own packet. ``is_mixed``: some frames are coded as a whole.
    """
    raw = path.with_name(f"raw-of-{path.name}.h264")
    raw.write_bytes(b"".join(_coded(0, numbers[0], is_mixed=is_mixed)))
    mux(path, _packets(numbers, is_apart=is_apart, is_mixed=is_mixed), like=raw)
    raw.unlink()


def _packets(numbers: Sequence[int], *, is_apart: bool, is_mixed: bool) -> Iterator[av.Packet]:  # type: ignore[type-arg]
    for place, number in enumerate(numbers):
        units = _coded(place, number, is_mixed=is_mixed)
        for half, data in enumerate(units if is_apart else [b"".join(units)]):
            fields = 1 if is_apart and len(units) > 1 else 2
            is_key = place % _GROUP == 0 and half == 0
            yield timed(data, 2 * place + half, fields, key=is_key, time_base=_FIELD_SECONDS)


def _coded(place: int, number: int, *, is_mixed: bool) -> list[bytes]:
    """Return the access units of one frame: its two fields, or one for the whole."""
    planes = _planes(number)
    in_group = place % _GROUP
    head = _sequence_parameters() + _picture_parameters() if in_group == 0 else b""
    if is_mixed and in_group == _WHOLE:
        return [_DELIMITER + head + _slice(planes, in_group, bottom=None, is_idr=False)]
    return [
        _DELIMITER
        + (b"" if bottom else head)
        # The second field of an IDR picture is a plain I field.
        + _slice(
            [plane[int(bottom) :: 2] for plane in planes],
            in_group,
            bottom=bottom,
            is_idr=in_group == 0 and not bottom,
        )
        for bottom in (False, True)
    ]


def _planes(number: int) -> list[npt.NDArray[np.uint8]]:
    """Return Y, Cb and Cr, limited range."""
    drawn = cv2.cvtColor(picture(number, (WIDTH, HEIGHT)), cv2.COLOR_RGB2YUV_I420)
    luma, chroma = drawn[:HEIGHT], drawn[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return [np.asarray(plane) for plane in (luma, chroma[0], chroma[1])]


def _sequence_parameters() -> bytes:
    bits = BitWriter().u(8, 77).u(8, 0).u(8, 30).ue(0)  # Main profile, level 3
    bits.ue(0).ue(0).ue(4).ue(2).u(1, 0)  # 4-bit frame_num, 8-bit order count, 2 references
    bits.ue(WIDTH // _BLOCK - 1).ue(_FIELD_ROWS // _BLOCK - 1)
    bits.u(1, 0).u(1, 0).u(1, 1).u(1, 0)  # fields allowed, not by macroblock; no cropping
    bits.u(1, 1).u(4, 0)  # VUI: no aspect, overscan, signal type or chroma location
    bits.u(1, 1).u(32, 1).u(32, 50).u(1, 1)  # 50 fields a second
    bits.u(1, 0).u(1, 0).u(1, 0)  # no HRD parameters, no pic_struct
    bits.u(1, 1).u(1, 1).ue(0).ue(0).ue(10).ue(10).ue(0).ue(2)  # no reordering
    return unit(b"\x67", bits.trailing())


def _picture_parameters() -> bytes:
    bits = BitWriter().ue(0).ue(0).u(1, 0).u(1, 0).ue(0).ue(0).ue(0)
    bits.u(1, 0).u(2, 0).se(0).se(0).se(0).u(1, 0).u(1, 0).u(1, 0)
    return unit(b"\x68", bits.trailing())


def _slice(
    planes: Sequence[npt.NDArray[np.uint8]], frame: int, *, bottom: bool | None, is_idr: bool
) -> bytes:
    bits = BitWriter().ue(0).ue(7).ue(0).u(4, frame)
    bits.u(1, bottom is not None)
    if bottom is not None:
        bits.u(1, bottom)
    if is_idr:
        bits.ue(0)
    bits.u(8, 2 * frame + bool(bottom))
    bits.u(1, 0)
    if is_idr:
        bits.u(1, 0)
    bits.se(0)
    luma, *chroma = planes
    for top in range(0, luma.shape[0], _BLOCK):
        for left in range(0, luma.shape[1], _BLOCK):
            bits.ue(_I_PCM).align()
            _samples(bits, luma[top : top + _BLOCK, left : left + _BLOCK])
            for plane in chroma:
                half = _BLOCK // 2
                _samples(bits, plane[top // 2 :][:half, left // 2 : left // 2 + half])
    return unit(b"\x65" if is_idr else b"\x61", bits.trailing())


def _samples(bits: BitWriter, block: npt.NDArray[np.uint8]) -> None:
    data = block.tobytes()
    bits.u(8 * len(data), int.from_bytes(data))
