"""Stores accessed through obstore: their common base class, and stores in buckets."""

import builtins
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from framecache.store.backends import Client, connect
from framecache.store.base import (
    BlobInfo,
    BlobMissing,
    Block,
    check_key,
    check_listed_key,
    check_prefix,
    check_range,
)
from framecache.store.errors import (
    OBSTORE_ERRORS,
    is_bulk_delete_unsupported,
    is_missing_key,
    is_out_of_range,
    is_truncated_response,
    translate_errors,
)
from framecache.store.fork_guard import require_usable_obstore
from framecache.store.listing import Listing
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.provider_hints import Action
from framecache.store.server_check import ServerCheck, random_absent_key
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

# S3 deletes at most this many keys per request.
_BATCH: Final = 1000
PART_SIZE_BYTES: Final = 16 << 20
"""Part size in bytes. Larger blobs are uploaded in parts, each with a request's timeout."""
# Each concurrent upload holds one part in memory.
_CONCURRENT_PARTS: Final = 3


class BlockStream:
    """Iterator over the blocks of a blob that records its error."""

    def __init__(self, start: bytes, remaining: Iterator[bytes]) -> None:
        """Put a first block in front of the others."""
        self.error: BaseException | None = None
        self._blocks = itertools.chain([start], remaining)

    def __iter__(self) -> Self:
        """Return itself; it can be iterated only once."""
        return self

    def __next__(self) -> bytes:
        """Return the next block."""
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


