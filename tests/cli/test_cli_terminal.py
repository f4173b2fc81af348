"""Output that only a terminal shows."""

import os
from pathlib import Path

from command_line import Terminal, clip, long_clip, run, spawn

from framecache import FrameCache


def test_extract_draws_a_progress_bar_on_a_terminal(local_url: str) -> None:
    with Terminal(["extract", "walk", long_clip(), "--cache", local_url]) as terminal:
        terminal.wait_for("frames/s")
        code, shown = terminal.end()
    assert code == 0
    assert "of 1,500 frames" in shown
    assert "left" in shown
    assert "1,500 frames extracted" in shown


def test_progress_bar_is_not_written_to_stdout(local_url: str) -> None:
    reading, writing = os.pipe()
    words: list[str | Path] = ["extract", "walk", clip(), "--json", "--cache", local_url]
    with Terminal(words, output=writing) as terminal, os.fdopen(reading) as output:
        os.close(writing)
        code, _ = terminal.end()
        text = output.read()
    assert code == 0
    assert text.startswith("{")
    assert text.endswith("}\n")
    assert "\x1b" not in text


def test_output_to_a_pipe_has_no_bar_and_no_color(local_url: str, tmp_path: Path) -> None:
    for words in (
        ("extract", "walk", clip()),
        ("export", "walk", tmp_path / "out"),
        ("ls",),
        ("info", "walk"),
    ):
        outcome = spawn(*words, "--cache", local_url).succeeded()
        assert "\x1b" not in outcome.text


def test_interrupted_extraction_is_resumed_by_the_next_one(local_url: str) -> None:
    words: list[str | Path] = [
        "extract",
        "walk",
        clip(),
        long_clip(),
        "--workers",
        "2",
        "--cache",
        local_url,
    ]
    with Terminal(words) as terminal:
        terminal.wait_for("frames/s")
        terminal.interrupt()
        code, shown = terminal.end()
    assert code == 130
    assert "framecache: Interrupted" in shown
    assert "Traceback" not in shown
    assert not FrameCache(local_url).timeline("walk").complete
    run("extract", "walk", clip(), long_clip(), "--cache", local_url).succeeded()
    assert FrameCache(local_url).timeline("walk").complete


def test_wide_cell_wraps_on_a_terminal_without_loss(local_url: str) -> None:
    name = "w" * 120
    FrameCache(local_url).store.put(f"cache/timelines/{name}/frames/0.jpg", b"")
    with Terminal(["ls", "--cache", local_url]) as terminal:
        code, shown = terminal.end()
    assert code == 0
    assert shown.count("w") == 120
    assert name in run("ls", "--cache", local_url).text
