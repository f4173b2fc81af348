"""Files that are unusual in one way each, as cameras, recorders and editors give them."""

import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from corpus import layers, paff
from corpus.case import Case, Maker
from corpus.encoding import copy, encode, encoded, ffmpeg

_FRAMES: Final = 30

_GROUPS: Final = ("-g", "10", "-keyint_min", "10", "-sc_threshold", "0")
_PLAIN_ORDER: Final = (*_GROUPS, "-bf", "0")
_B_FRAMES: Final = (*_GROUPS, "-bf", "2")
_OPEN: Final = ("-bf", "3", "-x264-params", "open-gop=1:keyint=10:min-keyint=10:scenecut=0")
_OPEN_HEVC: Final = (
    "-x265-params",
    "log-level=none:open-gop=1:keyint=10:min-keyint=10:bframes=3:scenecut=0",
)
_REFRESH: Final = ("-bf", "0", "-x264-params", "intra-refresh=1:keyint=15:scenecut=0")
_FRAGMENTS: Final = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
_INTERLACED: Final = ("-flags", "+ildct+ilme", "-g", "10")
_UNEVEN: Final = (
    *("-vf", "settb=1/90000,setpts='(N+0.3*mod(N,3)+4*floor(N/10))/25/TB'"),
    *("-fps_mode", "passthrough", "-enc_time_base", "1:90000"),
)
_STANDSTILL: Final = ("-vf", "select='lt(n,10)+gt(n,20)'", "-fps_mode", "passthrough")

_ORIENTATIONS: Final = {
    "turned-90": (0, 1, -1, 0),
    "turned-180": (-1, 0, 0, -1),
    "turned-270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored-turned-90": (0, -1, -1, 0),
    "mirrored-turned-180": (1, 0, 0, -1),
    "mirrored-turned-270": (0, 1, 1, 0),
}


def cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _times()
    yield from _cuts()
    yield from _pictures()


def _times() -> Iterator[Case]:
    for suffix, codec in {
        "mp4": "libx264",
        "mkv": "libx264",
        "ts": "libx264",
        "webm": "libvpx",
        "flv": "libx264",
        "mov": "mjpeg",
        "mpg": "mpeg2video",
    }.items():
        order = ("-bf", "2") if codec == "libx264" else ()
        yield _odd("uneven", suffix, codec, "variable rate", *_UNEVEN, *order)
    for suffix in ("mp4", "mkv", "ts"):
        yield _odd("standstill", suffix, "libx264", "variable rate", *_STANDSTILL)
        yield _odd("late", suffix, "libx264", "begins at 5 s", "-output_ts_offset", "5")
        yield _odd("ntsc", suffix, "libx264", "30000/1001 a second", rate="30000/1001")
        yield _odd("one", suffix, "libx264", "one frame", count=1)
        yield _odd("open", suffix, "libx264", "open groups", *_OPEN)
        yield _odd("open-hevc", suffix, "libx265", "open groups", *_OPEN_HEVC)
        yield _odd("refresh", suffix, "libx264", "intra refresh", *_REFRESH)
    yield _odd("fast", "mkv", "libx264", "2400 a second", *_B_FRAMES, rate="2400")
    yield _odd("fast-vp8", "webm", "libvpx", "2400 a second", rate="2400")
    yield _odd("fast-vp9", "mkv", "libvpx-vp9", "1500 a second", rate="1500")
    yield _odd("fast", "flv", "flv", "1500 a second", rate="1500")
    yield _odd("fast", "mp4", "libx264", "2400 a second", *_B_FRAMES, rate="2400")
    negative = ("-avoid_negative_ts", "disabled", "-output_ts_offset", "-0.4")
    yield _odd("negative", "mkv", "libx264", "begins below 0", *_B_FRAMES, *negative)
    yield _odd("negative", "mp4", "libx264", "begins below 0", *_B_FRAMES, *negative)
    wrap = ("-muxdelay", "0", "-output_ts_offset", "95443")
    yield _odd("wrap", "ts", "libx264", "PTS wrap", *_B_FRAMES, *wrap)
    yield _odd("wrap", "mpg", "mpeg2video", "PTS wrap", *wrap)
    dropped = ("-vf", "select='not(eq(mod(n,3),1))'", "-fps_mode", "passthrough")
    yield _odd("dropped", "avi", "mjpeg", "dropped frames", *dropped)
    yield _odd("dropped", "mkv", "mpeg4", "dropped frames", *dropped)
    yield _odd(
        "b-frames-mpeg4", "avi", "mpeg4", "B-frames without PTS", "-bf", "2", "-vtag", "xvid"
    )
    yield _odd("b-frames", "avi", "libx264", "B-frames without PTS", *_B_FRAMES)
    yield _odd("b-frames", "mpg", "mpeg2video", "B-frames", "-bf", "2")
    yield _odd("b-frames", "flv", "libx264", "B-frames", *_B_FRAMES)
    yield _odd("b-frames", "h264", "libx264", "B-frames without PTS", *_B_FRAMES)
    yield _odd("b-frames", "hevc", "libx265", "B-frames without PTS", *_OPEN_HEVC)
    yield _odd("live", "webm", "libvpx", "no duration, no cues", "-live", "1")
    yield _odd("hidden", "webm", "libvpx", "hidden frames", *_hidden("vp8"))
    yield _odd("hidden-vp9", "webm", "libvpx-vp9", "hidden frames", *_hidden("vp9"))


