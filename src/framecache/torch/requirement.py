"""Check that a supported version of PyTorch is installed."""

import re
from importlib import import_module
from typing import Final

from framecache.errors import MissingPackage

LOWEST_VERSION: Final = (2, 13)
"""Lowest version that the tests cover; the same as in ``pyproject.toml``."""


def require_torch() -> None:
    """Import PyTorch.

    Raises:
        MissingPackage: PyTorch is not installed, or is older than `LOWEST_VERSION`.
    """
    needed = f"framecache.torch needs PyTorch {'.'.join(map(str, LOWEST_VERSION))} or newer"
    try:
        torch = import_module("torch")
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{needed}: pip install 'framecache[torch]'") from error
    installed = str(torch.__version__)
    found = re.match(r"(\d+)\.(\d+)", installed)
    if found is None or tuple(map(int, found.groups())) < LOWEST_VERSION:
        raise MissingPackage(
            f"{needed}, but {installed} is installed: pip install --upgrade 'framecache[torch]'"
        )
