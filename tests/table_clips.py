"""Clips whose sample tables are used, and changes of these tables."""

import struct
from pathlib import Path

from media import ffmpeg, ffprobe, made


def big_clip() -> Path:
    return made("tables-big.mp4", _make_big)


def fragmented_clip(flags: str = "frag_keyframe+empty_moov") -> Path:
    """The same in a fragment for each group, without the sound; ``flags`` are ffmpeg's."""
    return made(
        f"tables-{flags}.mp4",
        lambda path: ffmpeg(
            *("-i", str(big_clip()), "-map", "0:v", "-c", "copy", "-movflags", flags), str(path)
        ),
    )


def _make_big(path: Path) -> None:
    """Make noise with sound, in groups of 25 frames."""
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25,noise=c0s=60:c0f=t"),
        *("-f", "lavfi", "-i", "sine=duration=12", "-frames:v", "300"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-sc_threshold", "0"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", str(path)),
    )


def without_picture(path: Path, number: int) -> bytes:
    """Return an H.264 file with one sample, in decoding order, replaced by filler data."""
    packet = ffprobe(path, "-show_packets", "-show_entries", "packet=pos,size")["packets"][number]
    data, at, size = path.read_bytes(), int(packet["pos"]), int(packet["size"])
    filler = (size - 4).to_bytes(4) + b"\x0c" + b"\xff" * (size - 6) + b"\x80"
    return data[:at] + filler + data[at + size :]


def entry_at(data: bytes, kind: bytes, number: int, *, nth: int = 0, width: int = 4) -> int:
    """Return the offset of an entry of a table in the index, such as ``stco``."""
    begin = -1
    for _ in range(nth + 1):
        begin = data.index(kind, begin + 1)
    head = 16 if kind == b"stsz" else 12
    return begin + head + width * number


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack(">I", value % 2**32) + data[at + 4 :]


def uint32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4])
