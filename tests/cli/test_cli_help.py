"""Snapshots of the help; to update them: UPDATE_SNAPSHOTS=1 pytest tests/cli"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_line import run, spawn

from framecache import FrameCache, __version__
from framecache.cli.app import app

SNAPSHOTS = Path(__file__).parent / "help"
GROUPS = {name: one for name, one in app.commands.items() if isinstance(one, click.Group)}
COMMANDS = {
    **{name: one for name, one in app.commands.items() if name not in GROUPS},
    **{f"{group} {name}": one for group in GROUPS for name, one in GROUPS[group].commands.items()},
}
NAMES = ["", *GROUPS, *COMMANDS]


def snapshot_of(name: str) -> Path:
    return SNAPSHOTS / f"{name.replace(' ', '-') or 'framecache'}.txt"


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", NAMES)
def test_help_matches_its_snapshot(name: str) -> None:
    text = run(*name.split(), "--help").succeeded().text
    text = re.sub(r"\[(\[\w+(\|\w+)+\])\]", r"\1", text)  # an optional choice, before click 8.2
    snapshot = snapshot_of(name)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(text)
    assert text == snapshot.read_text()


def test_every_snapshot_belongs_to_a_command() -> None:
    assert set(SNAPSHOTS.iterdir()) == set(map(snapshot_of, NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_short_and_long_help_options_are_equal(name: str) -> None:
    assert run(*name.split(), "-h").text == run(*name.split(), "--help").text


def test_help_fits_eighty_columns() -> None:
    for name in NAMES:
        lines = run(*name.split(), "--help").text.splitlines()
        assert max(len(line) for line in lines) <= 80, name


@pytest.mark.parametrize("name", ["", *GROUPS])
def test_command_summaries_are_not_truncated(name: str) -> None:
    listed = run(*name.split(), "--help").text.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line for line in listed.splitlines() if not line.endswith(".") or "..." in line] == []


def test_every_command_with_data_output_has_json_option() -> None:
    with_json = {
        name
        for name, command in COMMANDS.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == set(COMMANDS) - {"get", "completion", "open", "serve"}


def test_version_option_prints_the_version() -> None:
    assert run("--version").succeeded().text == f"framecache {__version__}\n"


def test_help_imports_no_codec_and_no_pyarrow() -> None:
    program = """
import json, sys
from framecache.cli.app import main
main(["--help"])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(finished.stderr)}
    assert not loaded & {"av", "boto3", "cv2", "pyarrow", "rich"}


def test_module_and_program_print_the_same_version() -> None:
    program = Path(sys.executable).with_name("framecache")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == spawn("--version").text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    assert "_FRAMECACHE_COMPLETE" in run("completion", shell).succeeded().text


def test_completion_defaults_to_the_current_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert run("completion").text == run("completion", "fish").text
    monkeypatch.setenv("SHELL", "/usr/bin/nu")
    assert "bash, zsh, fish" in run("completion").failed(2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("framecache in", {"info"}),
        ("framecache info wal", {"walk", "wall"}),
        ("framecache info --js", {"--json"}),
    ],
)
def test_bash_completes_commands_timelines_and_options(
    words: str, expected: set[str], local_url: str
) -> None:
    store = FrameCache(local_url).store
    for name in ("walk", "wall", "run"):
        store.put(f"cache/timelines/{name}/frames/0.jpg", b"")
    variables = {
        "_FRAMECACHE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "FRAMECACHE_URL": local_url,
    }
    lines = spawn(env=variables).succeeded().text.splitlines()
    assert {line.partition(",")[2] for line in lines} == expected


def test_completion_with_unusable_store_prints_nothing() -> None:
    variables = {
        "_FRAMECACHE_COMPLETE": "bash_complete",
        "COMP_WORDS": "framecache info wal",
        "COMP_CWORD": "2",
        "FRAMECACHE_URL": "ftp://host",
    }
    outcome = spawn(env=variables).succeeded()
    assert outcome.text.strip() == ""


def test_app_runs_in_click_cli_runner() -> None:
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0
