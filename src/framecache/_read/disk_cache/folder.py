"""Folder of a disk cache: its ownership, its size, and eviction.

::

    framecache-tier    marks the folder as a disk cache; locked to add (shared) or count (exclusive)
    ledger             its length is at least the size of frames/, in units of 4 KiB
    frames/            one file per frame, named by a hash of its identity; while it is written,
                       "{name}.{random}"

A process can be killed at any point. Space that it reserved in the ledger but did not use counts
until the next count, which also removes its partially written files. The size is never
underestimated.
"""

import fcntl
import os
import re
import secrets
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache.errors import InvalidValue

MIN_SIZE_LIMIT_BYTES: Final = 2**20

_MARKER: Final = "framecache-tier"
_MARKER_TEXT: Final = "framecache keeps copies of frames here. This folder may be deleted.\n"
_LEDGER: Final = "ledger"
_FRAMES: Final = "frames"

_NAME: Final = re.compile("[0-9a-f]{32}")
_TEMPORARY_NAME: Final = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{8}")
_UNIT_BYTES: Final = 4096
_RESERVED_UNITS: Final = 8
"""Units reserved for the folders, the marker and the ledger, also while the ledger is replaced."""
_LOW_WATERMARK: Final = 0.9
_LOCK_TIMEOUT_SECONDS: Final = 0.05
_LOCK_POLL_SECONDS: Final = 0.001

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """Files by name, evicted in least recently used order. Holds no file open."""

    path: str
    """Absolute path."""
    size_limit_bytes: int

    def check(self) -> None:
        """Check that the folder is absent, empty, or a disk cache.

        Raises:
            InvalidValue: it contains other files, or is a file.
            OSError: it cannot be read.
        """
        try:
            names = {path.name for path in Path(self.path).iterdir()}
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise InvalidValue(f"{self.path} is not a folder: give one for local_cache") from error
        if names and _MARKER not in names:
            raise InvalidValue(
                f"{self.path} contains files that are not copies of frames: give an empty "
                "folder for local_cache, or a new one inside it"
            )

    def path_of(self, name: str) -> str:
        """Return the path of the file of that name, which may not exist."""
        return f"{self.path}/{_FRAMES}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Add or replace a file, unless it is too large or the lock is not available soon.

        Raises:
            OSError: the disk is full or access is denied. No partially written file is left.
            InvalidValue: the folder now contains other files.
        """
        if _units(len(data)) > self._capacity:
            return
        try:
            self._put(name, data)
        except FileNotFoundError:
            self._create()
            self._put(name, data)

    def evict(self, name: str) -> None:
        """Remove a file.

        Raises:
            OSError: it does not exist, or access is denied.
        """
        with self._open_frames_folder() as frames:
            os.unlink(name, dir_fd=frames)

    @property
    def _capacity(self) -> int:
        return self.size_limit_bytes // _UNIT_BYTES - _RESERVED_UNITS

    def _create(self) -> None:
        Path(self.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check()
        # The marker comes first: a folder that contains anything else and no marker belongs to
        # others.
        with suppress(FileExistsError), Path(self.path, _MARKER).open("x") as marker:
            marker.write(_MARKER_TEXT)
        Path(self.path, _FRAMES).mkdir(mode=0o700, exist_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        units = _units(len(data))
        with self._open_frames_folder() as frames:
            with self._acquire_lock(fcntl.LOCK_SH) as is_locked:
                if not is_locked:
                    return
                if self._reserve(units):
                    _write(frames, name, data)
                    return
            with self._acquire_lock(fcntl.LOCK_EX) as is_locked:
                if not is_locked:
                    return
                # Another process may have freed space meanwhile.
                if not self._reserve(units):
                    self._make_space(frames, units)
                    if not self._reserve(units):
                        return
                _write(frames, name, data)

    @contextmanager
    def _open_frames_folder(self) -> Iterator[int]:
        # Do not follow a link, so that nothing outside the folder is written or deleted.
        frames = os.open(
            f"{self.path}/{_FRAMES}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        try:
            yield frames
        finally:
            os.close(frames)

    @contextmanager
    def _acquire_lock(self, mode: int) -> Iterator[bool]:
        """Hold the lock; yield False if other processes, one of which may be stopped, keep it."""
        lock = os.open(f"{self.path}/{_MARKER}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield _try_lock(lock, mode)
        finally:
            os.close(lock)

    def _reserve(self, units: int) -> bool:
        """Reserve space in the ledger for a file; return True if that succeeded.

        It fails if no space is left, or if the ledger is missing, incomplete or of an earlier boot.
        Without space the ledger overestimates the size until space is freed.
        """
        try:
            ledger = os.open(f"{self.path}/{_LEDGER}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.pread(ledger, len(_boot_id()), 0) != _boot_id():
                return False
            # An append is atomic and moves the position to the end of the appended bytes, so each
            # of several concurrent processes sees the reservations up to and including its own.
            is_whole = os.write(ledger, bytes(units)) == units
            taken = os.lseek(ledger, 0, os.SEEK_CUR) - len(_boot_id())
            return is_whole and taken <= self._capacity
        finally:
            os.close(ledger)

    def _make_space(self, frames: int, needed: int) -> None:
        """Count the files, remove the least recently used ones, and start a new ledger.

        The caller must hold the exclusive lock: then no process is still writing an unfinished
        file.
        """
        used_at, units = array("q"), array("q")
        with os.scandir(frames) as entries:
            for entry in entries:
                if _TEMPORARY_NAME.fullmatch(entry.name):
                    os.unlink(entry.name, dir_fd=frames)
                elif (found := _stat(entry)) is not None:
                    used_at.append(found.st_mtime_ns)
                    units.append(_units(found.st_size))
        allowed = min(int(self._capacity * _LOW_WATERMARK), self._capacity - needed)
        taken = sum(units)
        if taken > allowed:
            last = _eviction_cutoff(np.asarray(used_at), np.asarray(units), taken - allowed)
            taken -= _evict_until(frames, last)
        self._reset_ledger(taken)

    def _reset_ledger(self, taken: int) -> None:
        following = Path(self.path, f"{_LEDGER}.new")
        following.write_bytes(_boot_id())
        os.truncate(following, len(_boot_id()) + taken)
        following.replace(f"{self.path}/{_LEDGER}")


def _try_lock(lock: int, mode: int) -> bool:
    give_up_at = time.monotonic() + _LOCK_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(lock, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return True


def _write(frames: int, name: str, data: bytes) -> None:
    unfinished = f"{name}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = os.open(unfinished, flags, 0o600, dir_fd=frames)
    try:
        with open(file, "wb") as writing:  # noqa: PTH123 -- of an open file
            writing.write(data)
            writing.flush()
            now = time.time_ns()
            os.utime(file, ns=(now, now))
        os.rename(unfinished, name, src_dir_fd=frames, dst_dir_fd=frames)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=frames)
        raise


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a frame's file; None for any other entry, or if it was just removed."""
    if not _NAME.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return None
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _eviction_cutoff(used_at: Counts, units: Counts, excess: int) -> int:
    """Return the time of use up to which all files must go to free at least ``excess`` units."""
    order = np.argsort(used_at, kind="stable")
    position = np.searchsorted(np.cumsum(units[order]), excess)
    return int(used_at[order][position])


def _evict_until(frames: int, last: int) -> int:
    """Remove the files that were last used at that time or before; return the units freed."""
    removed = 0
    with os.scandir(frames) as entries:
        for entry in entries:
            found = _stat(entry)
            if found is not None and found.st_mtime_ns <= last:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=frames)
                removed += _units(found.st_size)
    return removed


def _units(size_bytes: int) -> int:
    """Return the units that a file takes, with one for its name and its part of the ledger."""
    return -(-size_bytes // _UNIT_BYTES) + 1


@cache
def _boot_id() -> bytes:
    """Return the ID of the current boot: after a system crash, files may have been lost."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
