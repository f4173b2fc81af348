"""The benchmark runs: every task that needs no peer's environment, with a few small frames."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from benchmarks import environments, report
from benchmarks.contract import Inputs, signature
from benchmarks.model import Contestant, Task
from benchmarks.results import task_result
from benchmarks.rounds import Stage, run
from benchmarks.tasks import TASKS
from outside import picture

ROOT = Path(__file__).parents[2]
NO_NGINX = "nginx is not installed"  # by a package that also starts it
NO_SUCH = "framecache-peer-that-nobody-made==1.0"
NOT_INSTALLED = "its environment was not installed in this run"


@pytest.fixture(scope="module")
def results_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("radosgw") is None:
        message = "radosgw is not installed; scripts/ceph-rgw.sh names the packages it needs"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--output", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (file,) = folder.iterdir()
    return file


@pytest.fixture
def tasks(results_file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(results_file.read_text())["tasks"]
    return found


@pytest.mark.ceph
def test_every_installed_contestant_delivers_the_same_frames(tasks: list[dict[str, Any]]) -> None:
    failures = [one["failure"] for task in tasks for one in task["contestants"] if one["failure"]]
    assert {one for one in failures if not one.endswith(NO_NGINX)} <= {NOT_INSTALLED}
    assert all(
        len(one["rounds"]) == 1
        for task in tasks
        for one in task["contestants"]
        if not one["failure"]
    )


@pytest.mark.ceph
def test_every_aim_without_missing_peer_has_a_figure(tasks: list[dict[str, Any]]) -> None:
    not_installed = {
        (task["name"], one["name"])
        for task in tasks
        for one in task["contestants"]
        if one["failure"] == NOT_INSTALLED
    }
    aims = {task.name: task.aims for task in TASKS}
    for task in tasks:
        for aim, found in zip(aims[task["name"]], task["aims"], strict=True):
            needed = {(task["name"], name) for name in aim.against}
            assert found["figure"] is not None or (needed and needed <= not_installed), found


@pytest.mark.ceph
def test_report_page_shows_results_between_its_marks(results_file: Path, tmp_path: Path) -> None:
    results = json.loads(results_file.read_text())
    # Here every environment may be installed, and then none would be missing.
    peers = (one for task in results["tasks"] for one in task["contestants"])
    peer = next(one for one in peers if one["kind"] == "peer")
    peer["failure"] = NOT_INSTALLED
    peer.pop("figures", None)
    changed = tmp_path / results_file.name
    changed.write_text(json.dumps(results))

    page, plots = tmp_path / "page.md", tmp_path / "plots"
    page.write_text(f"before\n{report.BEGIN}figures of before\n{report.END}after\n")
    report.render([changed], page, plots)
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}")
    assert text.endswith(f"{report.END}after\n")
    assert "figures of before" not in text
    for task in results["tasks"]:
        (section,) = re.findall(
            rf"^### {re.escape(task['title'])}\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL
        )
        missing = [one for one in task["contestants"] if one["failure"]]
        named = [f"- {one['name']}: {one['failure']}" for one in missing]
        assert re.findall(r"^- .*$", section, re.MULTILINE) == named
    for plot in plots.iterdir():
        assert f"plots/{plot.name}" in text
        names = [text.text for text in ET.parse(plot).iter("{http://www.w3.org/2000/svg}text")]
        task = next(task for task in TASKS if task.name == plot.stem)
        assert {one.name for one in task.contestants if one.kind == "ours"} <= set(names)


@pytest.fixture
def _lost_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment, ``lost``, that pip cannot install."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "ENVIRONMENTS", {"lost": (NO_SUCH,)})
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.mark.usefixtures("_lost_environment")
def test_failed_installation_is_reported_with_the_pip_error() -> None:
    task = Task("lost", "A task", [Contestant("us", "ours", "lost:job", environment="lost")])
    # The environment is checked before these are used.
    stage = cast("Stage", SimpleNamespace(install=True, rounds=1, tell=lambda _: None))
    entries = run(stage, task, cast("Inputs", None), None)
    (note,) = report.notes(task_result(task, entries))
    assert re.fullmatch(rf"- us: could not be installed: .*{re.escape(NO_SUCH)}.*", note)
    # The rest of it is not treated as a usable environment.
    assert environments.find("lost", install=False).failure == NOT_INSTALLED


@pytest.mark.usefixtures("_lost_environment")
def test_slow_installation_is_reported_as_timed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environments, "INSTALL_SECONDS", 0.01)
    failure = environments.find("lost", install=True).failure
    assert failure == "could not be installed within 0.01 s"


def test_signatures_of_different_frame_numbers_differ() -> None:
    one, other = (signature(picture(number, width=64, height=48)) for number in (1, 2))
    assert one != other
    assert one == signature(picture(1, width=64, height=48))
