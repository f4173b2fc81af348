"""Behavior of a disk cache in a folder that is full, denied, of another user, or has links."""

import fcntl
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from copies import LIMIT, bytes_on_disk, copy, disk_cache, files, kept, put
from framecache import InvalidValue, LocalCacheWarning


@pytest.fixture(autouse=True)
def _forget_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process remembers the folders that failed; the folders of tests may have one name."""
    monkeypatch.setattr("framecache._read.disk_cache.cache._suspended_until", {})
    monkeypatch.setattr("framecache._read.disk_cache.cache._warned", set())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_with_other_files_is_rejected_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "mine.jpg").write_bytes(b"mine")
    before = snapshot(tmp_path)
    with pytest.raises(InvalidValue, match="not copies of frames") as raised:
        disk_cache(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert snapshot(tmp_path) == before


def test_file_in_place_of_the_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InvalidValue, match="not a folder"):
        disk_cache(tmp_path / "file")


def test_folder_that_later_gains_other_files_is_left_unchanged(tmp_path: Path) -> None:
    ours = disk_cache(tmp_path / "disk-cache")
    (tmp_path / "disk-cache").mkdir()
    (tmp_path / "disk-cache" / "mine").write_bytes(b"mine")
    with pytest.warns(LocalCacheWarning, match="not copies of frames"):
        ours.put(*copy(1))
    assert snapshot(tmp_path / "disk-cache") == {"mine": b"mine"}


def test_empty_folder_is_adopted(tmp_path: Path) -> None:
    disk_cache(tmp_path).put(*copy(1))
    assert kept(tmp_path, [copy(1)]) == [copy(1).row]


def test_other_files_in_the_cache_folder_are_kept(tmp_path: Path) -> None:
    ours = disk_cache(tmp_path / "disk-cache")
    ours.put(*copy(0))
    aside, below = tmp_path / "disk-cache" / "aside", tmp_path / "disk-cache" / "frames" / "below"
    outside = tmp_path / "outside"
    for path in (aside, below, outside):
        path.write_bytes(b"mine")
    link = tmp_path / "disk-cache" / "frames" / ("0" * 32)
    link.symlink_to(outside)
    (tmp_path / "disk-cache" / "frames" / ("1" * 32)).mkdir()
    for number in range(1, 200):
        ours.put(*copy(number))
    assert [path.read_bytes() for path in (aside, below, outside)] == [b"mine"] * 3
    assert link.is_symlink()


def test_link_in_place_of_a_frame_file_is_not_followed(tmp_path: Path) -> None:
    row, data = copy(1)
    ours = disk_cache(tmp_path / "disk-cache")
    ours.put(row, data)
    [file] = files(tmp_path / "disk-cache")
    file.rename(tmp_path / "outside")
    file.symlink_to(tmp_path / "outside")
    assert ours.get(row) is None
    ours.put(row, data)
    assert ours.get(row) == data
    assert not file.is_symlink()
    assert (tmp_path / "outside").read_bytes() == data


def test_link_in_place_of_the_frames_folder_is_not_written_through(
    tmp_path: Path,
) -> None:
    folder, outside = tmp_path / "disk-cache", tmp_path / "outside"
    ours = disk_cache(folder)
    for number in range(50):
        ours.put(*copy(number))
    (folder / "frames").rename(outside)
    (folder / "frames").symlink_to(outside)
    (folder / "ledger").unlink()
    [damaged, *_] = sorted(outside.iterdir())
    damaged.write_bytes(b"damaged")
    before = snapshot(outside)
    with pytest.warns(LocalCacheWarning, match="Not a directory|symbolic"):
        disk_cache(folder, limit=LIMIT).put(*copy(50))
    kept(folder, [copy(number) for number in range(50)])
    assert snapshot(outside) == before


def test_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    disk_cache(tmp_path / "link").put(*copy(1))
    assert kept(tmp_path / "real", [copy(1)]) == [copy(1).row]


def test_full_disk_warns_once_and_keeps_stored_frames_readable(small_disk: Path) -> None:
    copies = [copy(number, size=50_000) for number in range(40)]
    ours = disk_cache(small_disk / "disk-cache", limit=8 * LIMIT)
    with pytest.warns(LocalCacheWarning, match="no space is left") as caught:
        put(ours, copies)
    assert len(caught) == 1
    there = kept(small_disk / "disk-cache", copies)
    assert there == [one.row for one in copies[: len(there)]]
    assert len(there) == len(files(small_disk / "disk-cache")) >= 10


@pytest.mark.parametrize(("seconds", "is_used"), [(0.0, True), (3600.0, False)])
def test_disk_cache_is_used_again_some_time_after_the_disk_was_full(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, *, is_used: bool
) -> None:
    monkeypatch.setattr("framecache._read.disk_cache.cache._SUSPEND_SECONDS", seconds)
    (small_disk / "other").write_bytes(bytes(900_000))
    ours = disk_cache(small_disk / "disk-cache", limit=8 * LIMIT)
    with pytest.warns(LocalCacheWarning, match="no space is left"):
        ours.put(*copy(1, size=200_000))
    (small_disk / "other").unlink()
    ours.put(*copy(1, size=200_000))
    assert bool(kept(small_disk / "disk-cache", [copy(1, size=200_000)])) == is_used


def test_read_only_folder_is_read_and_warns_once(small_disk: Path) -> None:
    folder = small_disk / "disk-cache"
    disk_cache(folder).put(*copy(1))
    [file] = files(folder)
    os.utime(file, ns=(0, 0))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    ours = disk_cache(folder)
    with pytest.warns(LocalCacheWarning, match="Read-only") as caught:
        put(ours, [copy(2), copy(3)])
    assert len(caught) == 1
    assert ours.get(copy(1).row) == copy(1).data
    assert file.is_file()


def test_folder_without_permission_warns_and_caches_nothing(locked_folder: Path) -> None:
    with pytest.warns(LocalCacheWarning, match="Permission denied") as caught:
        ours = disk_cache(locked_folder / "disk-cache")
    ours.put(*copy(1))
    assert str(locked_folder / "disk-cache") in str(caught[0].message)
    assert ours.get(copy(1).row) is None


def test_held_lock_does_not_block_reads_or_puts(tmp_path: Path) -> None:
    ours = disk_cache(tmp_path)
    ours.put(*copy(1))
    with (tmp_path / "framecache-tier").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours.put(*copy(2))
        assert ours.get(copy(1).row) == copy(1).data
    assert kept(tmp_path, [copy(1), copy(2)]) == [copy(1).row]
    ours.put(*copy(2))
    assert kept(tmp_path, [copy(1), copy(2)]) == [copy(1).row, copy(2).row]


def test_deleted_folder_is_created_again_on_the_next_put(tmp_path: Path) -> None:
    ours = disk_cache(tmp_path / "disk-cache")
    ours.put(*copy(1))
    shutil.rmtree(tmp_path / "disk-cache")
    assert ours.get(copy(1).row) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.put(*copy(1))
    assert ours.get(copy(1).row) == copy(1).data
    assert bytes_on_disk(tmp_path / "disk-cache") <= LIMIT
