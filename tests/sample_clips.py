"""Small clips, one for each difference between videos, by file name."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from media import ffmpeg, made, make_clip

Maker = Callable[[Path], object]

TS_PACKET_BYTES: Final = 188


def clip(name: str) -> Path:
    """Return the clip of a name; it is made on first use."""
    return made(name, _MAKERS[name])


def clip_names() -> list[str]:
    """The names of all clips."""
    return list(_MAKERS)


def _encoded(codec: str, *extra: str, **settings: object) -> Maker:
    return lambda path: make_clip(path, codec=codec, extra=extra, **settings)  # type: ignore[arg-type]


def _in_two_passes(codec: str) -> Maker:
    """Encode with pictures that are never shown and that later ones refer to."""

    def make(path: Path) -> None:
        log = str(path.with_name(f"{codec}-log"))
        hidden = ("-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "300k", "-cpu-used", "4")
        for number in ("1", "2"):
            passes = ("-pass", number, "-passlogfile", log)
            make_clip(path, codec=codec, extra=(*hidden, *passes))

    return make


def _copied(source: str, *extra: str, before: tuple[str, ...] = ()) -> Maker:
    """Copy a clip's packets into another container, or cut, shift or tag them."""
    return lambda path: ffmpeg(*before, "-i", str(clip(source)), "-c", "copy", *extra, str(path))


def _bytes_of(source: str, change: Callable[[bytes], bytes]) -> Maker:
    return lambda path: path.write_bytes(change(clip(source).read_bytes()))


