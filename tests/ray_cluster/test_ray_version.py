"""The versions of Ray that are accepted."""

import importlib
import tomllib
from pathlib import Path

import pytest
import ray
from packaging.requirements import Requirement

import framecache.ray
from framecache import MissingPackage
from framecache._core.optional_imports import SUPPORTED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["2.59.1", "1.13.0", "3.0.0", "main"])
def test_a_version_out_of_range_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(ray, "__version__", version)
    with pytest.raises(MissingPackage) as caught:
        importlib.reload(framecache.ray)
    assert str(caught.value) == (
        f"framecache.ray needs Ray 2.60 or newer, below 3, but {version} is installed: "
        "pip install --upgrade 'framecache[ray]'"
    )


@pytest.mark.parametrize("version", ["2.60.0", "2.61.0.dev0"])
def test_a_version_in_range_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(ray, "__version__", version)
    importlib.reload(framecache.ray)


def test_the_extra_and_the_check_ask_for_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extra,) = map(Requirement, project["optional-dependencies"]["ray"])
    supported = SUPPORTED["ray"]
    lowest = ".".join(map(str, supported.lowest))
    assert (extra.name, extra.extras) == ("ray", {"data"})
    assert {str(one) for one in extra.specifier} == {
        f">={lowest}",
        f"<{supported.next_major}",
    }
    (line,) = [
        line
        for line in (ROOT / "requirements-ray.txt").read_text().splitlines()
        if line.startswith("ray")
    ]
    assert Requirement(line).specifier.contains(ray.__version__)
