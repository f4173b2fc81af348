"""What is different on local disk, where links lead elsewhere and folders come and go."""

import builtins
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from os import stat_result
from pathlib import Path
from typing import Final

from framecache.errors import StoreUnavailable
from framecache.store.backends import Client, connect
from framecache.store.base import (
    BlobExists,
    BlobInfo,
    BlobMissing,
    BlobOutside,
    check_key,
    check_prefix,
)
from framecache.store.faults import Action, is_without_folder
from framecache.store.files import create_file, folders_in, leads_outside, stat_file, walk
from framecache.store.objects import ObjectStore, Stream
from framecache.store.urls import Location, is_text

_WRITES_DESPITE_DELETES: Final = 100


class LocalStore(ObjectStore):
    """A folder. It appears with the first write; until then there is nothing in it.

    It may be reached through a link, and there may be links in it, as long as they lead to
    somewhere in it. What lies behind any other is not listed, and requests for it are denied.
    """

    def __init__(self, location: Location) -> None:
        """Prepare for a folder. It is not created, nor looked at."""
        super().__init__(location, folder="")
        self._root = Path(location.path)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        _despite_deletes(lambda: super(LocalStore, self).put(key, data))

    def _put_parts(self, key: str, stream: Stream) -> None:
        _despite_deletes(
            lambda: super(LocalStore, self)._put_parts(key, stream),
            repeatable=lambda: not stream.is_begun,
        )

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        create = super().create if is_text(self._location.path) else self._create_file
        _despite_deletes(lambda: create(key, data))

    def _create_file(self, key: str, data: bytes) -> None:
        """Create a blob without obstore, which panics below a folder whose name is no text."""
        check_key(key)
        with self._translated("create", key):
            self._client_to("create", key)
            try:
                create_file(f"{self._real_root}/{key}", data)
            except FileExistsError as error:
                raise BlobExists(key) from error

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        check_key(key)
        with self._translated("read", key):
            self._client_to("read", key)
            found = stat_file(f"{self._real_root}/{key}")
        if found is None:
            raise BlobMissing(key)
        return _info(key, found)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        folder = check_prefix(prefix)
        with self._translated("list", prefix):
            # obstore would follow every link, into what is not the store's and in circles.
            if self._exists:
                for key, found in walk(self._real_root, folder):
                    yield _info(key, found)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        folder = check_prefix(prefix)
        with self._translated("list", prefix):
            names = folders_in(self._real_root, folder) if self._exists else []
            # A writer that was killed leaves folders that hold no blob, as no other store can.
            return sorted(
                name
                for name in names
                if next(walk(self._real_root, f"{folder}/{name}".lstrip("/")), None) is not None
            )

    def _client_to(self, action: Action, key: str) -> Client:
        if action in {"write", "create"}:
            self._root.mkdir(parents=True, exist_ok=True)
        elif not self._exists:
            raise BlobMissing(key)
        if leads_outside(self._real_root, key):
            raise BlobOutside(
                f"{self._location.path}: cannot {action} {key!r}: a link on its way leads out of "
                f"this folder. Put what it leads to in the link's place, or remove the link"
            )
        return self._client

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(BlobMissing), self._translated("delete", key):
                self._client_to("delete", key).delete(key)

    @cached_property
    def _client(self) -> Client:
        # obstore opens no folder that does not exist.
        return connect(self._location)

    @cached_property
    def _real_root(self) -> str:
        """Where the folder really is, as obstore finds it when it opens it."""
        return str(self._root.resolve())

    @property
    def _exists(self) -> bool:
        if self._root.is_dir():
            return True
        # Another program may make the folder between the two looks.
        if self._root.exists() and not self._root.is_dir():
            raise StoreUnavailable(f"{self._root} is a file, not a folder. Give another one")
        return self._root.is_dir()


def _always() -> bool:
    return True


def _despite_deletes(
    write: Callable[[], None], *, repeatable: Callable[[], bool] = _always
) -> None:
    """Write again when the folder went between being made and being written to.

    A delete that takes a folder's last blob takes the folder along. Each such failure means that
    a delete has been carried out, so a bounded number of writers and deleters ends it soon.
    """
    for _ in range(_WRITES_DESPITE_DELETES):
        try:
            return write()
        except StoreUnavailable as error:
            if not is_without_folder(error.__cause__) or not repeatable():
                raise
    return write()


def _info(key: str, found: stat_result) -> BlobInfo:
    return BlobInfo(
        key,
        size_bytes=found.st_size,
        etag=f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
        modified_at=datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC),
    )
