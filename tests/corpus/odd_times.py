"""Unusual times: variable and high rates, odd beginnings, orders of decoding, cuts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from corpus.case import Case, Maker
from corpus.encoding import encode
from corpus.names import codec_of
from corpus.streams import PACKET_BYTES
from corpus.variants import (
    B_FRAMES,
    FRAGMENTS,
    FRAMES,
    OPEN_GROUPS,
    OPEN_GROUPS_HEVC,
    REFRESH,
    copied,
    odd,
)

_UNEVEN: Final = (
    *("-vf", "settb=1/90000,setpts='(N+0.3*mod(N,3)+4*floor(N/10))/25/TB'"),
    *("-fps_mode", "passthrough", "-enc_time_base", "1:90000"),
)
_STANDSTILL: Final = ("-vf", "select='lt(n,10)+gt(n,20)'", "-fps_mode", "passthrough")
_DROPPED: Final = ("-vf", "select='not(eq(mod(n,3),1))'", "-fps_mode", "passthrough")
_HIDDEN: Final = ("-auto-alt-ref", "1", "-lag-in-frames", "16", "-arnr-maxframes", "5")
_BELOW_ZERO: Final = ("-avoid_negative_ts", "disabled", "-output_ts_offset", "-0.4")
_WRAPPING: Final = ("-muxdelay", "0", "-output_ts_offset", "95443")
"""A clock of 33 bits runs over 0.7 s later."""
_LATER: Final = ("-ss", "0.7")


def cases() -> Iterator[Case]:
    """Yield them all."""
    yield from _rates()
    yield from _beginnings()
    yield from _orders()
    yield from _cuts()


def _rates() -> Iterator[Case]:
    for suffix, encoder in {
        "mp4": "libx264",
        "mkv": "libx264",
        "ts": "libx264",
        "webm": "libvpx",
        "flv": "libx264",
        "mov": "mjpeg",
        "mpg": "mpeg2video",
    }.items():
        order = ("-bf", "2") if encoder == "libx264" else ()
        yield odd("uneven", suffix, encoder, "variable rate", *_UNEVEN, *order)
    for suffix in ("mp4", "mkv", "ts"):
        yield odd("standstill", suffix, "libx264", "variable rate", *_STANDSTILL)
        yield odd("ntsc", suffix, "libx264", "30000/1001 a second", rate="30000/1001")
        yield odd("one", suffix, "libx264", "one frame", count=1)
    for suffix in ("mp4", "mkv"):
        yield odd("fast", suffix, "libx264", "2400 a second", *B_FRAMES, rate="2400")
    yield odd("fast", "webm", "libvpx", "2400 a second", rate="2400")
    yield odd("fast-vp9", "mkv", "libvpx-vp9", "1500 a second", rate="1500")
    yield odd("fast", "flv", "flv", "1500 a second", rate="1500")
    yield odd("dropped", "avi", "mjpeg", "dropped frames", *_DROPPED)
    yield odd("dropped", "mkv", "mpeg4", "dropped frames", *_DROPPED)
    yield odd("live", "webm", "libvpx", "no duration, no cues", "-live", "1")


def _beginnings() -> Iterator[Case]:
    for suffix in ("mp4", "mkv", "ts"):
        yield odd("late", suffix, "libx264", "begins at 5 s", "-output_ts_offset", "5")
    for suffix in ("mp4", "mkv"):
        yield odd("negative", suffix, "libx264", "begins below 0", *B_FRAMES, *_BELOW_ZERO)
    yield odd("wrap", "ts", "libx264", "PTS wrap", *B_FRAMES, *_WRAPPING)
    yield odd("wrap", "mpg", "mpeg2video", "PTS wrap", *_WRAPPING)
    yield copied("no-edits", "mp4", "no edit list", B_FRAMES, "-use_editlist", "0")
    yield copied("offset", "mp4", "empty edit", B_FRAMES, before=("-itsoffset", "2"))


def _orders() -> Iterator[Case]:
    for suffix in ("mp4", "mkv", "ts"):
        yield odd("open", suffix, "libx264", "open groups", *OPEN_GROUPS)
        yield odd("open-hevc", suffix, "libx265", "open groups", *OPEN_GROUPS_HEVC)
        yield odd("refresh", suffix, "libx264", "intra refresh", *REFRESH)
    xvid = ("-bf", "2", "-vtag", "xvid")
    yield odd("b-frames-mpeg4", "avi", "mpeg4", "B-frames without PTS", *xvid)
    yield odd("b-frames", "avi", "libx264", "B-frames without PTS", *B_FRAMES)
    yield odd("b-frames", "h264", "libx264", "B-frames without PTS", *B_FRAMES)
    yield odd("b-frames", "hevc", "libx265", "B-frames without PTS", *OPEN_GROUPS_HEVC)
    yield odd("b-frames", "mpg", "mpeg2video", "B-frames, few with a PTS", "-bf", "2")
    yield odd("b-frames", "flv", "libx264", "B-frames", *B_FRAMES)
    yield odd("b-frames", "mxf", "mpeg2video", "B-frames", "-bf", "2")
    yield odd("hidden", "webm", "libvpx", "hidden frames", *_HIDDEN)
    yield odd("hidden-vp9", "webm", "libvpx-vp9", "hidden frames", *_HIDDEN)


def _cuts() -> Iterator[Case]:
    for suffix in ("mp4", "mov", "mkv", "ts", "flv"):
        yield copied("cut", suffix, "cut between keyframes", B_FRAMES, before=_LATER)
    yield copied("cut-open", "mp4", "open groups, cut", OPEN_GROUPS, before=_LATER)
    for suffix in ("mp4", "ts"):
        yield copied(
            "cut-hevc",
            suffix,
            "open groups, cut",
            OPEN_GROUPS_HEVC,
            before=_LATER,
            encoder="libx265",
        )
    for options, label in ((REFRESH, "refresh"), (B_FRAMES, "groups"), (OPEN_GROUPS, "open")):
        make = _from_middle(options)
        yield Case(f"middle-{label}.ts", "ts", "h264", make, "begins in the middle")
    yield _ends_early("short.mkv", "libx264", 0.6)
    yield _ends_early("short.webm", "libvpx", 0.6)
    yield _ends_early("short.ts", "libx264", 0.6)
    yield _ends_early("short.avi", "mjpeg", 0.7)
    yield _ends_early("short.flv", "flv", 0.6)
    yield _ends_early("short.mpg", "mpeg2video", 0.6)
    yield _ends_early("short-fragments.mp4", "libx264", 0.6, *FRAGMENTS)


def _ends_early(name: str, encoder: str, share: float, *options: str) -> Case:
    """Return a file of which only the first ``share`` of its bytes is there."""

    def make(path: Path) -> None:
        encode(path, range(FRAMES), "-g", "10", *options, codec=encoder)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    container = "fragmented" if options else Path(name).suffix[1:]
    return Case(name, container, codec_of(encoder), make, "ends in the middle")


def _from_middle(options: Sequence[str]) -> Maker:
    """Make a stream that keeps its tables and loses its first half."""

    def make(path: Path) -> None:
        encode(path, range(FRAMES), *options)
        data = path.read_bytes()
        packets = len(data) // PACKET_BYTES
        path.write_bytes(data[: 3 * PACKET_BYTES] + data[packets // 2 * PACKET_BYTES :])

    return make
