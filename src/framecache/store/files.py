"""Looking around below a folder without ever leaving it.

Every ``root`` here is a real path: no part of it is a link.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

STAGED: Final = re.compile(r"#[0-9]+\Z")
"""How the name of an upload under way ends. obstore stages it beside its blob, on local disk."""

# A link may be gone, lead nowhere, or in circles.
_NO_FILE_ERRNOS: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
# No key can hold any other.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


def leads_outside(root: str, key: str) -> bool:
    """Whether a link on the way to ``root/key``, or that itself, leads out of ``root``."""
    path = root
    for segment in key.split("/"):
        path = f"{path}/{segment}"
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return False  # there is no way: the request itself tells why
        if stat.S_ISLNK(mode):
            return not _is_inside(root, os.path.realpath(f"{root}/{key}"))
    return False


def create_file(path: str, data: bytes) -> None:
    """Create a file whole, and the folders it lies in.

    Raises:
        FileExistsError: there is one of that path.
    """
    staged = f"{path}#{secrets.randbits(64)}"
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - it is a string
    try:
        with open(staged, "xb") as file:  # noqa: PTH123 - its path is a string
            file.write(data)
        os.link(staged, path)  # which replaces nothing, as a rename would
    finally:
        with suppress(FileNotFoundError):
            os.unlink(staged)  # noqa: PTH108 - its path is a string


def stat_file(path: str) -> os.stat_result | None:
    """What is known of the file a path leads to; None if there is none, or something else."""
    try:
        found = os.stat(path)  # noqa: PTH116 - its path is a string
    except OSError as error:
        if error.errno in _NO_FILE_ERRNOS:
            return None
        raise
    return found if stat.S_ISREG(found.st_mode) else None


def walk(root: str, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file in a folder and below, as its key, relative to ``root``, and what is known of it.

    Links are followed, unless out of ``root`` or back to where the walk came from. Uploads under
    way, and names that no key can hold, are left out, and so is what goes in the meantime.
    """
    start = os.path.realpath(f"{root}/{folder}")
    pending = [_Folder(f"{folder}/" if folder else "", start)] if _is_inside(root, start) else []
    while pending:
        here = pending.pop()
        for entry in _entries(here.path):
            if not _NAME.fullmatch(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(_Folder(f"{here.key}{entry.name}/", entry.path, here.left))
            elif entry.is_symlink():
                real = os.path.realpath(entry.path)
                if not _is_inside(root, real) or here.is_below(real):
                    continue
                if os.path.isdir(real):  # noqa: PTH112 - its path is a string
                    left = (*here.left, here.path)
                    pending.append(_Folder(f"{here.key}{entry.name}/", real, left))
                elif found := _file(entry, real):
                    yield here.key + entry.name, found
            elif found := _file(entry, entry.path):
                yield here.key + entry.name, found


def staged_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every upload under way in a folder and below, by its path, and what is known of it.

    No link is followed, and ``folder`` is none.
    """
    pending = [] if os.path.islink(folder) else [folder]  # noqa: PTH114 - its path is a string
    while pending:
        for entry in _entries(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.is_file(follow_symlinks=False) and STAGED.search(entry.name):
                with suppress(FileNotFoundError):  # finished in the meantime
                    yield entry.path, entry.stat(follow_symlinks=False)


def folders_in(root: str, folder: str) -> list[str]:
    """Names of the folders directly in one, links to folders included, in any order."""
    start = os.path.realpath(f"{root}/{folder}")
    if not _is_inside(root, start):
        return []
    return [
        entry.name
        for entry in _entries(start)
        if _NAME.fullmatch(entry.name)
        and (entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path))  # noqa: PTH112
    ]


@dataclass(frozen=True, slots=True)
class _Folder:
    key: str
    """Empty, or ends in a slash."""
    path: str
    """Where it really is."""
    left: tuple[str, ...] = ()
    """The folders whose links were followed on the way here."""

    def is_below(self, path: str) -> bool:
        """Whether the walk came through a folder, so that going there again would never end."""
        return any(_is_inside(path, visited) for visited in (*self.left, self.path))


def _entries(path: str) -> Iterator["os.DirEntry[str]"]:
    try:
        entries = os.scandir(path)
    except OSError as error:
        if error.errno in _NO_FILE_ERRNOS:
            return
        raise
    with entries:
        yield from entries


def _file(entry: "os.DirEntry[str]", path: str) -> os.stat_result | None:
    return None if STAGED.search(entry.name) else stat_file(path)


def _is_inside(root: str, real: str) -> bool:
    return real == root or real.startswith(root.rstrip("/") + "/")
