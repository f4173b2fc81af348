"""Check that a supported version of Ray is installed."""

import re
from importlib import import_module
from typing import Final

from framecache.errors import MissingPackage

LOWEST_VERSION: Final = (2, 60)
"""Lowest version that the tests cover; the same as in ``pyproject.toml``."""

NEXT_MAJOR_VERSION: Final = 3
"""First major version that is not accepted: data sources of Ray Data may differ in it."""


def require_ray() -> None:
    """Import Ray.

    Raises:
        MissingPackage: Ray is not installed, or its version is not supported.
    """
    lowest = ".".join(map(str, LOWEST_VERSION))
    needed = f"framecache.ray needs Ray {lowest} or newer, below {NEXT_MAJOR_VERSION}"
    try:
        ray = import_module("ray")
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{needed}: pip install 'framecache[ray]'") from error
    installed = str(ray.__version__)
    found = re.match(r"(\d+)\.(\d+)", installed)
    version = tuple(map(int, found.groups())) if found is not None else (0, 0)
    if not LOWEST_VERSION <= version < (NEXT_MAJOR_VERSION,):
        raise MissingPackage(
            f"{needed}, but {installed} is installed: pip install --upgrade 'framecache[ray]'"
        )
