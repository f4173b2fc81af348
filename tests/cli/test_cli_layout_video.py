"""The command line with timelines of layout video."""

import json
from pathlib import Path

from command_line import clip, run

from framecache import FrameCache


def test_commands_work(local_url: str, tmp_path: Path) -> None:
    where = ("--cache", local_url)
    words = ("extract", "walk", clip(), "--layout", "video", *where)
    assert "50 frames" in run(*words).succeeded().text
    assert "nothing to do" in run(*words).succeeded().text
    stored = FrameCache(local_url).timeline("stored")
    stored.extract([clip()])
    assert "layout video" in run("info", "walk", *where).succeeded().text
    assert "walk" in run("ls", *where).succeeded().text
    run("info", "walk", "--cost", *where).succeeded()
    dry = run("extract", "new", clip(), "--layout", "video", "--dry-run", "--json", *where)
    assert json.loads(dry.succeeded().text)["bytes_to_store"] == 0
    run("get", "walk", "30", "--output", tmp_path / "30.jpg", *where).succeeded()
    assert (tmp_path / "30.jpg").read_bytes() == stored.jpeg(30)
    run("export", "walk", tmp_path / "out", *where).succeeded()
    exported = sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg"))
    assert exported == sorted(stored.jpegs(range(50)))
    run("verify", "walk", *where).succeeded()
    run("verify", "walk", "--deep", *where).succeeded()
    run("gc", *where).succeeded()
    refused = run("repack", "stored", "--layout", "video", *where)
    assert "framecache rebuild stored --layout video" in refused.failed(4)
    assert "50 frames" in run("repack", "walk", "--layout", "packs", *where).succeeded().text