def _first(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


def _garbage_after(share: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        sound = data[: int(len(data) * share)]
        return sound + random.Random(7).randbytes(len(data) - len(sound))

    return change


def _flipped_bits(count: int) -> Callable[[bytes], bytes]:
    """Damage all except the first quarter, which has the headers and the first GOP."""

    def change(data: bytes) -> bytes:
        spoilt, dice = bytearray(data), random.Random(11)
        for _ in range(count):
            spoilt[dice.randrange(len(data) // 4, len(data))] ^= 1 << dice.randrange(8)
        return bytes(spoilt)

    return change


def _dropping_prior_pictures(data: bytes) -> bytes:
    """HEVC whose keyframes, except for the first, have no_output_of_prior_pics_flag set."""
    keyframes = list(re.finditer(rb"\x00\x00\x01[\x26\x28]\x01", data))
    changed = bytearray(data)
    for keyframe in keyframes[1:]:
        changed[keyframe.end()] |= 0x40
    return bytes(changed)


def _from_the_middle(data: bytes) -> bytes:
    packets = len(data) // TS_PACKET_BYTES
    return data[packets // 4 * TS_PACKET_BYTES :]


_B_FRAMES = ("-bf", "3", "-g", "20", "-movflags", "+faststart")
_OPEN_GROUPS = ("-bf", "3", "-x264-params", "open-gop=1:keyint=20:min-keyint=20:scenecut=0")
_HEVC = (
    *("-pix_fmt", "yuv420p10le", "-movflags", "+faststart"),
    *("-x265-params", "bframes=3:keyint=20:min-keyint=20:open-gop=1:log-level=none"),
)
_HEVC_CLOSED = ("-x265-params", "bframes=3:keyint=20:min-keyint=20:open-gop=0:log-level=none")
_REFRESH = ("-bf", "0", "-x264-params", "intra-refresh=1:keyint=25:scenecut=0")
_SECONDS = ("-bf", "2", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0")
_UNEVEN = "settb=1/90000,setpts='(N+0.3*mod(N,3)+floor(N/10))/25/TB'"
_ANY_TIME = ("-fps_mode", "passthrough", "-enc_time_base", "1:90000")
_INTERLACED = ("-flags", "+ildct+ilme", "-bf", "2", "-g", "20")

_MAKERS: Final[dict[str, Maker]] = {
    "h264.mp4": _encoded("libx264", *_B_FRAMES),
    "h264.mkv": _copied("h264.mp4"),
    "h264.ts": _copied("h264.mp4"),
    "h264.avi": _copied("h264.mp4"),
    "h264-open.ts": _encoded("libx264", *_OPEN_GROUPS),
    "h264-open.mp4": _copied("h264-open.ts"),
    "h264-open-cut.mp4": _copied("h264-open.ts", before=("-ss", "0.9")),
    "h264-open-cut.mkv": _copied("h264-open.ts", before=("-ss", "0.9")),
    "h264-interlaced.ts": _encoded("libx264", *_INTERLACED),
    "h264-simple.mp4": _encoded("libx264", "-tune", "zerolatency", "-g", "25"),
    "h264-long.mp4": _encoded("libx264", "-bf", "3", "-g", "40", frames=300),
    "h264-long.ts": _copied("h264-long.mp4"),
    "h264-long-open.ts": _encoded("libx264", *_OPEN_GROUPS, frames=150),
    "h264-long-open-cut.ts": _bytes_of("h264-long-open.ts", _from_the_middle),
    "h264-seconds.mp4": _encoded("libx264", *_SECONDS, rate="30", frames=300),
    "h264-seconds.mkv": _copied("h264-seconds.mp4"),
    "h264-seconds.ts": _copied("h264-seconds.mp4"),
    # A keyframe is marked where the next 25 pictures begin to be refreshed.
    "h264-refresh.ts": _encoded("libx264", *_REFRESH, frames=150),
    "h264-refresh.mp4": _copied("h264-refresh.ts"),
    # Without a table of keyframes, every sample is one.
    "h264-all-keys.mp4": _bytes_of("h264.mp4", lambda data: data.replace(b"stss", b"free")),
    "hevc.mp4": _encoded("libx265", *_HEVC),
    "hevc.ts": _copied("hevc.mp4"),
    "hevc-cut.mp4": _copied("hevc.ts", before=("-ss", "0.9")),
    "hevc-cut.ts": _copied("hevc.ts", before=("-ss", "0.9")),
    "hevc-long.mp4": _encoded("libx265", *_HEVC, frames=200),
    "hevc-closed.ts": _encoded("libx265", *_HEVC_CLOSED),
    "hevc-dropping.ts": _bytes_of("hevc-closed.ts", _dropping_prior_pictures),
    "vp8.webm": _in_two_passes("libvpx"),
    "vp9-hidden.webm": _in_two_passes("libvpx-vp9"),
    "vp9.webm": _encoded("libvpx-vp9", "-cpu-used", "8", "-g", "20"),
    "vp9.mp4": _copied("vp9.webm", "-movflags", "+faststart"),
    "av1.mkv": _encoded("libaom-av1", "-cpu-used", "8", "-g", "12", frames=24),
    "av1.mp4": _copied("av1.mkv", "-movflags", "+faststart"),
    "mjpeg.avi": _encoded("mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p", frames=20),
    "mjpeg.mp4": _copied("mjpeg.avi", "-movflags", "+faststart"),
    "prores.mov": _encoded("prores_ks", "-pix_fmt", "yuv422p10le", frames=20),
    "mpeg2-interlaced.ts": _encoded("mpeg2video", *_INTERLACED),
    "theora.ogg": _encoded("libtheora", "-q:v", "5", frames=30),
    "mpeg4.avi": _encoded("mpeg4", "-bf", "2", frames=30),
    "vfr.mp4": _encoded("libx264", *_ANY_TIME, "-bf", "2", filters=_UNEVEN),
    "vfr.mkv": _copied("vfr.mp4"),
    "edit-list.mp4": _copied("h264.mp4", before=("-ss", "0.5")),
    "no-edit-list.mp4": _copied("h264.mp4", "-use_editlist", "0"),
    "late.mp4": _copied("h264.mp4", "-output_ts_offset", "5"),
    "late.mkv": _copied("h264.mp4", "-output_ts_offset", "5"),
    # 33-bit times that run over are read as negative ones.
    "negative.ts": _copied("h264.mp4", "-muxdelay", "0", "-output_ts_offset", "95442.8"),
    "negative.mkv": _copied(
        "h264.mp4", "-output_ts_offset", "-0.4", "-avoid_negative_ts", "disabled"
    ),
    "turned-90.mp4": _copied("h264.mp4", "-metadata:s:v:0", "rotate=90"),
    "turned-180.mp4": _copied("h264.mp4", "-metadata:s:v:0", "rotate=180"),
    "turned-270.mp4": _copied("h264.mp4", "-metadata:s:v:0", "rotate=270"),
    "mirrored.mp4": _copied(
        "h264.mp4", "-bsf:v", "h264_metadata=display_orientation=insert:flip=horizontal"
    ),
    "odd.webm": _encoded(
        "libvpx-vp9", "-cpu-used", "8", source="testsrc=size=161x121:rate=25", frames=12
    ),
    "odd-turned-90.mp4": _copied("odd.webm", "-metadata:s:v:0", "rotate=90"),
    "odd-turned-180.mp4": _copied("odd.webm", "-metadata:s:v:0", "rotate=180"),
    "odd-turned-270.mp4": _copied("odd.webm", "-metadata:s:v:0", "rotate=270"),
    "fragments.mp4": _copied("h264.mp4", "-movflags", "frag_keyframe+empty_moov"),
    "h264.flv": _copied("h264.mp4"),
    "h264-index.flv": _copied("h264.mp4", "-flvflags", "add_keyframe_index"),
    "h264.h264": _copied("h264.mp4"),
    "hevc.hevc": _copied("hevc.mp4"),
    "h264.mxf": _encoded("libx264", "-bf", "2", "-pix_fmt", "yuv422p10le"),
    "mpeg2.mpg": _encoded("mpeg2video", "-bf", "2", "-g", "12"),
    "mpeg2.mxf": _encoded("mpeg2video", "-bf", "2", "-g", "12"),
    "wmv2.wmv": _encoded("wmv2", frames=30),
    "vp8.ivf": _copied("vp8.webm"),
    "animation.gif": _encoded("gif", "-pix_fmt", "rgb8", frames=12),
    "animation.apng": _encoded("apng", "-pix_fmt", "rgb24", frames=12),
    "raw.y4m": _encoded("wrapped_avframe", frames=12),
    "tape.dv": _encoded("dvvideo", size=(720, 576), frames=5),
    "one-frame.mp4": _encoded("libx264", frames=1),
    "one-frame.ts": _copied("one-frame.mp4"),
    "one-frame.avi": _copied("one-frame.mp4"),
    "cut-short.mp4": _bytes_of("h264.mp4", _first(0.6)),
    "cut-short.mkv": _bytes_of("h264.mkv", _first(0.71)),
    "cut-short.ts": _bytes_of("h264.ts", _first(0.71)),
    "cut-short-hevc.mp4": _bytes_of("hevc.mp4", _first(0.71)),
    "cut-short-av1.mp4": _bytes_of("av1.mp4", _first(0.6)),
    "cut-short-vp9.mp4": _bytes_of("vp9.mp4", _first(0.71)),
    "cut-short-mjpeg.mp4": _bytes_of("mjpeg.mp4", _first(0.71)),
    "cut-short-mjpeg.avi": _bytes_of("mjpeg.avi", _first(0.83)),
    "from-the-middle.ts": _bytes_of("h264.ts", _from_the_middle),
    "garbage.mp4": _bytes_of("h264.mp4", _garbage_after(0.6)),
    "garbage.ts": _bytes_of("h264.ts", _garbage_after(0.6)),
    "garbage-hevc.mp4": _bytes_of("hevc.mp4", _garbage_after(0.6)),
    "garbage-vp9.mp4": _bytes_of("vp9.mp4", _garbage_after(0.6)),
    "garbage-av1.mp4": _bytes_of("av1.mp4", _garbage_after(0.6)),
    "garbage-mjpeg.mp4": _bytes_of("mjpeg.mp4", _garbage_after(0.6)),
    "spoilt.mp4": _bytes_of("h264.mp4", _flipped_bits(6)),
    "spoilt.mkv": _bytes_of("h264.mkv", _flipped_bits(6)),
    "spoilt.ts": _bytes_of("h264.ts", _flipped_bits(6)),
    "spoilt-open.ts": _bytes_of("h264-open.ts", _flipped_bits(6)),
    "spoilt-hevc.mp4": _bytes_of("hevc.mp4", _flipped_bits(30)),
    "spoilt-vp9.mp4": _bytes_of("vp9.mp4", _flipped_bits(30)),
    "spoilt-av1.mp4": _bytes_of("av1.mp4", _flipped_bits(6)),
    "spoilt-mjpeg.mp4": _bytes_of("mjpeg.mp4", _flipped_bits(30)),
    "spoilt-mpeg4.avi": _bytes_of("mpeg4.avi", _flipped_bits(6)),
}
