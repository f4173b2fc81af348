"""Stores kept by obstore: one class for them all, and what is different on local disk."""

import builtins
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore.store import MemoryStore

from framecache.errors import StoreUnavailable
from framecache.store.backends import Client, connect
from framecache.store.base import (
    BlobInfo,
    BlobMissing,
    Store,
    check_key,
    check_listed,
    check_prefix,
    check_range,
)
from framecache.store.faults import CAUGHT, Action, is_out_of_range, is_without_folder, translate
from framecache.store.forks import refuse_after_fork
from framecache.store.urls import Location, parse

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

# S3 lists and deletes at most this many at once.
_BATCH: Final = 1000
# A larger blob is uploaded in parts, each with the deadline of a request.
_PART_SIZE_BYTES: Final = 16 << 20
_WRITES_DESPITE_DELETES: Final = 100


def open_store(url: str) -> Store:
    """Open the store of a URL; it is reached, and a local folder created, when first needed.

    ``s3://bucket/prefix``, ``gs://``, ``az://``, ``memory://name`` (shared by the whole
    process), ``file:///folder`` or a plain path, in which ``~`` is expanded. The standard
    variables apply: ``AWS_*``, ``GOOGLE_*``, ``AZURE_*``. Plain http is spoken only to an
    endpoint that ``AWS_ENDPOINT_URL`` names with ``http://``.

    Raises:
        InvalidValue: the URL, or a variable of the environment, cannot be used.
        StoreDenied: the environment asks for credentials that cannot be had.
    """
    location = parse(url)
    return LocalStore(location) if location.scheme == "file" else RemoteStore(location)


@dataclass(frozen=True, slots=True)
class Block:
    """Some bytes of a blob, and which blob they are of."""

    data: bytes
    etag: str
    size_bytes: int
    """Size of the whole blob."""


