"""Every packet of a video is accounted for, and every picture of the decoder is a frame."""

from pathlib import Path

import pytest

from framecache._media import video
from media import ffmpeg, ffprobe, made, make_clip
from sample_clips import clip

_NAMES = (
    *("h264.mp4", "h264.ts", "h264.avi", "h264-open-cut.mp4", "h264-interlaced.ts", "hevc-cut.ts"),
    *("vp8.webm", "vp9-hidden.webm", "av1.mkv", "mjpeg.avi", "mpeg4.avi", "theora.ogg"),
    *("edit-list.mp4", "from-the-middle.ts", "negative.mkv", "cut-short.ts", "cut-short.mkv"),
)


def scan(path: Path) -> video.VideoScan:
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


def packets_of(path: Path) -> int:
    return len(ffprobe(path, "-show_packets", "-show_entries", "packet=size")["packets"])


def frames_of(path: Path) -> int:
    return len(ffprobe(path, "-show_frames", "-show_entries", "frame=key_frame")["frames"])


@pytest.mark.parametrize("name", _NAMES)
def test_packet_and_frame_counts_match_ffprobe(name: str) -> None:
    path = clip(name)
    found = scan(path)
    assert found.packet_counts.total == packets_of(path)
    assert (
        found.packet_counts.shown + found.packet_counts.undecodable
        == len(found.pts)
        == frames_of(path)
    )
    account = found.packet_counts
    ends = (account.shown, account.second_fields, account.undecodable, account.hidden)
    assert sum(ends) + account.not_displayed == account.total


def test_packets_excluded_by_an_edit_list_are_hidden() -> None:
    account = scan(clip("edit-list.mp4")).packet_counts
    assert account.hidden == account.total - account.shown > 0


def test_packets_before_the_first_keyframe_are_leading() -> None:
    account = scan(clip("from-the-middle.ts")).packet_counts
    assert account.leading == account.total - account.shown > 0
    assert account.not_displayed == account.leading


def joined_theora(path: Path) -> None:
    parts = [path.with_name(f"{path.stem}-{number}.ogg") for number in range(2)]
    for part in parts:
        make_clip(part, codec="libtheora", frames=10)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def test_repeated_headers_are_hidden_packets() -> None:
    account = scan(made("joined-theora.ogg", joined_theora)).packet_counts
    assert (account.shown, account.hidden, account.undecodable) == (20, 3, 0)


def refused(path: Path) -> None:
    """Make Motion JPEG whose 11th picture is not a JPEG."""
    make_clip(path, codec="mjpeg", frames=20, extra=("-q:v", "3", "-pix_fmt", "yuvj420p"))
    packets = ffprobe(path, "-show_packets", "-show_entries", "packet=pos,size")["packets"]
    at, size = int(packets[10]["pos"]), int(packets[10]["size"])
    data = bytearray(path.read_bytes())
    data[at : at + size] = bytes(size)
    path.write_bytes(data)


def test_refused_packet_between_others_keeps_its_position() -> None:
    path = made("refused.mp4", refused)
    found = scan(path)
    assert len(found.pts) == 20
    with path.open("rb") as file:
        items = list(video.decode(file, found, found.pts, name="refused", threads=1))
    assert [isinstance(item, video.Undecodable) for item in items] == [
        number == 10 for number in range(20)
    ]


def test_video_without_keyframe_marks_is_displayed_completely() -> None:
    path = made(
        "no-marks.ts", lambda path: ffmpeg("-i", str(clip("h264.mp4")), "-c", "copy", str(path))
    )
    assert scan(path).packet_counts.not_displayed == 0
