"""The oldest version of PyTorch that is accepted."""

import importlib
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import framecache.torch
from framecache import MissingPackage
from framecache._core.optional_imports import SUPPORTED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["2.12.1+cu130", "1.13.0", "main"])
def test_older_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(MissingPackage) as caught:
        importlib.reload(framecache.torch)
    assert str(caught.value) == (
        f"framecache.torch needs PyTorch 2.13 or newer, but {version} is installed: "
        "pip install --upgrade 'framecache[torch]'"
    )


@pytest.mark.parametrize("version", ["2.13.0", "2.14.1+cpu", "3.0.0a0"])
def test_newer_version_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    importlib.reload(framecache.torch)


def test_extra_and_version_check_require_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = map(Requirement, project["optional-dependencies"]["torch"])
    needed = {one.name: str(one.specifier) for one in extra}
    assert needed["torch"] == ">=" + ".".join(map(str, SUPPORTED["torch"].lowest))
    (line,) = [
        line
        for line in (ROOT / "requirements-torch.txt").read_text().splitlines()
        if line.startswith("torch")
    ]
    assert Requirement(line).specifier.contains(torch.__version__)
