"""Format ``webdataset``: tars in which the members of a frame follow each other.

A frame has the members ``SEQ.json``, ``SEQ.jpg`` and one for each overlay, ``SEQ.overlay-N.png``.
The JSON has the frame's metadata, and the names of its overlays in the order of N. ``sizes.json``
has the number of frames in each tar.
"""

import json
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

from framecache._core.numeric import format_value
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    ExchangeFormat,
    ExportPlan,
    frame_from,
)
from framecache._exchange.local_files import MAX_FILE_BYTES, read_json, readable
from framecache._layouts.pack_format import END_OF_ARCHIVE, tar_member
from framecache.errors import InvalidValue
from framecache.model import FolderFormat

SIZES: Final = "sizes.json"
_SHARDS: Final = "*.tar"
_OVERLAYS: Final = "overlays"
_JPEGS: Final = frozenset({"jpg", "jpeg"})
_JSON: Final = "json"
_OTHER_PICTURES: Final = frozenset({"bmp", "gif", "png", "ppm", "tif", "tiff", "webp"})


class WebDataset(ExchangeFormat):
    """Format ``webdataset``."""

    name: ClassVar[FolderFormat] = "webdataset"
    has_shards: ClassVar[bool] = True

    def write(self, folder: Path, frames: Iterator[ExchangedFrame], plan: ExportPlan) -> None:
        """See `ExchangeFormat`."""
        sizes: dict[str, int] = {}
        frame = next(frames, None)
        while frame is not None:
            name = f"frames-{len(sizes):06d}.tar"
            sizes[name] = 0
            with (folder / name).open("wb") as shard:
                while frame is not None and (not sizes[name] or shard.tell() < plan.shard_bytes):
                    for member, data in _members(frame):
                        shard.write(tar_member(member, data))
                    sizes[name] += 1
                    frame = next(frames, None)
                shard.write(END_OF_ARCHIVE)
        (folder / SIZES).write_text(json.dumps(sizes, indent=2) + "\n")

    def is_in(self, folder: Path) -> bool:
        """See `ExchangeFormat`."""
        return any(folder.glob(_SHARDS))

    def open(self, folder: Path) -> "WebDatasetFolder":
        """See `ExchangeFormat`."""
        return WebDatasetFolder(folder)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Members of one frame."""

    shard: Path
    key: str
    kinds: tuple[str, ...]
    """Suffixes of the members: the part of the name after the first dot."""
    read: Callable[[str], bytes] = field(repr=False)
    """Returns the bytes of the member with a suffix."""

    def place(self, kind: str) -> str:
        """Return the name of a member, for messages."""
        return f"{self.key}.{kind} in {self.shard}"

    def metadata(self) -> dict[str, Any]:
        """Return the JSON of the frame; empty if it has none."""
        if _JSON not in self.kinds:
            return {}
        return read_json(self.read(_JSON), origin=self.place(_JSON))


class WebDatasetFolder:
    """Folder of the format ``webdataset``."""

    def __init__(self, folder: Path) -> None:
        self._shards = sorted(folder.glob(_SHARDS))
        if not self._shards:
            raise InvalidValue(f"{folder} has no tar: give a folder of WebDataset shards")
        counts = {shard.name: sum(1 for _ in _samples(shard)) for shard in self._shards}
        self._check_sizes(folder, counts)
        self._count = sum(counts.values())

    @property
    def frame_count(self) -> int:
        """See `FrameFolder`."""
        return self._count

    def frames(self) -> Generator[ExchangedFrame]:
        """See `FrameFolder`."""
        for sample in self._samples():
            kind = _jpeg_kind(sample)
            yield frame_from(sample.metadata(), sample.read(kind), origin=sample.place(kind))

    def overlays(self) -> Iterator[ExchangedOverlay]:
        """See `FrameFolder`."""
        for sample in self._samples():
            metadata = sample.metadata()
            named = metadata.get(_OVERLAYS, [])
            if not isinstance(named, list) or not all(isinstance(one, dict) for one in named):
                raise InvalidValue(
                    f"{sample.place(_JSON)} has the overlays {format_value(named)}, which are not "
                    "a list of objects"
                )
            for number, one in enumerate(named):
                kind = _overlay_kind(number)
                if kind not in sample.kinds:
                    raise InvalidValue(
                        f"{sample.place(_JSON)} names {len(named)} overlays, but "
                        f"{sample.place(kind)} is missing: export it again"
                    )
                yield ExchangedOverlay(
                    sequence=metadata.get("sequence"),
                    job_id=one.get("job_id"),
                    stage=one.get("stage"),
                    name=one.get("name"),
                    png=sample.read(kind),
                )

    def _samples(self) -> Iterator[_Sample]:
        for shard in self._shards:
            yield from _samples(shard)

    @staticmethod
    def _check_sizes(folder: Path, counts: dict[str, int]) -> None:
        """Compare the tars with ``sizes.json``, if there is one."""
        path = folder / SIZES
        if not path.is_file():
            return
        with readable(path):
            expected = read_json(path.read_bytes(), origin=str(path))
        for name, count in expected.items():
            if counts.get(name) != count:
                found = f"has {counts[name]:,} frames" if name in counts else "is missing"
                raise InvalidValue(
                    f"{folder / name} {found}, but {SIZES} states {format_value(count)}: give a "
                    "complete folder"
                )


def _members(frame: ExchangedFrame) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each member of a frame."""
    drawn = [{"job_id": one.job_id, "stage": one.stage, "name": one.name} for one in frame.overlays]
    document = frame.metadata | ({_OVERLAYS: drawn} if drawn else {})
    key = f"{frame.sequence:06d}"
    yield f"{key}.{_JSON}", json.dumps(document, separators=(",", ":")).encode()
    yield f"{key}.jpg", frame.jpeg
    for number, overlay in enumerate(frame.overlays):
        yield f"{key}.{_overlay_kind(number)}", overlay.png


