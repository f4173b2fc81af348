"""The code blocks of README.md and docs/ run here, so that the docs cannot drift.

A page's blocks run from top to bottom in one namespace and one folder, which holds three
videos of 12 s at 25 frames per second: ``c0.mp4``, ``c1.mp4`` and ``c2.mp4``.

    ```python           runs
    ```python no-run    does not
    ```console          each line that begins with "$ framecache" runs, and must succeed
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
COMMAND = "$ framecache"
VIDEOS = ["c0.mp4", "c1.mp4", "c2.mp4"]
SECONDS, RATE, WIDTH, HEIGHT = 12, 25, 320, 180


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    """The line of the page on which the block's content begins, from 1."""
    language: str
    code: str

    def run(self, namespace: dict[str, Any]) -> None:
        if self.language == "python":
            # Padded with empty lines, so that a traceback names the line of the page.
            source = "\n" * (self.line - 1) + self.code
            exec(compile(source, str(self.page), "exec"), namespace)
        else:
            for command in commands(self.code):
                subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command],
                    check=True,
                    stdin=subprocess.DEVNULL,
                )


def commands(code: str) -> Iterator[str]:
    lines = code.replace("\\\n", " ").splitlines()
    yield from (line.removeprefix("$ ") for line in lines if line.startswith(COMMAND))


def blocks(page: Path) -> list[Block]:
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        words = token.info.split()
        if token.type == "fence" and token.map and words and "no-run" not in words:
            language, line = words[0], token.map[0] + 2
            if language == "python" or (language == "console" and any(commands(token.content))):
                found.append(Block(page, line, language, token.content))
    return found


PAGES = [ROOT / "README.md", *(page for page in sorted(ROOT.glob("docs/**/*.md")) if blocks(page))]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    columns = np.linspace(0, 255, WIDTH).astype(np.uint8)
    for shade, name in enumerate(VIDEOS):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(
                "libx264", rate=RATE, options={"preset": "ultrafast", "g": str(RATE)}
            )
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for index in range(SECONDS * RATE):
                picture = np.full((HEIGHT, WIDTH, 3), 60 * shade, np.uint8)
                picture[:, :, 1] = np.roll(columns, index)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


@pytest.fixture
def folder(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place to run a page in, untouched by the settings of whoever runs the tests."""
    for name in os.environ:
        if name.startswith(("AWS_", "FRAMECACHE_", "S3_")):
            monkeypatch.delenv(name)
    # The program of this environment comes first, whether or not the environment is active.
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))
    for name in VIDEOS:
        (tmp_path / name).hardlink_to(videos / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    for block in blocks(page):
        block.run(namespace)


def test_blocks_share_a_namespace_and_a_failing_one_names_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "A page.\n```python no-run\nraise SystemExit\n```\n```python\nzero = 0\n```\n"
        "- in a list:\n\n  ```python\n  one = 1\n  one / zero\n  ```\n"
    )
    namespace: dict[str, Any] = {}
    first, second = blocks(page)
    first.run(namespace)
    with pytest.raises(ZeroDivisionError) as caught:
        second.run(namespace)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(page), 12)


def test_console_blocks_run_framecache_commands_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ make demo\n$ framecache ls \\\n  --json\noutput\n```\n"
        "```console\n$ make test\n```\n"
    )
    [block] = blocks(page)
    assert [command.split() for command in commands(block.code)] == [["framecache", "ls", "--json"]]


@pytest.mark.usefixtures("folder")
def test_a_failing_command_fails_its_page(tmp_path: Path) -> None:
    block = Block(tmp_path / "page.md", 1, "console", "$ framecache-that-is-not-there\n")
    with pytest.raises(subprocess.CalledProcessError):
        block.run({})
