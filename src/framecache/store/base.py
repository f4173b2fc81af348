"""What a store is, to everything above it."""

import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from framecache.errors import InvalidValue, StoreDenied, StoreUnavailable

_LONGEST_KEY_BYTES: Final = 1024
_LONGEST_SEGMENT_BYTES: Final = 255
# Local stores stage an upload beside its blob, under a name that ends in "#1", "#2"…
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)(?!.*#[0-9]*$)[\x20-\x2e\x30-\x5b\x5d-\x7e]+")
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob without its bytes."""

    key: str
    """Relative to the store's URL."""
    size_bytes: int
    etag: str
    """Changes when the content does; opaque, without quotes."""
    modified_at: datetime
    """When it was stored, by the store's own clock: UTC, in whole seconds, as a HEAD has it."""


class BlobMissing(LookupError):
    """There is no blob of this key. The caller knows what that means."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BlobExists(Exception):
    """``create`` met a blob of this key, possibly its own from an attempt whose answer was lost."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BlobOutside(StoreDenied):
    """A link on the way to this one blob leads out of the store, which itself refuses nothing."""


class CreateUnsupported(StoreUnavailable):
    """The store has no ``create``: it answers that such a request is not implemented."""


class Store(Protocol):
    """Named blobs under one URL. Safe to share between threads, not across a fork.

    Keys are relative to the URL: printable ASCII segments joined by single slashes, with no
    ``.`` or ``..`` among them. Any other key is an `InvalidValue` before any request is made.

    Beyond what each method names, all of them raise `StoreDenied` when the store refuses and
    `StoreUnavailable` when it cannot be reached or does not exist. A refusal is never reported
    as a missing blob; that of one blob alone, behind a link out of the store, is `BlobOutside`.
    """

    @property
    def url(self) -> str:
        """What it was opened with, normalised."""
        ...

    def get(self, key: str) -> bytes:
        """The whole blob.

        Raises:
            BlobMissing: there is none.
        """
        ...

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """The bytes ``[start, start + length)``, as far as the blob has them, as a slice would.

        Args:
            key: The blob.
            start: First byte, from 0.
            length: Number of bytes, from 1.

        Raises:
            BlobMissing: there is none.
            InvalidValue: ``start`` or ``length`` is out of its range.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Store a blob, replacing one of that key. Readers see the old one or the new one.

        Raises:
            StoreFull: no room is left. Nothing of it was kept.
        """
        ...

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """Store a blob that comes in blocks, in bounded memory, replacing one of that key.

        Nothing of it is stored unless the blocks come to their end: what they raise is raised.

        Args:
            key: The blob.
            blocks: Taken on the calling thread, while those before are being uploaded.

        Raises:
            StoreFull: no room is left. Nothing of it was kept.
        """
        ...

    def create(self, key: str, data: bytes) -> None:
        """Store a blob only if there is none of that key: of many callers, one succeeds.

        Raises:
            BlobExists: there is one, perhaps from this very call, after a lost answer.
            CreateUnsupported: the store cannot do this. Nothing was stored.
            StoreFull: no room is left. Nothing of it was kept.
        """
        ...

    def head(self, key: str) -> BlobInfo:
        """A blob without its bytes.

        Raises:
            BlobMissing: there is none.
        """
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Every blob in the folder ``prefix`` and below, as the store streams them.

        ``a`` and ``a/`` are the same folder, and ``ab/x`` is not in it; ``""`` is everything.
        Sorted by key, except on local disk.
        """
        ...

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """Names, sorted, of the folders directly in ``prefix`` that hold a blob at some depth."""
        ...

    def delete(self, keys: Iterable[str]) -> int:
        """Delete blobs, in batches; those that are not there are fine.

        Keys may be any that `list` gave, those of other programs' blobs included.

        Returns:
            How many keys were given.
        """
        ...


def is_remote(store: Store) -> bool:
    """Whether a request mostly waits for a network, so that many at once pay."""
    return not store.url.startswith(("file:", "memory:"))


def check_key(key: str) -> str:
    """Return ``key`` unchanged if every store can hold it, and none would lead it elsewhere.

    Raises:
        InvalidValue: see `Store`.
    """
    segments = key.split("/")
    if len(key) <= _LONGEST_KEY_BYTES and all(_is_segment(segment) for segment in segments):
        return key
    shown = key if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]}…"
    raise InvalidValue(
        f"{shown!r} cannot be a blob's key: a key is printable ASCII segments joined by single "
        f"slashes, at most {_LONGEST_KEY_BYTES} bytes, with no '.', '..' or '\\' and no "
        f"'#' before its last digits"
    )


def check_listed(key: str) -> str:
    """Return ``key`` unchanged if it stays in its store: the name may be any a listing gave.

    Raises:
        InvalidValue: it is absolute, empty, or has ``.`` or ``..`` among its segments.
    """
    if {"", ".", ".."}.isdisjoint(key.split("/")):
        return key
    raise InvalidValue(f"{key[:_SHOWN_CHARACTERS]!r} cannot be the key of a listed blob")


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` without a trailing slash, if it can name a folder of a store.

    Raises:
        InvalidValue: see `Store`.
    """
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder or prefix else ""


def check_range(*, start: int, length: int) -> None:
    """Refuse a range that no blob can have.

    Raises:
        InvalidValue: ``start`` is below 0, or ``length`` below 1.
    """
    if start < 0 or length < 1:
        raise InvalidValue(
            f"a range starts at 0 or later and has at least 1 byte, not {start} and {length}"
        )


def _is_segment(segment: str) -> bool:
    return len(segment) <= _LONGEST_SEGMENT_BYTES and _SEGMENT.fullmatch(segment) is not None
