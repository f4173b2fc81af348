"""Read-only file system of a cache for fsspec: ``framecache://match-42/frames/12.jpg``.

::

    framecache://{timeline_id}/frames/{sequence}.jpg                            stored JPEG
    framecache://{timeline_id}/index.parquet                                    index of frames
    framecache://{timeline_id}/overlays/{job_id}/{stage}/{sequence}_{name}.png  stored PNG

Ids are percent-encoded. The paths are the same in every layout. fsspec finds this module by its
entry point, so no import is needed: ``fsspec.open("framecache://match-42/frames/12.jpg")``.
"""

import errno
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Final, NoReturn
from urllib.parse import quote, unquote

from framecache._core import keys
from framecache._core.optional_imports import require_extra
from framecache._index import Index
from framecache._overlays.listing import list_stage
from framecache.cache import FrameCache, url_from_environment
from framecache.errors import InvalidId, InvalidValue, NotCached
from framecache.store import BlobMissing
from framecache.timeline import Timeline

require_extra("fsspec", needed_by="framecache.fsspec")

from fsspec import AbstractFileSystem  # noqa: E402 -- after the check that it is installed

_FRAMES: Final = "frames"
_INDEX: Final = "index.parquet"
_OVERLAYS: Final = "overlays"
_OVERLAY_FOLDERS: Final = 2
"""Folders below that of the overlays: those of a job and of a stage."""
_GLOB_CHARACTERS: Final = "*?[]!{}"
"""Characters of patterns, which no id contains."""

Info = dict[str, Any]


class FrameCacheFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """File system of the frames, indexes and overlays of a cache; read-only.

    A file that is not cached is FileNotFoundError, and a change is OSError (EROFS). Other errors
    are those of the library: CorruptFrame, TimelineCleared, StoreUnavailable.
    """

    protocol: ClassVar[str] = "framecache"
    root_marker: ClassVar[str] = ""

    def __init__(
        self,
        cache: str | os.PathLike[str] | None = None,
        local_cache: str | os.PathLike[str] | None = None,
        local_cache_bytes: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 -- of fsspec
    ) -> None:
        """Configure the file system; no request is made.

        Args:
            cache: URL or folder of the cache. None: ``$FRAMECACHE_URL``, else as for `FrameCache`,
                looked up at each use.
            local_cache: see `FrameCache`.
            local_cache_bytes: see `FrameCache`.
            storage_options: see `FrameCache`.
            options: options of every fsspec file system, such as ``skip_instance_cache``.
        """
        super().__init__(**options)
        self._url = None if cache is None else os.fspath(cache)
        self._options: dict[str, Any] = {
            "local_cache": local_cache,
            "local_cache_bytes": local_cache_bytes,
            "storage_options": storage_options,
        }
        self._caches: dict[str, FrameCache] = {}
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._encoded: dict[str, tuple[Index, bytes]] = {}
        """Latest encoded index of each timeline, and the index it was made of."""

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 -- a path or a list of them
        """Return a path without the protocol, with ids encoded in one way."""
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list):
            return stripped
        return "/".join(
            quote(unquote(part), safe=_GLOB_CHARACTERS) for part in stripped.strip("/").split("/")
        )

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: ANN401, FBT001, FBT002 -- as fsspec calls it
        """Return the files and folders in a folder, or the one file."""
        found = self._list(self._strip_protocol(path))
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **_: Any) -> Info:  # noqa: ANN401 -- as fsspec calls it
        """Return name, size in bytes and type of a file or folder."""
        stripped = self._strip_protocol(path)
        match _parts(stripped):
            case []:
                return _folder("")
            case [timeline_id, folder, name] if folder == _FRAMES:
                with self._missing_files(stripped):
                    return self._frame_info(timeline_id, _sequence(stripped, name))
            case [timeline_id, name] if name == _INDEX:
                return _file(stripped, len(self._index_bytes(timeline_id, stripped)))
            case [timeline_id] | [timeline_id, "frames"]:
                self._require_timeline(timeline_id, stripped)
                return _folder(stripped)
            case [_, folder, *rest] if folder == _OVERLAYS and len(rest) <= _OVERLAY_FOLDERS:
                self._list(stripped)
                return _folder(stripped)
            case [_, folder, _, _, _] if folder == _OVERLAYS:
                for one in self._list(stripped.rpartition("/")[0]):
                    if one["name"] == stripped:
                        return one
        raise _not_found(stripped)

    def cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        **_: Any,  # noqa: ANN401 -- as fsspec calls it
    ) -> bytes:
        """Return the bytes of a file, or a part of them."""
        return self._read(self._strip_protocol(path))[start:end]

    def modified(self, path: str) -> datetime:
        """Return the time at which a file was stored, by the store's clock; one HEAD."""
        stripped = self._strip_protocol(path)
        match _parts(stripped):
            case [timeline_id, folder, name] if folder == _FRAMES:
                with self._missing_files(stripped):
                    number = _sequence(stripped, name)
                    source, row = self._timeline(timeline_id).snapshot_cache.find_row(number)
                manifest = source.snapshot.manifest
                if row.is_decoded_on_demand and manifest is not None:
                    return self._modified_at(keys.manifest(timeline_id, manifest.version), stripped)
                return self._modified_at(row.key, stripped)
            case [timeline_id, name] if name == _INDEX:
                self._require_timeline(timeline_id, stripped)
                snapshot = self._timeline(timeline_id).snapshot_cache.source().snapshot
                if snapshot.manifest is not None:
                    key = keys.manifest(timeline_id, snapshot.manifest.version)
                    return self._modified_at(key, stripped)
                if snapshot.exists:
                    return self._modified_at(snapshot.index.row(0).key, stripped)
            case [timeline_id, folder, job_id, stage, name] if folder == _OVERLAYS:
                with self._missing_files(stripped):
                    key = keys.overlay(timeline_id, job_id, stage, *_overlay(stripped, name))
                return self._modified_at(key, stripped)
        raise _not_found(stripped)

    def exists(self, path: str, **_: Any) -> bool:  # noqa: ANN401 -- as fsspec calls it
        """Return True if there is such a file or folder; other errors are not a missing file."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Return True if there is such a file; other errors are not a missing file."""
        try:
            return bool(self.info(path)["type"] == "file")
        except FileNotFoundError:
            return False

    def _modified_at(self, key: str, path: str) -> datetime:
        try:
            return self._frame_cache().store.head(key).modified_at
        except BlobMissing as error:
            raise _not_found(path) from error

    def _open(self, path: str, mode: str = "rb", **_: Any) -> "_ReadOnlyFile":  # noqa: ANN401 -- as fsspec calls it
        if mode != "rb":
            self._refuse(path)
        return _ReadOnlyFile(self._read(self._strip_protocol(path)))

    def _refuse(self, path: object, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 -- of any operation
        """Raise the error of every operation that would change something."""
        raise OSError(errno.EROFS, f"framecache:// is read-only: extract or write {path} instead")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = mv = touch = pipe_file = _refuse
    put_file = _refuse

    def _list(self, path: str) -> list[Info]:
        match _parts(path):
            case []:
                return [_folder(quote(one, safe="")) for one in self._frame_cache().timelines()]
            case [timeline_id]:
                self._require_timeline(timeline_id, path)
                index = self._index_bytes(timeline_id, path)
                return [
                    _folder(f"{path}/{_FRAMES}"),
                    _file(f"{path}/{_INDEX}", len(index)),
                    _folder(f"{path}/{_OVERLAYS}"),
                ]
            case [timeline_id, folder] if folder == _FRAMES:
                self._require_timeline(timeline_id, path)
                return self._list_frames(timeline_id)
            case [timeline_id, folder, *rest] if folder == _OVERLAYS:
                self._require_timeline(timeline_id, path)
                found = self._list_overlays(timeline_id, path, rest)
                if found or not rest:
                    return found
                raise _not_found(path)
            case _:
                return [self.info(path)]

    def _list_frames(self, timeline_id: str) -> list[Info]:
        timeline = self._timeline(timeline_id)
        index = timeline.snapshot_cache.latest_source().snapshot.index
        columns = (index.sequence, index.size, index.is_ok, index.is_decoded_on_demand)
        folder = f"{quote(timeline_id, safe='')}/{_FRAMES}"
        return [
            _file(f"{folder}/{sequence}.jpg", None if is_unknown else size)
            for sequence, size, is_ok, is_unknown in zip(
                *(column.tolist() for column in columns), strict=True
            )
            if is_ok
        ]

    def _list_overlays(self, timeline_id: str, path: str, rest: list[str]) -> list[Info]:
        timeline = self._timeline(timeline_id)
        match rest:
            case []:
                return [_folder(f"{path}/{quote(job, safe='')}") for job in timeline.jobs()]
            case [job_id]:
                stages = timeline.jobs().get(job_id, {})
                return [_folder(f"{path}/{quote(stage, safe='')}") for stage in stages]
            case [job_id, stage]:
                with self._missing_files(path):
                    found = list_stage(self._frame_cache().store, timeline_id, job_id, stage)
                return [
                    _file(f"{path}/{sequence}_{quote(name, safe='')}.png", blob.size_bytes)
                    for (sequence, name), blob in sorted(found.items())
                ]
            case _:
                return [self.info(path)]

    def _frame_info(self, timeline_id: str, sequence: int) -> Info:
        _, row = self._timeline(timeline_id).snapshot_cache.find_row(sequence)
        name = f"{quote(timeline_id, safe='')}/{_FRAMES}/{sequence}.jpg"
        is_unknown = row.is_decoded_on_demand
        return _file(name, None if is_unknown else row.size) | {
            "timestamp": row.timestamp,
            "width": row.width,
            "height": row.height,
            "crc32c": None if is_unknown else row.crc32c,
        }

    def _read(self, path: str) -> bytes:
        match _parts(path):
            case [timeline_id, folder, name] if folder == _FRAMES:
                with self._missing_files(path):
                    return self._timeline(timeline_id).jpeg(_sequence(path, name))
            case [timeline_id, name] if name == _INDEX:
                return self._index_bytes(timeline_id, path)
            case [timeline_id, folder, job_id, stage, name] if folder == _OVERLAYS:
                with self._missing_files(path):
                    overlays = self._timeline(timeline_id).overlays(job_id=job_id, stage=stage)
                    data = overlays.load_one(*_overlay(path, name))
                if data is not None:
                    return data
                raise _not_found(path)
        if self.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise _not_found(path)

    def _index_bytes(self, timeline_id: str, path: str) -> bytes:
        self._require_timeline(timeline_id, path)
        index = self._timeline(timeline_id).snapshot_cache.source().snapshot.index
        encoded_of, encoded = self._encoded.get(timeline_id, (None, b""))
        if encoded_of is not index:
            encoded = index.encode(b"{}")
            self._encoded[timeline_id] = index, encoded
        return encoded

    def _require_timeline(self, timeline_id: str, path: str) -> None:
        """Raise FileNotFoundError if the cache holds nothing of a timeline."""
        with self._missing_files(path):
            timeline = self._timeline(timeline_id)
            snapshot = timeline.snapshot_cache.latest_source().snapshot
        if snapshot.manifest is None and not snapshot.exists and not timeline.jobs():
            raise _not_found(path)

    @contextmanager
    def _missing_files(self, path: str) -> Iterator[None]:
        """Raise FileNotFoundError for what is not cached, as users of file systems expect."""
        self._frame_cache()  # whose errors are not those of a path
        try:
            yield
        except (NotCached, InvalidId, InvalidValue) as error:
            raise FileNotFoundError(errno.ENOENT, f"{error}", f"framecache://{path}") from error

    def _timeline(self, timeline_id: str) -> Timeline:
        cache = self._frame_cache()
        return self._timelines.setdefault((cache.url, timeline_id), cache.timeline(timeline_id))

    def _frame_cache(self) -> FrameCache:
        url = url_from_environment() if self._url is None else self._url
        if url not in self._caches:
            self._caches[url] = FrameCache(url, **self._options)
        return self._caches[url]


class _ReadOnlyFile(io.BytesIO):
    """Bytes of a file, with the size that fsspec's own functions ask for."""

    @property
    def size(self) -> int:
        return self.getbuffer().nbytes

    def writable(self) -> bool:
        return False

    def write(self, _: object) -> NoReturn:
        raise io.UnsupportedOperation("framecache:// is read-only")


def _parts(path: str) -> list[str]:
    return [unquote(part) for part in path.split("/") if part]


def _sequence(path: str, name: str) -> int:
    number = name.removesuffix(".jpg")
    if not number.isdecimal() or name != f"{int(number)}.jpg":
        raise _not_found(path)
    return int(number)


def _overlay(path: str, name: str) -> tuple[int, str]:
    """Return the sequence and name of an overlay."""
    parsed = keys.parse_overlay(name)
    if parsed is None or "/" in name:
        raise _not_found(path)
    return parsed


def _folder(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, size_bytes: int | None) -> Info:
    return {"name": path, "size": size_bytes, "type": "file"}


def _not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"framecache://{path}")
