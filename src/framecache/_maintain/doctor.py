"""Check of every store operation that framecache needs, with a report of those that fail."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from framecache.errors import FrameCacheError, StoreFull, StorePermissionDenied, StoreUnavailable
from framecache.store import (
    BlobExists,
    BlobMissing,
    CreateUnsupported,
    Store,
    UnexpectedResponse,
    overwrite_warning,
    unwrap_store,
)

PREFIX: Final = "cache/doctor/"
"""Prefix of the blobs that exist during an examination."""

_BODY: Final = b"framecache doctor"
_OTHER_BODY: Final = b"framecache doctor, second attempt"


Outcome = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check."""

    name: str
    """Checked operation, in one or two words."""
    outcome: Outcome
    """``skipped``: the operation was not tried, so its state is unknown."""
    detail: str
    """Observation; for a failure, the permission or setting to change; if skipped, the reason."""

    @property
    def ok(self) -> bool:
        """True if the operation was tried and works."""
        return self.outcome == "ok"


def run_checks(store: Store) -> list[Check]:
    """Try every operation that framecache uses on a store, and clean up afterwards.

    Each operation is tried even if earlier ones failed, unless the store cannot be reached at all.
    Errors of the store are not raised: they become checks that are not ok.
    """
    folder = f"{PREFIX}{uuid.uuid4().hex}/"
    trial = _StoreCheck(unwrap_store(store), folder)
    steps: list[tuple[str, Callable[[], str]]] = [
        ("write", trial.write),
        ("read", trial.read),
        ("range read", trial.read_range),
        ("ETag", trial.read_etag),
        ("missing blob", trial.read_missing),
        ("list", trial.list),
        ("create once", trial.create_twice),
        ("delete", trial.delete),
    ]
    checks: list[Check] = []
    for name, step in steps:
        check, is_reachable = _run_check(name, step)
        checks.append(check)
        if not is_reachable:
            skipped = "not tried, because the store cannot be reached"
            checks += [Check(other, "skipped", skipped) for other, _ in steps[len(checks) :]]
            break
    return checks


class _CheckFailed(Exception):
    """Wrong behavior of a store."""


class _CheckSkipped(Exception):
    """Operation that could not be tried for lack of a blob."""


def _run_check(name: str, step: Callable[[], str]) -> tuple[Check, bool]:
    try:
        return Check(name, "ok", step()), True
    except _CheckSkipped as reason:
        return Check(name, "skipped", str(reason)), True
    except (StoreFull, UnexpectedResponse, _CheckFailed) as error:
        return Check(name, "failed", str(error)), True
    except StoreUnavailable as error:
        return Check(name, "failed", str(error)), False
    except FrameCacheError as error:
        return Check(name, "failed", str(error)), True
    except (BlobExists, BlobMissing) as error:
        said = "exists already" if isinstance(error, BlobExists) else "is missing"
        detail = (
            f"the store reports that {error.key} {said}, which is wrong. Check what is "
            "in between, such as a proxy"
        )
        return Check(name, "failed", detail), True


@dataclass(slots=True)
class _StoreCheck:
    store: Store
    folder: str
    was_written: bool = False

    @property
    def written_key(self) -> str:
        return f"{self.folder}written"

    @property
    def created_key(self) -> str:
        return f"{self.folder}created"

    def write(self) -> str:
        self.store.put(self.written_key, _BODY)
        self.was_written = True
        return "a blob was written"

    def read(self) -> str:
        try:
            body = self.store.get(self.written_key)
        except BlobMissing:
            return self._blob_not_found("read")
        self._require_equal(body, _BODY)
        return "it was read back unchanged"

    def read_range(self) -> str:
        try:
            body = self.store.get_range(self.written_key, start=1, length=len(_BODY) - 2)
        except BlobMissing:
            return self._blob_not_found("read")
        self._require_equal(body, _BODY[1:-1])
        return "a part of it was read"

    def read_etag(self) -> str:
        try:
            etags = {self.store.head(self.written_key).etag for _ in range(2)}
        except BlobMissing:
            return self._blob_not_found("identify")
        if len(etags) > 1:
            raise _CheckFailed(
                f"{self.store.display_name}: the store gives a blob another ETag each time, so a "
                "video in it cannot be distinguished from one that was replaced. Use another "
                "store for videos"
            )
        if "" in etags:
            raise _CheckFailed(
                f"{self.store.display_name}: the store gives blobs no ETag, so replacing a video "
                "by one of the same size is not noticed. Use another store for videos"
            )
        return "it has an ETag, which does not change"

    def read_missing(self) -> str:
        try:
            self.store.get(f"{self.folder}missing")
        except BlobMissing:
            return "a missing blob is reported as missing"
        raise _CheckFailed(
            f"{self.store.display_name}: a missing blob can be read. Check what is in between: a "
            "proxy, or AWS_ENDPOINT_URL"
        )

    def list(self) -> str:
        keys = {info.key for info in self.store.list(self.folder)}
        if self.was_written and self.written_key not in keys:
            raise _CheckFailed(
                f"{self.store.display_name}: a blob that was just written is not listed. "
                "framecache needs a store with consistent listings, as S3 has"
            )
        return "it was found in a listing" if self.was_written else self._blob_not_found("list")

    def create_twice(self) -> str:
        try:
            self.store.create(self.created_key, _BODY)
            self.store.create(self.created_key, _OTHER_BODY)
        except BlobExists:
            refused = True
        except CreateUnsupported:
            refused = False
        else:
            refused = False
        if not refused or self.store.get(self.created_key) != _BODY:
            raise _CheckFailed(overwrite_warning(self.store.display_name))
        return "a second create was refused, and changed nothing"

    def delete(self) -> str:
        try:
            self.store.delete([self.written_key, self.created_key])
        except StorePermissionDenied as error:
            left = f"{self.written_key} and {self.created_key} may be left in the store"
            raise _CheckFailed(f"{error}. {left}: delete them by hand") from error
        try:
            self.store.get(self.written_key)
        except (BlobMissing, FrameCacheError):
            # Errors other than a missing blob are reported by another check.
            return "the blobs were deleted"
        raise _CheckFailed(
            f"{self.store.display_name}: a deleted blob can still be read. Is the bucket locked, "
            "or is a cache between it and this machine?"
        )

    def _require_equal(self, body: bytes, expected: bytes) -> None:
        if body != expected:
            raise _CheckFailed(
                f"{self.store.display_name}: a blob was read back altered. Check what is in "
                "between: a proxy, or AWS_ENDPOINT_URL"
            )

    def _blob_not_found(self, action: str) -> str:
        if self.was_written:
            raise _CheckFailed(
                f"{self.store.display_name}: a blob that was just written is not found. framecache "
                "needs a store with read-after-write consistency, as S3 has"
            )
        raise _CheckSkipped(f"allowed, but there was nothing to {action}: no blob could be written")
