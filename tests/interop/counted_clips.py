"""Clips whose pictures show their number, one for each difference between tools' counts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from media import ffmpeg, made, make_clip

Images = npt.NDArray[np.uint8]

WIDTH, HEIGHT, BITS = 96, 64, 16
STRIPE: Final = WIDTH // BITS
FRAMES: Final = 60

_STRIPES: Final = (
    f"format=yuv420p,geq=lum='16+219*mod(floor(N/pow(2,floor(X/{STRIPE}))),2)':cb=128:cr=128"
)
_UNEVEN: Final = "settb=1/90000,setpts='(N+0.3*mod(N,3)+floor(N/10))/25/TB'"
_ANY_TIME: Final = ("-fps_mode", "passthrough", "-enc_time_base", "1:90000")
_H264: Final = ("-c:v", "libx264")
_OPEN: Final = "open-gop=1:keyint=20:min-keyint=20:scenecut=0"


def clip(name: str) -> Path:
    """The clip of that name, made on first use."""
    return made(f"counted-{name}", _MAKERS[name])


def shown_number(image: Images) -> int:
    """The number in the stripes of an upright picture, gray or not."""
    gray = image.mean(axis=2) if image.ndim == 3 else image
    if gray.shape == (WIDTH, HEIGHT):
        gray = np.rot90(gray, _turns_back())
    assert gray.shape == (HEIGHT, WIDTH)
    bits = gray.reshape(HEIGHT, BITS, STRIPE)[:, :, 2:4].mean(axis=(0, 2)) > 127
    return int(bits @ (1 << np.arange(BITS)))


def _turns_back() -> int:
    """Turns of a turned picture that bring its lowest stripe to the left again."""
    return 3


def _encoded(
    *extra: str, codec: str = "libx264", rate: str = "25", then: str = ""
) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        make_clip(
            path,
            codec=codec,
            frames=FRAMES,
            source=f"color=black:size={WIDTH}x{HEIGHT}:rate={rate}",
            filters=f"{_STRIPES},{then}" if then else _STRIPES,
            extra=("-g", "20", "-crf", "12", *extra),
        )

    return make


def _copied(source: str, *extra: str, before: tuple[str, ...] = ()) -> Callable[[Path], object]:
    return lambda path: ffmpeg(*before, "-i", str(clip(source)), "-c", "copy", *extra, str(path))


def _with_sound(source: str, *, seconds_late: str) -> Callable[[Path], object]:
    """The clip with sound from time 0, and its pictures later."""
    tone = ("-f", "lavfi", "-i", "sine=frequency=400:duration=2.7")
    return lambda path: ffmpeg(
        *("-itsoffset", seconds_late, "-i", str(clip(source)), *tone),
        *("-c:v", "copy", "-c:a", "aac", str(path)),
    )


def _after_another(source: str) -> Callable[[Path], object]:
    """The clip after another video of its size, which is not the default one."""
    black = ("-f", "lavfi", "-i", f"color=black:size={WIDTH}x{HEIGHT}:rate=25:duration=2.4")
    return lambda path: ffmpeg(
        *(*black, "-i", str(clip(source)), "-map", "0", "-map", "1", "-c:v:1", "copy"),
        *("-disposition:v:0", "0", "-disposition:v:1", "default", str(path)),
    )


def _bytes_of(source: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(clip(source).read_bytes()))


def _changing(*halves: Sequence[str]) -> Callable[[Path], object]:
    """Pictures of another size or format after the first half; none shows its number."""

    def make(path: Path) -> None:
        parts = []
        for number, (size, *options) in enumerate(halves):
            part = path.with_name(f"{number}-{path.name}")
            source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration=1.2")
            ffmpeg(*source, *options, "-output_ts_offset", str(1.2 * number), str(part))
            parts.append(part.read_bytes())
            part.unlink()
        # The second header of an FLV, of 13 bytes, would end the file.
        path.write_bytes(parts[0] + parts[1][13 if path.suffix == ".flv" else 0 :])

    return make


def _from_the_middle(data: bytes) -> bytes:
    return data[len(data) // 188 // 4 * 188 :]


_MAKERS: Final[dict[str, Callable[[Path], object]]] = {
    "plain.mp4": _encoded("-bf", "0"),
    "b-frames.mp4": _encoded("-bf", "3"),
    "ntsc.mp4": _encoded("-bf", "2", rate="30000/1001"),
    "thirty.mp4": _encoded("-bf", "2", rate="30"),
    "open-groups.mp4": _encoded("-bf", "3", "-x264-params", _OPEN),
    "refresh.mp4": _encoded("-bf", "0", "-x264-params", "intra-refresh=1:keyint=20"),
    "vfr.mp4": _encoded("-bf", "2", *_ANY_TIME, then=_UNEVEN),
    "edit-list.mp4": _copied("b-frames.mp4", before=("-ss", "0.5")),
    "no-edit-list.mp4": _copied("b-frames.mp4", "-use_editlist", "0"),
    "late.mp4": _copied("b-frames.mp4", "-output_ts_offset", "5"),
    "turned.mp4": _copied("b-frames.mp4", "-metadata:s:v:0", "rotate=90"),
    "fragments.mp4": _copied("b-frames.mp4", "-movflags", "frag_keyframe+empty_moov"),
    "sound.mp4": _with_sound("b-frames.mp4", seconds_late="0"),
    "sound-first.mp4": _with_sound("b-frames.mp4", seconds_late="0.3"),
    "b-frames.mkv": _copied("b-frames.mp4"),
    "vfr.mkv": _copied("vfr.mp4"),
    "late.mkv": _copied("b-frames.mp4", "-output_ts_offset", "5"),
    "negative.mkv": _copied(
        "b-frames.mp4", "-output_ts_offset", "-0.4", "-avoid_negative_ts", "disabled"
    ),
    "vp9.webm": _encoded("-cpu-used", "8", "-b:v", "300k", codec="libvpx-vp9"),
    "hevc.mp4": _encoded("-x265-params", "bframes=3:log-level=none", codec="libx265"),
    "b-frames.avi": _copied("b-frames.mp4"),
    "b-frames.ts": _copied("b-frames.mp4"),
    "no-times.ts": _copied("b-frames.ts", "-bsf:v", "setts=pts='if(eq(mod(N,7),3),NOPTS,PTS)'"),
    "twice.ts": _bytes_of("b-frames.ts", lambda data: data + data),
    "middle.ts": _bytes_of("b-frames.ts", _from_the_middle),
    "jump.ts": _copied("plain.mp4", "-bsf:v", "setts=ts='TS+945000*gte(N,30)'"),
    "grows.ts": _changing(("96x64", *_H264), ("192x128", *_H264)),
    "recolored.ts": _changing(
        ("96x64", *_H264, "-pix_fmt", "yuv420p"), ("96x64", *_H264, "-pix_fmt", "yuv444p")
    ),
    "recolored.flv": _changing(
        ("96x64", *_H264, "-pix_fmt", "yuv420p"), ("96x64", *_H264, "-pix_fmt", "yuv444p")
    ),
    "two-videos.mkv": _after_another("b-frames.mp4"),
}
CHANGING: Final = ("grows.ts", "recolored.flv", "recolored.ts")
"""Clips whose pictures show no number."""
NAMES: Final = tuple(name for name in _MAKERS if name not in CHANGING)
