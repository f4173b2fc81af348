"""The code of docs/how-to/ray.md, and the example, which run where Ray is installed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import clips
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "ray.md"
LIMIT_SECONDS = 180


@pytest.mark.usefixtures("quiet_data")
def test_the_code_of_the_page_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: Any,  # noqa: ANN401 -- Ray's
) -> None:
    for name in ("42a.mp4", "42b.mp4", "43.mp4"):
        clips.copy_to(clips.clip(), tmp_path, name)
    code = [
        token.content
        for token in MarkdownIt().parse(PAGE.read_text())
        if token.type == "fence" and token.info.startswith("python")
    ]
    assert len(code) == 3
    monkeypatch.chdir(tmp_path)
    places = {
        "s3://media": str(tmp_path / "cache"),
        "s3://videos": str(tmp_path),
        "10.0.0.5:6379": cluster.address,
    }
    namespace: dict[str, Any] = {}
    for block in code:
        text = block
        for given, place in places.items():
            text = text.replace(given, place)
        exec(text, namespace)
    assert namespace["reports"]["match-42"].frames_extracted == 18
    assert {row["sequence"] for row in namespace["late"].take_all()} == {
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        17,
    }
    overlays = namespace["cache"].timeline("match-43").overlays(job_id="run-7", stage="edges")
    assert overlays.frames() == [5, 6, 7, 8]


def test_the_example_extracts_reads_and_draws(
    tmp_path: Path,
    cluster: Any,  # noqa: ANN401 -- Ray's
) -> None:
    program = ROOT / "examples" / "ray_fleet.py"
    clip = clips.clip(frames=50)
    run = subprocess.run(
        [sys.executable, str(program), str(clip), str(tmp_path), cluster.address],
        check=True,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert run.stdout.splitlines() == [
        "left: 10 frames of 1 chunk",
        "right: 10 frames of 1 chunk",
        "10 frames in the first second, of 20",
        "left: overlays on 10 frames",
    ]
