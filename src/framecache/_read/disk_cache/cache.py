"""Disk cache of frames; a copy is returned only if it is still what was committed."""

import errno
import hashlib
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import google_crc32c

from framecache._read.disk_cache.folder import CacheFolder
from framecache.errors import InvalidValue, LocalCacheWarning

_TOUCH_AFTER_NS: Final = 60 * 10**9
_SUSPEND_SECONDS: Final = 60.0
_NAME_BYTES: Final = 16
_SEAL_BYTES: Final = 4

_suspended_until: Final[dict[str, float]] = {}
"""Time at which a folder that failed is tried again, in seconds of the monotonic clock."""

_warned: Final[set[str]] = set()
"""Folders whose failure this process has warned of."""


class StoredFrame(Protocol):
    """Location and checksum of a stored frame, as its index row commits them."""

    @property
    def key(self) -> str:
        """Key of the blob."""
        ...

    @property
    def offset(self) -> int:
        """Offset in the blob at which the JPEG begins."""
        ...

    @property
    def size(self) -> int:
        """Size of the JPEG in bytes."""
        ...

    @property
    def crc32c(self) -> int:
        """CRC-32C of the JPEG."""
        ...


class DiskCache:
    """Disk cache of one store's frames in a local folder. Safe to share between threads.

    A copy is identified by the store's URL and all that the index commits of the frame, so a
    different picture, after a clear or a rebuild, is a different copy. Any number of processes and
    stores may use one folder; the least recently used copies are evicted first, with a resolution
    of one minute.

    A full, read-only or inaccessible disk is not an error: nothing is added for a minute, and
    each process issues one `LocalCacheWarning`. Existing copies are still used.
    """

    def __init__(self, folder: str, *, size_limit_bytes: int, store_url: str) -> None:
        """Check the folder; it is created with the first frame.

        Args:
            folder: the absolute path; absent, empty, or a disk cache already.
            size_limit_bytes: the maximum disk usage of the folder, from `MIN_SIZE_LIMIT_BYTES`. If
                several caches share a folder, each limit applies to what its own cache adds.
            store_url: the URL of the store that the frames come from.

        Raises:
            InvalidValue: the folder contains other files.
        """
        self._folder = CacheFolder(folder, size_limit_bytes)
        self._store_url = store_url
        try:
            self._folder.check()
        except OSError as error:
            self._suspend_writes(error)

    def __reduce__(self) -> tuple[Callable[..., "DiskCache"], tuple[str, int, str]]:
        """Pickle the arguments: a process, perhaps on another machine, checks its own folder."""
        return _unpickle, (self._folder.path, self._folder.size_limit_bytes, self._store_url)

    def prefetch(self, frame: StoredFrame) -> bool:
        """Ask the operating system to read a copy ahead; return True if there seems to be one.

        Its bytes are not checked, and another process may remove it before it is read.
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
        """Return the frame's bytes, with length and CRC checked, or None."""
        name = self._name(frame)
        try:
            copy = self._open(name)
        except OSError:
            return None
        try:
            data = _read_copy(copy, frame.size)
        except OSError:
            return None
        finally:
            os.close(copy)
        if len(data) == frame.size and google_crc32c.value(data) == frame.crc32c:
            return data
        with suppress(OSError):
            self._folder.evict(name)
        return None

    def put(self, frame: StoredFrame, data: bytes) -> None:
        """Keep a frame whose length and CRC were checked, if the disk permits."""
        self._put(self._name(frame), data)

    def _put(self, name: str, data: bytes) -> None:
        if time.monotonic() < _suspended_until.get(self._folder.path, 0.0):
            return
        try:
            self._folder.put(name, data)
        except (OSError, InvalidValue) as error:
            self._suspend_writes(error)

    def get_sealed(self, identity: str) -> bytes | None:
        """Return data that was kept with its own CRC, by what identifies it, or None."""
        name = self._name_of(identity)
        try:
            copy = self._open(name)
        except OSError:
            return None
        try:
            data = _read_copy(copy, os.fstat(copy).st_size)
        except OSError:
            return None
        finally:
            os.close(copy)
        seal, payload = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if len(seal) == _SEAL_BYTES and google_crc32c.value(payload) == int.from_bytes(seal):
            return payload
        with suppress(OSError):
            self._folder.evict(name)
        return None

    def put_sealed(self, identity: str, payload: bytes) -> None:
        """Keep data with its CRC, if the disk permits."""
        seal = int(google_crc32c.value(payload)).to_bytes(_SEAL_BYTES)
        self._put(self._name_of(identity), seal + payload)

    def _open(self, name: str) -> int:
        return os.open(self._folder.path_of(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _name(self, frame: StoredFrame) -> str:
        return self._name_of(f"{frame.key}\0{frame.offset}\0{frame.size}\0{frame.crc32c}")

    def _name_of(self, identity: str) -> str:
        identity = f"{self._store_url}\0{identity}"
        return hashlib.blake2b(identity.encode(), digest_size=_NAME_BYTES).hexdigest()

    def _suspend_writes(self, error: Exception) -> None:
        path = self._folder.path
        _suspended_until[path] = time.monotonic() + _SUSPEND_SECONDS
        if path in _warned:
            return
        _warned.add(path)
        warnings.warn(
            f"frames fetched from {self._store_url} are not kept on local disk: "
            f"{_explain(error, path)}",
            LocalCacheWarning,
            stacklevel=3,
        )


def _unpickle(folder: str, size_limit_bytes: int, store_url: str) -> DiskCache:
    return DiskCache(folder, size_limit_bytes=size_limit_bytes, store_url=store_url)


def _read_copy(copy: int, size: int) -> bytes:
    """Return the bytes of a copy and update its time of use; empty if its size is wrong.

    Raises:
        OSError: it cannot be read, or belongs to another user: a CRC does not prevent forgery.
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


def _explain(error: Exception, path: str) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{path}: no space is left. Free some, or give a smaller local_cache_bytes"
    return f"{path}: {error.strerror}. Give a folder that this user can write to"
