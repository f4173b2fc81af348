"""Unusual pictures: turned, stretched, interlaced, of fields, layers and several sizes."""

import struct
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from corpus import layers, paff
from corpus.case import Case
from corpus.encoding import encode, ffmpeg
from corpus.names import codec_of
from corpus.variants import B_FRAMES, FRAMES, INTERLACED, PLAIN_ORDER, copied, odd

_Matrix = tuple[int, int, int, int]

_ORIENTATIONS: Final[dict[str, _Matrix]] = {
    "turned-90": (0, 1, -1, 0),
    "turned-180": (-1, 0, 0, -1),
    "turned-270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored-turned-90": (0, -1, -1, 0),
    "mirrored-turned-180": (1, 0, 0, -1),
    "mirrored-turned-270": (0, 1, 1, 0),
}
_TAGS: Final = {
    "bt709": ("bt709", "bt709", "bt709"),
    "bt2020": ("bt2020nc", "bt2020", "arib-std-b67"),
    "smpte240m": ("smpte240m", "smpte240m", "smpte240m"),
    "fcc": ("fcc", "bt470m", "bt709"),
}
"""Coefficients, primaries and transfer curve."""
_MIRROR: Final = "h264_metadata=display_orientation=insert:flip=horizontal"
_SMALL, _LARGE = (64, 48), (96, 64)


def cases() -> Iterator[Case]:
    """Yield them all."""
    yield from _seen_otherwise()
    yield from _interlaced()
    yield from _colors()
    for suffix, encoder in {
        "ts": "libx264",
        "h264": "libx264",
        "m2v": "mpeg2video",
        "mjpeg": "mjpeg",
    }.items():
        make = partial(_grow, encoder)
        name, numbers = f"grows.{suffix}", range(FRAMES)
        yield Case(name, suffix, codec_of(encoder), make, "size changes", numbers)
    yield Case("cover.mp4", "mp4", "h264", _with_cover, "a cover before the video", range(FRAMES))
    for suffix in ("mp4", "ts", "mkv"):
        make = partial(layers.write, numbers=range(FRAMES))
        name, oddity = f"layers.{suffix}", "units of a second layer"
        yield Case(name, suffix, "hevc", make, oddity, range(FRAMES))


def _seen_otherwise() -> Iterator[Case]:
    for suffix in ("mp4", "mov"):
        for label, matrix in _ORIENTATIONS.items():
            make = partial(_turned, matrix)
            yield Case(f"{label}.{suffix}", suffix, "h264", make, "rotated or mirrored")
    yield copied("mirror-message", "mp4", "rotated or mirrored", B_FRAMES, "-bsf:v", _MIRROR)
    for suffix, encoder in {
        "mp4": "libx264",
        "mkv": "libx264",
        "ts": "mpeg2video",
        "mov": "mpeg4",
        "ogv": "libtheora",
    }.items():
        yield odd("wide-pixels", suffix, encoder, "sample aspect 4:3", "-vf", "setsar=4/3")


def _interlaced() -> Iterator[Case]:
    for suffix, encoder in {
        "ts": "libx264",
        "mp4": "libx264",
        "mkv": "mpeg2video",
        "mpg": "mpeg2video",
        "mxf": "mpeg2video",
    }.items():
        yield odd("interlaced", suffix, encoder, "interlaced", *INTERLACED)
    scan = ("-vf", "setfield=tff", *INTERLACED, "-alternate_scan", "1")
    yield odd("alternate-scan", "ts", "mpeg2video", "interlaced", *scan)
    telecine = ("-vf", "telecine", *INTERLACED)
    yield odd("telecine", "ts", "mpeg2video", "telecined", *telecine, rate="24000/1001")
    for is_mixed in (False, True):
        for suffix in ("ts", "mp4", "mkv", "mov"):
            yield _of_fields(suffix, is_apart=False, is_mixed=is_mixed)
        for suffix in ("ts", "mp4", "mkv"):
            yield _of_fields(suffix, is_apart=True, is_mixed=is_mixed)


def _of_fields(suffix: str, *, is_apart: bool, is_mixed: bool) -> Case:
    label = f"fields{'-apart' if is_apart else ''}{'-mixed' if is_mixed else ''}"
    make = partial(paff.write, numbers=range(FRAMES), is_apart=is_apart, is_mixed=is_mixed)
    oddity = "field pairs (PAFF), a packet each" if is_apart else "field pairs (PAFF)"
    return Case(f"{label}.{suffix}", suffix, "h264", make, oddity, range(FRAMES))


def _colors() -> Iterator[Case]:
    for label, (coefficients, primaries, curve) in _TAGS.items():
        scale = f"scale=out_color_matrix={coefficients.removesuffix('nc')},format=yuv420p"
        tags = ("-colorspace", coefficients, "-color_primaries", primaries, "-color_trc", curve)
        name, oddity = f"tagged-{label}", "tagged matrix or range"
        yield odd(name, "mp4", "libx264", oddity, "-vf", scale, *tags)
    full = ("-vf", "scale=out_range=full,format=yuv420p", "-color_range", "pc")
    yield odd("tagged-full", "mp4", "libx264", "tagged matrix or range", *full)


def _turned(matrix: _Matrix, path: Path) -> None:
    """Make a file whose track header has a matrix of ``(a, b, c, d)`` (ISO/IEC 14496-12, 6.2.2)."""
    encode(path, range(FRAMES), *B_FRAMES)
    a, b, c, d = (number << 16 for number in matrix)
    data = bytearray(path.read_bytes())
    # Behind the box's kind, version and flags, in version 0.
    begin = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[begin : begin + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def _grow(encoder: str, path: Path) -> None:
    """Join a stream to one of smaller pictures, as its continuation."""
    joined, half = b"", FRAMES // 2
    for part, size in enumerate((_SMALL, _LARGE)):
        piece = path.with_name(f"part-of-{path.name}")
        later = ("-output_ts_offset", str(part * half / 25)) if path.suffix == ".ts" else ()
        numbers = range(part * half, part * half + half)
        encode(piece, numbers, *PLAIN_ORDER, *later, codec=encoder, size=size)
        joined += piece.read_bytes()
        piece.unlink()
    path.write_bytes(joined)


def _with_cover(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cover, video = Path(folder, "cover.jpg"), Path(folder, "video.mp4")
        encode(cover, [200], "-frames:v", "1", codec="mjpeg", size=(32, 32))
        encode(video, range(FRAMES), *B_FRAMES)
        both = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
        ffmpeg("-i", cover, "-i", video, *both, path)
