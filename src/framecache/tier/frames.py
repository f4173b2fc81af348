"""What was fetched and checked, got again from local disk when it still is what was committed."""

import errno
import hashlib
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import google_crc32c

from framecache.errors import InvalidValue, LocalCacheWarning
from framecache.store import refuse_after_fork
from framecache.tier.folder import TierFolder

_TOUCH_AFTER_NS: Final = 60 * 10**9
_PAUSE_SECONDS: Final = 60.0
_NAME_BYTES: Final = 16

_paused_until: Final[dict[str, float]] = {}
"""When a folder that failed is tried again; seconds of this process's monotonic clock."""

_warned: Final[set[str]] = set()
"""Folders whose failure this process has been told of."""


class StoredFrame(Protocol):
    """Which bytes of which blob a frame is, as its index row commits it."""

    @property
    def key(self) -> str:
        """The blob."""
        ...

    @property
    def offset(self) -> int:
        """Where in the blob the JPEG begins."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the JPEG."""
        ...

    @property
    def crc32c(self) -> int:
        """Its CRC-32C."""
        ...


class FrameTier:
    """Copies of one store's frames in a local folder. Safe to share between threads.

    A copy is found by the store's URL and all that the index commits of the frame, so that
    another picture, after a clear or a rebuild, is another copy. Any number of processes and
    stores may use one folder; the least recently used copies go first, to the minute.

    A disk that is full, read-only or denied is no error: nothing is added to it for a minute,
    and one `LocalCacheWarning` a process is given. What is there is still found.
    """

    def __init__(self, folder: str, *, size_limit_bytes: int, store_url: str) -> None:
        """Look at the folder; it is created with the first frame.

        Args:
            folder: absolute; absent, empty, or a tier's already.
            size_limit_bytes: what the folder may take on disk, from `SMALLEST_LIMIT_BYTES`. Of
                several on one folder, each holds for what its owner adds.
            store_url: where the frames come from.

        Raises:
            InvalidValue: the folder holds other things.
        """
        self._folder = TierFolder(folder, size_limit_bytes)
        self._store_url = store_url
        try:
            self._folder.check()
        except OSError as error:
            self._pause(error)

    def __reduce__(self) -> tuple[Callable[..., "FrameTier"], tuple[str, int, str]]:
        """Another process, perhaps on another machine, looks at the folder itself."""
        return _opened, (self._folder.path, self._folder.size_limit_bytes, self._store_url)

    def prefetch(self, frame: StoredFrame) -> bool:
        """Have the system begin to read a copy; whether there seems to be one.

        Its bytes are not checked, and others may remove it before it is got.
        """
        try:
            copy = self._open(self._name(frame))
        except OSError:
            return False
        try:
            found = os.fstat(copy)
            if found.st_size != frame.size or found.st_uid != os.geteuid():
                return False
            os.posix_fadvise(copy, 0, 0, os.POSIX_FADV_WILLNEED)
        except OSError:
            return False
        finally:
            os.close(copy)
        return True

    def get(self, frame: StoredFrame) -> bytes | None:
        """The frame's bytes, or None. Their length and CRC are those of the frame.

        Raises:
            StoreUnavailable: in a process forked from one that had used a store, whether or not
                the frame is here.
        """
        refuse_after_fork(self._store_url)
        name = self._name(frame)
        try:
            copy = self._open(name)
        except OSError:
            return None
        try:
            data = _read(copy, frame.size)
        except OSError:
            return None
        finally:
            os.close(copy)
        if len(data) == frame.size and google_crc32c.value(data) == frame.crc32c:
            return data
        with suppress(OSError):
            self._folder.drop(name)
        return None

    def put(self, frame: StoredFrame, data: bytes) -> None:
        """Keep a frame whose length and CRC were found right, if the disk lets us."""
        if time.monotonic() < _paused_until.get(self._folder.path, 0.0):
            return
        try:
            self._folder.keep(self._name(frame), data)
        except (OSError, InvalidValue) as error:
            self._pause(error)

    def _open(self, name: str) -> int:
        return os.open(self._folder.path_of(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _name(self, frame: StoredFrame) -> str:
        identity = f"{self._store_url}\0{frame.key}\0{frame.offset}\0{frame.size}\0{frame.crc32c}"
        return hashlib.blake2b(identity.encode(), digest_size=_NAME_BYTES).hexdigest()

    def _pause(self, error: Exception) -> None:
        path = self._folder.path
        _paused_until[path] = time.monotonic() + _PAUSE_SECONDS
        if path in _warned:
            return
        _warned.add(path)
        warnings.warn(
            f"frames fetched from {self._store_url} are not kept on local disk: "
            f"{_explained(error, path)}",
            LocalCacheWarning,
            stacklevel=3,
        )


def _opened(folder: str, size_limit_bytes: int, store_url: str) -> FrameTier:
    return FrameTier(folder, size_limit_bytes=size_limit_bytes, store_url=store_url)


def _read(copy: int, size: int) -> bytes:
    """The bytes of a copy of the right size, noting its use; of another size, none.

    Raises:
        OSError: it cannot be read, or is not our own: a CRC keeps nobody from forging pictures.
    """
    found = os.fstat(copy)
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "another user's")
    if found.st_size != size:
        return b""
    data = os.read(copy, size)
    now = time.time_ns()
    if abs(now - found.st_mtime_ns) > _TOUCH_AFTER_NS:
        with suppress(OSError):
            os.utime(copy, ns=(now, now))
    return data


def _explained(error: Exception, path: str) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{path}: no space is left. Free some, or give a smaller local_cache_bytes"
    return f"{path}: {error.strerror}. Give a folder that this user can write to"
