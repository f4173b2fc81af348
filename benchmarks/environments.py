"""Environments of the peers: what is pinned here, installed by pip, each in a folder of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".cache" / "bench"
MAIN: Final = "main"
"""The environment that this program itself runs in."""
INSTALL_SECONDS: Final = 1500

COMMON: Final = ("numpy==2.4.6", "simplejpeg==1.9.0")
OPENCV: Final = "opencv-python-headless==5.0.0.93"
TORCH: Final = (*COMMON, "torch==2.13.0")

ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "aioboto3": (*COMMON, "aioboto3==15.5.0"),
    "decord": ("numpy==2.4.6", "decord==0.6.0"),
    "framecache-ray": ("ray[data]==2.60.0",),
    "framecache-torch": ("torch==2.13.0",),
    "lance": (*COMMON, OPENCV, "pylance==14.0.2"),
    "s3fs": (*COMMON, "s3fs==2026.9.0"),
    "s3torchconnector": (*TORCH, OPENCV, "s3torchconnector==1.5.0"),
    "torchcodec": (*TORCH, "torchcodec==0.13.0"),
    "torchcodec-s3fs": (*TORCH, "torchcodec==0.13.0", "s3fs==2026.9.0"),
    "webdataset": (*TORCH, "webdataset==1.0.2"),
}
"""By name. One that fails is missed by its own contestants only."""

WITH_MAIN: Final = frozenset({"framecache-ray", "framecache-torch"})
"""Environments that have all packages of this program's own as well."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Path of a contestant's Python, or the reason why there is none."""

    name: str
    python: str
    failure: str = ""


def find(name: str, *, install: bool) -> Environment:
    """Return the environment of a name; create it if it is missing and may be installed."""
    if name == MAIN:
        return Environment(name, sys.executable)
    folder = FOLDER / "environments" / name
    python = str(folder / "bin" / "python")
    if _is_made(folder, name):
        return Environment(name, python)
    if not install:
        return Environment(name, python, "its environment was not installed in this run")
    failure = _make(folder, name)
    return Environment(name, python, failure)


def _make(folder: Path, name: str) -> str:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "install", "--no-input", *ENVIRONMENTS[name]],
    ]
    if name in WITH_MAIN:
        commands.insert(1, [str(folder / "bin" / "python"), "-c", _ADD_PACKAGES, *_own_packages()])
    for command in commands:
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout).strip().splitlines()
            return f"could not be installed: {lines[-1] if lines else error}"
        except subprocess.TimeoutExpired:
            return f"could not be installed within {INSTALL_SECONDS} s"
    _stamp(folder).write_text(json.dumps(ENVIRONMENTS[name]))
    return ""


_ADD_PACKAGES: Final = """
import sys, sysconfig
from pathlib import Path
lines = [f"import site; site.addsitedir({folder!r})" for folder in sys.argv[1:]]
Path(sysconfig.get_path("purelib"), "main.pth").write_text("\\n".join(lines))
"""


def _own_packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


def _is_made(folder: Path, name: str) -> bool:
    stamp = _stamp(folder)
    return stamp.exists() and stamp.read_text() == json.dumps(ENVIRONMENTS[name])


def _stamp(folder: Path) -> Path:
    return folder / "installed.json"
