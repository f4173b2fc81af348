"""Files joined byte by byte, as recorders that restart and downloaders of streams leave them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from corpus.case import Case
from corpus.encoding import encode
from corpus.names import codec_of
from corpus.variants import B_FRAMES, FRAGMENTS, FRAMES, PLAIN_ORDER


def cases() -> Iterator[Case]:
    streams = {
        "h264": ("libx264", PLAIN_ORDER),
        "h264-b": ("libx264", B_FRAMES),
        "mpeg2": ("mpeg2video", ("-g", "10")),
    }
    offsets = {"same": (0, 0), "overlap": (0, 0.6), "before": (100, 0), "gap": (0, 1000)}
    for label, (codec, options) in streams.items():
        for how, starts in offsets.items():
            yield _joined(f"{label}-{how}.ts", "ts", codec, options, starts)
    yield _joined("h264-next.ts", "ts", "libx264", PLAIN_ORDER, (0, 1.2))
    yield _joined("h264-short.ts", "ts", "libx264", PLAIN_ORDER, (0, 0.1), frames=8)
    yield _joined("h264-b-short.ts", "ts", "libx264", B_FRAMES, (0, 0.1), frames=8)
    fragmented = (*B_FRAMES, *FRAGMENTS)
    for how, starts in {
        "same": (0, 0),
        "overlap": (0, 0.6),
        "next": (0, 1.2),
        "gap": (0, 50),
    }.items():
        yield _joined(f"fragments-{how}.mp4", "fragmented", "libx264", fragmented, starts)
    for how, starts in {"same": (0, 0), "gap": (0, 50), "before": (100, 0)}.items():
        yield _joined(f"h264-{how}.mkv", "mkv", "libx264", B_FRAMES, starts)
        yield _joined(f"vp8-{how}.webm", "webm", "libvpx", ("-g", "10"), starts)
    yield _joined("vp9-same.webm", "webm", "libvpx-vp9", ("-g", "10"), (0, 0))
    yield _joined("theora-same.ogv", "ogv", "libtheora", (), (0, 0))
    yield _joined("mpeg4-same.avi", "avi", "mpeg4", (), (0, 0))
    yield _joined("mjpeg-same.avi", "avi", "mjpeg", (), (0, 0))
    yield _joined("h264-same.flv", "flv", "libx264", B_FRAMES, (0, 0))
    yield _joined("mpeg2-same.mpg", "mpg", "mpeg2video", ("-g", "10"), (0, 0))
    yield _joined("h264-same.h264", "h264", "libx264", B_FRAMES, (0, 0))
    yield _joined("mjpeg-same.mjpeg", "mjpeg", "mjpeg", (), (0, 0))


def _joined(
    label: str,
    container: str,
    codec: str,
    options: Sequence[str],
    starts: Sequence[float],
    *,
    frames: int = FRAMES,
) -> Case:
    parts = [range(part * 100, part * 100 + frames) for part in range(len(starts))]

    def make(path: Path) -> None:
        joined = b""
        for numbers, start in zip(parts, starts, strict=True):
            piece = path.with_name(f"part-of-{path.name}")
            offset = ("-output_ts_offset", str(start)) if start else ()
            encode(piece, numbers, *options, *offset, codec=codec)
            joined += piece.read_bytes()
            piece.unlink()
        path.write_bytes(joined)

    # FFmpeg skips fragments that begin before the end of the one before them.
    passes_over = container == "fragmented"
    numbers = None if passes_over else [number for part in parts for number in part]
    return Case(f"joined-{label}", container, codec_of(codec), make, "joined by bytes", numbers)