def _hidden(codec: str) -> tuple[str, ...]:
    lag = ("-auto-alt-ref", "1", "-lag-in-frames", "16", "-arnr-maxframes", "5")
    return (*lag, "-quality", "good") if codec == "vp8" else lag


def _cuts() -> Iterator[Case]:
    for suffix in ("mp4", "mov", "mkv", "ts", "flv"):
        yield _copied("cut", suffix, "cut between keyframes", _B_FRAMES, before=("-ss", "0.7"))
    yield _copied("cut-open", "mp4", "open groups, cut", _OPEN, before=("-ss", "0.7"))
    yield _copied("cut-open", "ts", "open groups, cut", _OPEN, before=("-ss", "0.7"))
    hevc = _OPEN_HEVC
    yield _copied(
        "cut-hevc", "mp4", "open groups, cut", hevc, before=("-ss", "0.7"), codec="libx265"
    )
    yield _copied(
        "cut-hevc", "ts", "open groups, cut", hevc, before=("-ss", "0.7"), codec="libx265"
    )
    yield _copied("no-edits", "mp4", "no edit list", _B_FRAMES, "-use_editlist", "0")
    yield _copied("offset", "mp4", "empty edit", _B_FRAMES, before=("-itsoffset", "2"))
    for suffix, share in {"mkv": 0.6, "webm": 0.6, "ts": 0.6, "avi": 0.7}.items():
        codec = "libvpx" if suffix == "webm" else "mjpeg" if suffix == "avi" else "libx264"
        yield _first_part(suffix, codec, share)
    yield _first_part("mp4", "libx264", 0.6)
    yield Case("middle-refresh.ts", "ts", "h264", _from_middle(_REFRESH), "begins in the middle")
    yield Case("middle.ts", "ts", "h264", _from_middle(_B_FRAMES), "begins in the middle")
    yield Case("middle-open.ts", "ts", "h264", _from_middle(_OPEN), "begins in the middle")


def _first_part(suffix: str, codec: str, share: float) -> Case:
    def make(path: Path) -> None:
        fragments = _FRAGMENTS if suffix == "mp4" else ()
        encode(path, range(_FRAMES), "-g", "10", *fragments, codec=codec)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    container = "fragmented" if suffix == "mp4" else suffix
    return Case(f"short.{suffix}", container, codec, make, "ends in the middle")


