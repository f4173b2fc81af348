"""The frames of a video are those that ffprobe displays, at the times it gives."""

from pathlib import Path

import numpy as np
import pytest

from framecache._media import video
from media import ffprobe, ffprobe_frames, real_clip
from sample_clips import clip

SOUND = [
    "h264.mp4",
    "h264.mkv",
    "h264.ts",
    "h264-open.ts",
    "h264-open-cut.mp4",
    "h264-open-cut.mkv",
    "h264-interlaced.ts",
    "hevc.mp4",
    "hevc.ts",
    "hevc-cut.mp4",
    "hevc-cut.ts",
    "vp8.webm",
    "vp9.webm",
    "vp9-hidden.webm",
    "vp9.mp4",
    "av1.mp4",
    "av1.mkv",
    "mjpeg.avi",
    "mjpeg.mp4",
    "mpeg2-interlaced.ts",
    "theora.ogg",
    "vfr.mp4",
    "vfr.mkv",
    "edit-list.mp4",
    "no-edit-list.mp4",
    "late.mp4",
    "late.mkv",
    "negative.ts",
    "turned-90.mp4",
    "odd.webm",
    "one-frame.mp4",
    "one-frame.ts",
    "from-the-middle.ts",
]
CUT_SHORT = [
    "cut-short.mp4",
    "cut-short.mkv",
    "cut-short.ts",
    "cut-short-hevc.mp4",
    "cut-short-av1.mp4",
    "cut-short-vp9.mp4",
    "cut-short-mjpeg.mp4",
    "cut-short-mjpeg.avi",
]
WITHOUT_PTS = ["h264.avi", "mpeg4.avi", "negative.mkv"]


def scan(path: Path) -> video.VideoScan:
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


def check_against_ffprobe(path: Path) -> None:
    found = scan(path)
    truth = ffprobe_frames(path)
    assert found.pts.tolist() == [frame.pts for frame in truth]
    timestamps = [pts * found.time_base for pts in found.pts.tolist()]
    assert timestamps == [frame.timestamp for frame in truth]
    assert found.is_key.tolist() == [frame.key for frame in truth]
    if truth[-1].duration:
        assert found.end_pts == truth[-1].pts + truth[-1].duration


@pytest.mark.parametrize("name", [*SOUND, *CUT_SHORT])
def test_frames_times_and_keyframes_match_ffprobe(name: str) -> None:
    check_against_ffprobe(clip(name))


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_frames_of_real_clips_match_ffprobe(name: str) -> None:
    check_against_ffprobe(real_clip(name))


@pytest.mark.parametrize("name", WITHOUT_PTS)
def test_frames_without_a_time_continue_at_the_usual_interval(name: str) -> None:
    path = clip(name)
    found, timed = scan(path), ffprobe_frames(path)
    assert len(found.pts) == len(ffprobe(path, "-show_frames")["frames"]) > len(timed)
    assert {frame.pts for frame in timed} < set(found.pts.tolist())
    assert len(set(np.diff(found.pts).tolist())) == 1
    assert found.end_pts == found.pts[-1] + found.pts[-1] - found.pts[-2]


def test_single_frame_without_a_time_is_listed() -> None:
    found = scan(clip("one-frame.avi"))
    assert len(found.pts) == 1
    assert found.end_pts > found.pts[0]


def test_generated_clips_have_the_properties_in_their_names() -> None:
    assert scan(clip("negative.ts")).pts[0] < 0
    assert scan(clip("late.mp4")).pts[0] > 0
    assert len(set(np.diff(scan(clip("vfr.mp4")).pts).tolist())) > 2
    assert len(scan(clip("edit-list.mp4")).pts) < len(scan(clip("h264.mp4")).pts)
    assert len(scan(clip("one-frame.mp4")).pts) == 1
    assert any(frame["interlaced_frame"] for frame in frames_of("h264-interlaced.ts"))
    assert any(frame["pict_type"] == "B" for frame in frames_of("h264.mp4"))
    assert {frame["pix_fmt"] for frame in frames_of("hevc.mp4")} == {"yuv420p10le"}
    # Hidden pictures, and those that lead a first keyframe, are packets without a frame.
    for name in ("vp8.webm", "hevc-cut.ts"):
        packets = ffprobe(clip(name), "-show_packets")["packets"]
        assert len(packets) > len(scan(clip(name)).pts)


def frames_of(name: str) -> list[dict[str, object]]:
    frames: list[dict[str, object]] = ffprobe(clip(name), "-show_frames")["frames"]
    return frames


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("h264.mp4", 160, 120),
        ("turned-90.mp4", 120, 160),
        ("turned-180.mp4", 160, 120),
        ("turned-270.mp4", 120, 160),
        ("odd.webm", 161, 121),
        ("odd-turned-90.mp4", 121, 161),
    ],
)
def test_size_is_that_of_the_displayed_picture(name: str, width: int, height: int) -> None:
    found = scan(clip(name))
    assert (found.width, found.height) == (width, height)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("h264.mp4", "h264", "mov"),
        ("av1.mkv", "av1", "matroska"),
        ("hevc.ts", "hevc", "mpegts"),
        ("mjpeg.avi", "mjpeg", "avi"),
        ("theora.ogg", "theora", "ogg"),
    ],
)
def test_codec_and_container_are_reported(name: str, codec: str, container: str) -> None:
    found = scan(clip(name))
    assert (found.codec, found.container) == (codec, container)


@pytest.mark.parametrize("name", ["h264-long.mp4", "hevc-long.mp4", "vp8.webm", "vp9-hidden.webm"])
def test_few_packets_are_decoded_when_packets_state_the_order(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = count_decoded_packets(monkeypatch)
    scan(clip(name))
    assert len(sent) < 20


def test_random_access_points_are_keyframes_without_leading_pictures() -> None:
    for name in ("h264-long.mp4", "vp9.webm", "mjpeg.avi", "hevc-long.mp4"):
        found = scan(clip(name))
        assert found.is_random_access.tolist() == found.is_key.tolist()
    # In H.264's open groups, pictures that lead a keyframe are built on earlier ones.
    found = scan(clip("h264-long-open.ts"))
    assert 0 < found.is_random_access.sum() < found.is_key.sum()


def test_only_an_ambiguous_beginning_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = count_decoded_packets(monkeypatch)
    path = clip("h264-long-open-cut.ts")
    found = scan(path)
    assert found.pts.tolist() == [frame.pts for frame in ffprobe_frames(path)]
    assert len(sent) < len(found.pts) / 2


def count_decoded_packets(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    from framecache._media.video.container import Container, VideoPacket  # noqa: PLC0415 - internals

    sent: list[None] = []
    decode = Container.decode

    def counted(self: Container, packet: VideoPacket | None) -> object:
        sent.append(None)
        return decode(self, packet)

    monkeypatch.setattr(Container, "decode", counted)
    return sent
