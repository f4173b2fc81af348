"""Examples of reading run as their users run them, on clips of the tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import PIL.Image

from framecache import FrameCache
from media import make_clip

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *words: object, cache: Path | None = None) -> str:
    """Run an example, and return what it prints."""
    settings = os.environ | ({} if cache is None else {"FRAMECACHE_URL": str(cache)})
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env=settings
    )
    return done.stdout


def test_select_frames_follows_an_extraction_and_prints_its_scenes(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "first.mp4", frames=30)
    second = make_clip(tmp_path / "second.mp4", source="mandelbrot=size=160x120:rate=25", frames=20)
    printed = run("select_frames.py", first, second, "--cache", tmp_path / "cache").splitlines()
    assert printed[0] == "followed 50 frames"
    assert printed[1:3] == [
        "scene 0: frames 0 to 29, 0.000 to 1.200 s",
        "scene 1: frames 30 to 49, 1.200 to 2.000 s",
    ]
    assert printed[3].endswith("of 50 frames changed")


def test_open_frames_makes_a_sheet_of_frames_opened_by_url(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    FrameCache(cache).timeline("cam:1").extract(make_clip(tmp_path / "clip.mp4", frames=30))
    sheet = tmp_path / "sheet.jpg"
    printed = run("open_frames.py", "cam:1", sheet, cache=cache)
    assert printed == f"{sheet}: 12 of 30 frames\n"
    with PIL.Image.open(sheet) as picture:
        assert picture.size == (960, 405)


def test_read_async_reads_a_timeline_in_two_tasks(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    gray = make_clip(tmp_path / "clip.mp4", source="color=gray:size=64x48:rate=25", frames=30)
    FrameCache(cache).timeline("t").extract(gray)
    printed = run("read_async.py", "t", cache=cache)
    [level] = re.findall(r"^mean brightness ([\d.]+), frames \[0, 12, 25\]$", printed)
    assert abs(float(level) - 128) <= 2


def test_vlm_messages_prints_a_request_with_the_time_of_each_frame(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    FrameCache(cache).timeline("t").extract(make_clip(tmp_path / "clip.mp4", frames=30))
    request = json.loads(run("vlm_messages.py", "t", "0.4", "1", "What moves?", cache=cache))
    fields = request["media_io_kwargs"]["video"]
    assert (fields["fps"], fields["frames_indices"]) == (25, list(range(10, 25)))
    video, question = request["messages"][0]["content"]
    assert video["video_url"]["url"].count(",") == 15
    assert question == {"type": "text", "text": "What moves?"}
    words = ("t", "0.4", "1", "What moves?", "--images", "--max-frames", 3)
    images = json.loads(run("vlm_messages.py", *words, cache=cache))
    kinds = [part["type"] for part in images["messages"][0]["content"]]
    assert kinds == ["text", "image_url"] * 3 + ["text"]


def test_export_frames_prints_the_times_of_each_shard(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    FrameCache(cache).timeline("t").extract(make_clip(tmp_path / "clip.mp4", frames=30))
    words = ("t", tmp_path / "shards", "--shard-bytes", 60_000)
    first, *shards = run("export_frames.py", *words, cache=cache).splitlines()
    assert first.startswith("30 frames, ")
    assert len(shards) > 1
    assert shards[0].startswith("frames-000000.tar: ")
    assert shards[-1].endswith(" to 1.160 s")
    assert sum(int(re.findall(r": (\d+) frames", line)[0]) for line in shards) == 30


def test_append_by_events_appends_each_video_once(tmp_path: Path) -> None:
    videos = [make_clip(tmp_path / f"{number}.mp4", frames=25) for number in range(3)]
    printed = run("append_by_events.py", *videos).splitlines()
    assert len(printed) == 7
    assert printed[6] == "15 frames of 3 videos"
    assert printed[5].endswith("0 waiting")


def test_translate_numbers_prints_a_line_per_number(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    FrameCache(cache).timeline("t").extract(make_clip(tmp_path / "clip.mp4", frames=30), every=2)
    printed = run("translate_numbers.py", "t", 4, 5, "--of", "opencv", cache=cache).splitlines()
    assert printed[0] == "4: frame 2 at 0.160 s"
    assert "was not sampled" in printed[1]