def _from_middle(options: Sequence[str]) -> Maker:
    def make(path: Path) -> None:
        encode(path, range(_FRAMES), *options)
        data = path.read_bytes()
        path.write_bytes(data[: 3 * 188] + data[len(data) // 188 // 2 * 188 :])

    return make


def _pictures() -> Iterator[Case]:
    for suffix in ("mp4", "mov"):
        for label, matrix in _ORIENTATIONS.items():
            make = _oriented(matrix)
            yield Case(f"{label}.{suffix}", suffix, "h264", make, "rotated or mirrored")
    mirror = "h264_metadata=display_orientation=insert:flip=horizontal"
    yield _copied("mirror-message", "mp4", "rotated or mirrored", _B_FRAMES, "-bsf:v", mirror)
    for suffix, codec in {
        "mp4": "libx264",
        "mkv": "libx264",
        "ts": "mpeg2video",
        "mov": "mpeg4",
        "ogv": "libtheora",
    }.items():
        yield _odd("wide-pixels", suffix, codec, "sample aspect 4:3", "-vf", "setsar=4/3")
    for suffix, codec in {
        "ts": "libx264",
        "mp4": "libx264",
        "mkv": "mpeg2video",
        "mpg": "mpeg2video",
    }.items():
        yield _odd(f"interlaced-{codec}", suffix, codec, "interlaced", *_INTERLACED)
    telecine = ("-vf", "telecine", *_INTERLACED)
    yield _odd("telecine", "ts", "mpeg2video", "telecined", *telecine, rate="24000/1001")
    repeat = ("-vf", "setfield=tff", *_INTERLACED, "-alternate_scan", "1")
    yield _odd("alternate-scan", "ts", "mpeg2video", "interlaced", *repeat)
    for suffix, codec in {
        "ts": "libx264",
        "h264": "libx264",
        "m2v": "mpeg2video",
        "mjpeg": "mjpeg",
    }.items():
        yield Case(
            f"grows.{suffix}",
            suffix,
            codec,
            _of_two_sizes(codec),
            "size changes",
            [*range(15), *range(15, 30)],
        )
    tags = {
        "bt709": ("bt709", "bt709", "bt709"),
        "bt2020": ("bt2020nc", "bt2020", "arib-std-b67"),
        "smpte240m": ("smpte240m", "smpte240m", "smpte240m"),
        "fcc": ("fcc", "bt470m", "bt709"),
    }
    for label, (coefficients, primaries, curve) in tags.items():
        yield _odd(
            f"tagged-{label}",
            "mp4",
            "libx264",
            f"tagged {label}",
            *("-vf", f"scale=out_color_matrix={coefficients.removesuffix('nc')},format=yuv420p"),
            *("-colorspace", coefficients, "-color_primaries", primaries, "-color_trc", curve),
        )
    yield _odd(
        "tagged-full",
        "mp4",
        "libx264",
        "full range",
        *("-vf", "scale=out_range=full,format=yuv420p", "-color_range", "pc"),
    )
    yield Case("cover.mp4", "mp4", "h264", _with_cover, "a cover before the video", range(_FRAMES))
    for fields, suffix in (
        (False, "ts"),
        (False, "mp4"),
        (False, "mkv"),
        (False, "mov"),
        (True, "ts"),
        (True, "mp4"),
        (True, "mkv"),
    ):
        for mixed in (False, True):
            yield _field_coded(suffix, apart=fields, mixed=mixed)
    for suffix in ("mp4", "ts", "mkv", "hevc"):
        yield Case(
            f"layers.{suffix}",
            suffix,
            "hevc",
            lambda path: layers.write(path, range(_FRAMES)),
            "units of a second layer",
            range(_FRAMES),
        )


def _field_coded(suffix: str, *, apart: bool, mixed: bool) -> Case:
    label = f"fields{'-apart' if apart else ''}{'-mixed' if mixed else ''}"
    return Case(
        f"{label}.{suffix}",
        suffix,
        "h264",
        lambda path: paff.write(path, range(_FRAMES), apart=apart, mixed=mixed),
        "field pairs" + (", a packet each" if apart else ""),
        range(_FRAMES),
    )


def _oriented(matrix: tuple[int, int, int, int]) -> Maker:
    """Make a file whose track header has a matrix of ``(a, b, c, d)`` (ISO/IEC 14496-12, 6.2.2)."""

    def make(path: Path) -> None:
        encode(path, range(_FRAMES), *_B_FRAMES)
        a, b, c, d = (number << 16 for number in matrix)
        data = bytearray(path.read_bytes())
        # Behind the box's kind, version and flags, in version 0.
        begin = data.index(b"tkhd") + 4 + 4 + 20 + 16
        data[begin : begin + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(data)

    return make


def _with_cover(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cover, video = Path(folder, "cover.jpg"), Path(folder, "video.mp4")
        encode(cover, [200], "-frames:v", "1", codec="mjpeg", size=(32, 32))
        encode(video, range(_FRAMES), *_B_FRAMES)
        both = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
        ffmpeg("-i", cover, "-i", video, *both, path)


def _of_two_sizes(codec: str) -> Maker:
    def make(path: Path) -> None:
        joined = b""
        for part, size in enumerate([(64, 48), (96, 64)]):
            piece = path.with_name(f"part-of-{path.name}")
            numbers = range(part * 15, part * 15 + 15)
            later = ("-output_ts_offset", str(part * 0.6)) if path.suffix == ".ts" else ()
            order = ("-bf", "0")
            encode(piece, numbers, *order, *later, codec=codec, size=size)
            joined += piece.read_bytes()
            piece.unlink()
        path.write_bytes(joined)

    return make


def _odd(
    label: str,
    suffix: str,
    codec: str,
    oddity: str,
    *options: str,
    rate: str = "25",
    count: int = _FRAMES,
) -> Case:
    muxer = ("-f", "asf") if suffix == "asf" else ()
    make = encoded(range(count), *muxer, *options, codec=codec, rate=rate)
    return Case(f"{label}.{suffix}", suffix, codec, make, oddity)


def _copied(
    label: str,
    suffix: str,
    oddity: str,
    encoding: Sequence[str],
    *options: str,
    before: Sequence[str] = (),
    codec: str = "libx264",
) -> Case:
    def make(path: Path) -> None:
        source = path.with_name(f"source-of-{path.name}.mkv")
        encode(source, range(_FRAMES), *encoding, codec=codec)
        copy(source, path, *options, before=before)
        source.unlink()

    return Case(f"{label}.{suffix}", suffix, codec, make, oddity)
