"""``framecache extract --engine ray``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import clips
import pytest

from framecache import FrameCache

LIMIT_SECONDS = 120


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which connects to the cluster."""
    words = [sys.executable, "-m", "framecache", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("is_listed", [True, False], ids=["from a file", "by name"])
def test_timelines_are_extracted_on_the_cluster(
    tmp_path: Path,
    cluster: Any,  # noqa: ANN401 -- Ray's
    is_listed: bool,  # noqa: FBT001 -- a parameter
) -> None:
    path = tmp_path / "timelines.csv"
    rows = [*(f"a,{chunk}" for chunk in clips.chunks()), f"none,{tmp_path / 'broken.mp4'}"]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    path.write_text("\n".join(["timeline_id,chunk", *rows]))
    named: list[str | Path] = ["--from", path] if is_listed else ["a", *clips.chunks()]
    engine = ["--engine", "ray", "--address", cluster.address]
    run = command("extract", *named, *engine, "--json", "--cache", tmp_path / "cache")
    assert run.stdout, run.stderr
    document = json.loads(run.stdout)
    assert [one["frames_extracted"] for one in document["timelines"]] == [45]
    assert FrameCache(tmp_path / "cache").timeline("a").complete
    assert [one["error"] for one in document["failed"]] == ["UnreadableChunk"] * is_listed
    assert run.returncode == (5 if is_listed else 0)
    assert run.stderr.count("\n") == is_listed
    if is_listed:
        assert run.stderr.startswith("framecache: 1 of 2 timelines could not be extracted: none: ")


def test_an_address_without_a_cluster_is_one_line_and_a_code(tmp_path: Path) -> None:
    engine = ["--engine", "ray", "--address", "127.0.0.1:1"]
    run = command("extract", "a", clips.clip(), *engine, "--cache", tmp_path / "cache")
    assert run.returncode == 7
    assert run.stderr.startswith("framecache: No Ray cluster answers at 127.0.0.1:1: ")
    assert run.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []
