"""A disk cache returns what was put there, or nothing, and stays within its limit."""

import dataclasses
import os
import pickle
import stat
import subprocess
import sys
import tempfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copies import LIMIT, URL, Copy, Row, bytes_on_disk, copy, disk_cache, files, kept, put

UNIT = 4096
CAPACITY_UNITS = LIMIT // UNIT - 8
DAY_NS = 24 * 3600 * 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "deep" / "disk-cache"


def test_frame_put_by_one_cache_is_found_by_another_on_the_same_folder(folder: Path) -> None:
    row, data = copy(1)
    ours = disk_cache(folder)
    assert ours.get(row) is None
    ours.put(row, data)
    assert ours.get(row) == data
    assert disk_cache(folder).get(row) == data


def test_lookup_creates_nothing_on_disk(folder: Path) -> None:
    disk_cache(folder).get(copy(1).row)
    assert not disk_cache(folder).prefetch(copy(1).row)
    assert not folder.parent.exists()


@given(
    first=st.builds(
        Row,
        key=st.sampled_from(["a", "b"]),
        offset=st.integers(0, 1),
        size=st.integers(1, 2),
        crc32c=st.integers(0, 1),
    ),
    other=st.builds(
        Row,
        key=st.sampled_from(["a", "b"]),
        offset=st.integers(0, 1),
        size=st.integers(1, 2),
        crc32c=st.integers(0, 1),
    ),
    urls=st.tuples(st.sampled_from([URL, "s3://other"]), st.sampled_from([URL, "s3://other"])),
)
def test_frames_share_a_file_only_when_identical(
    first: Row, other: Row, urls: tuple[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        disk_cache(Path(name), url=urls[0]).put(first, bytes(first.size))
        disk_cache(Path(name), url=urls[1]).put(other, bytes(other.size))
        assert len(files(Path(name))) == (1 if (first, urls[0]) == (other, urls[1]) else 2)


def test_another_picture_under_the_same_key_is_a_separate_entry(folder: Path) -> None:
    before, after = copy(1), copy(2)
    rebuilt = Copy(dataclasses.replace(after.row, key=before.row.key), after.data)
    ours = disk_cache(folder)
    ours.put(*before)
    assert ours.get(rebuilt.row) is None
    ours.put(*rebuilt)
    assert (ours.get(before.row), ours.get(rebuilt.row)) == (before.data, rebuilt.data)


def test_prefetch_reports_only_a_regular_file_of_the_right_length(folder: Path) -> None:
    row, data = copy(1)
    ours = disk_cache(folder)
    ours.put(row, data)
    assert ours.prefetch(row)
    assert not ours.prefetch(copy(2).row)
    [file] = files(folder)
    for other in (data[:-1], b"", data + b"a"):
        file.write_bytes(other)
        assert not ours.prefetch(row)
    file.rename(folder / "elsewhere")
    (folder / "elsewhere").write_bytes(data)
    file.symlink_to(folder / "elsewhere")
    assert not ours.prefetch(row)


@given(damage=st.data())
def test_damaged_file_is_never_returned_and_can_be_replaced(damage: st.DataObject) -> None:
    row, data = copy(1, size=500)
    kind = damage.draw(st.sampled_from(["flip", "cut", "longer"]))
    position = damage.draw(st.integers(0, len(data) - 1))
    flipped = bytes([data[position] ^ 1 << position % 8])
    damaged = {
        "flip": data[:position] + flipped + data[position + 1 :],
        "cut": data[:position],
        "longer": data + data[: position + 1],
    }[kind]
    with tempfile.TemporaryDirectory() as name:
        ours = disk_cache(Path(name))
        ours.put(row, data)
        [file] = files(Path(name))
        file.write_bytes(damaged)
        assert ours.get(row) is None
        assert files(Path(name)) == []
        ours.put(row, data)
        assert ours.get(row) == data


def test_put_replaces_a_damaged_file(folder: Path) -> None:
    row, data = copy(1)
    disk_cache(folder).put(row, data)
    [file] = files(folder)
    file.write_bytes(b"damaged")
    disk_cache(folder).put(row, data)
    assert disk_cache(folder).get(row) == data


def test_files_are_accessible_to_their_owner_only(folder: Path) -> None:
    before = os.umask(0)
    try:
        disk_cache(folder).put(*copy(1))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "frames")}
    assert modes == {"disk-cache": 0o700, "frames": 0o700}
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_owned_by_another_user_is_ignored(folder: Path) -> None:
    row, data = copy(1)
    disk_cache(folder).put(row, data)
    [file] = files(folder)
    os.chown(file, 65534, 65534)
    assert not disk_cache(folder).prefetch(row)
    assert disk_cache(folder).get(row) is None
    disk_cache(folder).put(row, data)
    assert disk_cache(folder).get(row) == data


