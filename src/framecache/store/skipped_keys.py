"""Warnings about keys that listings skip, issued once per key and process."""

import warnings
from typing import Final

from framecache.errors import StoreWarning

# More warnings would hide the program's other output.
_MAX_NAMED_KEYS: Final = 10
_UNSUPPORTED: Final = "an empty, '.' or '..' part or a control character"
_REMEDY: Final = (
    "which keys of a cache never have: remove it with the program that created "
    "it, if it is not needed"
)

_issued: Final[set[tuple[str, str, str]]] = set()
"""Warnings already issued: the store, the kind of warning, and the key or folder."""


class SkippedKeys:
    """Warnings about the keys that one listing skips. The first keys are named, others counted."""

    def __init__(self, display_name: str, folder: str) -> None:
        """Start without any skipped keys.

        Args:
            display_name: name of the store.
            folder: the listed folder.
        """
        self._place = display_name
        self._folder = folder
        self._count = 0

    def add_unsupported(self, key: str) -> None:
        """Warn about a key that obstore cannot represent."""
        self._warn_key(key, f"It has {_UNSUPPORTED}")

    def add_marker(self, key: str) -> None:
        """Warn about a folder marker, whose key ends in a slash."""
        self._warn_key(key, "It ends in a slash, like a folder marker")

    def finish(self) -> None:
        """Warn about the number of keys that were not named."""
        if self._count > _MAX_NAMED_KEYS:
            more = f"{self._count - _MAX_NAMED_KEYS} more keys were skipped"
            self._warn(
                "rest", self._folder, f"{more}. They have {_UNSUPPORTED}, or a slash at their end"
            )

    def _warn_key(self, key: str, reason: str) -> None:
        self._count += 1
        if self._count <= _MAX_NAMED_KEYS:
            self._warn("key", key, f"the key {key!r} was skipped. {reason}")

    def _warn(self, kind: str, name: str, message: str) -> None:
        if (self._place, kind, name) not in _issued:
            _issued.add((self._place, kind, name))
            warnings.warn(f"{self._place}: {message}, {_REMEDY}", StoreWarning, stacklevel=6)
