"""Frames for a disk cache, and the disk space that it uses, by other tools."""

import random
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from framecache._read.disk_cache import DiskCache

URL = "s3://bucket/prefix"
LIMIT = 2**20


@dataclass(frozen=True)
class Row:
    """Row of an index, as committed for a frame."""

    key: str = "cache/timelines/t/frames/0.jpg"
    offset: int = 0
    size: int = 0
    crc32c: int = 0


class Copy(NamedTuple):
    row: Row
    data: bytes


def copy(number: int, size: int = 10_000) -> Copy:
    """Return a frame whose bytes depend only on its number and size."""
    data = random.Random(number).randbytes(size)
    key = f"cache/timelines/t/frames/{number}.jpg"
    return Copy(Row(key, 0, size, google_crc32c.value(data)), data)


def disk_cache(folder: Path, *, limit: int = LIMIT, url: str = URL) -> DiskCache:
    return DiskCache(str(folder), size_limit_bytes=limit, store_url=url)


def put(there: DiskCache, copies: Iterable[Copy]) -> None:
    for one in copies:
        there.put(*one)


def bytes_on_disk(folder: Path) -> int:
    """Return the disk space of a folder and its content, as coreutils measures it."""
    command = ["du", "-s", "--block-size=1", str(folder)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(run.stdout.split()[0])


def files(folder: Path) -> list[Path]:
    """Return the files of the stored frames, partly written ones included."""
    frames = folder / "frames"
    return sorted(frames.iterdir()) if frames.exists() else []


def kept(folder: Path, copies: list[Copy], *, limit: int = LIMIT) -> list[Row]:
    """Return the rows of the copies that the disk cache holds."""
    there = disk_cache(folder, limit=limit)
    return [one.row for one in copies if there.get(one.row) is not None]
