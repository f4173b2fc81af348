"""Every codec in every container that ffmpeg writes here and whose frames it can separate."""

from collections.abc import Iterator
from typing import Final

from corpus.case import Case
from corpus.encoding import encoded
from corpus.names import codec_of

_FRAMES: Final = 8

_ANY: Final = (
    "amv asv1 asv2 ayuv cfhd cinepak cljr dnxhd dvvideo ffv1 flashsv flv h261 h263 h263p "
    "huffyuv jpeg2000 jpegls libx264 libx264rgb ljpeg magicyuv mjpeg mpeg1video mpeg2video mpeg4 "
    "libxvid msmpeg4v2 msmpeg4 msvideo1 png r10k r210 snow speedhq svq1 targa libtheora "
    "utvideo v210 v308 v408 v410 wmv1 wmv2 y41p yuv4 zlib zmbv vc2 ffvhuff "
)
"""Codecs that almost every container takes."""

_CODECS: Final[dict[str, str]] = {
    "mov": _ANY + "avrp dpx exr gif hap libx265 prores prores_ks qtrle sgi smc tiff",
    "mp4": (
        "libaom-av1 libsvtav1 vc2 libx264 libx264rgb libx265 jpeg2000 mjpeg mpeg1video mpeg2video "
        "mpeg4 libxvid png libvpx-vp9"
    ),
    "3gp": "h263 libx264 mpeg4",
    "mkv": _ANY
    + (
        "rawvideo avrp dpx exr gif hap libx265 prores prores_ks sgi tiff libaom-av1 libsvtav1 "
        "libvpx libvpx-vp9"
    ),
    "avif": "libaom-av1",
    "webm": "libaom-av1 libsvtav1 libvpx libvpx-vp9",
    "ts": "vc2 libx264 libx264rgb libx265 mpeg1video mpeg2video mpeg4 libxvid",
    "avi": _ANY
    + (
        "rawvideo avrp bmp dpx exr fits hap pam prores prores_ks libaom-av1 libsvtav1 libvpx "
        "libvpx-vp9"
    ),
    "ogv": "libtheora libvpx",
    "flv": "flashsv flashsv2 flv libx264",
    "mpg": "libx264 libx265 mpeg1video mpeg2video mpeg4",
    "vob": "libx264 libx265 mpeg1video mpeg2video mpeg4",
    "asf": ("wmv1 wmv2 msmpeg4 msmpeg4v2 mpeg4 libx264 mjpeg mpeg2video rawvideo ffv1 libvpx"),
    "wmv": "wmv1 wmv2",
    "mxf": "dnxhd dvvideo libx264 jpeg2000 mpeg2video prores",
    "ivf": "libaom-av1 libsvtav1 libvpx libvpx-vp9",
    "h264": "libx264",
    "hevc": "libx265",
    "m2v": "mpeg2video",
    "m4v": "mpeg4",
    "mjpeg": "mjpeg",
    "gif": "gif",
    "apng": "apng",
    "y4m": "wrapped_avframe",
    "dv": "dvvideo",
    "nut": "libx264",
    "wtv": "mpeg2video",
    "rm": "rv10 rv20",
    "gxf": "dvvideo",
}
"""Encoders of ffmpeg, by suffix."""

_FRAGMENTED: Final = "libx264 libx265 libaom-av1 libvpx-vp9 mjpeg mpeg4"
_MUXERS: Final = {"asf": "asf", "wmv": "asf", "m4v": "m4v", "vob": "vob"}
"""By suffix, where ffmpeg may choose another."""


def cases() -> Iterator[Case]:
    """Yield a plain file for each codec in each container."""
    for suffix, codecs in _CODECS.items():
        for codec in codecs.split():
            yield _plain(suffix, suffix, codec)
    for codec in _FRAGMENTED.split():
        yield _plain("fragmented", "mp4", codec, "-movflags", "frag_keyframe+empty_moov")


def _plain(container: str, suffix: str, codec: str, *options: str) -> Case:
    muxer = ("-f", _MUXERS[suffix]) if suffix in _MUXERS else ()
    return Case(
        name=f"{container}-{codec}.{suffix}",
        container=container,
        codec=codec_of(codec),
        make=encoded(range(_FRAMES), *options, *muxer, codec=codec),
    )
