"""Try everything framecache needs of a store, and name what is missing."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from framecache.errors import FrameCacheError, StoreDenied, StoreFull, StoreUnavailable
from framecache.store import (
    BlobExists,
    BlobMissing,
    CreateUnsupported,
    Store,
    does_not_refuse,
    unprobed,
)

FOLDER: Final = "cache/doctor/"
"""Where the blobs of an examination lie while it runs."""

_BODY: Final = b"framecache doctor"
_OTHER_BODY: Final = b"framecache doctor, second attempt"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of one thing that was tried."""

    name: str
    """What was tried, in one or two words."""
    ok: bool
    detail: str
    """What was met; if it is not ok, the permission or setting to change."""


def examine(store: Store) -> list[Check]:
    """Try write, read, range read, list, create-twice and delete; leave nothing behind.

    Each is tried whatever became of those before it, unless the store cannot be reached at all.
    No error of the store is raised: it is a `Check` that is not ok.
    """
    folder = f"{FOLDER}{uuid.uuid4().hex}/"
    trial = _Trial(unprobed(store), written=f"{folder}written", created=f"{folder}created")
    steps: list[tuple[str, Callable[[], str]]] = [
        ("write", trial.write),
        ("read", trial.read),
        ("range read", trial.read_range),
        ("list", trial.list),
        ("create once", trial.create_twice),
        ("delete", trial.delete),
    ]
    checks: list[Check] = []
    for name, step in steps:
        check, is_reachable = _try(name, step)
        checks.append(check)
        if not is_reachable:
            skipped = "not tried, for the store cannot be reached"
            checks += [Check(other, ok=False, detail=skipped) for other, _ in steps[len(checks) :]]
            break
    return checks


class _Failed(Exception):
    """A store did something other than it should."""


def _try(name: str, step: Callable[[], str]) -> tuple[Check, bool]:
    try:
        return Check(name, ok=True, detail=step()), True
    except (StoreDenied, StoreFull, _Failed) as error:
        return Check(name, ok=False, detail=str(error)), True
    except StoreUnavailable as error:
        return Check(name, ok=False, detail=str(error)), False
    except FrameCacheError as error:
        return Check(name, ok=False, detail=str(error)), True


@dataclass(slots=True)
class _Trial:
    store: Store
    written: str
    created: str
    was_written: bool = False

    def write(self) -> str:
        self.store.put(self.written, _BODY)
        self.was_written = True
        return "a blob was written"

    def read(self) -> str:
        try:
            body = self.store.get(self.written)
        except BlobMissing:
            return self._nothing_to("read")
        self._compare(body, _BODY)
        return "it was read back unchanged"

    def read_range(self) -> str:
        try:
            body = self.store.get_range(self.written, start=1, length=len(_BODY) - 2)
        except BlobMissing:
            return self._nothing_to("read")
        self._compare(body, _BODY[1:-1])
        return "a part of it was read"

    def list(self) -> str:
        keys = {info.key for info in self.store.list(self.written.rpartition("/")[0])}
        if self.was_written and self.written not in keys:
            raise _Failed(
                f"{self.store.url}: a blob that was just written is not listed. This store lists "
                f"late; framecache needs one that lists at once, as S3 does"
            )
        return "it was found in a listing" if self.was_written else self._nothing_to("list")

    def create_twice(self) -> str:
        try:
            self.store.create(self.created, _BODY)
            self.store.create(self.created, _OTHER_BODY)
        except BlobExists:
            refused = True
        except CreateUnsupported:
            refused = False
        else:
            refused = False
        if not refused or self.store.get(self.created) != _BODY:
            raise _Failed(does_not_refuse(self.store.url))
        return "a second create was refused, and changed nothing"

    def delete(self) -> str:
        try:
            self.store.delete([self.written, self.created])
        except StoreDenied as error:
            left = f"{self.written} and {self.created} may be left there"
            raise _Failed(f"{error}. {left}: delete them by hand") from error
        try:
            self.store.get(self.written)
        except (BlobMissing, FrameCacheError):
            # If it cannot be read at all, another check says so.
            return "the blobs were deleted"
        raise _Failed(
            f"{self.store.url}: a blob that was deleted can still be read. Is the bucket locked, "
            f"or a cache between it and this machine?"
        )

    def _compare(self, body: bytes, expected: bytes) -> None:
        if body != expected:
            raise _Failed(
                f"{self.store.url}: a blob came back altered. Check what lies between: a proxy, "
                f"or AWS_ENDPOINT_URL"
            )

    def _nothing_to(self, action: str) -> str:
        if self.was_written:
            raise _Failed(
                f"{self.store.url}: a blob that was just written is not found. framecache needs a "
                f"store that reads its own writes at once, as S3 does"
            )
        return f"allowed, but there was nothing to {action}"
