"""Allowlist of the videos that clients may have this service read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from framecache._core import keys
from framecache.errors import InvalidValue
from framecache.model import Chunk
from framecache.server.problem_details import ProblemError
from framecache.store import normalized_url, path_of_url, url_of_path

_UPLOAD_PREFIX: Final = "upload:"
_FILE_PREFIX: Final = "file://"


class ChunkAllowlist:
    """Videos under the allowed folders and URLs, and those uploaded for a timeline."""

    def __init__(self, store_url: str, allowed: Iterable[str]) -> None:
        """Resolve the allowed folders and URLs.

        Args:
            store_url: URL of the cache's store, below which uploads lie.
            allowed: local folders, and URL prefixes of chunks.

        Raises:
            InvalidValue: one of them is not a valid URL of a chunk.
        """
        self._store_url = store_url
        self._allowed = tuple(_resolve_symlinks(normalized_url(url)) for url in allowed)

    def resolve(self, timeline_id: str, chunk: str) -> str:
        """Return the URL of a chunk that a client named by URL or as ``upload:{name}``.

        Symbolic links in local paths are resolved here, so the path that was checked is the path
        that is read.

        Raises:
            ProblemError: the URL is not allowed, or is not a URL.
        """
        if chunk.startswith(_UPLOAD_PREFIX):
            key = keys.upload(timeline_id, chunk.removeprefix(_UPLOAD_PREFIX))
            return self._resolve_allowed(timeline_id, f"{self._store_url}/{key}")
        if "://" not in chunk:
            raise _not_allowed_error()
        return self._resolve_allowed(timeline_id, chunk)

    def resolve_chunk(self, timeline_id: str, given: str | Mapping[str, Any]) -> Chunk:
        """Return a chunk that a client gave by its name, or as the fields of a `ChunkRequest`.

        Raises:
            ProblemError: its URL is not allowed, or is not a URL.
        """
        fields = {"url": given} if isinstance(given, str) else given
        return Chunk(**{**fields, "url": self.resolve(timeline_id, fields["url"])})

    def check(self, timeline_id: str, urls: Sequence[str]) -> None:
        """Check that the chunks of an existing manifest are allowed.

        Raises:
            ProblemError: one of them is not.
        """
        for url in urls:
            self._resolve_allowed(timeline_id, url)

    def _resolve_allowed(self, timeline_id: str, url: str) -> str:
        try:
            found = _resolve_symlinks(normalized_url(url))
        except (InvalidValue, OSError) as error:
            raise _not_allowed_error() from error
        uploads = f"{self._store_url}/{keys.uploads_prefix(timeline_id).rstrip('/')}"
        if any(_is_under(found, place) for place in (*self._allowed, _resolve_symlinks(uploads))):
            return found
        raise _not_allowed_error()


def _is_under(url: str, prefix: str) -> bool:
    return url == prefix or url.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _resolve_symlinks(url: str) -> str:
    """Return the URL; in that of a local path, symbolic links are resolved."""
    if not url.startswith(_FILE_PREFIX):
        return url
    return url_of_path(os.path.realpath(Path(path_of_url(url))))


def _not_allowed_error() -> ProblemError:
    return ProblemError(
        403,
        "chunk_not_allowed",
        "Chunks must be in a location that this service allows: see --allow-chunks.",
    )
