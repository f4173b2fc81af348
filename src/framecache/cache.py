"""The front door: a cache in a store, and the timelines in it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from framecache import keys
from framecache.errors import InvalidValue
from framecache.gc import GcPlan, GcProgress, plan_gc
from framecache.numeric import MOST_WHOLE, as_index, shown
from framecache.store import Store, is_remote, open_store, probed
from framecache.tier import SMALLEST_LIMIT_BYTES, FrameTier
from framecache.timeline import Timeline

_DEFAULT_FOLDER: Final = "./.framecache"
_GRACE_SECONDS: Final = 24 * 3600.0
_LOCAL_CACHE_BYTES: Final = 10 * 10**9
_LIMIT_VARIABLE: Final = "FRAMECACHE_LOCAL_CACHE_BYTES"


class FrameCache:
    """The timelines in one store. Cheap to make, safe to share between threads."""

    def __init__(
        self,
        url: str | bytes | os.PathLike[Any] | None = None,
        *,
        local_cache: str | bytes | os.PathLike[Any] | None = None,
        local_cache_bytes: int | None = None,
    ) -> None:
        """Name the store; nothing is requested until a timeline is used.

        Args:
            url: ``s3://bucket/prefix``, ``gs://…``, ``az://…``, ``memory://name`` or a local
                folder. None: ``$FRAMECACHE_URL``, else ``s3://$S3_BUCKET``, else
                ``./.framecache``.
            local_cache: a folder of this machine that fetched frames are kept in, and read from
                when they are read again. It is empty, or not there yet, or was given before; any
                number of programs and stores may share it. Of a store that lies in a local folder
                or in memory nothing is kept. None: ``$FRAMECACHE_LOCAL_CACHE``; empty: none.
            local_cache_bytes: what that folder may take on disk, from 1 MiB; the least recently
                used frames go first. None: ``$FRAMECACHE_LOCAL_CACHE_BYTES``, else 10 GB.

        Raises:
            InvalidValue: a URL of another kind, a number out of its range, or a folder that holds
                other things.
        """
        chosen = (
            _path(url, what="url is a path or the URL of a store")
            if url is not None
            else _url_from_environment()
        )
        self._store = probed(open_store(chosen))
        self._tier = _tier(self._store, local_cache, local_cache_bytes)

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
        return Timeline(self._store, timeline_id, tier=self._tier)

    def timelines(self) -> list[str]:
        """The ids of all timelines in the store, sorted; folders that are none are passed over."""
        return [name for name in self._store.list_folders(keys.ROOT) if keys.is_id(name)]

    def plan_gc(
        self,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        max_bytes: int | None = None,
        max_age_seconds: float | None = None,
        timelines: Iterable[str] | None = None,
        progress: GcProgress | None = None,
    ) -> GcPlan:
        """Find what nobody needs any more; ``plan.carry_out()`` then removes it.

        Without a quota or an age that is only what no reader ever sees: what is left of cleared
        epochs, crashed programs and replaced versions. With one, whole timelines lose their
        frames too, least recently used first, as by :meth:`Timeline.clear`; not one whose chunks
        are not all there to extract it again, which takes one request a chunk to know.

        Args:
            grace_seconds: what was stored within that time stays, by the store's clock against
                this machine's; longer than any program that uses the cache sleeps.
            max_bytes: how much all timelines may take together, overlays included.
            max_age_seconds: how long a timeline may go unused.
            timelines: look only at these; all figures are then theirs. None: at all.
            progress: told after each timeline.

        Raises:
            InvalidValue: a number out of its range.
            NotCached: one of ``timelines`` does not exist.
        """
        return plan_gc(
            self._store,
            timelines=timelines,
            grace_seconds=grace_seconds,
            max_bytes=max_bytes,
            max_age_seconds=max_age_seconds,
            progress=progress,
        )


def _url_from_environment() -> str:
    bucket = os.environ.get("S3_BUCKET")
    fallback = f"s3://{bucket}" if bucket else _DEFAULT_FOLDER
    return os.environ.get("FRAMECACHE_URL") or fallback


def _tier(
    store: Store, folder: str | bytes | os.PathLike[Any] | None, size_limit_bytes: int | None
) -> FrameTier | None:
    chosen = (
        os.environ.get("FRAMECACHE_LOCAL_CACHE", "")
        if folder is None
        else _path(folder, what="local_cache is the path of a folder")
    )
    limit = _limit_from_environment() if size_limit_bytes is None else size_limit_bytes
    limit_bytes = as_index(limit)
    if limit_bytes is None or not SMALLEST_LIMIT_BYTES <= limit_bytes < MOST_WHOLE:
        name = "local_cache_bytes" if size_limit_bytes is not None else f"${_LIMIT_VARIABLE}"
        raise InvalidValue(
            f"{name} is a whole number of bytes from {SMALLEST_LIMIT_BYTES}, not {shown(limit)}: "
            f"to keep nothing on local disk, give no local_cache"
        )
    if not chosen:
        return None
    path = _local_folder(chosen)
    if not is_remote(store):
        return None
    return FrameTier(path, size_limit_bytes=limit_bytes, store_url=store.url)


def _path(given: str | bytes | os.PathLike[Any], *, what: str) -> str:
    try:
        return os.fsdecode(given)
    except TypeError as error:
        raise InvalidValue(f"{what}, not {shown(given)}") from error


def _local_folder(path: str) -> str:
    try:
        if "://" not in path:
            return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidValue(f"local_cache={path!r} is no folder of this machine: {error}") from error
    raise InvalidValue(f"local_cache={path!r} is no folder of this machine: give a plain path")


def _limit_from_environment() -> int:
    given = os.environ.get(_LIMIT_VARIABLE) or str(_LOCAL_CACHE_BYTES)
    try:
        return int(given)
    except ValueError as error:
        raise InvalidValue(
            f"${_LIMIT_VARIABLE} is a whole number of bytes, not {given!r}"
        ) from error
