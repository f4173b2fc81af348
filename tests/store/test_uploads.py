"""Uploads that a killed writer leaves on local disk are found and removed, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from framecache.errors import StorePermissionDenied
from framecache.store import (
    AbandonedUpload,
    RemovedUploads,
    abandoned_uploads,
    open_store,
    remove_abandoned_uploads,
    with_atomic_create,
)
from framecache.store.object_store import PART_SIZE_BYTES

_WRITER_THAT_IS_KILLED = """
import resource, signal, sys
from framecache.store import open_store
store = open_store(sys.argv[1])
store.put("cache/timelines/t/frames/0.jpg", b"whole")
# The kernel kills who writes more than this to a file, in the middle of the write.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
getattr(store, sys.argv[2])("cache/timelines/t/frames/1.jpg", bytes(int(sys.argv[3])))
"""
_HOUR_SECONDS = 3600.0


def _make(path: Path, *, size_bytes: int = 3, age_seconds: float = 2 * _HOUR_SECONDS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size_bytes))
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def _found(folder: Path, *, older_than_seconds: float = _HOUR_SECONDS) -> list[Path]:
    store = open_store(str(folder))
    uploads = abandoned_uploads(store, older_than_seconds=older_than_seconds)
    return sorted(upload.path for upload in uploads)


@pytest.mark.parametrize(
    ("method", "size_bytes_given"), [("put", 1 << 20), ("create", 1 << 20), ("put", 20 << 20)]
)
def test_upload_left_by_a_killed_writer_is_found_and_removed(
    tmp_path: Path, method: str, size_bytes_given: int
) -> None:
    command = [sys.executable, "-c", _WRITER_THAT_IS_KILLED, str(tmp_path), method]
    command += [str(size_bytes_given)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGXFSZ
    left = tmp_path / "cache" / "timelines" / "t" / "frames" / "1.jpg#1"
    size_bytes = left.stat().st_size
    # The parts of a large one are written in any order: a later one may be refused first.
    assert size_bytes in ({0, 100_000} if size_bytes_given > PART_SIZE_BYTES else {100_000})
    store = with_atomic_create(open_store(str(tmp_path)))
    (upload,) = abandoned_uploads(store, older_than_seconds=0)
    assert (upload.path, upload.size_bytes) == (left, size_bytes)
    assert abs(upload.modified_at.timestamp() - left.stat().st_mtime) < 1e-3
    assert remove_abandoned_uploads(store, older_than_seconds=_HOUR_SECONDS).count == 0
    removed = remove_abandoned_uploads(store, older_than_seconds=0)
    assert removed == RemovedUploads(count=1, size_bytes=size_bytes)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [left.with_name("0.jpg")]


def test_modified_at_is_the_time_of_the_last_write(tmp_path: Path) -> None:
    path = _make(tmp_path / "cache" / "a#1")
    os.utime(path, (0, 1_234_567_890))
    assert list(abandoned_uploads(open_store(str(tmp_path)), older_than_seconds=1)) == [
        AbandonedUpload(path, 3, datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC))
    ]


def test_recent_uploads_are_not_reported(tmp_path: Path) -> None:
    old = _make(tmp_path / "cache" / "a#1", age_seconds=2 * _HOUR_SECONDS)
    _make(tmp_path / "cache" / "a#2", age_seconds=_HOUR_SECONDS / 2)
    assert _found(tmp_path) == [old]


def test_files_with_other_names_are_never_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    uploads = [_make(cache / "timelines" / "t" / name) for name in ("0.jpg#1", "x#12", "#3")]
    others = [
        _make(cache / "timelines" / "t" / name)
        for name in ("0.jpg", "#", "x#", "x#1a", "x#1.jpg", "x1", "x#1\n", "folder#1/blob")
    ]
    others += [_make(tmp_path / name) for name in ("a#1", "other/a#1", "cachet/a#1")]
    assert _found(tmp_path) == sorted(uploads)
    removed = remove_abandoned_uploads(open_store(str(tmp_path)), older_than_seconds=1)
    assert removed == RemovedUploads(count=3, size_bytes=9)
    assert all(path.exists() for path in others)
    assert not any(path.exists() for path in uploads)


def test_links_are_neither_followed_nor_removed(tmp_path: Path) -> None:
    outside = _make(tmp_path / "elsewhere" / "a#1")
    store = tmp_path / "store"
    inside = _make(store / "cache" / "a" / "b#1")
    (store / "cache" / "folder").symlink_to(outside.parent)
    (store / "cache" / "same").symlink_to("a")
    (store / "cache" / "link#1").symlink_to(outside)
    (store / "cache" / "dangling#2").symlink_to("nowhere")
    assert _found(store) == [inside]
    assert remove_abandoned_uploads(open_store(str(store)), older_than_seconds=1).count == 1
    assert outside.exists()
    assert (store / "cache" / "link#1").is_symlink()


def test_cache_folder_that_is_a_link_is_skipped(tmp_path: Path) -> None:
    _make(tmp_path / "elsewhere" / "a#1")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cache").symlink_to(tmp_path / "elsewhere")
    assert _found(tmp_path / "store") == []


def test_store_folder_may_be_a_link(tmp_path: Path) -> None:
    upload = _make(tmp_path / "store" / "cache" / "a#1")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    assert _found(tmp_path / "link") == [upload]


def test_empty_missing_and_remote_stores_have_no_abandoned_uploads(
    tmp_path: Path, memory_url: str, s3_url: str
) -> None:
    for url in (memory_url, s3_url, str(tmp_path / "missing"), str(tmp_path)):
        store = open_store(url)
        assert remove_abandoned_uploads(store, older_than_seconds=0) == RemovedUploads(0, 0)
    assert list(tmp_path.iterdir()) == []


def test_upload_that_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    _make(tmp_path / "cache" / "a#1")
    lock = ["chattr", "+i", str(tmp_path / "cache")]
    if subprocess.run(lock, check=False, capture_output=True).returncode != 0:
        pytest.skip("this file system has no attributes that hold for root")
    try:
        with pytest.raises(StorePermissionDenied, match="permission denied"):
            remove_abandoned_uploads(open_store(str(tmp_path)), older_than_seconds=0)
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path / "cache")], check=True)