@given(sizes=st.lists(st.integers(1, 150_000), max_size=40))
def test_folder_never_exceeds_its_limit(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = disk_cache(folder)
        for number, size in enumerate(sizes):
            ours.put(*copy(number, size))
            assert bytes_on_disk(folder) <= LIMIT


def test_many_tiny_frames_stay_within_the_limit(folder: Path) -> None:
    ours = disk_cache(folder, limit=4 * LIMIT)
    for start in range(0, 1100, 10):
        put(ours, [copy(number, size=1) for number in range(start, start + 10)])
        assert bytes_on_disk(folder) <= 4 * LIMIT


@pytest.mark.parametrize("less", range(0, 16 * UNIT, UNIT))
def test_frame_that_nearly_fills_the_limit_stays_within_it(folder: Path, less: int) -> None:
    disk_cache(folder).put(*copy(1, size=LIMIT - less))
    assert not folder.exists() or bytes_on_disk(folder) <= LIMIT


def test_frame_larger_than_the_limit_is_not_kept(folder: Path) -> None:
    small, large = copy(1), copy(2, size=LIMIT)
    ours = disk_cache(folder)
    ours.put(*small)
    ours.put(*large)
    assert kept(folder, [small, large]) == [small.row]


@given(
    sizes=st.lists(st.integers(1, 60_000), min_size=30, max_size=60),
    uses=st.lists(st.integers(0, 59), min_size=50, max_size=150),
)
def test_least_recently_used_frames_are_evicted_first(sizes: list[int], uses: list[int]) -> None:
    copies = [copy(number, size) for number, size in enumerate(sizes)]
    expected = LeastRecentlyUsed()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("framecache._read.disk_cache.cache._TOUCH_AFTER_NS", -1)
        ours = disk_cache(Path(name))
        for use in uses:
            row, data = copies[use % len(copies)]
            found = ours.get(row)
            assert (found is not None) == expected.get(row)
            if found is None:
                ours.put(row, data)
                expected.put(row)


class LeastRecentlyUsed:
    """Model of a bounded cache, without a disk."""

    def __init__(self) -> None:
        self._units: OrderedDict[Row, int] = OrderedDict()

    def get(self, row: Row) -> bool:
        if row not in self._units:
            return False
        self._units.move_to_end(row)
        return True

    def put(self, row: Row) -> None:
        needed = -(-row.size // UNIT) + 1
        if sum(self._units.values()) + needed > CAPACITY_UNITS:
            allowed = min(CAPACITY_UNITS * 9 // 10, CAPACITY_UNITS - needed)
            while sum(self._units.values()) > allowed:
                self._units.popitem(last=False)
        self._units[row] = needed


def test_last_use_is_recorded_at_most_once_a_minute(folder: Path) -> None:
    row, data = copy(1)
    ours = disk_cache(folder)
    ours.put(row, data)
    [file] = files(folder)
    put_at = file.stat().st_mtime_ns
    ours.get(row)
    assert file.stat().st_mtime_ns == put_at
    os.utime(file, ns=(0, put_at - DAY_NS))
    ours.get(row)
    assert file.stat().st_mtime_ns >= put_at


def test_smaller_limit_applies_from_the_next_put(folder: Path) -> None:
    large = disk_cache(folder, limit=8 * LIMIT)
    for number in range(200):
        large.put(*copy(number, size=30_000))
    assert bytes_on_disk(folder) > 4 * LIMIT
    disk_cache(folder).put(*copy(200))
    assert bytes_on_disk(folder) <= LIMIT
    assert kept(folder, [copy(200)]) == [copy(200).row]


@pytest.mark.parametrize("what", ["gone", "of another start of the machine", "empty"])
def test_limit_holds_after_the_ledger_is_lost_or_reset(folder: Path, what: str) -> None:
    ours = disk_cache(folder)
    for number in range(50):
        ours.put(*copy(number))
    ledger = folder / "ledger"
    if what == "gone":
        ledger.unlink()
    else:
        ledger.write_bytes(b"" if what == "empty" else bytes(36))
    for number in range(50, 100):
        ours.put(*copy(number))
        assert bytes_on_disk(folder) <= LIMIT


def test_files_left_by_killed_writers_are_removed_on_eviction(folder: Path) -> None:
    ours = disk_cache(folder)
    ours.put(*copy(0))
    [file] = files(folder)
    left = file.with_name(f"{file.name}.0123abcd")
    left.write_bytes(bytes(LIMIT // 2))
    (folder / "ledger").unlink()
    ours.put(*copy(1))
    assert not left.exists()
    assert kept(folder, [copy(0), copy(1)]) == [copy(0).row, copy(1).row]


def test_concurrent_puts_and_gets_lose_nothing_below_the_limit(folder: Path) -> None:
    copies = [copy(number, size=5_000) for number in range(80)]
    ours = disk_cache(folder)

    def put_and_get(one: Copy) -> bool:
        ours.put(*one)
        return ours.get(one.row) == one.data

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(put_and_get, copies))
    assert len(kept(folder, copies)) == 80


def test_disk_cache_can_be_pickled(folder: Path) -> None:
    row, data = copy(1)
    ours = disk_cache(folder)
    ours.put(row, data)
    assert pickle.loads(pickle.dumps(ours)).get(row) == data


FORK = """
import os, sys
from pathlib import Path
from copies import copy, disk_cache
from framecache.store import open_store
ours = disk_cache(Path(sys.argv[1]))
ours.put(*copy(1))
list(open_store(sys.argv[2]).list(""))
if os.fork() == 0:
    ours.put(*copy(2))
    print(all(ours.get(copy(number).row) == copy(number).data for number in (1, 2)), flush=True)
    os._exit(0)
os.wait()
print(ours.get(copy(2).row) == copy(2).data)
"""


def test_forked_process_keeps_using_the_disk_cache(folder: Path, s3_url: str) -> None:
    command = [sys.executable, "-c", FORK, str(folder), s3_url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60, env=environment
    )
    assert run.stdout.split() == ["True", "True"]
