"""Listing and inspecting files below a folder without following links out of it.

Every ``root`` is a real path: no part of it is a symbolic link.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

STAGED: Final = re.compile(r"#[0-9]+\Z")
"""Suffix of the temporary file of an unfinished write, next to its blob on local disk."""

# A link may have been removed, be dangling, or form a loop.
_NO_FILE_ERRNOS: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
# Keys cannot contain other characters.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


def escapes_root(root: str, key: str) -> bool:
    """Return True if ``root/key``, or a link in its path, leads out of ``root``."""
    return _has_link(root, key) and not _is_inside(root, os.path.realpath(f"{root}/{key}"))


def stat_file(path: str) -> os.stat_result | None:
    """Return the stat result of a regular file, or None if the path is not one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - its path is a string
    except OSError as error:
        if error.errno in _NO_FILE_ERRNOS:
            return None
        raise
    return found if stat.S_ISREG(found.st_mode) else None


def walk(root: str, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files in a folder and below, each as its key relative to ``root`` and its stat.

    Symbolic links are followed unless they lead out of ``root`` or back to a folder that the walk
    came through. Unfinished writes, names that are not valid in keys, and files deleted during
    the walk are left out.
    """
    start = _real_folder(root, folder)
    return iter(()) if start is None else _walk(root, f"{folder}/" if folder else "", start)


def _walk(root: str, key: str, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Walk from a folder by its key, empty or ending in a slash, and its real path."""
    pending = [_Folder(key, path)]
    while pending:
        here = pending.pop()
        for entry in _entries(here.path):
            if not _NAME.fullmatch(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(_Folder(f"{here.key}{entry.name}/", entry.path, here.link_folders))
            elif entry.is_symlink():
                real = os.path.realpath(entry.path)
                if not _is_inside(root, real) or here.is_cycle(real):
                    continue
                if os.path.isdir(real):  # noqa: PTH112 - its path is a string
                    left = (*here.link_folders, here.path)
                    pending.append(_Folder(f"{here.key}{entry.name}/", real, left))
                elif found := _file(entry, real):
                    yield here.key + entry.name, found
            elif found := _file(entry, entry.path):
                yield here.key + entry.name, found


def staged_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the temporary file of each unfinished write in a folder and below: path and stat.

    Symbolic links are not followed; if ``folder`` is one, nothing is yielded.
    """
    pending = [] if os.path.islink(folder) else [folder]  # noqa: PTH114 - its path is a string
    while pending:
        for entry in _entries(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.is_file(follow_symlinks=False) and STAGED.search(entry.name):
                with suppress(FileNotFoundError):  # the write has finished since
                    yield entry.path, entry.stat(follow_symlinks=False)


def folders_in(root: str, folder: str) -> list[str]:
    """Return the names of direct subfolders, or links to folders, with a file; in any order.

    Killed writers leave folders without any file. Other stores have no such folders.
    """
    start = _real_folder(root, folder)
    if start is None:
        return []
    return [
        entry.name
        for entry in _entries(start)
        if _NAME.fullmatch(entry.name) and _has_file(root, folder, entry)
    ]


def _has_file(root: str, folder: str, entry: "os.DirEntry[str]") -> bool:
    """Return True if an entry of a folder is a folder, or a link to one, with a file below."""
    if entry.is_dir(follow_symlinks=False):
        found = _walk(root, "", entry.path)
    elif os.path.isdir(entry.path):  # noqa: PTH112 - its path is a string
        found = walk(root, f"{folder}/{entry.name}".lstrip("/"))
    else:
        return False
    return next(found, None) is not None


@dataclass(frozen=True, slots=True)
class _Folder:
    key: str
    """Empty, or ends in a slash."""
    path: str
    """Path with all links resolved."""
    link_folders: tuple[str, ...] = ()
    """Folders that contain the links followed on the way here."""

    def is_cycle(self, target: str) -> bool:
        """Return True if the walk came through ``target``, so that entering it again would loop."""
        return any(_is_inside(target, visited) for visited in (*self.link_folders, self.path))


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


def _real_folder(root: str, folder: str) -> str | None:
    """Return the path of ``root/folder`` with all links resolved; None if it leads out of root.

    ``root`` is a real path, so the links in it need not be resolved again.
    """
    if not folder or not _has_link(root, folder):
        return f"{root}/{folder}".rstrip("/") or "/"
    real = os.path.realpath(f"{root}/{folder}")
    return real if _is_inside(root, real) else None


def _has_link(root: str, key: str) -> bool:
    """Return True if a segment of ``key``, as far as its path exists, is a symbolic link."""
    path = root
    for segment in key.split("/"):
        path = f"{path}/{segment}"
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return False  # the path does not exist: the request itself reports why
        if stat.S_ISLNK(mode):
            return True
    return False
