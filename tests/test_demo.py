"""The demo runs the commands of README.md on its videos, and repeats no completed step."""

import subprocess
from pathlib import Path
from typing import Any

import demo
import pytest

from framecache import FrameCache, Overlays
from media import make_clip, real_clip
from test_docs import ROOT, blocks, commands, without_settings

JOB = demo.Job("job", (40, 80), smallest_motion=10, colour=(0, 220, 255))


def test_quick_start_runs_on_the_demo_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.cut_at_keyframes(real_clip("bikes.mp4"), tmp_path, demo.CHUNKS)
    without_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "quick-start.md"):
        block.run(namespace)
    assert len(namespace["bright"].frames()) == len(namespace["match"])


def test_readme_commands_run_on_the_demo_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.cut_at_keyframes(real_clip("bikes.mp4"), tmp_path, demo.CHUNKS)
    without_settings(monkeypatch)
    shown = [line for block in blocks(ROOT / "README.md") for line in commands(block.code)]
    assert len(shown) > 5
    for line in shown:
        subprocess.run(["bash", "-euc", line], check=True, stdin=subprocess.DEVNULL, cwd=tmp_path)
    assert len(list((tmp_path / "jpegs").glob("*.jpg"))) == 10


def test_demo_job_skips_frames_with_existing_overlays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save_many = Overlays.save_many

    def count(self: Overlays, frames: dict[int, dict[str, bytes]]) -> None:
        saved.extend(frames)
        save_many(self, frames)

    monkeypatch.setattr(Overlays, "save_many", count)
    timeline = FrameCache(tmp_path / "cache").timeline("walk")
    timeline.extract(make_clip(tmp_path / "walk.mp4", frames=5))
    demo.run(JOB, timeline)
    assert timeline.overlays(job_id="job", stage="edges").frames() == [0, 1, 2, 3, 4]
    saved.clear()
    demo.run(JOB, timeline)
    assert saved == []
    timeline.overlays(job_id="job", stage="edges").remove(3)
    demo.run(JOB, timeline)
    assert set(saved) == {0, 1, 2, 3, 4}


def test_existing_chunks_are_not_cut_again(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "video.mp4", extra=["-g", "10"])
    paths = demo.cut_at_keyframes(video, tmp_path, 2)
    assert [path.name for path in paths] == ["c0.mp4", "c1.mp4"]
    cut = [path.stat().st_mtime_ns for path in paths]
    demo.cut_at_keyframes(video, tmp_path, 2)
    assert [path.stat().st_mtime_ns for path in paths] == cut
    assert list(tmp_path.glob(".c*")) == []
