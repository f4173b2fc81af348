"""Encode numbered pictures with ffmpeg."""

import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import recorded
from corpus.case import Maker
from corpus.pictures import Size, numbered

SIZE: Final[Size] = (64, 48)

_SIZES: Final[dict[str, Size]] = {
    "dnxhd": (256, 120),
    "dvvideo": (720, 576),
    "h261": (176, 144),
    "h263": (128, 96),
    "libsvtav1": (64, 64),
    "roqvideo": (64, 64),
}
"""Sizes that a codec insists on."""

_OPTIONS: Final[dict[str, Sequence[str]]] = {
    "cfhd": ("-pix_fmt", "yuv422p10"),
    "dnxhd": ("-profile:v", "dnxhr_hq", "-pix_fmt", "yuv422p"),
    "dvvideo": ("-pix_fmt", "yuv420p"),
    "libaom-av1": ("-cpu-used", "8", "-g", "4"),
    "libsvtav1": ("-preset", "12"),
    "libtheora": ("-q:v", "7"),
    "libvpx": ("-cpu-used", "8", "-b:v", "1M"),
    "libvpx-vp9": ("-cpu-used", "8", "-b:v", "1M"),
    "libx264": ("-preset", "veryfast"),
    "libx264rgb": ("-preset", "veryfast"),
    "libx265": ("-preset", "ultrafast", "-x265-params", "log-level=none"),
    "rawvideo": ("-pix_fmt", "yuv420p"),
    "vc2": ("-wavelet_depth", "3"),
    "wrapped_avframe": ("-pix_fmt", "yuv420p"),
}


class CannotMake(Exception):
    """The ffmpeg at hand does not write such a file."""


def encode(
    path: Path,
    numbers: Iterable[int],
    *options: str,
    codec: str = "libx264",
    size: Size | None = None,
    rate: str = "25",
) -> Path:
    """Encode the pictures of ``numbers``; ``options`` are ffmpeg's output options."""
    size = size or _SIZES.get(codec, SIZE)
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", rate)
    its_own = _OPTIONS.get(codec, ())
    if "-pix_fmt" in options and "-pix_fmt" in its_own:
        its_own = ()
    lossy = () if "-b:v" in its_own else ("-b:v", "2M")
    # Raw video would get a tag that no demuxer knows.
    strict = () if codec == "rawvideo" else ("-strict", "-2")
    encoder = ("-c:v", codec, *lossy, *its_own, "-threads", "1", *strict)
    ffmpeg(*source, "-i", "-", *encoder, *options, path, data=numbered(numbers, size))
    return path


def encoded(numbers: Iterable[int], *options: str, **settings: object) -> Maker:
    """Return a maker that calls ``encode``."""
    return lambda path: encode(path, numbers, *options, **settings)  # type: ignore[arg-type]


def copy(source: Path, target: Path, *options: str, before: Sequence[str] = ()) -> Path:
    """Copy packets into another file; ``before`` are options of the input."""
    ffmpeg(*before, "-i", source, "-c", "copy", *options, target)
    return target


def ffmpeg(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run ffmpeg on what is given to its standard input; return its standard output."""
    command = [program("ffmpeg"), "-v", "error", "-y", *map(str, arguments)]
    finished = recorded.run(command, data=data)
    if finished.returncode != 0:
        raise CannotMake(f"{' '.join(command)}: {finished.stderr.decode()}")
    return finished.stdout


@cache
def program(name: str) -> str:
    """Return the path of a program of FFmpeg."""
    path = shutil.which(name)
    if path is None:
        raise CannotMake(f"{name} is not installed")
    return path
