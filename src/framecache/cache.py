"""The front door: a cache in a store, and the timelines in it."""

import os
from typing import Final

from framecache import keys
from framecache.store import Store, open_store, probed
from framecache.timeline import Timeline

_DEFAULT_FOLDER: Final = "./.framecache"


class FrameCache:
    """The timelines in one store. Cheap to make, safe to share between threads."""

    def __init__(self, url: str | os.PathLike[str] | None = None) -> None:
        """Name the store; nothing is requested until a timeline is used.

        Args:
            url: ``s3://bucket/prefix``, ``gs://…``, ``az://…``, ``memory://name`` or a local
                folder. None: ``$FRAMECACHE_URL``, else ``s3://$S3_BUCKET``, else
                ``./.framecache``.

        Raises:
            InvalidValue: a URL of another kind.
        """
        chosen = os.fspath(url) if url is not None else _url_from_environment()
        self._store = probed(open_store(chosen))

    def __repr__(self) -> str:
        return f"<FrameCache {self.url}>"

    @property
    def url(self) -> str:
        """Where the cache lies."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The blobs themselves."""
        return self._store

    def timeline(self, timeline_id: str) -> Timeline:
        """A timeline by its id, whether it exists or not; makes no request.

        Raises:
            InvalidId: an id that cannot be part of a key.
        """
        return Timeline(self._store, timeline_id)

    def timelines(self) -> list[str]:
        """The ids of all timelines in the store, sorted; folders that are none are passed over."""
        return [name for name in self._store.list_folders(keys.ROOT) if keys.is_id(name)]


def _url_from_environment() -> str:
    bucket = os.environ.get("S3_BUCKET")
    fallback = f"s3://{bucket}" if bucket else _DEFAULT_FOLDER
    return os.environ.get("FRAMECACHE_URL") or fallback
