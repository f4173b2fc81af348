"""HEVC with units of a second layer, as multiview streams of phones have (MV-HEVC).

ffmpeg 5.1 has no encoder for it, so that the base layer is libx265's and the second layer's
parameter sets and slices are made up: a decoder of the base layer must ignore them (ITU-T
H.265, 8.1, nuh_layer_id above 0).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from corpus.encoding import encode
from corpus.muxing import mux, packets_of, with_data

_START: Final = re.compile(rb"\x00\x00\x01")
_SLICES: Final = range(32)
_PARAMETERS: Final = range(32, 35)
_LAYER: Final = 1


def write(path: Path, numbers: Sequence[int]) -> None:
    """Write a stream of two layers into a container."""
    base = path.with_name(f"base-of-{path.name}.ts")
    encode(base, numbers, "-bf", "2", codec="libx265")
    layered = (with_data(one, _with_second_layer(bytes(one))) for one in packets_of(base))
    mux(path, layered, like=base)
    base.unlink()


def _with_second_layer(data: bytes) -> bytes:
    """Follow each parameter set and slice of an Annex B packet by a copy in layer 1."""
    begins = [match.end() for match in _START.finditer(data)]
    ends = [*(begin - 3 for begin in begins[1:]), len(data)]
    stream = b""
    for begin, end in zip(begins, ends, strict=True):
        unit = data[begin:end].rstrip(b"\0")
        kind = unit[0] >> 1 & 63
        stream += b"\0\0\0\1" + unit
        if kind in _SLICES or kind in _PARAMETERS:
            layered = bytes([unit[0] | _LAYER >> 5, unit[1] & 7 | (_LAYER & 31) << 3])
            stream += b"\0\0\0\1" + layered + unit[2:]
    return stream
