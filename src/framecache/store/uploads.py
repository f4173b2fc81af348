"""Abandoned uploads: temporary files that killed writers leave behind on local disk.

An upload is written to a temporary file next to its blob, named after the blob with ``#1``,
``#2``… appended. Listings do not show these files, and only this module removes abandoned ones.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from framecache.store.base import BlobMissing, Store
from framecache.store.errors import translate_errors
from framecache.store.file_walk import staged_files
from framecache.store.urls import parse

_FOLDER: Final = "cache"


@dataclass(frozen=True, slots=True)
class AbandonedUpload:
    """Part of a blob whose writer stopped before the upload was complete."""

    path: Path
    size_bytes: int
    modified_at: datetime
    """Time of the last write, in UTC."""


@dataclass(frozen=True, slots=True)
class RemovedUploads:
    """Number and total size of the removed uploads."""

    count: int
    size_bytes: int


def abandoned_uploads(store: Store, *, older_than_seconds: float) -> Iterator[AbandonedUpload]:
    """Yield the uploads below ``cache/`` that have not been written to for some time.

    Only local disk has any: other servers do not show them. Symbolic links are not followed.

    Args:
        store: Any store, possibly wrapped; only its URL is used.
        older_than_seconds: Minimum time since the last write. Choose it far longer than the
            upload of the largest blob takes.

    Raises:
        StorePermissionDenied, StoreUnavailable: a folder cannot be read.
    """
    location = parse(store.url)
    if location.scheme != "file":
        return
    latest = time.time() - older_than_seconds
    with translate_errors(location, action="list", key=_FOLDER):
        for path, found in staged_files(f"{os.path.realpath(location.path)}/{_FOLDER}"):
            if found.st_mtime <= latest:
                modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield AbandonedUpload(Path(path), found.st_size, modified_at)


def remove_abandoned_uploads(store: Store, *, older_than_seconds: float) -> RemovedUploads:
    """Remove the uploads that `abandoned_uploads` finds, and return their number and size.

    Raises:
        StorePermissionDenied, StoreUnavailable: a folder cannot be read, or a file cannot be
            removed.
    """
    location = parse(store.url)
    count = size_bytes = 0
    for upload in abandoned_uploads(store, older_than_seconds=older_than_seconds):
        with suppress(BlobMissing):  # the upload has finished, or another program removed it
            with translate_errors(location, action="delete", key=str(upload.path)):
                upload.path.unlink()
            count += 1
            size_bytes += upload.size_bytes
    return RemovedUploads(count, size_bytes)
