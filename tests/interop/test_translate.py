"""Frame numbers of OpenCV and ffmpeg, compared with the pictures that they show for them."""

import re
import uuid
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

import recorded
from framecache import AmbiguousFrame, FrameCache, InvalidValue, NotCached
from interop.comparing import SAMPLINGS, extracted, outcomes
from interop.counted_clips import FRAMES, HEIGHT, NAMES, WIDTH, clip, shown_number

_UNKNOWN = {"middle.ts", "two-videos.mkv"}
"""Damaged, and with a video besides the one that the timeline has."""


@cache
def read_by_opencv(path: Path) -> dict[int, int | None]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    shown: dict[int, int | None] = {}
    while True:
        is_read, image = capture.read()
        if not is_read:
            return shown
        shown[len(shown)] = shown_number(image.astype(np.uint8))


@cache
def read_by_ffmpeg(path: Path, *options: str) -> dict[int, int | None]:
    turned = "turned" in path.name
    passed = ["-fps_mode", "passthrough", *options, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = recorded.run(["ffmpeg", "-v", "error", "-i", str(path), *passed]).stdout
    size = (WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)
    images = np.frombuffer(raw, np.uint8).reshape(-1, *size)
    return {number: shown_number(image) for number, image in enumerate(images)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_opencv_number_is_translated_to_the_frame_that_read_returns(
    name: str, sampling: str
) -> None:
    timeline = extracted(name, sampling=sampling)
    shown = read_by_opencv(clip(name))
    counts = outcomes(timeline, shown, of="opencv")
    assert sum(counts.values()) == len(shown) > 0
    if name in _UNKNOWN:
        assert counts == {"AmbiguousFrame": len(shown)}
    elif sampling == "all":
        assert counts == {"right": len(shown)}
    elif sampling == "every":
        assert counts["right"] == -(-len(shown) // 3)
        assert counts["AmbiguousFrame"] == 0
    else:  # its first frame, where it is a keyframe
        assert counts["right"] >= (sampling == "fps")


@pytest.mark.parametrize("name", NAMES)
def test_ffmpeg_number_is_translated_to_the_frame_that_the_decoder_outputs(name: str) -> None:
    shown = read_by_ffmpeg(clip(name))
    counts = outcomes(extracted(name), shown, of="ffmpeg")
    assert counts == {"AmbiguousFrame" if name in _UNKNOWN else "right": len(shown)}


@pytest.mark.parametrize("fps", ["5", "25/2", "30000/1001", "50"])
@pytest.mark.parametrize("name", NAMES)
def test_fps_filter_number_is_translated_to_the_frame_that_it_outputs(name: str, fps: str) -> None:
    shown = read_by_ffmpeg(clip(name), "-vf", f"fps={fps}")
    counts = outcomes(extracted(name), shown, of="ffmpeg", fps=fps)
    if name in {*_UNKNOWN, "sound-first.mp4", "negative.mkv", "no-times.ts", "jump.ts"} | {
        "twice.ts",
        "b-frames.avi",
    }:
        assert counts == {"AmbiguousFrame": len(shown)}
    else:
        # The filter may repeat the last frame, which is not answered.
        assert counts["right"] >= len(shown) - 3
        assert counts["right"] + counts["AmbiguousFrame"] == len(shown)


@pytest.mark.parametrize("sampling", ["fps", "every", "keyframes"])
@pytest.mark.parametrize("name", ["b-frames.mp4", "vfr.mp4", "ntsc.mp4"])
def test_fps_filter_number_of_an_unsampled_frame_is_never_translated_wrongly(
    name: str, sampling: str
) -> None:
    shown = read_by_ffmpeg(clip(name), "-vf", "fps=25")
    counts = outcomes(extracted(name, sampling=sampling), shown, of="ffmpeg", fps="25")
    assert 1 <= counts["right"] < len(shown)


@pytest.mark.parametrize("sampling", ["every", "keyframes"])
def test_gap_that_ffmpeg_closes_may_be_between_sampled_frames(sampling: str) -> None:
    shown = read_by_ffmpeg(clip("jump.ts"), "-vf", "fps=25")
    assert len(shown) < 100  # it closes the gap of 10.5 s
    counts = outcomes(extracted("jump.ts", sampling=sampling), shown, of="ffmpeg", fps="25")
    assert counts == {"AmbiguousFrame": len(shown)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("grows.ts", "changes the size"),
        ("recolored.ts", "changes the size or the format"),
        ("recolored.flv", "changes the size or the format"),
    ],
)
def test_number_of_ffmpeg_is_ambiguous_where_pictures_change(name: str, reason: str) -> None:
    """ffmpeg recreates its filters there, so two frames have each number."""
    command = ["ffmpeg", "-i", str(clip(name)), "-vf", "showinfo", "-f", "null", "-"]
    shown = recorded.run(command)
    shown.check_returncode()
    assert re.findall(rb"\] n: *(\d+)", shown.stderr).count(b"3") == 2
    timeline = extracted(name)
    assert timeline.translate(3, of="opencv").sequence == 3
    for call in (timeline.translate, timeline.translate_back):
        with pytest.raises(AmbiguousFrame, match=reason):
            call(3, of="ffmpeg")


@pytest.mark.parametrize("chunk_id", [0, 1, 2])
def test_number_is_counted_within_the_given_chunk(chunk_id: int) -> None:
    names = ["b-frames.mp4", "vfr.mp4", "edit-list.mp4"]
    shown = read_by_opencv(clip(names[chunk_id]))
    for sampling in ("all", "every"):
        timeline = extracted(*names, sampling=sampling)
        counts = outcomes(timeline, shown, of="opencv", chunk_id=chunk_id)
        assert counts["AmbiguousFrame"] == 0
        assert counts["right"] >= len(shown) // 3
        found = timeline.translate_back(int(timeline.index.sequence[-1]), of="opencv")
        assert found.chunk_id == 2


def test_number_without_a_chunk_is_ambiguous_on_several_chunks() -> None:
    timeline = extracted("b-frames.mp4", "vfr.mp4")
    with pytest.raises(AmbiguousFrame, match="give chunk_id, 0 to 1"):
        timeline.translate(3, of="opencv")
    with pytest.raises(NotCached, match="no chunk 2"):
        timeline.translate(3, of="opencv", chunk_id=2)


def test_number_that_disagrees_with_its_time_is_ambiguous() -> None:
    constant, uneven = extracted("b-frames.mp4"), extracted("vfr.mp4")
    assert constant.translate(47, of="opencv", fps=25).sequence == 47
    with pytest.raises(AmbiguousFrame, match=r"begins 2\.064 s after the first one"):
        uneven.translate(47, of="opencv", fps=25)
    with pytest.raises(AmbiguousFrame, match="leave fps out"):
        constant.translate(47, of="opencv", fps=24)


def test_invalid_or_missing_number_is_rejected() -> None:
    timeline = extracted("b-frames.mp4")
    with pytest.raises(NotCached, match=f"has {FRAMES} frames, counted from 0"):
        timeline.translate(FRAMES, of="opencv")
    with pytest.raises(InvalidValue, match="n must be an integer from 0"):
        timeline.translate(-1, of="opencv")
    with pytest.raises(InvalidValue, match="of must be one of opencv"):
        timeline.translate(1, of="vlc")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="give fps"):
        timeline.translate(1, of="browser")
    with pytest.raises(NotCached, match="no frame 99"):
        timeline.translate_back(99, of="opencv")


def test_frame_that_a_low_rate_never_shows_has_no_number() -> None:
    with pytest.raises(AmbiguousFrame, match="no number at 5 fps is sure to show frame 3"):
        extracted("b-frames.mp4").translate_back(3, of="ffmpeg", fps=5)


def test_timeline_without_a_video_is_ambiguous() -> None:
    source = extracted("b-frames.mp4")
    written = FrameCache(f"memory://{uuid.uuid4().hex}").timeline("t")
    written.write(list(source.frames(stop=3)))
    with pytest.raises(AmbiguousFrame, match="has no chunks"):
        written.translate(1, of="opencv")
