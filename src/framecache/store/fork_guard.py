"""Protection against what a fork breaks: obstore's threads, and imports running on other threads.

In the child, a request or an import of the same module would block forever.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Final

from framecache.errors import StoreUnavailable


class _ForkState:
    """Use of obstore in this process and in the one it was forked from."""

    has_used_obstore = False
    is_forked_after_use = False


_process: Final = _ForkState()


def is_forked_after_use() -> bool:
    """Return True if obstore was used before the fork, so that this process cannot use it."""
    return _process.is_forked_after_use


def require_usable_obstore(display_name: str) -> None:
    """Check that obstore can be used in this process; call this before each request.

    Raises:
        StoreUnavailable: a store was used before this process was forked.
    """
    if _process.is_forked_after_use:
        raise forked_store_error(display_name)
    _process.has_used_obstore = True


def forked_store_error(display_name: str) -> StoreUnavailable:
    """Return the error for a store that cannot be used in this process."""
    return StoreUnavailable(
        f"{display_name} cannot be used here: this process was forked from one that had used a "
        "store. "
        f'Start processes with the "spawn" method, or before any store is used'
    )


_LAZY_PACKAGES: Final = frozenset({"arro3", "av", "cv2", "framecache", "nanoarrow", "pyarrow"})
"""Packages that are imported lazily, on the thread that first needs them."""


def _wait_for_imports() -> None:
    """Wait until other threads have finished their imports, but not for this thread's own."""
    while under_way := [name for name in list(sys.modules) if _is_importing(name)]:
        for name in under_way:
            with suppress(Exception):  # the other thread raises it
                import_module(name)
        if all(_is_importing(name) for name in under_way):
            return


def _is_importing(name: str) -> bool:
    if name.partition(".")[0] not in _LAZY_PACKAGES:
        return False
    # As of 3.14, Python itself uses this attribute to detect a partially initialized module.
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _record_fork() -> None:
    _process.is_forked_after_use = _process.has_used_obstore


os.register_at_fork(before=_wait_for_imports, after_in_child=_record_fork)
