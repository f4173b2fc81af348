"""Scenes, compared with known cuts and with ffmpeg's scene detector."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recorded
from framecache import FrameCache, InvalidValue, Scene, Timeline
from media import ffmpeg, ffprobe_frames, made, real_clip
from outside import frame

SOURCES = (
    "testsrc=size=160x120:rate=25",
    "mandelbrot=size=160x120:rate=25",
    "testsrc2=size=160x120:rate=25",
    "smptebars=size=160x120:rate=25",
    "cellauto=size=160x120:rate=25:rule=110:scroll=0:full=1:seed=7",
)
FRAMES = (30, 45, 20, 50, 25)
CUTS = np.cumsum(FRAMES)[:-1].tolist()


def film() -> Path:
    """Five moving pictures, joined by cuts."""

    def make(path: Path) -> None:
        inputs = [
            word
            for source, count in zip(SOURCES, FRAMES, strict=True)
            for word in ("-f", "lavfi", "-t", str(count / 25), "-i", source)
        ]
        joined = "".join(f"[{n}:v]format=yuv420p,setsar=1[v{n}];" for n in range(len(SOURCES)))
        joined += "".join(f"[v{n}]" for n in range(len(SOURCES))) + f"concat=n={len(SOURCES)}:v=1"
        ffmpeg(*inputs, "-filter_complex", joined, "-c:v", "libx264", str(path))

    return made("scenes.mp4", make)


def cuts_by_ffmpeg(path: Path) -> list[int]:
    """Return the frames before which ffmpeg's detector finds a cut."""
    detect = ["-vf", "scdet=threshold=10", "-f", "null", "-"]
    shown = recorded.run(["ffmpeg", "-hide_banner", "-i", str(path), *detect])
    shown.check_returncode()
    times = [float(time) for time in re.findall(rb"lavfi\.scd\.time: ([\d.]+)", shown.stderr)]
    starts = [float(one.timestamp) for one in ffprobe_frames(path)]
    return [int(np.abs(np.array(starts) - time).argmin()) for time in times]


def starts(scenes: Sequence[Scene]) -> list[int]:
    return [scene.start for scene in scenes]


@pytest.fixture
def match(memory_url: str) -> Timeline:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(film())
    return timeline


def test_scenes_begin_at_cuts_found_by_ffmpeg(match: Timeline) -> None:
    assert starts(match.scenes()) == [0, *CUTS]
    assert cuts_by_ffmpeg(film()) == CUTS


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_scenes_of_real_footage_begin_at_cuts_found_by_ffmpeg(memory_url: str, name: str) -> None:
    path = real_clip(name)
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(path)
    assert starts(timeline.scenes()) == [0, *cuts_by_ffmpeg(path)]


def test_scenes_are_half_open_ranges_that_cover_every_frame_once(match: Timeline) -> None:
    scenes = match.scenes()
    probed = ffprobe_frames(film())
    bounds = [0, *CUTS, len(probed)]
    assert [(scene.start, scene.stop) for scene in scenes] == [*pairwise(bounds)]
    for scene in scenes:
        assert scene.start_seconds == float(probed[scene.start].timestamp)
    for scene, following in pairwise(scenes):
        assert scene.stop_seconds == following.start_seconds
    assert scenes[-1].stop_seconds == pytest.approx(len(probed) / 25)
    assert [scene.change is None for scene in scenes] == [True, False, False, False, False]
    assert match.sequences(ranges=scenes) == list(range(len(probed)))
    assert match.sequences(ranges_seconds=scenes[1:2]) == list(range(*bounds[1:3]))


def test_scenes_of_sampled_frames_begin_at_first_frame_after_cut(memory_url: str) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(film(), fps=5)
    expected = [min(n for n in range(100) if n / 5 >= cut / 25) for cut in CUTS]
    assert starts(timeline.scenes()) == [0, *expected]


def test_scenes_of_range_begin_at_its_first_frame(match: Timeline) -> None:
    assert starts(match.scenes(10, CUTS[1])) == [10, CUTS[0]]
    assert starts(match.scenes(start_seconds=CUTS[2] / 25)) == [CUTS[2], CUTS[3]]
    assert match.scenes(10, 10) == []
    assert match.scenes(10, 20)[0].stop == 20


def written(url: str, hashes: Sequence[str], *, fps: float = 25) -> Timeline:
    timeline = FrameCache(url).timeline("t")
    timeline.write(
        frame(n, timestamp=n / fps, perceptual_hash=text) for n, text in enumerate(hashes)
    )
    return timeline


def test_scene_shorter_than_min_seconds_is_not_ended(memory_url: str) -> None:
    zeros, ones = "0" * 16, "f" * 16
    flash = written(memory_url, [zeros] * 20 + [ones] * 2 + [zeros] * 20)
    assert starts(flash.scenes()) == [0, 20]
    assert starts(flash.scenes(min_seconds=0.05)) == [0, 20, 22]
    assert starts(flash.scenes(min_seconds=0.81)) == [0, 22]


def test_fast_motion_is_no_cut_and_unrelated_images_are(memory_url: str) -> None:
    still, moved = "0" * 16, "0" * 10 + "f" * 6  # 24 bits
    moving = written(memory_url, [still, moved] * 10)
    assert starts(moving.scenes(min_seconds=0)) == [0]
    slides = FrameCache(memory_url).timeline("slides")
    slides.write(
        frame(n, timestamp=float(n), perceptual_hash=("0" * 16, "f" * 16)[n % 2]) for n in range(6)
    )
    assert starts(slides.scenes()) == list(range(6))


def test_frames_without_hash_begin_no_scene(memory_url: str) -> None:
    unknown = written(memory_url, ["0" * 16] * 20 + ["unknown"] * 3 + ["f" * 16] * 20)
    assert starts(unknown.scenes()) == [0]


def test_empty_timeline_has_no_scenes(memory_url: str) -> None:
    assert FrameCache(memory_url).timeline("t").scenes() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_change": 0}, "min_change"),
        ({"min_change": 65}, "min_change"),
        ({"min_change": None}, "min_change"),
        ({"min_seconds": -1}, "min_seconds"),
        ({"min_seconds": float("nan")}, "min_seconds"),
        ({"start": 1, "start_seconds": 1}, "not both"),
    ],
)
def test_invalid_arguments_of_scenes_are_rejected(
    match: Timeline, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        match.scenes(**arguments)
