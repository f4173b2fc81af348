"""Import of packages that framecache uses but does not install by itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final, Literal

from framecache.errors import MissingPackage

Extra = Literal["arrow", "aws", "extract", "fsspec", "server"]

_OPENCV: Final = {"cv2": "opencv-python-headless"}
EXTRAS: Final[Mapping[Extra, Mapping[str, str]]] = {
    "arrow": {"pyarrow": "pyarrow"},
    "aws": {"boto3": "boto3"},
    "extract": {"av": "av", **_OPENCV},
    "fsspec": {"fsspec": "fsspec"},
    "server": {
        **_OPENCV,
        "asgi_correlation_id": "asgi-correlation-id",
        "cachetools": "cachetools",
        "fastapi": "fastapi",
        "itsdangerous": "itsdangerous",
        "prometheus_client": "prometheus-client",
        "starlette": "starlette",
        "uvicorn": "uvicorn",
    },
}
"""Extras of framecache, with the modules that they install and the package of each module."""


@dataclass(frozen=True, slots=True)
class SupportedVersions:
    """Releases of a package with which its subpackage of framecache works."""

    title: str
    lowest: tuple[int, int]
    """Lowest version that the tests cover; the same as in ``pyproject.toml``."""
    next_major: int | None = None
    """First major version that is not accepted; None: any is."""

    def __str__(self) -> str:
        """Return the versions as text, such as ``Ray 2.60 or newer, below 3``."""
        limit = "" if self.next_major is None else f", below {self.next_major}"
        return f"{self.title} {'.'.join(map(str, self.lowest))} or newer{limit}"

    def contains(self, installed: str) -> bool:
        """Return True if the version of an installed package is supported."""
        found = re.match(r"(\d+)\.(\d+)", installed)
        version = tuple(map(int, found.groups())) if found is not None else (0, 0)
        is_below = self.next_major is None or version < (self.next_major,)
        return version >= self.lowest and is_below


SUPPORTED: Final = {
    # Data sources of Ray Data may differ in the next major version.
    "ray": SupportedVersions("Ray", (2, 60), next_major=3),
    "torch": SupportedVersions("PyTorch", (2, 13)),
}
"""Versions by extra; framecache has a subpackage of the same name for each."""


def import_supported(extra: Literal["ray", "torch"]) -> ModuleType:
    """Import and return the package for which a subpackage of framecache exists.

    Raises:
        MissingPackage: it is not installed, or its version is not supported.
    """
    needed = f"framecache.{extra} needs {SUPPORTED[extra]}"
    try:
        module = import_module(extra)
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{needed}: pip install 'framecache[{extra}]'") from error
    installed = str(module.__version__)
    if not SUPPORTED[extra].contains(installed):
        raise MissingPackage(
            f"{needed}, but {installed} is installed: pip install --upgrade 'framecache[{extra}]'"
        )
    return module


def import_optional(name: str, *, package: str, needed_by: str) -> ModuleType:
    """Import and return a module of a package that no extra of framecache installs.

    Raises:
        MissingPackage: the package is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{needed_by} needs {package}: pip install {package}") from error


def require_extra(extra: Extra, *, needed_by: str) -> None:
    """Import the modules that an extra installs.

    Raises:
        MissingPackage: a package is not installed. The message names all that are missing.
    """
    _require(EXTRAS[extra], extra, needed_by=needed_by)


def require_opencv(*, needed_by: str) -> None:
    """Import OpenCV, which scales pictures and decodes PNGs.

    Raises:
        MissingPackage: it is not installed.
    """
    _require(_OPENCV, "extract", needed_by=needed_by)


def missing_packages(extra: Extra) -> list[str]:
    """Return the packages of an extra that are not installed; nothing is imported."""
    return [package for module, package in EXTRAS[extra].items() if not _is_installed(module)]


def _require(packages: Mapping[str, str], extra: Extra, *, needed_by: str) -> None:
    missing: dict[str, ModuleNotFoundError] = {}
    for module, package in packages.items():
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            missing[package] = error
    if missing:
        raise MissingPackage(
            f"{needed_by} needs {' and '.join(missing)}: pip install 'framecache[{extra}]'"
        ) from next(iter(missing.values()))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # a program keeps it from being imported
        return False
