"""Import of packages that framecache uses but does not install by itself."""

from collections.abc import Mapping
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
