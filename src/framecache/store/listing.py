"""Listings that skip other programs' keys that cannot be keys of blobs.

- Odd keys, with an empty, ``.`` or ``..`` part or a control character: obstore cannot represent
  them, and its listings stop there.
- Folder markers, whose keys end in a slash: obstore lists them without the slash, as if they were
  blobs next to the folders.

A `StoreWarning` names each key once.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from obstore.exceptions import InvalidPathError, PermissionDeniedError, UnauthenticatedError

from framecache.errors import StoreWarning
from framecache.store.backends import Client
from framecache.store.causes import is_unsupported_key
from framecache.store.s3_listing import S3Lister

if TYPE_CHECKING:
    from obstore import ObjectMeta

# S3 lists at most this many keys per request.
_BATCH: Final = 1000


# More warnings would hide the program's other output.
_MAX_NAMED_KEYS: Final = 10
_UNSUPPORTED: Final = "an empty, '.' or '..' part or a control character"
_REMEDY: Final = (
    "which keys of a cache never have: remove it with the program that created "
    "it, if it is not needed"
)

_issued: Final[set[tuple[str, str, str]]] = set()
"""Warnings already issued: the store, the kind of warning, and the key or folder."""


class SkippedKeys:
    """Warnings about the keys that one listing skips. The first keys are named, others counted."""

    def __init__(self, display_name: str, folder: str) -> None:
        """Start without any skipped keys.

        Args:
            display_name: name of the store.
            folder: the listed folder.
        """
        self._place = display_name
        self._folder = folder
        self._count = 0

    def add_unsupported(self, key: str) -> None:
        """Warn about a key that obstore cannot represent."""
        self._warn_key(key, f"It has {_UNSUPPORTED}")

    def add_marker(self, key: str) -> None:
        """Warn about a folder marker, whose key ends in a slash."""
        self._warn_key(key, "It ends in a slash, like a folder marker")

    def finish(self) -> None:
        """Warn about the number of keys that were not named."""
        if self._count > _MAX_NAMED_KEYS:
            more = f"{self._count - _MAX_NAMED_KEYS} more keys were skipped"
            self._warn(
                "rest", self._folder, f"{more}. They have {_UNSUPPORTED}, or a slash at their end"
            )

    def _warn_key(self, key: str, reason: str) -> None:
        self._count += 1
        if self._count <= _MAX_NAMED_KEYS:
            self._warn("key", key, f"the key {key!r} was skipped. {reason}")

    def _warn(self, kind: str, name: str, message: str) -> None:
        if (self._place, kind, name) not in _issued:
            _issued.add((self._place, kind, name))
            warnings.warn(f"{self._place}: {message}, {_REMEDY}", StoreWarning, stacklevel=6)


class Listing:
    """Listings of the folders of a bucket, without odd keys and folder markers."""

    def __init__(
        self, client: Client, lister: S3Lister | None, *, display_name: str, own_folder: str
    ) -> None:
        """Prepare for a bucket.

        Args:
            client: client that lists the bucket as long as it contains no odd key.
            lister: lister that continues at an odd key; None if there is none.
            display_name: name of the store in warnings.
            own_folder: folder of the store; its own marker does not cause a warning.
        """
        self._client = client
        self._lister = lister
        self._place = display_name
        self._own_folder = own_folder
        self._has_found_markers = False

    def objects(self, folder: str) -> Iterator["ObjectMeta"]:
        """Yield all objects in a folder and below, in the order in which the store lists them.

        Args:
            folder: folder without a trailing slash; empty for the whole bucket.

        Raises:
            InvalidPathError: there is an odd key that cannot be skipped.
        """
        prefix = _prefix(folder)
        passed_over = SkippedKeys(self._place, folder)
        twins = _DuplicateDetector()
        for meta, following in pairwise(chain(self._iter_objects(folder, passed_over), [None])):
            assert meta is not None, "only the last is"
            path = meta["path"]
            if twins.is_duplicate(path) or not path.startswith(prefix):
                self._skip_marker(passed_over, f"{path}/")
            elif not _is_ambiguous(meta, following) or self._exists(path, passed_over):
                yield meta
        passed_over.finish()

    def folders(self, folder: str) -> list[str]:
        """Return the sorted names of direct subfolders, except those with odd names.

        Raises:
            InvalidPathError: there is an odd key that cannot be skipped.
        """
        try:
            found = self._client.list_with_delimiter(folder or None)
        except InvalidPathError:
            if self._lister is None:
                raise
            return self._list_folders_with(self._lister, folder)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def remove_markers(self, folder: str) -> None:
        """Remove the folder markers at a folder and below, if a listing has found any.

        Only possible on S3, where markers can be listed and removed by their full keys.
        """
        if self._lister is None or not self._has_found_markers:
            return
        for page in self._lister.pages(_prefix(folder)):
            for listed in page.objects:
                if listed.key.endswith("/") and not is_unsupported_key(_as_obstore_key(listed.key)):
                    self._lister.remove(listed.key)

    def _iter_objects(self, folder: str, skipped: SkippedKeys) -> Iterator["ObjectMeta"]:
        """Yield all objects that obstore can list, including markers, continuing past odd keys."""
        last: Sequence[ObjectMeta] = []
        try:
            for batch in self._client.list(folder or None, chunk_size=_BATCH):
                last = batch
                yield from batch
        except InvalidPathError:
            if self._lister is None:
                raise
            # obstore returned none of the objects on the same page as the odd key.
            paths = [meta["path"] for meta in last]
            yield from self._objects_after(self._lister, _prefix(folder), paths, skipped)

    def _exists(self, path: str, skipped: SkippedKeys) -> bool:
        """Return True if an object has exactly the listed key, without a trailing slash."""
        try:
            self._client.head(path)
        except FileNotFoundError:
            if self._is_marker(path):
                self._skip_marker(skipped, f"{path}/")
            # Otherwise the object has been deleted since.
            return False
        except (PermissionDeniedError, UnauthenticatedError):
            pass  # without permission to read, there is no way to check
        return True

    def _is_marker(self, path: str) -> bool:
        """Return True if a listing of the folder ``path`` begins with its marker."""
        try:
            first = next(iter(self._client.list(path)), [])
        except InvalidPathError:
            return True
        return any(meta["path"] == path for meta in first[:1])

    def _skip_marker(self, skipped: SkippedKeys, key: str) -> None:
        self._has_found_markers = True
        if key != f"{self._own_folder}/":
            skipped.add_marker(key)

    def _objects_after(
        self, lister: S3Lister, prefix: str, last: Sequence[str], skipped: SkippedKeys
    ) -> Iterator["ObjectMeta"]:
        """Yield the objects that follow those in ``last``, which may end with a folder marker."""
        for page in lister.pages(prefix, after=last[-1] if last else ""):
            for listed in page.objects:
                if is_unsupported_key(_as_obstore_key(listed.key)):
                    skipped.add_unsupported(listed.key)
                elif listed.key.endswith("/"):
                    self._skip_marker(skipped, listed.key)
                elif listed.key not in last:
                    yield {
                        "path": listed.key,
                        "size": listed.size_bytes,
                        "e_tag": listed.etag,
                        "last_modified": listed.modified_at,
                        "version": None,
                    }

    def _list_folders_with(self, lister: S3Lister, folder: str) -> list[str]:
        prefix = _prefix(folder)
        passed_over = SkippedKeys(self._place, folder)
        found = []
        for page in lister.pages(prefix, delimiter="/"):
            for key in (*(listed.key for listed in page.objects), *page.folders):
                if is_unsupported_key(_as_obstore_key(key)):
                    passed_over.add_unsupported(key)
            found += [
                _as_obstore_key(path)
                for path in page.folders
                if not is_unsupported_key(_as_obstore_key(path))
            ]
        passed_over.finish()
        return sorted(path.removeprefix(prefix) for path in found)


class _DuplicateDetector:
    """Detector of paths that are listed twice in a listing sorted by key.

    The blob comes first, then its folder's marker; all keys between them start with their path.
    """

    def __init__(self) -> None:
        self._open: list[str] = []
        """Paths, each a prefix of the next."""

    def is_duplicate(self, path: str) -> bool:
        while self._open and not path.startswith(self._open[-1]):
            self._open.pop()
        if self._open and self._open[-1] == path:
            return True
        self._open.append(path)
        return False


def _is_ambiguous(meta: "ObjectMeta", following: "ObjectMeta | None") -> bool:
    """Return True if an object may be a marker: it is empty, or an object in its folder follows."""
    if not meta["size"]:
        return True
    return following is not None and following["path"].startswith(f"{meta['path']}/")


def _as_obstore_key(key: str) -> str:
    """Return a key as obstore represents it: a folder marker without its trailing slash."""
    return key.removesuffix("/")


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""
