"""Output that only a terminal shows."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Terminal, clip, long_clip, run, spawn

from framecache import FrameCache, Timeline


@dataclass(frozen=True)
class Extracted:
    """A timeline that a command extracted on a terminal."""

    folder: Path
    code: int
    shown: str

    def copied_to(self, folder: str) -> Timeline:
        """Copy its cache, and return the timeline there."""
        shutil.copytree(self.folder, folder)
        return FrameCache(folder).timeline("walk")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Extracted:
    """1,500 frames."""
    folder = tmp_path_factory.mktemp("extracted") / "cache"
    with Terminal(["extract", "walk", long_clip(), "--cache", folder]) as terminal:
        code, shown = terminal.end()
    return Extracted(folder, code, shown)


def test_extract_draws_a_progress_bar_on_a_terminal(extracted: Extracted) -> None:
    assert extracted.code == 0
    assert "frames/s" in extracted.shown
    assert "of 1,500 frames" in extracted.shown
    assert "left" in extracted.shown
    assert "1,500 frames extracted" in extracted.shown


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


def test_verify_draws_a_progress_bar_on_a_terminal(extracted: Extracted) -> None:
    with Terminal(["verify", "walk", "--deep", "--cache", extracted.folder]) as terminal:
        terminal.wait_for("of 1,516 frames")
        code, shown = terminal.end()
    assert code == 0
    assert "walk: ok; 1,500 frames checked" in shown


def test_interrupted_verify_changes_nothing(extracted: Extracted) -> None:
    words: list[str | Path] = ["verify", "walk", "--deep", "--workers", "1"]
    with Terminal([*words, "--cache", extracted.folder]) as terminal:
        terminal.wait_for("of 1,516 frames")
        terminal.interrupt()
        code, shown = terminal.end()
    assert code == 130
    assert "Interrupted; nothing was changed" in shown


def test_interrupted_repack_shows_progress_and_loses_no_frame(
    extracted: Extracted, local_url: str
) -> None:
    timeline = extracted.copied_to(local_url)
    expected = timeline.jpeg(700)
    words = ["repack", "walk", "--layout", "packs", "--workers", "1", "--cache", local_url]
    with Terminal(words) as terminal:
        terminal.wait_for("of 1,500 frames")
        terminal.interrupt()
        code, shown = terminal.end()
    assert "repacking" in shown
    assert "Traceback" not in shown
    if code == 130:
        assert "framecache: Interrupted; the timeline can still be read" in shown
        settings = FrameCache(local_url).timeline("walk").info().settings
        assert settings is not None
        assert settings.layout == "objects"
    else:  # the other program was faster
        assert code == 0
    assert FrameCache(local_url).timeline("walk").jpeg(700) == expected
    run("repack", "walk", "--layout", "packs", "--cache", local_url).succeeded()
    assert FrameCache(local_url).timeline("walk").jpeg(700) == expected


def test_wide_cell_wraps_on_a_terminal_without_loss(local_url: str) -> None:
    name = "w" * 120
    FrameCache(local_url).store.put(f"cache/timelines/{name}/frames/0.jpg", b"")
    with Terminal(["ls", "--cache", local_url]) as terminal:
        code, shown = terminal.end()
    assert code == 0
    assert shown.count("w") == 120
    assert name in run("ls", "--cache", local_url).text
