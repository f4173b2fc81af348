"""Pixel formats, sizes and tags of pictures."""

import re
from collections.abc import Iterator
from typing import Final

from corpus.case import Case
from corpus.encoding import encoded
from corpus.names import codec_of

_FRAMES: Final = 8

_PIXEL_FORMATS: Final = {
    ("ffv1", "mkv"): (
        "gray gray10 gray16 yuv410p yuv411p yuv420p yuv422p yuv440p yuv444p yuv420p10 yuv422p10 "
        "yuv440p10 yuv444p12 yuv444p16 yuva420p yuva444p gbrp gbrp10 gbrp16 bgr0 bgra rgb48 ya8"
    ),
    ("rawvideo", "avi"): (
        "gray yuv410p yuv411p yuv420p yuv422p yuyv422 uyvy422 nv12 bgr24 bgra rgb555 pal8 monow"
    ),
    ("rawvideo", "mov"): "rgb24 argb uyvy422 gray monow pal8 rgb555be",
    ("png", "mov"): "gray rgb24 rgba rgb48be gray16be pal8 monob ya8",
    ("qtrle", "mov"): "gray rgb555be argb",
    ("libx264", "mp4"): (
        "gray gray10 yuv420p yuvj420p yuv422p yuv444p yuv420p10 yuv422p10 yuv444p10 nv12"
    ),
    ("libx264rgb", "mkv"): "rgb24",
    ("libx265", "mp4"): "gray gray10 yuv420p yuv422p yuv444p yuv420p10 yuv422p10 yuv444p12 gbrp",
    ("libvpx-vp9", "webm"): "yuv420p yuv422p yuv440p yuv444p yuv420p10 yuv444p12 gbrp yuva420p",
    ("libaom-av1", "mkv"): "gray yuv422p yuv444p yuv420p10 gbrp",
    ("mjpeg", "avi"): "yuvj420p yuvj422p yuvj444p",
    ("prores_ks", "mov"): "yuv422p10 yuv444p10 yuva444p10",
    ("dnxhd", "mov"): "yuv422p yuv422p10 yuv444p10 gbrp10",
    ("jpeg2000", "mov"): "gray yuv422p yuv410p yuv411p rgb24 gray16",
    ("dvvideo", "avi"): "yuv420p yuv411p yuv422p",
    ("utvideo", "avi"): "gbrp yuv420p yuv444p",
    ("ffvhuff", "avi"): "yuv410p yuv411p yuv420p10 gray gbrp",
    ("tiff", "mov"): "gray monob pal8 rgb24 yuv411p yuv410p",
}
_ODD: Final = ((65, 49), (33, 64), (64, 47))
_ODD_CODECS: Final = {
    "libx264": "mp4",
    "libvpx-vp9": "webm",
    "mjpeg": "avi",
    "ffv1": "mkv",
    "png": "mov",
}


def cases() -> Iterator[Case]:
    """Yield a file for each pixel format, odd size and tag."""
    for (codec, suffix), formats in _PIXEL_FORMATS.items():
        for name in formats.split():
            yield _of_format(codec, suffix, name)
    for codec, suffix in _ODD_CODECS.items():
        for size in _ODD:
            yield _of_size(codec, suffix, size)


def _of_format(codec: str, suffix: str, name: str) -> Case:
    options: list[str] = []
    settings: dict[str, object] = {"codec": codec}
    if codec == "dnxhd":
        deep = {"yuv422p": "dnxhr_hq", "yuv422p10": "dnxhr_hqx"}
        options = ["-profile:v", deep.get(name, "dnxhr_444")]
    if codec == "prores_ks" and "444" in name:
        options = ["-profile:v", "4444"]
    if (codec, name) == ("dvvideo", "yuv411p"):
        settings |= {"size": (720, 480), "rate": "30000/1001"}
    return Case(
        name=f"{codec}-{name}.{suffix}",
        container=suffix,
        codec=codec_of(codec),
        make=encoded(range(_FRAMES), *options, "-pix_fmt", name, **settings),
        oddity=_family(name),
        numbers=range(_FRAMES),
    )


def _of_size(codec: str, suffix: str, size: tuple[int, int]) -> Case:
    width, height = size
    options = ("-pix_fmt", "yuv444p") if codec == "libx264" else ()
    return Case(
        name=f"{codec}-{width}x{height}.{suffix}",
        container=suffix,
        codec=codec_of(codec),
        make=encoded(range(_FRAMES), *options, codec=codec, size=size),
        oddity="odd width or height",
        numbers=range(_FRAMES),
    )


def _family(name: str) -> str:
    """Return how the table calls a pixel format of FFmpeg."""
    if layout := re.fullmatch(r"yuv[aj]?(4)(\d)(\d)p(1[0-6])?", name):
        sampling, depth = ":".join(layout.groups()[:3]), layout[4]
        return f"{sampling}, 10 bits and more" if depth else sampling
    packed = {"nv12": "4:2:0", "yuyv422": "4:2:2", "uyvy422": "4:2:2", "pal8": "palette"}
    if name in packed:
        return packed[name]
    family = (
        "one bit"
        if name.startswith("mono")
        else "gray"
        if name[0] in "gy" and name[:3] != "gbr"
        else "RGB"
    )
    return f"{family}, 10 bits and more" if re.search(r"1[0-6]|48", name) else family
