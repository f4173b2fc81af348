"""Store on local disk, safe against links that lead elsewhere and folders that come and go.

It uses only system calls: they work in a forked process and for paths with any bytes.
"""

import builtins
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from datetime import UTC, datetime
from os import stat_result
from pathlib import Path
from typing import Final

from framecache._core.cached_property import lock_free_cached_property
from framecache.errors import StoreUnavailable
from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    BlobOutsideRoot,
    CreateUnsupported,
    check_key,
    check_listed_key,
    check_prefix,
    check_range,
)
from framecache.store.errors import translate_errors
from framecache.store.file_io import StagedFile, delete_file, read_file
from framecache.store.file_walk import escapes_root, folders_in, stat_file, walk
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.provider_hints import Action
from framecache.store.urls import Location

_NO_LINK_ERRNOS: Final = {
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    # From drivers that allow only one name per file, or treat each folder as a device.
    errno.EMLINK,
    errno.EXDEV,
}


class LocalStore:
    """A store in a folder, which is created by the first write; until then the store is empty.

    The folder's path may contain symbolic links. Links inside the folder may lead to places inside
    it; what other links lead to is not listed, and requests for it are denied.
    """

    def __init__(self, location: Location, options: StorageOptions = NO_OPTIONS) -> None:
        """Prepare for a folder. It is neither created nor accessed."""
        self._location = location
        self.url = location.url
        """See `Store.url`."""
        self.options = options
        """See `Store.options`."""
        self._root = Path(location.path)

    def __repr__(self) -> str:
        """Show the URL."""
        return f"<store {self.url}>"

    def __reduce__(self) -> "tuple[type[LocalStore], tuple[Location, StorageOptions]]":
        """Pickle the location and options; another process opens the folder by its path."""
        return type(self), (self._location, self.options)

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self.url

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        check_key(key)
        with self._translate_errors("read", key):
            return read_file(self._resolve_path("read", key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        check_key(key)
        check_range(start=start, length=length)
        with self._translate_errors("read", key):
            return read_file(self._resolve_path("read", key), start=start, length=length)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self.put_stream(key, [data])

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`."""
        check_key(key)
        with closing(self._stage("write", key)) as staged:
            for block in blocks:  # errors of the iterable itself are not translated
                with self._translate_errors("write", key):
                    staged.write(block)
            with self._translate_errors("write", key):
                staged.replace()

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        check_key(key)
        with closing(self._stage("create", key)) as staged, self._translate_errors("create", key):
            staged.write(data)
            try:
                staged.link()
            except FileExistsError as error:
                raise BlobExists(key) from error
            except OSError as error:
                if error.errno in _NO_LINK_ERRNOS:
                    raise CreateUnsupported(
                        f"{self._location.path}: cannot create {key!r}: the file system does "
                        "not support hard links. Use a folder on another one"
                    ) from error
                raise

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        check_key(key)
        with self._translate_errors("read", key):
            found = stat_file(self._resolve_path("read", key))
        if found is None:
            raise BlobMissing(key)
        return _info(key, found)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        folder = check_prefix(prefix)
        with self._translate_errors("list", prefix):
            if self._exists:
                for key, found in walk(self._real_root, folder):
                    yield _info(key, found)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        folder = check_prefix(prefix)
        with self._translate_errors("list", prefix):
            return sorted(folders_in(self._real_root, folder)) if self._exists else []

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        count = 0
        for key in keys:
            check_listed_key(key)
            with suppress(BlobMissing), self._translate_errors("delete", key):
                self._resolve_path("delete", key)
                delete_file(self._real_root, key)
            count += 1
        return count

    def _stage(self, action: Action, key: str) -> StagedFile:
        with self._translate_errors(action, key):
            self._root.mkdir(parents=True, exist_ok=True)
            return StagedFile(self._resolve_path(action, key))

    def _resolve_path(self, action: Action, key: str) -> str:
        """Return the path of a key's file, whether or not the file exists.

        Raises:
            BlobMissing: the store's folder does not exist.
            BlobOutsideRoot: a link leads out of the folder.
        """
        if not self._exists:
            raise BlobMissing(key)
        if escapes_root(self._real_root, key):
            raise BlobOutsideRoot(
                f"{self._location.path}: cannot {action} {key!r}: a link in its path leads "
                "out of this folder. Replace the link by its target, or remove it"
            )
        return f"{self._real_root}/{key}"

    def _translate_errors(self, action: Action, key: str) -> AbstractContextManager[None]:
        return translate_errors(self._location, action=action, key=key)

    @lock_free_cached_property
    def _real_root(self) -> str:
        """Path of the folder with all links resolved."""
        return str(self._root.resolve())

    @property
    def _exists(self) -> bool:
        if os.path.isdir(self._location.path):  # noqa: PTH112 -- asked at each request, and fast
            return True
        # Another program may create the folder between the two checks.
        if self._root.exists() and not self._root.is_dir():
            raise StoreUnavailable(f"{self._root} is a file, not a folder. Give a folder")
        return self._root.is_dir()


def _info(key: str, found: stat_result) -> BlobInfo:
    return BlobInfo(
        key,
        size_bytes=found.st_size,
        etag=f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
        modified_at=datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC),
    )
