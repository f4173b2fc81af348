"""The interface of a store, its value types and errors, and checks of keys."""

import builtins
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from framecache.errors import InvalidValue, StorePermissionDenied, StoreUnavailable
from framecache.store.options import StorageOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_KEY_BYTES: Final = 1024
# Of at most 255 bytes. Local stores write a blob to a temporary file next to it, whose name ends in
# "#1", "#2"…
_SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))(?![^/]*#[0-9]*(?:/|\Z))[\x20-\x2e\x30-\x5b\x5d-\x7e]{1,255}"
_KEY: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """Metadata of a blob."""

    key: str
    """Key relative to the store's URL."""
    size_bytes: int
    etag: str
    """Opaque version identifier, without quotes; it changes when the content changes."""
    modified_at: datetime
    """Time of the last write by the store's clock: UTC, in whole seconds, as HEAD reports it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A range of a blob's bytes, with the ETag and size of the blob."""

    data: bytes
    etag: str
    size_bytes: int
    """Size of the whole blob."""


class BlobMissing(LookupError):
    """No blob has this key. The caller decides what that means."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BlobExists(Exception):
    """``create`` found a blob with this key.

    It may be the caller's own, from an attempt whose response was lost.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BlobOutsideRoot(StorePermissionDenied):
    """A symbolic link leads from this blob's key out of the store. Other blobs are accessible."""


class CreateUnsupported(StoreUnavailable):
    """The store does not support ``create``: it reports such requests as not implemented."""


class UnexpectedResponse(StoreUnavailable):
    """The server responded, but not as a store of its kind should."""


class Store(Protocol):
    """Named blobs under one URL. Thread-safe, and usable on both sides of a fork.

    Keys are relative to the URL: printable ASCII segments joined by single slashes, with no
    ``.`` or ``..`` among them. Any other key raises `InvalidValue` before any request is made.

    In addition to the errors that each method documents, all methods raise `StorePermissionDenied`
    when the store denies access and `StoreUnavailable` when it cannot be reached or does not exist.
    Denied access is never reported as a missing blob. If a symbolic link leads from one key out of
    the store, only that key raises `BlobOutsideRoot`.
    """

    @property
    def url(self) -> str:
        """Normalized URL of the store."""
        ...

    @property
    def display_name(self) -> str:
        """URL for error messages, with the server and region that requests go to, if any."""
        ...

    @property
    def options(self) -> StorageOptions:
        """Settings for access to this store and to the stores of chunks.

        They are used in addition to the environment.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole blob.

        Raises:
            BlobMissing: no blob has this key.
        """
        ...

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """Return the bytes ``[start, start + length)``, cut off at the blob's end like a slice.

        Args:
            key: The blob.
            start: First byte, from 0.
            length: Number of bytes, from 1.

        Raises:
            BlobMissing: no blob has this key.
            InvalidValue: ``start`` or ``length`` is out of its range.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Store a blob, replacing any blob with that key. Readers see either the old or the new.

        Raises:
            StoreFull: no space is left. No part of the blob was kept.
        """
        ...

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """Store a blob from a stream of blocks in bounded memory, replacing any with that key.

        If the iterable raises, its error propagates and nothing is stored.

        Args:
            key: The blob.
            blocks: Consumed on the calling thread while earlier blocks are being uploaded.

        Raises:
            StoreFull: no space is left. No part of the blob was kept.
        """
        ...

    def create(self, key: str, data: bytes) -> None:
        """Store a blob only if no blob has that key. Of concurrent callers, one succeeds.

        Raises:
            BlobExists: a blob has that key, possibly from this very call after a lost response.
            CreateUnsupported: the store cannot do this. Nothing was stored.
            StoreFull: no space is left. No part of the blob was kept.
        """
        ...

    def head(self, key: str) -> BlobInfo:
        """Return the metadata of a blob.

        Raises:
            BlobMissing: no blob has this key.
        """
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Iterate over all blobs in the folder ``prefix`` and below, as the store streams them.

        ``a`` and ``a/`` are the same folder, and ``ab/x`` is not in it; ``""`` lists everything.
        Blobs are sorted by key, except on local disk. Folder markers, whose keys end in a slash,
        are not blobs and are left out.
        """
        ...

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """Return the sorted names of the folders directly in ``prefix`` that contain a blob.

        The blob may be at any depth. In a bucket, a folder with only a folder marker is included
        too: checking for a blob next to the marker would take one request per folder.
        """
        ...

    def delete(self, keys: Iterable[str]) -> int:
        """Delete blobs in batches. Missing blobs are ignored.

        Any key that `list` returned is accepted, including those of other programs' blobs.

        Returns:
            Number of keys given.
        """
        ...


def is_remote(store: Store) -> bool:
    """Return True if requests mostly wait for a network, so that concurrency pays off."""
    return not store.url.startswith(("file:", "memory:"))


def map_requests(
    function: Callable[[Item], Result], items: Sequence[Item], store: Store, *, max_concurrent: int
) -> Generator[Result, None, None]:
    """Yield the results of short requests for each item, in order; concurrent if that pays off.

    Threads on a local store would take turns on the interpreter's lock at each request.
    """
    if not is_remote(store):
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="framecache-requests")
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def check_key(key: str) -> str:
    """Return ``key`` unchanged if every store can hold it under exactly this name.

    Raises:
        InvalidValue: see `Store`.
    """
    if len(key) <= _MAX_KEY_BYTES and _KEY.fullmatch(key):
        return key
    shown = key if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]}…"
    raise InvalidValue(
        f"{shown!r} is not a valid blob key: a key is printable ASCII segments joined by "
        f"single slashes, at most {_MAX_KEY_BYTES} bytes, with no backslash, no '.' or '..' "
        "segment, and no '#' before the last digits of a segment"
    )


def check_listed_key(key: str) -> str:
    """Return ``key`` unchanged if it cannot lead out of its store.

    Unlike `check_key`, it accepts any name that a listing can return.

    Raises:
        InvalidValue: the key is absolute or empty, or has an empty, ``.`` or ``..`` segment.
    """
    if {"", ".", ".."}.isdisjoint(key.split("/")):
        return key
    raise InvalidValue(f"{key[:_SHOWN_CHARACTERS]!r} is not a valid key of a listed blob")


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` without a trailing slash, if it can name a folder of a store.

    Raises:
        InvalidValue: see `Store`.
    """
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder or prefix else ""


def check_range(*, start: int, length: int) -> None:
    """Check that a range of bytes is valid.

    Raises:
        InvalidValue: ``start`` is below 0, or ``length`` below 1.
    """
    if start < 0 or length < 1:
        raise InvalidValue(
            f"a range must start at 0 or later and have at least 1 byte, not {start} and {length}"
        )