class ObjectStore(ABC):
    """A `Store` of any backend that obstore speaks."""

    def __init__(self, location: Location, *, folder: str) -> None:
        """Prepare for a location. No request is made.

        Args:
            location: What this is a store of.
            folder: What comes before each key when it is given to a client; ends in a slash.
        """
        self._location = location
        self._folder = folder

    def __repr__(self) -> str:
        """Show what it is a store of."""
        return f"<store {self.url}>"

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._location.url

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        check_key(key)
        with self._translated("read", key):
            return self._to_read(key).get(self._folder + key).bytes().to_bytes()

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        check_key(key)
        check_range(start=start, length=length)
        with self._translated("read", key):
            try:
                path = self._folder + key
                return self._to_read(key).get_range(path, start=start, length=length).to_bytes()
            except CAUGHT as error:
                if is_out_of_range(error):
                    return b""
                raise

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        check_key(key)
        with self._translated("write", key):
            self._to_write().put(self._folder + key, data, chunk_size=_PART_SIZE_BYTES)

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        check_key(key)
        with self._translated("create", key):
            self._to_write().put(self._folder + key, data, mode="create")

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        return self.identify(check_key(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        folder = self._folder + check_prefix(prefix)
        with self._translated("list", prefix):
            for batch in self._to_list().list(folder or None, chunk_size=_BATCH):
                for meta in batch:
                    yield self._info(meta)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        folder = self._folder + check_prefix(prefix)
        with self._translated("list", prefix):
            found = self._to_list().list_with_delimiter(folder or None)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        count = 0
        remaining = iter(keys)
        while batch := [check_listed(key) for key in itertools.islice(remaining, _BATCH)]:
            self._delete(batch)
            count += len(batch)
        return count

    def identify(self, key: str) -> BlobInfo:
        """Size and ETag of an object of any program, whose key may be any the backend takes."""
        path = self._folder + key
        with self._translated("read", key):
            client = self._to_read(key)
            try:
                meta = client.head(path)
            except FileNotFoundError:
                # The answer to a HEAD has no body, so S3 cannot tell in it whether the key or
                # the bucket is missing. In that to a GET it can.
                meta = client.get(path).meta
        return BlobInfo(key, size_bytes=meta["size"], etag=_etag(meta))

    @abstractmethod
    def _to_read(self, key: str) -> Client: ...

    @abstractmethod
    def _to_list(self) -> Client: ...

    @abstractmethod
    def _to_write(self) -> Client: ...

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None: ...

    def _info(self, meta: "ObjectMeta") -> BlobInfo:
        key = meta["path"].removeprefix(self._folder)
        return BlobInfo(key, size_bytes=meta["size"], etag=_etag(meta))

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        """Another process opens the store by its URL, with its own connections."""
        return open_store, (self.url,)

    @contextmanager
    def _translated(self, action: Action, key: str) -> Iterator[None]:
        refuse_after_fork(self.url)
        try:
            yield
        except CAUGHT as error:
            raise translate(error, location=self._location, action=action, key=key) from error


class RemoteStore(ObjectStore):
    """A bucket, or what lies under a prefix of it."""

    def __init__(self, location: Location) -> None:
        """Read the environment and prepare a client. No request is made."""
        super().__init__(location, folder=f"{location.path}/" if location.path else "")
        self._client = connect(location)

    def get_block(self, key: str, *, start: int, length: int) -> Block:
        """The bytes ``[start, start + length)`` of an object of any program.

        Args:
            key: As for `identify`.
            start: First byte, from 0.
            length: Number of bytes, from 1; fewer come if the object ends before.
        """
        with self._translated("read", key):
            options: GetOptions = {"range": (start, start + length)}
            try:
                answer = self._to_read(key).get(self._folder + key, options=options)
            except CAUGHT as error:
                if not is_out_of_range(error):
                    raise
                found = self.identify(key)
                return Block(b"", etag=found.etag, size_bytes=found.size_bytes)
            data = answer.bytes().to_bytes()
            return Block(data, etag=_etag(answer.meta), size_bytes=answer.meta["size"])

    def _to_read(self, key: str) -> Client:  # noqa: ARG002 - a folder needs it
        return self._client

    def _to_list(self) -> Client:
        return self._client

    def _to_write(self) -> Client:
        return self._client

    def _delete(self, keys: Sequence[str]) -> None:
        paths = [self._folder + key for key in keys]
        with self._translated("delete", keys[0]):
            try:
                self._client.delete(paths)
            except FileNotFoundError:
                # S3 says so only of the bucket.
                if self._location.scheme == "s3":
                    raise
                # GCS and Azure say so of a key, and may have stopped there.
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._client.delete(path)


class LocalStore(ObjectStore):
    """A folder. It appears with the first write; until then there is nothing in it."""

    def __init__(self, location: Location) -> None:
        """Prepare for a folder. It is not created, nor looked at."""
        super().__init__(location, folder="")
        self._root = Path(location.path)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        _despite_deletes(lambda: super(LocalStore, self).put(key, data))

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        _despite_deletes(lambda: super(LocalStore, self).create(key, data))

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        # A writer that was killed leaves folders that hold no blob, as no other store can.
        parent = f"{check_prefix(prefix)}/".lstrip("/")
        return [
            name
            for name in super().list_folders(prefix)
            if next(self.list(parent + name), None) is not None
        ]

    def _to_read(self, key: str) -> Client:
        if not self._exists:
            raise BlobMissing(key)
        return self._client

    def _to_list(self) -> Client:
        return self._client if self._exists else _NOTHING

    def _to_write(self) -> Client:
        self._root.mkdir(parents=True, exist_ok=True)
        return self._client

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(BlobMissing), self._translated("delete", key):
                self._to_read(key).delete(key)

    @cached_property
    def _client(self) -> Client:
        # obstore opens no folder that does not exist.
        return connect(self._location)

    @property
    def _exists(self) -> bool:
        if self._root.is_dir():
            return True
        # Another program may make the folder between the two looks.
        if self._root.exists() and not self._root.is_dir():
            raise StoreUnavailable(f"{self._root} is a file, not a folder. Give another one")
        return self._root.is_dir()


_NOTHING: Final = MemoryStore()


def _despite_deletes(write: Callable[[], None]) -> None:
    """Write again when the folder went between being made and being written to.

    A delete that takes a folder's last blob takes the folder along. Each such failure means that
    a delete has been carried out, so a bounded number of writers and deleters ends it soon.
    """
    for _ in range(_WRITES_DESPITE_DELETES):
        try:
            return write()
        except StoreUnavailable as error:
            if not is_without_folder(error.__cause__):
                raise
    return write()


def _etag(meta: "ObjectMeta") -> str:
    return (meta["e_tag"] or "").strip('"')
