"""Entry point of the library: a cache in a store, and the timelines in it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from framecache._core import keys
from framecache._core.numeric import INT64_LIMIT, as_index, format_value
from framecache._index.frames_table import frames_table
from framecache._read.disk_cache import MIN_SIZE_LIMIT_BYTES, DiskCache
from framecache.errors import InvalidValue
from framecache.store import Store, check_options, is_remote, open_store, with_atomic_create
from framecache.timeline import Timeline

if TYPE_CHECKING:
    import pyarrow as pa

    from framecache._maintain.gc import GcPlan, GcProgress

_DEFAULT_FOLDER: Final = "./.framecache"
_GRACE_SECONDS: Final = 24 * 3600.0
_LOCAL_CACHE_BYTES: Final = 10 * 10**9
_LIMIT_VARIABLE: Final = "FRAMECACHE_LOCAL_CACHE_BYTES"


class FrameCache:
    """Timelines in one store. Cheap to create, safe to share between threads."""

    def __init__(
        self,
        url: str | bytes | os.PathLike[Any] | None = None,
        *,
        local_cache: str | bytes | os.PathLike[Any] | None = None,
        local_cache_bytes: int | None = None,
        storage_options: Mapping[str, str | bool | os.PathLike[str] | Mapping[str, Any]]
        | None = None,
    ) -> None:
        """Configure the store; no request is made until a timeline is used.

        Args:
            url: ``s3://bucket/prefix``, ``gs://…``, ``az://…``, ``memory://name`` or a local
                folder. None: ``$FRAMECACHE_URL``, else ``s3://$S3_BUCKET``, else
                ``./.framecache``.
            local_cache: local folder of the disk cache, which keeps fetched frames and serves
                them when they are read again. The folder must be empty, not exist yet, or already
                be a disk cache; any number of programs and stores may share it. Frames of a store
                in a local folder or in memory are not kept. None: ``$FRAMECACHE_LOCAL_CACHE``;
                empty: no disk cache.
            local_cache_bytes: maximum size of that folder on disk, at least 1 MiB; the least
                recently used frames are evicted first. None: ``$FRAMECACHE_LOCAL_CACHE_BYTES``,
                else 10 GB.
            storage_options: connection settings of the store, and of other stores of the same
                kind that hold chunks. Settings that are not given come from the environment.
                S3: ``endpoint``, ``key``, ``secret``, ``token``, ``region``, ``profile``, ``ca``
                (a file of certificates) and ``style`` (``path`` or ``virtual``). Azure:
                ``account`` with ``key`` or ``sas``, or ``connection_string``, ``endpoint`` and
                ``ca``. Google: ``credentials`` (a file) or ``token``, ``endpoint`` and ``ca``.
                A URL prefix as the name, such as ``s3://bucket/folder``, gives separate options
                for everything below it. ``anon=True`` sends requests without credentials to any
                of them. None: the file that ``$FRAMECACHE_STORAGE_OPTIONS`` names, if it is set.

        Raises:
            InvalidValue: the URL is of an unknown kind, a number is out of its range, the folder
                holds other files, or a setting of the store cannot be used.
            StorePermissionDenied: the requested credentials are not available.
        """
        chosen = (
            _decode_path(url, what="url is a path or the URL of a store")
            if url is not None
            else url_from_environment()
        )
        options = check_options(storage_options, url=chosen)
        self._store = with_atomic_create(open_store(chosen, options))
        self._disk_cache = _open_disk_cache(self._store, local_cache, local_cache_bytes)

    def __repr__(self) -> str:
        return f"<FrameCache {self.url}>"

    @property
    def url(self) -> str:
        """URL of the store."""
        return self._store.url

    @property
    def store(self) -> Store:
        """Store that holds the blobs."""
        return self._store

    def timeline(self, timeline_id: str) -> Timeline:
        """Return the timeline with this id, whether it exists or not; makes no request.

        Raises:
            InvalidId: the id cannot be part of a key.
        """
        return Timeline(self._store, timeline_id, disk_cache=self._disk_cache)

    def timelines(self) -> list[str]:
        """Return the ids of all timelines in the store, sorted; other folders are skipped."""
        return [name for name in self._store.list_folders(keys.ROOT) if keys.is_id(name)]

    def frames_table(self, timelines: Iterable[str] | None = None) -> "pa.Table":
        """Return the cached frames of many timelines as one table: see ``docs/tables.md``.

        The table has one row per current frame. Rows that a repair, a replacement, a change of
        layout or a rebuild superseded are not included, even if their blobs are still in the
        store. The columns are ``timeline_id`` and ``url``, then those of :attr:`Timeline.index`.
        ``url`` is the address of the blob that holds the JPEG, ``size`` bytes from ``offset`` on;
        it is null for an undecodable frame.

        Args:
            timelines: ids of the timelines to include. None: all.

        Raises:
            InvalidValue: ``timelines`` is not an iterable of ids.
            NotCached: one of ``timelines`` does not exist.
            CorruptFrame: an index is damaged.
        """
        return frames_table(self._store, timelines)

    def plan_gc(
        self,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        max_bytes: int | None = None,
        max_age_seconds: float | None = None,
        timelines: Iterable[str] | None = None,
        progress: "GcProgress | None" = None,
    ) -> "GcPlan":
        """Find blobs that are no longer needed; ``plan.execute()`` then removes them.

        Without a quota or a maximum age, these are blobs that no reader uses: remains of cleared
        epochs, crashed programs and replaced versions. With one, whole timelines lose their frames
        too, least recently used first, as with :meth:`Timeline.clear`. A timeline is spared if any
        of its chunks is missing, because it could not be extracted again; the check takes one
        request per chunk.

        Args:
            grace_seconds: minimum age of a blob to be removed, by the store's clock compared with
                this machine's. Choose it longer than any program that uses the cache may pause.
            max_bytes: quota for all timelines together, overlays included.
            max_age_seconds: time after which an unused timeline is cleared.
            timelines: scan only these; all figures then refer to them. None: scan all.
            progress: called after each timeline.

        Raises:
            InvalidValue: a number is out of its range.
            NotCached: one of ``timelines`` does not exist.
        """
        from framecache._maintain.gc import plan_gc  # noqa: PLC0415 -- most programs collect nothing

        return plan_gc(
            self._store,
            timelines=timelines,
            grace_seconds=grace_seconds,
            max_bytes=max_bytes,
            max_age_seconds=max_age_seconds,
            progress=progress,
        )


def url_from_environment() -> str:
    """Return the URL of the cache if none is given: see `FrameCache`."""
    bucket = os.environ.get("S3_BUCKET")
    fallback = f"s3://{bucket}" if bucket else _DEFAULT_FOLDER
    return os.environ.get("FRAMECACHE_URL") or fallback


def _open_disk_cache(
    store: Store, folder: str | bytes | os.PathLike[Any] | None, size_limit_bytes: int | None
) -> DiskCache | None:
    chosen = (
        os.environ.get("FRAMECACHE_LOCAL_CACHE", "")
        if folder is None
        else _decode_path(folder, what="local_cache is the path of a folder")
    )
    limit = _limit_from_environment() if size_limit_bytes is None else size_limit_bytes
    limit_bytes = as_index(limit)
    if limit_bytes is None or not MIN_SIZE_LIMIT_BYTES <= limit_bytes < INT64_LIMIT:
        name = "local_cache_bytes" if size_limit_bytes is not None else f"${_LIMIT_VARIABLE}"
        raise InvalidValue(
            f"{name} must be an integer of at least {MIN_SIZE_LIMIT_BYTES} bytes, not "
            f"{format_value(limit)}: to keep nothing on local disk, give no local_cache"
        )
    if not chosen:
        return None
    path = _local_folder(chosen)
    if not is_remote(store):
        return None
    return DiskCache(path, size_limit_bytes=limit_bytes, store_url=store.url)


def _decode_path(given: str | bytes | os.PathLike[Any], *, what: str) -> str:
    try:
        return os.fsdecode(given)
    except TypeError as error:
        raise InvalidValue(f"{what}, not {format_value(given)}") from error


def _local_folder(path: str) -> str:
    try:
        if "://" not in path:
            return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidValue(
            f"local_cache={path!r} is not a folder on this machine: {error}"
        ) from error
    raise InvalidValue(f"local_cache={path!r} is not a folder on this machine: give a local path")


def _limit_from_environment() -> int:
    given = os.environ.get(_LIMIT_VARIABLE) or str(_LOCAL_CACHE_BYTES)
    try:
        return int(given)
    except ValueError as error:
        raise InvalidValue(
            f"${_LIMIT_VARIABLE} must be an integer, a number of bytes, not {given!r}"
        ) from error
