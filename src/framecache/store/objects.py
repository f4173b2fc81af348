"""Stores kept by obstore: what all have in common, and those in a bucket."""

import builtins
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from framecache.store.backends import Client, connect
from framecache.store.base import (
    BlobInfo,
    check_key,
    check_listed,
    check_prefix,
    check_range,
)
from framecache.store.faults import CAUGHT, Action, is_broken_off, is_out_of_range, translated
from framecache.store.forks import refuse_after_fork
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

# S3 lists and deletes at most this many at once.
_BATCH: Final = 1000
PART_SIZE_BYTES: Final = 16 << 20
"""A larger blob is uploaded in parts of this size, each with the deadline of a request."""
# Each takes the memory of a part.
_PARTS_AT_ONCE: Final = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Some bytes of a blob, and which blob they are of."""

    data: bytes
    etag: str
    size_bytes: int
    """Size of the whole blob."""


class Stream:
    """The blocks of a blob on their way; an iterator that remembers what became of it."""

    def __init__(self, start: bytes, remaining: Iterator[bytes]) -> None:
        """Put a first block before the others."""
        self.is_begun = False
        self.error: BaseException | None = None
        self._blocks = itertools.chain([start], remaining)

    def __iter__(self) -> Self:
        """Itself: it goes by once."""
        return self

    def __next__(self) -> bytes:
        """The next block."""
        self.is_begun = True
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


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
            return self._client_to("read", key).get(self._folder + key).bytes().to_bytes()

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        check_key(key)
        check_range(start=start, length=length)
        with self._translated("read", key):
            client = self._client_to("read", key)
            try:
                path = self._folder + key
                return client.get_range(path, start=start, length=length).to_bytes()
            except CAUGHT as error:
                if is_out_of_range(error):
                    return b""
                raise

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        check_key(key)
        with self._translated("write", key):
            client = self._client_to("write", key)
            client.put(self._folder + key, data, chunk_size=PART_SIZE_BYTES)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`."""
        remaining = iter(blocks)
        start = _first_part(remaining)
        if len(start) <= PART_SIZE_BYTES:
            self.put(key, start)
        else:
            self._put_parts(check_key(key), Stream(start, remaining))

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        check_key(key)
        with self._translated("create", key):
            self._client_to("create", key).put(self._folder + key, data, mode="create")

    @abstractmethod
    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""

    @abstractmethod
    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        count = 0
        remaining = iter(keys)
        while batch := [check_listed(key) for key in itertools.islice(remaining, _BATCH)]:
            self._delete(batch)
            count += len(batch)
        return count

    def __reduce__(self) -> tuple[type[Self], tuple[Location]]:
        """Another process opens the store by its location, with its own connections."""
        return type(self), (self._location,)

    def _put_parts(self, key: str, stream: "Stream") -> None:
        try:
            with self._translated("write", key):
                self._client_to("write", key).put(
                    self._folder + key,
                    stream,
                    chunk_size=PART_SIZE_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except Exception:
            # Not the store's, and so not to be told of as if it were.
            if stream.error is not None:
                raise stream.error from None
            raise

    @abstractmethod
    def _client_to(self, action: Action, key: str) -> Client:
        """The client for one request. A store that can already tell how it ends raises that."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None: ...

    @contextmanager
    def _translated(self, action: Action, key: str) -> Iterator[None]:
        refuse_after_fork(self.url)
        with translated(self._location, action=action, key=key):
            yield


class RemoteStore(ObjectStore):
    """A bucket, or what lies under a prefix of it."""

    def __init__(self, location: Location) -> None:
        """Read the environment and prepare a client. No request is made."""
        super().__init__(location, folder=f"{location.path}/" if location.path else "")
        self._client = connect(location)

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`. One request, whether the blob is there or not.

        The answer to a HEAD has no body, so S3 cannot tell in it whether the key or the bucket is
        missing, nor a proxy's answer be told from a store's. Those to a GET, of one byte, can.
        """
        path = self._folder + check_key(key)
        with self._translated("read", key):
            try:
                answer = self._client.get(path, options={"range": (0, 1)})
                answer.bytes()  # else its connection could not be used again
            except CAUGHT as error:
                # An empty blob has no first byte.
                if not is_out_of_range(error) and not is_broken_off(error):
                    raise
                return self.identify(key)
        return self._info(answer.meta)

    def identify(self, key: str) -> BlobInfo:
        """The `head` of an object of any program: its key, and its size, may be any."""
        path = self._folder + key
        with self._translated("read", key):
            try:
                meta = self._client.head(path)
            except FileNotFoundError:
                # Which of the key and the bucket is missing is told in the answer to a GET.
                meta = self._client.get(path).meta
        return self._info(meta)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        folder = self._folder + check_prefix(prefix)
        with self._translated("list", prefix):
            for batch in self._client.list(folder or None, chunk_size=_BATCH):
                for meta in batch:
                    yield self._info(meta)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        folder = self._folder + check_prefix(prefix)
        with self._translated("list", prefix):
            found = self._client.list_with_delimiter(folder or None)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

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
                answer = self._client.get(self._folder + key, options=options)
            except CAUGHT as error:
                if not is_out_of_range(error):
                    raise
                found = self.identify(key)
                return Block(b"", etag=found.etag, size_bytes=found.size_bytes)
            data = answer.bytes().to_bytes()
            return Block(data, etag=_etag(answer.meta), size_bytes=answer.meta["size"])

    def _client_to(self, action: Action, key: str) -> Client:  # noqa: ARG002 - a folder needs them
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

    def _info(self, meta: "ObjectMeta") -> BlobInfo:
        return BlobInfo(
            meta["path"].removeprefix(self._folder),
            size_bytes=meta["size"],
            etag=_etag(meta),
            modified_at=meta["last_modified"].replace(microsecond=0),
        )


def _first_part(blocks: Iterator[bytes]) -> bytes:
    """All of the blocks, or as many as are more than one part."""
    taken: list[bytes] = []
    size_bytes = 0
    while size_bytes <= PART_SIZE_BYTES and (block := next(blocks, None)) is not None:
        taken.append(block)
        size_bytes += len(block)
    return b"".join(taken)


def _etag(meta: "ObjectMeta") -> str:
    return (meta["e_tag"] or "").strip('"')