class ObjectStore(ABC):
    """A `Store` on any backend that obstore supports."""

    def __init__(self, location: Location, options: StorageOptions, *, folder: str) -> None:
        """Prepare for a location. Makes no request.

        Args:
            location: Location of the store.
            options: See `Store.options`.
            folder: Prefix of each key when it is passed to a client; empty, or ends in a slash.
        """
        self._location = location
        self.url = location.url
        """See `Store.url`."""
        self.options = options
        """See `Store.options`."""
        self._folder = folder

    def __repr__(self) -> str:
        """Show the URL."""
        return f"<store {self.url}>"

    @property
    @abstractmethod
    def display_name(self) -> str:
        """See `Store.place`."""

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        check_key(key)
        with self._translate_errors("read", key):
            return self._client_for("read", key).get(self._folder + key).bytes().to_bytes()

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        check_key(key)
        check_range(start=start, length=length)
        with self._translate_errors("read", key):
            client = self._client_for("read", key)
            try:
                path = self._folder + key
                return client.get_range(path, start=start, length=length).to_bytes()
            except OBSTORE_ERRORS as error:
                if is_out_of_range(error):
                    return b""
                raise

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        check_key(key)
        with self._translate_errors("write", key):
            client = self._client_for("write", key)
            client.put(self._folder + key, data, chunk_size=PART_SIZE_BYTES)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`."""
        remaining = iter(blocks)
        start = _first_part(remaining)
        if len(start) <= PART_SIZE_BYTES:
            self.put(key, start)
        else:
            self._put_parts(check_key(key), BlockStream(start, remaining))

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        check_key(key)
        with self._translate_errors("create", key):
            self._client_for("create", key).put(self._folder + key, data, mode="create")

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
        while batch := [check_listed_key(key) for key in itertools.islice(remaining, _BATCH)]:
            self._delete(batch)
            count += len(batch)
        return count

    def __reduce__(self) -> tuple[type[Self], tuple[Location, StorageOptions]]:
        """Pickle the location and options; another process opens its own connections."""
        return type(self), (self._location, self.options)

    def _put_parts(self, key: str, stream: "BlockStream") -> None:
        try:
            with self._translate_errors("write", key):
                self._client_for("write", key).put(
                    self._folder + key,
                    stream,
                    chunk_size=PART_SIZE_BYTES,
                    max_concurrency=_CONCURRENT_PARTS,
                )
        except Exception:
            # An error of the caller's iterable must not be reported as one of the store.
            if stream.error is not None:
                raise stream.error from None
            raise

    @abstractmethod
    def _client_for(self, action: Action, key: str) -> Client:
        """Return the client for one request, or raise an error that is already certain."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None: ...

    @contextmanager
    def _translate_errors(self, action: Action, key: str) -> Iterator[None]:
        require_usable_obstore(self.display_name)
        with translate_errors(
            self._location, action=action, key=key, display_name=self.display_name
        ):
            yield


class RemoteStore(ObjectStore):
    """A store in a bucket, or under a prefix of one."""

    def __init__(self, location: Location, options: StorageOptions = NO_OPTIONS) -> None:
        """Read the environment and prepare a client. Makes no request."""
        super().__init__(location, options, folder=f"{location.path}/" if location.path else "")
        self._client, server, lister = connect(location, options)
        self._place = f"{self.url} ({server})"
        self._listing = Listing(
            self._client, lister, display_name=self._place, own_folder=location.path
        )
        self._server_check = ServerCheck(location, str(server))
        self._non_bulk_client: Client | None = None
        """Client for deletes if the server does not support bulk deletes."""

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self._place

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`. Makes one request, whether the blob exists or not.

        It is a GET of one byte: the response to a HEAD has no body, so it cannot show whether the
        key or the bucket is missing, or whether it comes from a proxy instead of the store.
        """
        path = self._folder + check_key(key)
        with self._translate_errors("read", key):
            try:
                answer = self._client.get(path, options={"range": (0, 1)})
                answer.bytes()  # without this, the connection could not be reused
            except OBSTORE_ERRORS as error:
                # An empty blob has no first byte.
                if not is_out_of_range(error) and not is_truncated_response(error):
                    raise
                return self.identify(key)
        return self._info(answer.meta)

    def identify(self, key: str) -> BlobInfo:
        """Return the metadata of any program's object, with any key and size."""
        path = self._folder + key
        with self._translate_errors("read", key):
            try:
                meta = self._client.head(path)
            except FileNotFoundError:
                # The response to a GET shows whether the key or the bucket is missing.
                meta = self._client.get(path).meta
        return self._info(meta)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        folder = self._folder + check_prefix(prefix)
        with self._translate_errors("list", prefix):
            found = None
            for found in self._listing.objects(folder.removesuffix("/")):
                yield self._info(found)
        self._require_verified_server(prefix, is_empty=found is None)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        folder = self._folder + check_prefix(prefix)
        with self._translate_errors("list", prefix):
            found = self._listing.folders(folder.removesuffix("/"))
        self._require_verified_server(prefix, is_empty=not found)
        return found

    def remove_markers(self, prefix: str) -> None:
        """Remove the folder markers at a prefix and below that listings have skipped.

        Only possible on S3, where markers can be distinguished from blobs.
        """
        folder = self._folder + check_prefix(prefix)
        with self._translate_errors("delete", prefix):
            self._listing.remove_markers(folder.removesuffix("/"))

    def get_block(self, key: str, *, start: int, length: int) -> Block:
        """Return the bytes ``[start, start + length)`` of any program's object.

        Args:
            key: Any key, as for `identify`.
            start: First byte, from 0.
            length: Number of bytes, from 1; fewer are returned if the object ends before.
        """
        with self._translate_errors("read", key):
            options: GetOptions = {"range": (start, start + length)}
            try:
                answer = self._client.get(self._folder + key, options=options)
            except OBSTORE_ERRORS as error:
                if not is_out_of_range(error):
                    raise
                found = self.identify(key)
                return Block(b"", etag=found.etag, size_bytes=found.size_bytes)
            data = answer.bytes().to_bytes()
            return Block(data, etag=_etag(answer.meta), size_bytes=answer.meta["size"])

    def _client_for(self, action: Action, key: str) -> Client:  # noqa: ARG002 - part of the interface
        return self._client

    @contextmanager
    def _translate_errors(self, action: Action, key: str) -> Iterator[None]:
        try:
            with super()._translate_errors(action, key):
                yield
        except BlobMissing:
            self._server_check.mark_verified()
            raise

    def _require_verified_server(self, prefix: str, *, is_empty: bool) -> None:
        """Accept a listing; accept an empty one only from a server recognized as a store.

        Raises:
            UnexpectedResponse: the server is not a store.
        """
        if not is_empty:
            self._server_check.mark_verified()
        elif not self._server_check.is_verified:
            path = f"{self._folder}{random_absent_key()}"
            with (
                self._server_check.verify_by_response(self._place, prefix),
                self._translate_errors("list", prefix),
            ):
                self._client.get(path, options={"range": (0, 1)})

    def _delete(self, keys: Sequence[str]) -> None:
        paths = [self._folder + key for key in keys]
        with self._translate_errors("delete", keys[0]):
            if self._non_bulk_client is not None:
                self._delete_singly(self._non_bulk_client, paths)
                return
            try:
                self._client.delete(paths)
            except FileNotFoundError as error:
                # On S3, only a missing bucket raises this.
                if self._location.scheme == "s3" or not is_missing_key(error, self._location):
                    raise
                # On GCS and Azure a key is missing, and the deletes may have stopped there.
                self._delete_each(self._client, paths)
            except OBSTORE_ERRORS as error:
                if not is_bulk_delete_unsupported(error, self._location):
                    raise
                connection = connect(self._location, self.options, deletes_in_bulk=False)
                deleter = connection.client
                self._delete_singly(deleter, paths)
                self._non_bulk_client = deleter

    def _delete_singly(self, client: Client, paths: Sequence[str]) -> None:
        """Delete objects concurrently, with one request each."""
        try:
            client.delete(paths)
        except FileNotFoundError as error:
            if not is_missing_key(error, self._location):
                raise
            self._delete_each(client, paths)

    def _delete_each(self, client: Client, paths: Sequence[str]) -> None:
        for path in paths:
            try:
                client.delete(path)
            except FileNotFoundError as error:
                if not is_missing_key(error, self._location):
                    raise

    def _info(self, meta: "ObjectMeta") -> BlobInfo:
        return BlobInfo(
            meta["path"].removeprefix(self._folder),
            size_bytes=meta["size"],
            etag=_etag(meta),
            modified_at=meta["last_modified"].replace(microsecond=0),
        )


def _first_part(blocks: Iterator[bytes]) -> bytes:
    """Join the blocks until they exceed one part; a shorter result contains all blocks."""
    taken: list[bytes] = []
    size_bytes = 0
    while size_bytes <= PART_SIZE_BYTES and (block := next(blocks, None)) is not None:
        taken.append(block)
        size_bytes += len(block)
    return b"".join(taken)


def _etag(meta: "ObjectMeta") -> str:
    return (meta["e_tag"] or "").strip('"')
