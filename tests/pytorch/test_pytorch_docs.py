"""The code of docs/how-to/pytorch.md, and the example, which run where PyTorch is installed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import clips
import pytest
from markdown_it import MarkdownIt

from framecache import FrameCache

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "pytorch.md"


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker processes")
def test_code_in_the_docs_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for timeline_id in ("match-42", "match-43"):
        FrameCache(tmp_path).timeline(timeline_id).extract(clips.chunks())
    code = [
        token.content
        for token in MarkdownIt().parse(PAGE.read_text())
        if token.type == "fence" and token.info.startswith("python")
    ]
    assert len(code) == 4
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in code:
        exec(block.replace("s3://media", str(tmp_path)), namespace)
    assert namespace["dataset"][1]["target"] == {"offside": True}
    assert namespace["clips"][0]["image"].shape == (3, 3, clips.HEIGHT, clips.WIDTH)
    assert namespace["sampler"].epoch == 10


def test_example_resumes_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    program = ROOT / "examples" / "train_pytorch.py"
    run = subprocess.run(
        [sys.executable, program, clips.clip(frames=100), tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    stopped, first, second = run.stdout.splitlines()
    assert stopped == "stopped in epoch 0: 52 frames are left"
    assert first.startswith("epoch 0: 52 frames, loss ")
    assert second.startswith("epoch 1: 100 frames, loss ")
