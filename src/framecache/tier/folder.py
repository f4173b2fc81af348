"""The folder of a tier: whose it is, how much lies in it, and how room is made.

::

    framecache-tier    says whose folder this is; locked by whoever adds (shared) or counts (alone)
    ledger             its length is at least what lies in frames/, in units of 4 KiB
    frames/            one file a frame, under a hash of what it is; "{name}.{random}" while written

A process can be killed anywhere. What it reserved in the ledger and did not write counts until
the next count; what it left half-written is removed by it. Nothing is ever counted too low.
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

SMALLEST_LIMIT_BYTES: Final = 2**20

_MARKER: Final = "framecache-tier"
_MARKER_TEXT: Final = "framecache keeps copies of frames here. This folder may be deleted.\n"
_LEDGER: Final = "ledger"
_FRAMES: Final = "frames"

_NAME: Final = re.compile("[0-9a-f]{32}")
_UNFINISHED: Final = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{8}")
_UNIT_BYTES: Final = 4096
_UNITS_BESIDE_FRAMES: Final = 8
"""Of the folders, the marker and the ledger, when it is replaced, too."""
_KEPT_WHEN_FULL: Final = 0.9
_PATIENCE_SECONDS: Final = 0.05
_LOOK_AGAIN_SECONDS: Final = 0.001

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TierFolder:
    """Files by name, least recently used ones first to go. Holds nothing open."""

    path: str
    """Absolute."""
    size_limit_bytes: int

    def check(self) -> None:
        """Make sure that the folder, if it is there, is a tier's, or empty.

        Raises:
            InvalidValue: it holds other things, or is a file.
            OSError: it cannot be looked at.
        """
        try:
            names = {path.name for path in Path(self.path).iterdir()}
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise InvalidValue(f"{self.path} is not a folder: give one for local_cache") from error
        if names and _MARKER not in names:
            raise InvalidValue(
                f"{self.path} holds other things than frames that framecache keeps there: give an "
                f"empty folder for local_cache, or a new one in it"
            )

    def path_of(self, name: str) -> str:
        """Where the file of that name is, if it is."""
        return f"{self.path}/{_FRAMES}/{name}"

    def keep(self, name: str, data: bytes) -> None:
        """Add or replace a file, unless it is too large or others keep us waiting.

        Raises:
            OSError: the disk is full or does not let us. Nothing half-written is left.
            InvalidValue: the folder has come to hold other things.
        """
        if _units(len(data)) > self._capacity:
            return
        try:
            self._keep(name, data)
        except FileNotFoundError:
            self._create()
            self._keep(name, data)

    def drop(self, name: str) -> None:
        """Remove a file.

        Raises:
            OSError: it is not there, or the folder does not let us.
        """
        with self._opened_frames() as frames:
            os.unlink(name, dir_fd=frames)

    @property
    def _capacity(self) -> int:
        return self.size_limit_bytes // _UNIT_BYTES - _UNITS_BESIDE_FRAMES

    def _create(self) -> None:
        Path(self.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check()
        # The marker comes first: a folder with anything else and no marker is another's.
        with suppress(FileExistsError), Path(self.path, _MARKER).open("x") as marker:
            marker.write(_MARKER_TEXT)
        Path(self.path, _FRAMES).mkdir(mode=0o700, exist_ok=True)

    def _keep(self, name: str, data: bytes) -> None:
        units = _units(len(data))
        with self._opened_frames() as frames:
            with self._locked(fcntl.LOCK_SH) as is_locked:
                if not is_locked:
                    return
                if self._reserve(units):
                    _write(frames, name, data)
                    return
            with self._locked(fcntl.LOCK_EX) as is_locked:
                if not is_locked:
                    return
                # Another may have made room in the meantime.
                if not self._reserve(units):
                    self._make_room(frames, units)
                    if not self._reserve(units):
                        return
                _write(frames, name, data)

    @contextmanager
    def _opened_frames(self) -> Iterator[int]:
        # Not through a link, so that nothing outside is written or deleted.
        frames = os.open(
            f"{self.path}/{_FRAMES}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        try:
            yield frames
        finally:
            os.close(frames)

    @contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        """Hold the lock; False when others, one of which may be stopped, do not let go of it."""
        lock = os.open(f"{self.path}/{_MARKER}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield _lock_soon(lock, how)
        finally:
            os.close(lock)

    def _reserve(self, units: int) -> bool:
        """Enter what is about to be written; whether there is room, and the ledger to be trusted.

        Without room the ledger says too much, until room is made.
        """
        try:
            ledger = os.open(f"{self.path}/{_LEDGER}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.pread(ledger, len(_boot_id()), 0) != _boot_id():
                return False
            # An append is atomic, and leaves the position behind what it appended: so each of
            # those who reserve at once learns what is reserved up to and with its own.
            is_whole = os.write(ledger, bytes(units)) == units
            taken = os.lseek(ledger, 0, os.SEEK_CUR) - len(_boot_id())
            return is_whole and taken <= self._capacity
        finally:
            os.close(ledger)

    def _make_room(self, frames: int, needed: int) -> None:
        """Count what is there, remove the least recently used, and begin the ledger anew.

        To be called by who is alone: what is unfinished then is so for good.
        """
        used_at, units = array("q"), array("q")
        with os.scandir(frames) as entries:
            for entry in entries:
                if _UNFINISHED.fullmatch(entry.name):
                    os.unlink(entry.name, dir_fd=frames)
                elif (found := _stat(entry)) is not None:
                    used_at.append(found.st_mtime_ns)
                    units.append(_units(found.st_size))
        allowed = min(int(self._capacity * _KEPT_WHEN_FULL), self._capacity - needed)
        taken = sum(units)
        if taken > allowed:
            last = _last_to_go(np.asarray(used_at), np.asarray(units), taken - allowed)
            taken -= _remove_until(frames, last)
        self._begin_ledger(taken)

    def _begin_ledger(self, taken: int) -> None:
        following = Path(self.path, f"{_LEDGER}.new")
        following.write_bytes(_boot_id())
        os.truncate(following, len(_boot_id()) + taken)
        following.replace(f"{self.path}/{_LEDGER}")


def _lock_soon(lock: int, how: int) -> bool:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
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
    """What there is to know of a frame's file; None of anything else, or when it just went."""
    if not _NAME.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return None
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _last_to_go(used_at: Counts, units: Counts, excess: int) -> int:
    """The time of use up to which all must go, so that at least ``excess`` units do."""
    order = np.argsort(used_at, kind="stable")
    position = np.searchsorted(np.cumsum(units[order]), excess)
    return int(used_at[order][position])


def _remove_until(frames: int, last: int) -> int:
    """Remove what was not used since; returns how many units went."""
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
    """What a file takes, its name and its part of the ledger included."""
    return -(-size_bytes // _UNIT_BYTES) + 1


@cache
def _boot_id() -> bytes:
    """Which start of this machine this is: after a crash, files may be there and others not."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
