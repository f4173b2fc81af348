"""Import of optional packages, which framecache uses but does not install."""

from importlib import import_module
from types import ModuleType

from framecache.errors import MissingPackage


def import_optional(name: str, *, package: str, needed_by: str) -> ModuleType:
    """Import and return a module of a package that may not be installed.

    Raises:
        MissingPackage: the package is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{needed_by} needs {package}: pip install {package}") from error
