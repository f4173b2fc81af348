"""The code blocks of README.md and docs/ run here, so that the docs cannot drift.

A page's blocks run from top to bottom in one namespace and one folder, which holds three
videos of 12 s at 25 frames per second: ``c0.mp4``, ``c1.mp4`` and ``c2.mp4``. Environment variables
that a page sets are reset after it.

    ```python           runs
    ```python no-run    does not
    ```console          each line that begins with "$ framecache" or "$ python -c" runs, and must
                        succeed; "$ framecache serve" runs until the end of the page. A command
                        that needs no shell runs in the process of the tests
    ```console no-run   does not: a command that runs until Ctrl-C

A service runs on loopback at a free port; ``127.0.0.1:8000`` on the page stands for it. A page
whose blocks name ``s3://media`` runs with an S3 server that has this bucket, empty.

In README.md, the guides and the how-to pages, each Python and shell block runs unless it is marked
``no-run``, except the commands that set up a checkout.
"""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self
from unittest import mock

import av
import boto3
import numpy as np
import pytest
from markdown_it import MarkdownIt

from benchmarks.server import free_ports
from framecache.cli.app import main

ROOT = Path(__file__).parents[1]
COMMANDS = ("$ framecache", "$ python -c")
SERVE = "framecache serve "
ADDRESS = "127.0.0.1:8000"
BUCKET = "media"
SHELL = frozenset("|<>&;$*?~`{}#=")
"""Characters that may mean something to the shell; a command with one of them runs in it."""
VIDEOS = ["c0.mp4", "c1.mp4", "c2.mp4"]
SECONDS, RATE, WIDTH, HEIGHT = 12, 25, 320, 180


class Services:
    """Services that a page starts; they end with it."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._running:
            service.send_signal(signal.SIGINT)
            service.wait(60)

    def start(self, command: str) -> None:
        """Start a service, and wait until it answers."""
        port = self.address.rpartition(":")[2]
        here = command.replace("--host 0.0.0.0", "") + f" --port {port}"
        service = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"exec {here}"], stdin=subprocess.DEVNULL
        )
        self._running.append(service)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert service.poll() is None, f"ended: {command}"
            assert time.monotonic() < deadline, f"does not answer: {command}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        with (
            suppress(OSError),
            closing(urllib.request.urlopen(f"http://{self.address}/healthz", timeout=5)),
        ):
            return True
        return False


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    """The line of the page on which the block's content begins, from 1."""
    language: str
    code: str

    def run(self, namespace: dict[str, Any], services: Services | None = None) -> None:
        code = self.code.replace(ADDRESS, services.address) if services else self.code
        if self.language == "python":
            # Padded with empty lines, so that a traceback names the line of the page.
            source = "\n" * (self.line - 1) + code
            exec(compile(source, str(self.page), "exec"), namespace)
        else:
            for command in commands(code):
                if services and command.startswith(SERVE):
                    services.start(command)
                elif command.startswith("framecache ") and SHELL.isdisjoint(command):
                    assert run_here(shlex.split(command)[1:]) == 0, command
                else:
                    subprocess.run(
                        ["bash", "-euo", "pipefail", "-c", command],
                        check=True,
                        stdin=subprocess.DEVNULL,
                    )


def run_here(arguments: list[str]) -> int:
    """Run the program in this process, which takes a tenth of the time; return its exit code."""
    with mock.patch.object(sys, "stdin", io.StringIO()):
        return main(arguments)


def commands(code: str) -> Iterator[str]:
    lines = code.replace("\\\n", " ").splitlines()
    yield from (line.removeprefix("$ ") for line in lines if line.startswith(COMMANDS))


@cache
def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    text = page.read_text()
    if not re.search("```(python|console)", text):
        return found  # soon, because each test process asks for every page
    for token in MarkdownIt().parse(text):
        words = token.info.split()
        if token.type == "fence" and token.map and words and "no-run" not in words:
            language, line = words[0], token.map[0] + 2
            if language == "python" or (language == "console" and any(commands(token.content))):
                found.append(Block(page, line, language, token.content))
    return found


GUIDES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("quick-start", "concepts", "tutorial")),
    *(ROOT / "docs" / f"{name}.md" for name in ("guide", "command-line")),
    *sorted(ROOT.glob("docs/how-to/*.md")),
]
SET_UP = {
    "make demo",
    "make demo SERVE=0",
    "source .venv/bin/activate",
    "cd demo",
    "pip install '.[all]'",
}
DATA = {"cron", "json", "nginx", "toml"}
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


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the program of this environment, active or not, without the user's settings."""
    for name in os.environ:
        if name.startswith(("AWS_", "FRAMECACHE_", "S3_")):
            monkeypatch.delenv(name)
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))


@pytest.fixture
def folder(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the videos to run a page in, without settings from the environment."""
    without_settings(monkeypatch)
    for name in VIDEOS:
        (tmp_path / name).hardlink_to(videos / name)
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        yield tmp_path


@pytest.fixture
def media_bucket(s3_url: str) -> Iterator[str]:  # noqa: ARG001 -- sets the environment
    """An empty bucket of the name that pages use."""
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for one in page.get("Contents", []):
                client.delete_object(Bucket=BUCKET, Key=one["Key"])
        client.delete_bucket(Bucket=BUCKET)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page: Path, request: pytest.FixtureRequest) -> None:
    if any(f"s3://{BUCKET}" in block.code for block in blocks(page)):
        request.getfixturevalue("media_bucket")
    namespace: dict[str, Any] = {"__name__": "docs"}
    with Services() as services:
        for block in blocks(page):
            block.run(namespace, services)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_guide_has_no_untested_code(page: Path) -> None:
    assert untested(page) == []


def untested(page: Path) -> list[str]:
    """Return the lines of code of a page that do not run and are not marked ``no-run``."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type not in {"fence", "code_block"} or "no-run" in token.info.split():
            continue
        lines = token.content.replace("\\\n", " ").splitlines()
        match token.info.split():
            case ["python"]:
                pass
            case [language] if language in DATA:
                pass
            case ["console"]:
                found += [
                    one for one in lines if not one.startswith(COMMANDS) and one not in SET_UP
                ]
            case _:
                found += lines
    return found


def test_code_of_other_languages_and_programs_counts_as_untested(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\none = 1\n```\n```console\n$ framecache ls \\\n  --json\nmake demo\n$ ls\n```\n"
        "```bash\nframecache ls\n```\n```console no-run\n$ framecache serve\n```\n"
        "```\nframecache info\n```\n\n    framecache open\n"
    )
    assert untested(page) == ["$ ls", "framecache ls", "framecache info", "framecache open"]


def test_blocks_share_a_namespace_and_a_failing_block_names_its_line(tmp_path: Path) -> None:
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


def test_console_blocks_run_only_framecache_commands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ make demo\n$ framecache ls \\\n  --json\noutput\n```\n"
        "```console\n$ make test\n```\n"
    )
    [block] = blocks(page)
    assert [command.split() for command in commands(block.code)] == [["framecache", "ls", "--json"]]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "command",
    ["framecache info none", "framecache info none | cat", "framecache-that-is-not-there"],
)
def test_failing_command_fails_its_page(tmp_path: Path, command: str) -> None:
    block = Block(tmp_path / "page.md", 1, "console", f"$ {command}\n")
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        block.run({})
