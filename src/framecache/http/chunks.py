"""Which videos a client may have this service read, and no others."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from framecache import keys
from framecache.errors import InvalidValue
from framecache.http.problems import Refusal
from framecache.store import normalised_url, path_of_url, url_of_path

_UPLOAD: Final = "upload:"
_LOCAL: Final = "file://"


class AllowedChunks:
    """Videos under the allowed folders and URLs, and those that were uploaded for a timeline."""

    def __init__(self, store_url: str, allowed: Iterable[str]) -> None:
        """Take the folders and URLs.

        Args:
            store_url: of the cache, below which uploads lie.
            allowed: local folders, and URLs that those of chunks begin with.

        Raises:
            InvalidValue: one is no URL that chunks could have.
        """
        self._store_url = store_url
        self._allowed = tuple(_resolved(normalised_url(url)) for url in allowed)

    def url(self, timeline_id: str, chunk: str) -> str:
        """The URL of a chunk as a client names it: a URL, or ``upload:{name}``.

        Links in local paths are followed here, so that what is allowed is what is read.

        Raises:
            Refusal: it is not under what is allowed, or is no URL at all.
        """
        if chunk.startswith(_UPLOAD):
            key = keys.upload(timeline_id, chunk.removeprefix(_UPLOAD))
            return self._permitted(timeline_id, f"{self._store_url}/{key}")
        if "://" not in chunk:
            raise _refusal()
        return self._permitted(timeline_id, chunk)

    def check(self, timeline_id: str, urls: Sequence[str]) -> None:
        """Refuse unless chunks that are described already are allowed.

        Raises:
            Refusal: one is not.
        """
        for url in urls:
            self._permitted(timeline_id, url)

    def _permitted(self, timeline_id: str, url: str) -> str:
        try:
            found = _resolved(normalised_url(url))
        except (InvalidValue, OSError) as error:
            raise _refusal() from error
        uploads = f"{self._store_url}/{keys.uploads_prefix(timeline_id).rstrip('/')}"
        if any(_lies_under(found, place) for place in (*self._allowed, _resolved(uploads))):
            return found
        raise _refusal()


def _lies_under(url: str, place: str) -> bool:
    return url == place or url.startswith(place if place.endswith("/") else f"{place}/")


def _resolved(url: str) -> str:
    """The URL, without links if it is one of a local path."""
    if not url.startswith(_LOCAL):
        return url
    return url_of_path(os.path.realpath(Path(path_of_url(url))))


def _refusal() -> Refusal:
    return Refusal(
        403,
        "chunk_not_allowed",
        "Chunks must lie where this service was told that they may: see --allow-chunks.",
    )
