import os

import pytest
from command_line import Terminal, clip, run

from framecache import FrameCache, Timeline
from outside import png_by_pillow

PNG = png_by_pillow(1)


@pytest.fixture
def walk(local_url: str) -> Timeline:
    """50 frames and one overlay."""
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract(clip())
    timeline.overlays(job_id="run-7", stage="edges").save(999, {"canny": PNG})
    return timeline


def test_clear_removes_frames_and_keeps_settings_and_overlays(
    walk: Timeline, local_url: str
) -> None:
    text = run("clear", "walk", "--yes", "--cache", local_url).succeeded().text
    assert "removed 50 frames" in text
    assert f"framecache rebuild walk --cache {local_url}" in text
    assert not walk.exists
    assert walk.info().chunks
    assert walk.jobs() == {"run-7": {"edges": 1}}


def test_clear_of_cleared_timeline_has_nothing_to_do(walk: Timeline, local_url: str) -> None:
    walk.clear()
    assert "nothing to do" in run("clear", "walk", "--cache", local_url).succeeded().text


def test_rm_removes_everything(walk: Timeline, local_url: str) -> None:
    document = run("rm", "walk", "--yes", "--json", "--cache", local_url).succeeded().document
    assert (document["frames_removed"], document["overlays_removed"]) == (50, 1)
    assert document["blobs_removed"] > 51
    assert document["bytes_removed"] > 0
    assert FrameCache(local_url).timelines() == []
    assert walk.jobs() == {}


@pytest.mark.parametrize("command", ["clear", "rm"])
def test_several_timelines_are_removed_only_if_all_exist(
    walk: Timeline, local_url: str, command: str
) -> None:
    run_ = FrameCache(local_url).timeline("run")
    run_.extract(clip())
    words = (command, "walk", "run", "--yes", "--json", "--cache", local_url)
    assert "There is no timeline nothing" in run(*words, "nothing").failed(3)
    assert walk.exists
    assert run_.exists
    removed = run(*words).succeeded().document["timelines"]
    assert [(one["timeline_id"], one["frames_removed"]) for one in removed] == [
        ("walk", 50),
        ("run", 50),
    ]
    assert not walk.exists
    assert not run_.exists


@pytest.mark.usefixtures("walk")
def test_quiet_commands_print_nothing(local_url: str) -> None:
    for words in (("clear", "walk", "--yes"), ("rebuild", "walk"), ("rm", "walk", "--yes")):
        assert run(*words, "-q", "--cache", local_url).succeeded().output == b""
    assert FrameCache(local_url).timelines() == []


@pytest.mark.usefixtures("walk")
def test_clear_reports_as_json(local_url: str) -> None:
    document = run("clear", "walk", "--yes", "--json", "--cache", local_url).succeeded().document
    assert (document["frames_removed"], document["overlays_removed"]) == (50, 0)


@pytest.mark.parametrize("command", ["clear", "rm"])
def test_removal_without_a_terminal_needs_yes(walk: Timeline, local_url: str, command: str) -> None:
    line = run(command, "walk", "--cache", local_url).failed(2)
    assert line.startswith("This would remove")
    assert "50 frames" in line
    assert line.endswith("give --yes to confirm.")
    assert len(walk) == 50


@pytest.mark.parametrize("command", ["clear", "rm", "rebuild", "info"])
def test_unknown_timeline_is_not_cached(local_url: str, command: str) -> None:
    run(command, "nothing", "--cache", local_url).failed(3)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("\x04", 1)])
def test_removal_on_a_terminal_asks_for_confirmation(
    walk: Timeline, local_url: str, answer: str, code: int
) -> None:
    with Terminal(["rm", "walk", "--cache", local_url]) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type(answer)
        ended, shown = terminal.end()
    assert ended == code
    assert "50 frames, 1 overlay and" in shown
    assert "Traceback" not in shown
    assert walk.exists == (code != 0)


@pytest.mark.usefixtures("walk")
def test_confirmation_question_is_not_written_to_stdout(local_url: str) -> None:
    reading, writing = os.pipe()
    words = ["rm", "walk", "--json", "--cache", local_url]
    with Terminal(words, output=writing) as terminal, os.fdopen(reading) as output:
        os.close(writing)
        terminal.wait_for("[y/N]")
        terminal.type("y\n")
        code, _ = terminal.end()
        text = output.read()
    assert code == 0
    assert text.startswith("{")
    assert text.endswith("}\n")


def test_ctrl_c_at_confirmation_removes_nothing(walk: Timeline, local_url: str) -> None:
    with Terminal(["clear", "walk", "--cache", local_url]) as terminal:
        terminal.wait_for("[y/N]")
        terminal.interrupt()
        code, shown = terminal.end()
    assert code == 130
    assert "framecache: Interrupted" in shown
    assert "Traceback" not in shown
    assert walk.exists
