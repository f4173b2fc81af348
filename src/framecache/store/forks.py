"""The threads of obstore do not survive a fork: a request in the child would wait for ever."""

import os
from typing import Final

from framecache.errors import StoreUnavailable


class _Process:
    """What this process, and the one it was forked from, did with stores."""

    has_used_a_store = False
    is_forked_from_user = False


_process: Final = _Process()


def refuse_after_fork(url: str) -> None:
    """To be called before each request.

    Raises:
        StoreUnavailable: a store was used before this process was forked.
    """
    if _process.is_forked_from_user:
        raise StoreUnavailable(
            f"{url} cannot be used here: this process was forked from one that had used a store. "
            f'Start processes with the "spawn" method, or before any store is used'
        )
    _process.has_used_a_store = True


def _note_fork() -> None:
    _process.is_forked_from_user = _process.has_used_a_store


os.register_at_fork(after_in_child=_note_fork)
