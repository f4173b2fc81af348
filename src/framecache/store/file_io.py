"""Reading, writing and deleting whole files with system calls, which also work after a fork.

Every path is a string and may contain bytes that are not valid text.
"""

import os
import stat
from contextlib import suppress
from itertools import count
from typing import Final

# Deleting the last file of a folder also deletes the folder. Each failure because the folder is
# missing means that another delete completed, so with few concurrent deletes this many attempts
# are enough.
_MAX_STAGE_ATTEMPTS: Final = 100
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def read_file(path: str, *, start: int = 0, length: int | None = None) -> bytes:
    """Return the bytes of a file from ``start``, at most ``length`` of them.

    Raises:
        FileNotFoundError: there is no such file, or it is a folder, a device or a pipe.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(path)
        end = found.st_size if length is None else min(found.st_size, start + length)
        return _read(descriptor, start, end)
    finally:
        os.close(descriptor)


class StagedFile:
    """A temporary file, written next to its final path.

    Until it is closed, its name is that of the final path followed by ``#1``, ``#2``…
    """

    def __init__(self, path: str) -> None:
        """Create an empty file and its parent folders.

        Args:
            path: the final path.
        """
        self._path = path
        self._staged_path, self._descriptor = _stage(path)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[os.write(self._descriptor, remaining) :]

    def replace(self) -> None:
        """Move the file to its final path, replacing any file there."""
        os.rename(self._staged_path, self._path)  # noqa: PTH104 - its path is a string

    def link(self) -> None:
        """Link the file to its final path.

        Raises:
            FileExistsError: there is a file at the final path.
        """
        os.link(self._staged_path, self._path)

    def close(self) -> None:
        """Close the file and remove its temporary name."""
        os.close(self._descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self._staged_path)  # noqa: PTH108 - its path is a string


def delete_file(root: str, key: str) -> None:
    """Delete the file ``root/key``, if it exists, and the folders that become empty."""
    try:
        os.unlink(f"{root}/{key}")  # noqa: PTH108 - its path is a string
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return
    folder = key
    while "/" in folder:
        folder = folder.rpartition("/")[0]
        try:
            os.rmdir(f"{root}/{folder}")  # noqa: PTH106 - its path is a string
        except OSError:  # the folder is not empty, or is a symbolic link
            return


def _stage(path: str) -> tuple[str, int]:
    """Create a temporary file and return its path and descriptor."""
    for _ in range(_MAX_STAGE_ATTEMPTS):
        with suppress(FileNotFoundError):
            return _open_new(path)
        with suppress(FileNotFoundError, FileExistsError):
            os.makedirs(os.path.dirname(path))  # noqa: PTH103, PTH120 - its path is a string
    return _open_new(path)


def _open_new(path: str) -> tuple[str, int]:
    for number in count(1):
        staged_path = f"{path}#{number}"
        with suppress(FileExistsError):  # another writer uses this name
            return staged_path, os.open(staged_path, _CREATE_FLAGS, 0o666)
    raise AssertionError("there is always another number")


def _read(descriptor: int, start: int, end: int) -> bytes:
    pieces: list[bytes] = []
    while start < end and (piece := os.pread(descriptor, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
