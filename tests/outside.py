"""A store as other programs see it, and pictures to store there.

Nothing here uses framecache to read or write, except for memory stores, which no other program
can see.
"""

import builtins
import io
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import boto3
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from framecache import Frame, FrameCache

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NOBODY = 65534


class Outside(Protocol):
    """Blobs by key."""

    def list(self, prefix: str = "") -> builtins.list[str]: ...

    def read(self, key: str) -> bytes: ...

    def put(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def make_empty(self) -> None:
        """Create the store if needed, and remove all of its blobs."""


def outside(url: str) -> Outside:
    """Open the store of a URL by pathlib or boto3."""
    if url.startswith("s3://"):
        return _Bucket(url)
    if url.startswith("memory://"):
        return _Memory(url)
    return _Folder(url)


class _Folder:
    def __init__(self, path: str) -> None:
        self._root = Path(path)

    def list(self, prefix: str = "") -> builtins.list[str]:
        # Unlike rglob, walk ignores folders that are removed during it.
        files = [Path(folder, name) for folder, _, names in os.walk(self._root) for name in names]
        names = [path.relative_to(self._root).as_posix() for path in files]
        return sorted(name for name in names if name.startswith(prefix))

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def put(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        (self._root / key).unlink()

    def make_empty(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class _Bucket:
    def __init__(self, url: str) -> None:
        self._bucket = url.removeprefix("s3://")
        self._client = s3_client(os.environ["AWS_ENDPOINT_URL"])

    def list(self, prefix: str = "") -> builtins.list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return sorted(blob["Key"] for page in pages for blob in page.get("Contents", []))

    def read(self, key: str) -> bytes:
        with self._client.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
            return bytes(body.read())

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def make_empty(self) -> None:
        self._client.create_bucket(Bucket=self._bucket)
        for key in self.list():
            self.remove(key)


@cache
def s3_client(endpoint: str) -> "S3Client":
    """Return the client of a server; making one takes longer than most of its requests."""
    return boto3.client("s3", endpoint_url=endpoint)


class _Memory:
    def __init__(self, url: str) -> None:
        self._store = FrameCache(url).store

    def list(self, prefix: str = "") -> builtins.list[str]:
        return sorted(blob.key for blob in self._store.list("") if blob.key.startswith(prefix))

    def read(self, key: str) -> bytes:
        return self._store.get(key)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)

    def remove(self, key: str) -> None:
        self._store.delete([key])

    def make_empty(self) -> None:
        self._store.delete(self.list())


def everything(blobs: Outside) -> dict[str, bytes]:
    """Return the bytes of every blob of a store, by key."""
    return {key: blobs.read(key) for key in blobs.list()}


def frames_of(blobs: Outside, timeline_id: str) -> dict[str, bytes]:
    """Names and bytes of all blobs under a timeline's ``frames/``."""
    prefix = f"cache/timelines/{timeline_id}/frames/"
    return {key.removeprefix(prefix): blobs.read(key) for key in blobs.list(prefix)}


def wait_until(condition: Callable[[], bool], *, missing: Callable[[], object] = str) -> None:
    """Poll until a condition holds; fail the test after a deadline, and say what is missing."""
    ticks = threading.Event()
    for _ in range(6000):
        if condition():
            return
        ticks.wait(0.01)
    pytest.fail(f"it did not come {missing()}".rstrip())


def picture(number: int, *, width: int = 48, height: int = 32) -> npt.NDArray[np.uint8]:
    """Return a smooth picture that is different for each number."""
    x = np.linspace(0, 200, width)[None, :] + np.zeros((height, 1))
    y = np.linspace(0, 200, height)[:, None] + np.zeros((1, width))
    planes = (x, y, np.full((height, width), number * 37 % 251))
    return np.stack(planes, axis=2).astype(np.uint8)


def frame(
    sequence: int,
    *,
    number: int | None = None,
    chunk_id: int = 0,
    timestamp: float | None = None,
    perceptual_hash: str = "",
    width: int = 48,
    height: int = 32,
) -> Frame:
    """Return a frame in memory; its picture and time follow from the sequence unless given."""
    image = picture(sequence if number is None else number, width=width, height=height)
    seconds = sequence / 8 if timestamp is None else timestamp
    return Frame(sequence, chunk_id, seconds, image, perceptual_hash)


def jpeg_by_pillow(number: int, *, width: int = 48, height: int = 32) -> bytes:
    """Return the bytes that another program would store as a frame."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture(number, width=width, height=height)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def png_by_pillow(number: int, *, width: int = 8, height: int = 6) -> bytes:
    """Return the PNG of an overlay, as a job draws one."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture(number, width=width, height=height)).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_by_pillow(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """A JPEG decoded by Pillow, RGB."""
    with Pillow.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"))


def mean_error(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference of two pictures, of 255."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def library_threads() -> set[str]:
    """Return the names of threads started by calls, except the one that serves the main thread."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if re.match(r"framecache(?!-request_)", name)}


def wait_for_library_threads() -> None:
    """Wait for the threads of an iterator that was abandoned, which does not wait itself."""
    wait_until(lambda: library_threads() == set(), missing=library_threads)


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that every user of the machine can enter, unlike ``tmp_path``."""
    with tempfile.TemporaryDirectory(prefix="framecache-api-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def without_privileges() -> Iterator[None]:
    """Run the block without root's privileges, so that permissions are enforced."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
