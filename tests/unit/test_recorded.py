"""Programs that get the same arguments and bytes run once; the tests rely on it."""

import os
from pathlib import Path

import pytest

import recorded

TOLD = """#!/bin/sh
[ "$1" = -version ] && { echo 1; exit; }
echo run >> "$0.log"
for last; do :; done
[ "$last" = - ] || cat > "$last"
echo "$@"
exit "${CODE:-0}"
"""


class Program:
    """A program under the name of ffmpeg that writes its input to its last argument."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.path = folder / "ffmpeg"
        self.path.write_text(TOLD)
        self.path.chmod(0o755)

    def run(self, *arguments: str | Path, data: bytes = b"") -> recorded.Finished:
        command = [str(self.path), *map(str, arguments)]
        return recorded.run(command, data=data, folder=self.results)

    @property
    def runs(self) -> int:
        return len(Path(f"{self.path}.log").read_text().splitlines())


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_same_command_on_same_bytes_runs_once(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = program.run("-i", "-", tmp_path / "a" / "out.mp4", data=b"x")
    again = program.run("-i", "-", tmp_path / "b" / "out.mp4", data=b"x")
    assert program.runs == 1
    assert (tmp_path / "b" / "out.mp4").read_bytes() == b"x"
    assert again.stdout == first.stdout != b""


@pytest.mark.parametrize("changed", ["option", "data", "input", "name of the input", "output"])
def test_command_on_anything_else_runs(program: Program, tmp_path: Path, changed: str) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(b"x")
    program.run("-c", "copy", "-i", source, output, data=b"x")
    if changed == "name of the input":
        source = source.rename(tmp_path / "in.mkv")
    elif changed == "input":
        source.write_bytes(b"y")
    elif changed == "output":
        output = tmp_path / "other.mkv"
    codec = "h264" if changed == "option" else "copy"
    data = b"y" if changed == "data" else b"x"
    program.run("-c", codec, "-i", source, output, data=data)
    assert program.runs == 2
    assert output.read_bytes() == data


def test_changed_program_runs(program: Program) -> None:
    program.run("-", data=b"x")
    program.path.write_text(f"{TOLD}\n")
    recorded.version.cache_clear()
    program.run("-", data=b"x")
    assert program.runs == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("-i", "/nowhere/in.mp4", "-"),
        ("-vf", "movie=logo.png", "-"),
        ("-i", "concat:/a.ts|/b.ts", "-"),
        ("-i", "http://127.0.0.1:1/in.mp4", "-"),
        ("-f", "concat", "-i", "{folder}/in.mp4", "-"),
        ("-i", "{folder}/list.m3u8", "-"),
        ("-f", "segment", "{folder}/out.ts"),
        ("{folder}/out.m3u8",),
        ("{folder}/out%02d.ts",),
    ],
)
def test_command_whose_files_are_not_all_known_always_runs(
    program: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    for name in ("in.mp4", "list.m3u8"):
        (tmp_path / name).write_bytes(b"x")
    given = [argument.format(folder=tmp_path) for argument in arguments]
    for _ in range(2):
        program.run(*given)
    assert program.runs == 2


def test_command_with_a_second_output_always_runs(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    program.path.write_text(TOLD.replace('exit "', 'echo > "${last%.*}-1.ts"; exit "'))
    for _ in range(2):
        program.run(folder / "out.ts")
    assert program.runs == 2


def test_failed_command_runs_again(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "1")
    assert program.run("-").returncode == 1
    monkeypatch.setenv("CODE", "0")
    assert program.run("-").returncode == 0
    assert program.runs == 2


def test_damaged_result_is_made_again(program: Program) -> None:
    program.run("-", data=b"x")
    (result,) = program.results.iterdir()
    result.write_bytes(b"damaged")
    assert program.run("-", data=b"x").returncode == 0
    assert program.runs == 2


def test_only_unused_results_are_removed(program: Program) -> None:
    program.run("-", data=b"x")
    (old,) = program.results.iterdir()
    os.utime(old, (0, 0))
    program.run("-", data=b"y")
    recorded.remove_unused(program.results)
    assert not old.exists()
    assert len([*program.results.iterdir()]) == 1
