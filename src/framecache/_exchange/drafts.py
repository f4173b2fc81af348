"""Folders that become visible as a whole, or not at all."""

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from framecache.errors import InvalidValue, StoreFull, StoreUnavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})


def require_free(folder: Path) -> None:
    """Check that a folder does not exist yet, or is empty; changes nothing.

    Raises:
        InvalidValue: it is not empty, or a file.
        StoreUnavailable: it cannot be read.
    """
    try:
        if not folder.is_dir():
            if folder.exists() or folder.is_symlink():
                raise InvalidValue(f"the target {folder} is a file, not a folder: give another one")
            return
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise StoreUnavailable(f"{folder} cannot be read: {error.strerror or error}") from error
    if not is_empty:
        raise InvalidValue(f"the folder {folder} is not empty: give another folder")


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder next to ``folder``, and give it that name at the end.

    After an error it is removed. If the process is killed, it stays, and can be removed: its name
    begins with a dot and ends in ``.part``.

    Raises:
        InvalidValue: another program has put files into ``folder`` meanwhile.
        StoreFull, StoreUnavailable: the folder cannot be written.
    """
    # A link stays, and the folder that it leads to is replaced.
    target = folder.resolve()
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        yield draft
        draft.rename(target)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreFull(f"{folder} cannot be written: {reason}; free some space") from error
        if error.errno in _NOT_EMPTY and draft.is_dir():
            raise InvalidValue(
                f"the folder {folder} is no longer empty, because another program wrote into it: "
                "give another folder"
            ) from error
        raise StoreUnavailable(f"{folder} cannot be written: {reason}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
