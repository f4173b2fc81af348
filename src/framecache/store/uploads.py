"""What writers that were killed leave behind on local disk: uploads that nobody will finish.

obstore stages an upload beside its blob, under the blob's name and ``#1``, ``#2``… No listing
shows it, and nobody but this module removes it.
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
from framecache.store.faults import translated
from framecache.store.files import staged_files
from framecache.store.urls import parse

_FOLDER: Final = "cache"


@dataclass(frozen=True, slots=True)
class AbandonedUpload:
    """A part of a blob that was being written when its writer stopped."""

    path: Path
    size_bytes: int
    modified_at: datetime
    """When the last byte of it was written; in UTC."""


@dataclass(frozen=True, slots=True)
class RemovedUploads:
    """What was removed."""

    count: int
    size_bytes: int


def abandoned_uploads(store: Store, *, older_than_seconds: float) -> Iterator[AbandonedUpload]:
    """The uploads below ``cache/`` that nothing was written to for some time.

    Only local disk has any: elsewhere the server keeps them to itself. No link is followed.

    Args:
        store: Any; if it is around another, the URL tells where that is.
        older_than_seconds: How long; far above what storing the largest blob takes.

    Raises:
        StoreDenied, StoreUnavailable: a folder cannot be read.
    """
    location = parse(store.url)
    if location.scheme != "file":
        return
    latest = time.time() - older_than_seconds
    with translated(location, action="list", key=_FOLDER):
        for path, found in staged_files(f"{os.path.realpath(location.path)}/{_FOLDER}"):
            if found.st_mtime <= latest:
                modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield AbandonedUpload(Path(path), found.st_size, modified_at)


def remove_abandoned_uploads(store: Store, *, older_than_seconds: float) -> RemovedUploads:
    """Remove what `abandoned_uploads` finds, and say how much that was.

    Raises:
        StoreDenied, StoreUnavailable: a folder cannot be read, or a file not be removed.
    """
    location = parse(store.url)
    count = size_bytes = 0
    for upload in abandoned_uploads(store, older_than_seconds=older_than_seconds):
        with suppress(BlobMissing):  # finished in the meantime, or removed by another program
            with translated(location, action="delete", key=str(upload.path)):
                upload.path.unlink()
            count += 1
            size_bytes += upload.size_bytes
    return RemovedUploads(count, size_bytes)
