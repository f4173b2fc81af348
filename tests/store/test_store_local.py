import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from framecache.errors import StoreFull, StorePermissionDenied, StoreUnavailable
from framecache.store import BlobMissing, open_store


def test_reading_creates_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    with pytest.raises(BlobMissing):
        store.get("a")
    with pytest.raises(BlobMissing):
        store.head("a")
    assert list(store.list("")) == []
    assert store.list_folders("") == []
    assert store.delete(["a"]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["put", "create"])
def test_first_write_creates_the_folder(tmp_path: Path, method: str) -> None:
    store = open_store(str(tmp_path / "deep" / "store"))
    getattr(store, method)("a", b"x")
    assert (tmp_path / "deep" / "store" / "a").read_bytes() == b"x"


def test_store_opened_before_its_folder_exists_sees_later_blobs(tmp_path: Path) -> None:
    reader = open_store(str(tmp_path / "store"))
    assert list(reader.list("")) == []
    open_store(str(tmp_path / "store")).put("a", b"x")
    assert reader.get("a") == b"x"


def test_store_in_a_removed_folder_is_empty_and_writable(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put("a", b"x")
    (tmp_path / "store" / "a").unlink()
    (tmp_path / "store").rmdir()
    with pytest.raises(BlobMissing):
        store.get("a")
    assert list(store.list("")) == []
    store.put("a", b"y")
    assert store.get("a") == b"y"


def test_folders_without_blobs_are_not_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("full/a", b"x")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "a#1").write_bytes(b"left by a writer that was killed")
    assert store.list_folders("") == ["full"]


def test_writes_survive_deletes_that_empty_their_folder(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    def work(number: int) -> None:
        for _ in range(50):
            store.put(f"a/b/{number}", b"x")
            store.delete([f"a/b/{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(store.list("")) == []


@pytest.mark.parametrize("method", ["put", "create"])
def test_full_disk_raises_store_full_and_leaves_nothing(small_disk: Path, method: str) -> None:
    store = open_store(str(small_disk))
    store.put("small", b"x")
    with pytest.raises(StoreFull, match="no space is left") as raised:
        getattr(store, method)("frames/large", bytes(2 << 20))
    assert "frames/large" in str(raised.value)
    assert [info.key for info in store.list("")] == ["small"]
    files = [path for path in small_disk.rglob("*") if path.is_file()]
    assert files == [small_disk / "small"]


def test_blob_is_kept_when_its_replacement_does_not_fit(small_disk: Path) -> None:
    store = open_store(str(small_disk))
    store.put("a", b"first")
    with pytest.raises(StoreFull):
        store.put("a", bytes(2 << 20))
    assert store.get("a") == b"first"


def test_read_only_folder_is_read_but_not_written(read_only_folder: Path) -> None:
    store = open_store(str(read_only_folder))
    assert store.get("a") == b"kept"
    for write in (store.put, store.create):
        for key in ("b", "deep/b"):
            with pytest.raises(StorePermissionDenied, match="read-only"):
                write(key, b"x")
    with pytest.raises(StorePermissionDenied, match="read-only"):
        store.delete(["a"])
    with pytest.raises(StorePermissionDenied, match="read-only"):
        open_store(str(read_only_folder / "store")).put("a", b"x")


def test_folder_without_permission_is_denied(locked_folder: Path) -> None:
    store = open_store(str(locked_folder / "store"))
    for request in (lambda: store.get("a"), lambda: store.head("a"), lambda: list(store.list(""))):
        with pytest.raises(StorePermissionDenied, match="permission denied"):
            request()
    for write in (store.put, store.create):
        with pytest.raises(StorePermissionDenied, match="permission denied"):
            write("b", b"x")


def test_file_in_place_of_the_store_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = open_store(str(tmp_path / "file"))
    for request in (lambda: store.get("a"), lambda: list(store.list("")), lambda: store.head("a")):
        with pytest.raises(StoreUnavailable, match="a file"):
            request()
    for write in (store.put, store.create):
        with pytest.raises(StoreUnavailable, match="a file"):
            write("a", b"x")
    with pytest.raises(StoreUnavailable, match="a file"):
        open_store(str(tmp_path / "file" / "below")).put("a", b"x")


def test_blob_in_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"x")
    with pytest.raises(StoreUnavailable, match="there is a file where a folder is needed"):
        store.put("a/b", b"x")
    assert store.delete(["a/b"]) == 1
    assert store.get("a") == b"x"


def test_modified_at_is_the_mtime_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    os.utime(tmp_path / "a", ns=(0, 1_234_567_890_999_999_999))
    store = open_store(str(tmp_path))
    assert store.head("a").modified_at == datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)
    assert list(store.list("")) == [store.head("a")]