def _overlay_kind(number: int) -> str:
    return f"overlay-{number}.png"


def _samples(shard: Path) -> Iterator[_Sample]:
    """Yield the samples of a tar that have a picture or JSON.

    Raises:
        InvalidValue: the tar is damaged or cut short, or has a member outside its folder.
    """
    with _open_tar(shard) as tar:
        for key, members in groupby(_files(tar, shard), key=lambda file: file[0]):
            files = {kind: member for _, kind, member in members}

            def read(kind: str, files: dict[str, tarfile.TarInfo] = files) -> bytes:
                return _read(tar, files[kind], shard)

            if files.keys() & {_JSON, *_JPEGS, *_OTHER_PICTURES}:
                yield _Sample(shard, key, tuple(files), read)


def _files(tar: tarfile.TarFile, shard: Path) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yield the key, suffix and header of each regular file of a tar."""
    member = tar.next()
    while member is not None:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise InvalidValue(
                f"{shard} has the member {format_value(member.name)}, which is outside the tar's "
                "folder: make the tar again"
            )
        base, dot, kind = path.name.partition(".")
        if member.isreg() and base and dot:
            yield str(path.parent / base), kind.lower(), member
        tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with each member
        member = tar.next()
    # At a damaged header, tarfile ends as at the end of the archive, which is a block of zeros.
    with shard.open("rb") as file:
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InvalidValue(f"{shard} is damaged, or cut short: make the tar again")


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> bytes:
    if member.size > MAX_FILE_BYTES:
        raise InvalidValue(
            f"{member.name} in {shard} has {member.size:,} bytes, more than a frame has: leave it "
            "out"
        )
    file = tar.extractfile(member)
    data = file.read() if file is not None else b""
    if len(data) != member.size:
        raise InvalidValue(f"{member.name} in {shard} is cut short: make the tar again")
    return data


@contextmanager
def _open_tar(shard: Path) -> Iterator[tarfile.TarFile]:
    with readable(shard):
        try:
            with tarfile.open(shard, "r:") as tar:
                yield tar
        except tarfile.TarError as error:
            raise InvalidValue(f"{shard} is not a complete tar: {error}; make it again") from error


def _jpeg_kind(sample: _Sample) -> str:
    kinds = [kind for kind in sample.kinds if kind in _JPEGS]
    if len(kinds) == 1:
        return kinds[0]
    if len(kinds) > 1:
        raise InvalidValue(f"{sample.key} in {sample.shard} has several JPEGs: give it one")
    others = [kind for kind in sample.kinds if kind in _OTHER_PICTURES]
    if others:
        raise InvalidValue(
            f"{sample.place(others[0])} is not a JPEG: convert it, or decode it and call "
            "Timeline.write"
        )
    raise InvalidValue(
        f"{sample.place(_JSON)} is of a frame whose JPEG is missing: give a complete tar"
    )
