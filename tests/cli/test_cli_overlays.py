from pathlib import Path

import numpy as np
import pytest
from command_line import run

from framecache import Frame, FrameCache, Timeline
from outside import png_by_pillow

PNG, OTHER = png_by_pillow(1), png_by_pillow(2)


@pytest.fixture
def walk(local_url: str) -> Timeline:
    """A timeline with overlays of two jobs, and no frames."""
    timeline = FrameCache(local_url).timeline("walk")
    timeline.overlays(job_id="run-7", stage="edges").save_many({3: {"a": PNG, "b": OTHER}, 5: {}})
    timeline.overlays(job_id="run-7", stage="boxes").save(5, {"a": OTHER})
    timeline.overlays(job_id="run-8", stage="edges").save(3, {"a": PNG})
    return timeline


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("walk")
def test_overlays_ls_lists_overlays_of_each_stage(local_url: str) -> None:
    words = ("overlays", "ls", "walk", "--cache", local_url)
    rows = [line.split() for line in run(*words).succeeded().text.splitlines()]
    size = len(PNG) + len(OTHER)
    assert ["run-7", "edges", "1", "2", str(size), "bytes", "0", "a,", "b"] in rows
    jobs = run(*words, "--json").succeeded().document["jobs"]
    assert jobs["run-7"]["edges"]["names"] == {"a": 1, "b": 1}
    assert jobs["run-8"]["edges"]["size_bytes"] == len(PNG)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), {"run-7/edges/3_a.png", "run-7/edges/3_b.png", "run-7/boxes/5_a.png",
              "run-8/edges/3_a.png"}),
        (("run-8", "run-7/boxes"), {"run-7/boxes/5_a.png", "run-8/edges/3_a.png"}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("walk")
def test_overlays_export_saves_the_stored_bytes(
    names: tuple[str, ...], expected: set[str], local_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    run("overlays", "export", "walk", folder, *names, "--cache", local_url).succeeded()
    stored = Path(local_url) / "cache" / "timelines" / "walk" / "overlays"
    assert files(folder) == {name: (stored / name).read_bytes() for name in expected}
    words = ("overlays", "export", "walk", folder, "--cache", local_url)
    assert "is not empty" in run(*words).failed(2)


def test_overlays_rm_removes_named_overlays_once_confirmed(walk: Timeline, local_url: str) -> None:
    words = ("overlays", "rm", "walk", "run-7/edges", "--cache", local_url)
    assert "remove 2 overlays of run-7/edges of timeline walk" in run(*words).failed(2)
    assert run(*words, "--yes", "--json").succeeded().document["overlays_removed"] == 2
    assert walk.jobs() == {"run-7": {"boxes": 1}, "run-8": {"edges": 1}}
    assert "run-7/edges has no overlays" in run(*words, "--yes").failed(3)


def test_overlays_commands_on_timeline_without_overlays_report_none(
    local_url: str, tmp_path: Path
) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    FrameCache(local_url).timeline("walk").write([Frame(0, 0, 0.0, image)])
    assert run("overlays", "ls", "walk", "--cache", local_url).succeeded().text == (
        "walk: no overlays.\n"
    )
    run("overlays", "export", "walk", tmp_path / "out", "--cache", local_url).failed(3)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("walk")
def test_overlays_ls_of_unknown_timeline_gets_a_suggestion(local_url: str) -> None:
    line = run("overlays", "ls", "wakl", "--cache", local_url).failed(3)
    assert "Did you mean walk?" in line


def test_overlays_without_a_command_shows_its_help_and_fails() -> None:
    outcome = run("overlays")
    assert (outcome.code, outcome.output) == (2, b"")
    lines = outcome.errors.splitlines()
    assert lines[0].startswith("Usage: framecache overlays")
    assert [line.split()[0] for line in lines[-3:]] == ["ls", "export", "rm"]
